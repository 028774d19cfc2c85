//! A reload, and a certificate that expires, reach who is connected already: a client that would not be let
//! in any more loses its connection as its listener says, and nobody else notices.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_tests::backend::{self, Backend};
use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::seeded::Source;
use rustls::ClientConfig;
use serde_json::Value;

use crate::configured::{Configured, tls};

const RECONSIDERED: &str = "countersign_connections_reconsidered_total";
const OUTSTANDING: &str = "countersign_reconsiderations_outstanding";
const WITHDRAWN: &str = "countersign_connections_withdrawn_total";
const KEPT: &str = "countersign_connections_kept_total";
const ENDED: &str = "countersign_connections_ended_total";
const NOT_ALLOWED: (&str, &str) = ("reason", "client_no_longer_allowed");

/// An engine with one listener, in front of `backend`, that lets in `allowed`.
struct Estate {
    pki: Pki,
    address: SocketAddr,
    backend: Backend,
}

impl Estate {
    fn new(backend: Backend) -> Self {
        Self { pki: Pki::new(KeyKind::EcdsaP256), address: own_address(), backend }
    }

    fn listener(&self, allowed: &[&str]) -> ListenerSection {
        ListenerSection::of("door", self.address, &self.pki)
            .set("upstream", self.backend.upstream())
            .set("allow", allowed)
    }

    fn start(&self, allowed: &[&str]) -> Configured {
        Configured::start(&self.pki, Configuration::new().listener(self.listener(allowed)))
    }

    fn alice(&self, version: Version) -> Client {
        Client::established(self.address, &tls(&self.pki, Some(&self.pki.alice), version))
    }
}

fn one(listener: ListenerSection) -> Configuration {
    Configuration::new().listener(listener)
}

/// Every open connection has been asked since the last reload.
#[track_caller]
fn wait_until_asked(configured: &Configured, connections: u64) {
    configured.wait_for_count(RECONSIDERED, &[], connections);
    configured.wait_for_count(OUTSTANDING, &[], 0);
}

#[track_caller]
fn echoes(client: &mut Client, text: &[u8]) {
    client.send(text);
    assert_eq!(client.receive_exactly(text.len()), text);
}

/// Every worker serves what was published last.
#[track_caller]
fn wait_until_served(configured: &Configured) {
    let published = configured.metrics().count("countersign_config_generation", &[]);
    configured.wait_for_count("countersign_config_generation_served", &[], published);
}

/// The end by force: no close_notify, which would pass it for a clean one.
#[track_caller]
fn is_cut_off(client: &mut Client) {
    let (_, ending) = client.ending();
    assert!(matches!(ending, Ending::Reset | Ending::Truncated), "{ending:?}");
}

/// What the log says of a connection that was let in and then closed for `reason`.
#[track_caller]
fn closed_for(configured: &Configured, client: SocketAddr, reason: &str, word: &str) -> Value {
    let record = configured.engine.connection_record(client);
    assert_eq!(record["result"], "allowed", "{record}");
    assert_eq!((&record["reason"], &record["withdrawn"]), (&reason.into(), &reason.into()));
    let detail = record["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(word), "no {word} in {record}");
    record
}

#[test]
fn who_lost_its_rule_is_cut_off_whatever_it_does_and_nobody_else_notices() {
    const FLOWING: u64 = 1 << 40;
    for version in Version::ALL {
        let estate = Estate::new(Backend::echo());
        let source = Backend::source(1, FLOWING);
        let other = own_address();
        let streaming = |allowed: &[&str]| {
            ListenerSection::of("stream", other, &estate.pki)
                .set("upstream", source.upstream())
                .set("allow", allowed)
        };
        let both = |allowed: &[&str]| one(estate.listener(allowed)).listener(streaming(allowed));
        let configured = Configured::start(&estate.pki, both(&["cn=alice", "cn=bob"]));
        let bob = estate.pki.client("bob");
        let mut bob = Client::established(estate.address, &tls(&estate.pki, Some(&bob), version));
        echoes(&mut bob, b"before");

        let mut open = estate.alice(version);
        echoes(&mut open, b"open");
        let idle = estate.alice(version);
        let alice = tls(&estate.pki, Some(&estate.pki.alice), version);
        let mut flowing = Client::established(other, &alice);
        flowing.receive_exactly(100_000);
        configured.wait_for_count("countersign_handshakes_total", &[("resumed", "false")], 4);

        configured.reload(both(&["cn=bob"]));
        for mut client in [open, idle, flowing] {
            let address = client.address();
            is_cut_off(&mut client);
            closed_for(&configured, address, "client_no_longer_allowed", "no rule lets CN=alice");
        }
        let heard = estate.backend.seen().wait_for_ended(2);
        assert!(heard.iter().all(|heard| heard.ending == backend::Ending::Reset), "{heard:?}");
        // It was in the middle of writing, and whichever of its calls came first was told of the reset.
        assert_eq!(source.seen().wait_for_ended(1).len(), 1);
        let metrics = configured.metrics();
        assert_eq!(metrics.count(WITHDRAWN, &[NOT_ALLOWED]), 3);
        assert_eq!(metrics.count(ENDED, &[NOT_ALLOWED]), 3);
        assert_eq!(metrics.count(KEPT, &[NOT_ALLOWED]), 0);
        assert_eq!(metrics.count(RECONSIDERED, &[]), 4);

        echoes(&mut bob, b"after");
        bob.close_notify();
        assert_eq!(bob.ending(), (Vec::new(), Ending::CloseNotify));
    }
}

#[test]
fn a_deny_rule_that_is_new_acts_on_who_is_in() {
    let estate = Estate::new(Backend::echo());
    let configured = estate.start(&["any-verified"]);
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    configured.reload(one(estate.listener(&["any-verified"]).set("deny", ["cn=alice"])));
    is_cut_off(&mut alice);
    let record = closed_for(
        &configured,
        alice.address(),
        "client_no_longer_allowed",
        "is kept out by deny cn=alice",
    );
    assert_eq!(record["rule"], "allow any-verified", "the rule that let it in: {record}");
}

#[test]
fn another_rule_may_let_in_who_is_in() {
    let estate = Estate::new(Backend::echo());
    let configured = estate.start(&["cn=alice"]);
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    configured.reload(one(estate.listener(&["dns=alice.clients.example"])));
    wait_until_asked(&configured, 1);
    echoes(&mut alice, b"after");
    alice.close_notify();
    assert_eq!(alice.ending(), (Vec::new(), Ending::CloseNotify));
    let record = configured.engine.connection_record(alice.address());
    assert_eq!(record["rule"], "allow dns=alice.clients.example", "{record}");
    assert!(record["withdrawn"].is_null() && record["reason"].is_null(), "{record}");
}

#[test]
fn a_ca_that_is_removed_takes_its_clients_with_it() {
    let estate = Estate::new(Backend::echo());
    let (pki, address) = (&estate.pki, estate.address);
    let with_ca = |bundle: &PathBuf| {
        one(ListenerSection::new("door", address)
            .set("upstream", estate.backend.upstream())
            .identity(IdentitySection::new(&pki.server, bundle)))
    };
    let read = |file| std::fs::read_to_string(file).expect("a root");
    let both = pki.directory().join("both.pem");
    let bundle = read(&pki.client_root_file) + &read(&pki.stranger_root_file);
    std::fs::write(&both, bundle).expect("a bundle");
    let configured = Configured::start(pki, with_ca(&both));
    let stranger = pki.client_of_another_ca();
    for version in Version::ALL {
        let mut alice = estate.alice(version);
        let mut stranger = Client::established(address, &tls(pki, Some(&stranger), version));
        echoes(&mut alice, b"alice");
        echoes(&mut stranger, b"stranger");
        configured.reload(with_ca(&pki.stranger_root_file));
        is_cut_off(&mut alice);
        closed_for(&configured, alice.address(), "client_ca_no_longer_trusted", "client_ca");
        echoes(&mut stranger, b"still here");
        configured.reload(with_ca(&both));
    }
}

#[test]
fn who_asked_for_a_name_that_is_gone_is_cut_off() {
    let estate = Estate::new(Backend::echo());
    let named = |names: [&str; 1]| {
        let identity = IdentitySection::of(&estate.pki).names(names);
        one(ListenerSection::new("door", estate.address)
            .set("upstream", estate.backend.upstream())
            .set("strict_sni", true)
            .identity(identity))
    };
    let configured = Configured::start(&estate.pki, named(["localhost"]));
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    let other = estate.pki.server_for(&["other.example"], 2090);
    let identity = IdentitySection::new(&other, &estate.pki.client_root_file);
    configured.reload(one(ListenerSection::new("door", estate.address)
        .set("upstream", estate.backend.upstream())
        .set("strict_sni", true)
        .identity(identity.names(["other.example"]))));
    is_cut_off(&mut alice);
    closed_for(&configured, alice.address(), "unknown_server_name", "server name");
}

#[test]
fn a_reload_that_is_about_something_else_hurts_nobody() {
    let estate = Estate::new(Backend::echo());
    let configured = estate.start(&["cn=alice"]);
    let mut open: Vec<Client> =
        Version::ALL.into_iter().map(|version| estate.alice(version)).collect();
    for client in &mut open {
        echoes(client, b"before");
    }
    for reload in 1..=3 {
        let listener = estate.listener(&["cn=alice", "cn=carol"]);
        configured.reload(one(listener.limit("idle_timeout", "200s")));
        wait_until_asked(&configured, 2 * reload);
        for client in &mut open {
            echoes(client, b"still here");
        }
    }
    for client in &mut open {
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
}

#[test]
fn a_listener_that_comes_back_asks_who_came_through_it_before() {
    let estate = Estate::new(Backend::echo());
    let kept = own_address();
    let alone = || one(ListenerSection::of("kept", kept, &estate.pki));
    let configured =
        Configured::start(&estate.pki, alone().listener(estate.listener(&["cn=alice"])));
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    configured.reload(alone());
    wait_until_asked(&configured, 1);
    echoes(&mut alice, b"its listener is gone");
    configured.reload(alone().listener(estate.listener(&["cn=bob"])));
    is_cut_off(&mut alice);
    closed_for(&configured, alice.address(), "client_no_longer_allowed", "CN=alice");
}

#[test]
fn who_is_kept_lives_on_and_is_told_of_once() {
    let estate = Estate::new(Backend::echo());
    let configured = estate.start(&["cn=alice"]);
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    let keeping = |rule: &str| one(estate.listener(&[rule]).set("on_revoked", "keep"));
    for (reload, rule) in [(1, "cn=bob"), (2, "cn=carol")] {
        configured.reload(keeping(rule));
        wait_until_asked(&configured, reload);
        echoes(&mut alice, b"still here");
    }
    let metrics = configured.metrics();
    assert_eq!(metrics.count(WITHDRAWN, &[NOT_ALLOWED]), 1);
    assert_eq!(metrics.count(KEPT, &[NOT_ALLOWED]), 1);
    alice.close_notify();
    assert_eq!(alice.ending(), (Vec::new(), Ending::CloseNotify));
    let record = configured.engine.connection_record(alice.address());
    assert_eq!(record["withdrawn"], "client_no_longer_allowed", "{record}");
    assert!(record["reason"].is_null(), "it ended cleanly: {record}");
    let told = configured.engine.log().events("client_withdrawn");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["client"], alice.address().to_string(), "{told:?}");
    assert_eq!(told[0]["consequence"], "keep", "{told:?}");
    assert_eq!(told[0]["identity"]["common_name"], "alice", "{told:?}");

    // Who is kept is let in again, and told of anew when it is not once more.
    let mut alice = estate.alice_after(&configured, keeping("cn=alice"));
    configured.reload(keeping("cn=bob"));
    configured.reload(keeping("cn=alice"));
    configured.reload(keeping("cn=bob"));
    configured.wait_for_count(KEPT, &[NOT_ALLOWED], 3);
    echoes(&mut alice, b"still here");
}

#[test]
fn who_is_drained_finishes_its_transfer() {
    const LENGTH: u64 = 20_000_000;
    let estate = Estate::new(Backend::echo());
    let draining = |rule: &str| one(estate.listener(&[rule]).set("on_revoked", "drain"));
    let configured = Configured::start(&estate.pki, draining("cn=alice"));
    for version in Version::ALL {
        let mut alice = estate.alice(version);
        echoes(&mut alice, b"before");
        configured.reload(draining("cn=bob"));
        configured.engine.log().wait_for("the withdrawal", |events| {
            let client = alice.address().to_string();
            events
                .iter()
                .find(|event| event["event"] == "client_withdrawn" && event["client"] == *client)
                .map(|event| assert_eq!(event["consequence"], "drain", "{event}"))
        });
        let sent = Source::new(7, LENGTH);
        let received = alice.exchange(sent, LENGTH).expect("the whole transfer");
        assert_eq!(received.length, LENGTH);
        assert_eq!(alice.ending(), (Vec::new(), Ending::CloseNotify));
        let record = configured.engine.connection_record(alice.address());
        assert_eq!(record["withdrawn"], "client_no_longer_allowed", "{record}");
        assert!(record["reason"].is_null(), "it ended cleanly: {record}");
        configured.reload(draining("cn=alice"));
    }
}

#[test]
fn who_is_drained_and_does_not_end_is_cut_off_in_the_end() {
    let estate = Estate::new(Backend::echo());
    let draining = |rule: &str| {
        let listener = estate.listener(&[rule]).set("on_revoked", "drain");
        one(listener.limit("withdrawal_timeout", "300ms"))
    };
    let configured = Configured::start(&estate.pki, draining("cn=alice"));
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    configured.reload(draining("cn=bob"));
    is_cut_off(&mut alice);
    closed_for(&configured, alice.address(), "client_no_longer_allowed", "did not end in time");
    assert_eq!(estate.backend.seen().wait_for_ended(1)[0].ending, backend::Ending::Reset);
}

#[test]
fn a_drain_is_called_off_when_the_client_would_be_let_in_again() {
    let estate = Estate::new(Backend::echo());
    let draining = |rule: &str| {
        let listener = estate.listener(&[rule]).set("on_revoked", "drain");
        one(listener.limit("withdrawal_timeout", "5s"))
    };
    let configured = Configured::start(&estate.pki, draining("cn=alice"));
    let mut alice = estate.alice(Version::Tls13);
    echoes(&mut alice, b"before");
    configured.reload(draining("cn=bob"));
    configured.wait_for_count(WITHDRAWN, &[NOT_ALLOWED], 1);
    configured.reload(draining("cn=alice"));
    wait_until_asked(&configured, 2);
    // Longer than the drain would have been: only a failure can be found by it.
    std::thread::sleep(Duration::from_millis(5_500));
    echoes(&mut alice, b"after");
}

#[test]
fn the_built_in_upstream_drains_by_closing_after_its_answer() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let draining = |rule: &str| {
        one(ListenerSection::of("door", address, &pki)
            .set("allow", [rule])
            .set("on_revoked", "drain"))
    };
    let configured = Configured::start(&pki, draining("cn=alice"));
    let mut alice = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    assert!(names(&whoami(&mut alice), "alice"));
    configured.reload(draining("cn=bob"));
    assert_eq!(alice.ending(), (Vec::new(), Ending::CloseNotify));
}

#[test]
fn an_anonymous_client_needs_its_rule_as_long_as_it_is_in() {
    let estate = Estate::new(Backend::echo());
    let optional = |allowed: &[&str], asked: &str| {
        one(ListenerSection::new("door", estate.address)
            .set("upstream", estate.backend.upstream())
            .set("allow", allowed)
            .identity(IdentitySection::of(&estate.pki).set("client_auth", asked)))
    };
    let configured = Configured::start(&estate.pki, optional(&["anonymous"], "optional"));
    let nobody = || Client::established(estate.address, &tls(&estate.pki, None, Version::Tls13));
    let mut client = nobody();
    echoes(&mut client, b"before");
    configured.reload(optional(&["cn=alice"], "optional"));
    is_cut_off(&mut client);
    closed_for(&configured, client.address(), "client_no_longer_allowed", "an anonymous client");

    configured.reload(optional(&["anonymous"], "optional"));
    let mut client = nobody();
    echoes(&mut client, b"before");
    configured.reload(optional(&["cn=alice"], "require"));
    is_cut_off(&mut client);
    closed_for(&configured, client.address(), "client_no_longer_allowed", "without a certificate");
}

#[test]
fn who_is_in_the_middle_of_its_handshake_does_not_slip_in() {
    let estate = Estate::new(Backend::echo());
    let configured = estate.start(&["cn=alice"]);
    for (version, listener) in [
        (Version::Tls13, estate.listener(&["cn=bob"])),
        (Version::Tls12, estate.listener(&["cn=bob"])),
        // Whatever is done with those who are in.
        (Version::Tls13, estate.listener(&["cn=bob"]).set("on_revoked", "keep")),
    ] {
        let alice = tls(&estate.pki, Some(&estate.pki.alice), version);
        let mut client = Client::connect(estate.address, &alice);
        let hello = client.take_pending();
        client.write_raw(&hello);
        // The engine has answered: the handshake goes on under what was served when it began.
        let mut first = [0; 1];
        assert_eq!(client.socket.peek(&mut first).expect("a ServerHello"), 1);
        configured.reload(one(listener));
        wait_until_served(&configured);
        // In TLS 1.3 this side is done before the engine is; how it ended is read next.
        drop(client.handshake());
        is_cut_off(&mut client);
        let record = configured.engine.connection_record(client.address());
        assert_eq!(record["result"], "refused", "{record}");
        assert_eq!(record["reason"], "client_no_longer_allowed", "{record}");
        configured.reload(one(estate.listener(&["cn=alice"])));
    }
    assert_eq!(estate.backend.seen().connections(), 0, "no upstream heard of any of them");
}

#[test]
fn a_certificate_that_expires_ends_its_connection() {
    for version in Version::ALL {
        let estate = Estate::new(Backend::echo());
        let configured = estate.start(&["any-verified"]);
        let mut lasting = estate.alice(version);
        let mut brief = brief(&estate, version);
        is_cut_off(&mut brief);
        closed_for(&configured, brief.address(), "client_certificate_expired", "expired");
        assert_eq!(estate.backend.seen().wait_for_ended(1)[0].ending, backend::Ending::Reset);
        echoes(&mut lasting, b"alice has years");
    }
}

#[test]
fn on_expired_may_keep_and_on_revoked_then_still_closes() {
    let estate = Estate::new(Backend::echo());
    let keeping = |rule: &str| one(estate.listener(&[rule]).set("on_expired", "keep"));
    let configured = Configured::start(&estate.pki, keeping("any-verified"));
    let mut brief = brief(&estate, Version::Tls13);
    let told = configured.engine.log().wait_for_event("client_withdrawn");
    assert_eq!(told["reason"], "client_certificate_expired", "{told}");
    assert_eq!(told["consequence"], "keep", "{told}");
    echoes(&mut brief, b"afterwards");
    let expired = [("reason", "client_certificate_expired")];
    assert_eq!(configured.metrics().count(KEPT, &expired), 1);
    configured.reload(keeping("cn=alice"));
    is_cut_off(&mut brief);
    closed_for(&configured, brief.address(), "client_no_longer_allowed", "CN=brief");
}

#[test]
fn on_expired_may_drain() {
    let estate = Estate::new(Backend::echo());
    let listener = estate.listener(&["any-verified"]).set("on_expired", "drain");
    let listener = listener.limit("withdrawal_timeout", "300ms");
    let configured = Configured::start(&estate.pki, one(listener));
    let mut brief = brief(&estate, Version::Tls13);
    let told = configured.engine.log().wait_for_event("client_withdrawn");
    assert_eq!(told["consequence"], "drain", "{told}");
    is_cut_off(&mut brief);
    closed_for(&configured, brief.address(), "client_certificate_expired", "did not end in time");
}

#[test]
fn every_worker_asks_its_own() {
    const EACH: usize = 60;
    let estate = Estate::new(Backend::echo());
    let with = |allowed: &[&str]| one(estate.listener(allowed)).set("workers", 3);
    let configured = Configured::start(&estate.pki, with(&["cn=alice", "cn=bob"]));
    let bob = estate.pki.client("bob");
    let connect = |config: &Arc<ClientConfig>| -> Vec<Client> {
        (0..EACH)
            .map(|_| {
                let mut client = Client::established(estate.address, config);
                echoes(&mut client, b"before");
                client
            })
            .collect()
    };
    let mut leaving = connect(&tls(&estate.pki, Some(&estate.pki.alice), Version::Tls13));
    let mut staying = connect(&tls(&estate.pki, Some(&bob), Version::Tls13));
    configured.reload(with(&["cn=bob"]));
    for client in &mut leaving {
        is_cut_off(client);
    }
    configured.wait_for_count(ENDED, &[NOT_ALLOWED], EACH as u64);
    assert_eq!(configured.metrics().count(RECONSIDERED, &[]), 2 * EACH as u64);
    for client in &mut staying {
        echoes(client, b"after");
    }
}

/// A client whose certificate is valid for a moment, and long enough to be let in.
#[track_caller]
fn brief(estate: &Estate, version: Version) -> Client {
    const GREETING: &[u8] = b"while it is valid";
    for seconds in [2, 5, 10, 20] {
        let identity = estate.pki.short_lived_client("brief", Duration::from_secs(seconds));
        let config = tls(&estate.pki, Some(&identity), version);
        let mut client = Client::connect(estate.address, &config);
        // On a loaded machine it may expire before it was ever used.
        if client.handshake().is_err() {
            continue;
        }
        client.send(GREETING);
        let mut answer = [0; GREETING.len()];
        if client.receive(&mut answer) == Ok(GREETING.len()) {
            return client;
        }
    }
    panic!("no handshake within 20 seconds");
}

impl Estate {
    /// Alice, let in after a reload.
    #[track_caller]
    fn alice_after(&self, configured: &Configured, configuration: Configuration) -> Client {
        configured.reload(configuration);
        let mut alice = self.alice(Version::Tls13);
        echoes(&mut alice, b"let in again");
        alice
    }
}
