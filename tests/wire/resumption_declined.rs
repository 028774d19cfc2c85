//! What no longer holds, or never held here, declines a ticket: the handshake goes on as a full one, by which
//! the client is let in or refused as anybody would be.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use countersign_tests::client::{Ending, Version};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::pki::{Identity, KeyKind, Pki, SERVER_NAME};
use rustls::AlertDescription;

use crate::configured::{Configured, REFUSED};
use crate::resumption_sessions::{DECLINED, Visitor, is_taken_for};

const OTHER_NAME: &str = "other.example";

#[test]
fn a_client_whom_policy_keeps_out_now_is_refused() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let with = |key: &str, rules: &[&str]| {
            let listener = ListenerSection::of("door", address, &pki).set("tickets", 4);
            Configuration::new().listener(listener.set(key, rules))
        };
        let configured = Configured::start(&pki, with("allow", &["cn=alice", "cn=bob"]));
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        assert!(!alice.resumes(address));
        assert!(alice.resumes(address));
        for (round, configuration) in
            [with("allow", &["cn=bob"]), with("deny", &["cn=alice"])].into_iter().enumerate()
        {
            configured.reload(configuration);
            let refusal = Ending::refused_with(AlertDescription::AccessDenied);
            assert_eq!(alice.visit(address), Err(refusal), "{version:?}");
            let count = 1 + round as u64;
            assert_eq!(configured.metrics().nonzero(DECLINED), [("policy_changed".into(), count)]);
            configured.wait_for_count(REFUSED, &[("reason", "denied_by_rule")], count);
        }
        // The ticket was good all the time; it is the rule that kept alice out.
        configured.reload(with("allow", &["cn=alice"]));
        assert!(alice.resumes(address));
    }
}

#[test]
fn a_client_whose_ca_was_taken_away_is_refused() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let with = |ca: &std::path::Path| {
            let listener = ListenerSection::new("door", address)
                .set("tickets", 4)
                .identity(IdentitySection::new(&pki.server, ca));
            Configuration::new().listener(listener)
        };
        let both = pki.directory().join("both.pem");
        let text = |file: &std::path::Path| fs::read_to_string(file).expect("a CA");
        let bundle = text(&pki.client_root_file) + &text(&pki.stranger_root_file);
        fs::write(&both, bundle).expect("a bundle");
        let configured = Configured::start(&pki, with(&both));
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        assert!(!alice.resumes(address));
        assert!(alice.resumes(address));
        configured.reload(with(&pki.stranger_root_file));
        let refusal = Ending::refused_with(AlertDescription::UnknownCA);
        assert_eq!(alice.visit(address), Err(refusal), "{version:?}");
        assert_eq!(configured.metrics().nonzero(DECLINED), [("trust_changed".into(), 1)]);
        // One CA less is another trust domain, though alice's own is among them still.
        configured.reload(with(&pki.client_root_file));
        assert!(!alice.resumes(address));
        assert_eq!(configured.metrics().nonzero(DECLINED), [("trust_changed".into(), 2)]);
    }
}

/// The client thinks that its ticket is good for hours. What is configured now is stricter.
#[test]
fn a_ticket_past_its_end_is_declined() {
    for (key, reason) in [("ticket_lifetime", "expired"), ("ticket_lineage", "lineage_too_old")] {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let listener = || ListenerSection::of("door", address, &pki);
        let configured = Configured::start(&pki, Configuration::new().listener(listener()));
        let visitors = Version::ALL.map(|version| Visitor::new(&pki, Some(&pki.alice), version));
        let mut saved = visitors.each_ref().map(|alice| {
            assert!(!alice.resumes(address));
            alice.saved()
        });
        configured.reload(Configuration::new().listener(listener().set(key, "1s")));
        thread::sleep(Duration::from_secs(2));
        for ((alice, saved), count) in visitors.iter().zip(&mut saved).zip(1..) {
            alice.restore(saved);
            assert!(!alice.resumes(address), "{key}");
            assert_eq!(configured.metrics().nonzero(DECLINED), [(reason.to_owned(), count)]);
        }
    }
}

#[test]
fn renewal_does_not_outlive_the_first_proof() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let listener = || ListenerSection::of("door", address, &pki);
        let configured = Configured::start(&pki, Configuration::new().listener(listener()));
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        assert!(!alice.resumes(address));
        thread::sleep(Duration::from_secs(2));
        // A ticket of just now, that goes back to a proof of two seconds ago.
        assert!(alice.resumes(address));
        let strict = listener().set("ticket_lineage", "1s");
        configured.reload(Configuration::new().listener(strict));
        assert!(!alice.resumes(address));
        assert_eq!(configured.metrics().nonzero(DECLINED), [("lineage_too_old".into(), 1)]);
    }
}

/// Where a ticket was issued, or is offered.
#[derive(Clone, Debug)]
struct Place {
    listener: &'static str,
    server_name: &'static str,
    client_auth: &'static str,
    /// Is the CA of strangers trusted too?
    strangers: bool,
}

const HOME: Place =
    Place { listener: "door", server_name: SERVER_NAME, client_auth: "require", strangers: false };

/// Everything that may differ, and what a ticket from home is declined for there.
fn elsewhere() -> [(Place, Option<&'static str>); 6] {
    [
        (HOME, None),
        (Place { server_name: OTHER_NAME, ..HOME }, Some("other_host")),
        (Place { listener: "gate", ..HOME }, Some("other_host")),
        (Place { client_auth: "optional", ..HOME }, Some("other_host")),
        (Place { strangers: true, ..HOME }, Some("trust_changed")),
        (
            Place { listener: "gate", client_auth: "optional", strangers: true, ..HOME },
            Some("trust_changed"),
        ),
    ]
}

struct Estate {
    pki: Pki,
    server: Identity,
    both_cas: std::path::PathBuf,
    keys: std::path::PathBuf,
}

impl Estate {
    fn new() -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let server = pki.server_for(&[SERVER_NAME, OTHER_NAME], 2090);
        let both_cas = pki.directory().join("both.pem");
        let text = |file: &std::path::Path| fs::read_to_string(file).expect("a CA");
        fs::write(&both_cas, text(&pki.client_root_file) + &text(&pki.stranger_root_file))
            .expect("a bundle");
        let keys = pki.directory().join("ticket-keys");
        fs::write(&keys, "0123456789abcdef".repeat(4)).expect("ticket keys");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("a mode");
        Self { pki, server, both_cas, keys }
    }

    fn listener(&self, place: &Place, address: SocketAddr) -> ListenerSection {
        let ca = if place.strangers { &self.both_cas } else { &self.pki.client_root_file };
        let identity = IdentitySection::new(&self.server, ca).set("client_auth", place.client_auth);
        ListenerSection::new(place.listener, address).identity(identity)
    }

    fn configuration(&self) -> Configuration {
        Configuration::new().set("ticket_keys", self.keys.display().to_string())
    }
}

/// Two processes with one file of keys: a ticket of one resumes at the other if and only if listener, server
/// name, trust domain and verify mode are the same.
#[test]
fn of_two_processes_that_share_keys_one_resumes_what_the_other_issued_only_where_all_matches() {
    let estate = Estate::new();
    let at_home = own_address();
    let home = estate.configuration().listener(estate.listener(&HOME, at_home));
    let _home = ConfigurationFile::new(&estate.pki, &home).start();
    for (place, reason) in elsewhere() {
        let address = own_address();
        let there = estate.configuration().listener(estate.listener(&place, address));
        let there = Configured::start(&estate.pki, there);
        for (version, count) in Version::ALL.into_iter().zip(1..) {
            let alice = Visitor::new(&estate.pki, Some(&estate.pki.alice), version);
            assert!(!alice.resumes(at_home));
            let resumed = alice.resumes_as(place.server_name, address);
            assert_eq!(resumed, reason.is_none(), "{place:?} {version:?}");
            let declined: Vec<_> =
                reason.iter().map(|reason| ((*reason).to_owned(), count)).collect();
            assert_eq!(there.metrics().nonzero(DECLINED), declined, "{place:?} {version:?}");
            // And back: what was issued there is no use at home.
            let resumed = alice.resumes(at_home);
            assert_eq!(resumed, reason.is_none(), "from {place:?} {version:?}");
        }
    }
}

/// The same within one process, whose listeners differ in name at least.
#[test]
fn of_two_listeners_of_one_process_neither_resumes_what_the_other_issued() {
    let estate = Estate::new();
    for (place, _) in elsewhere() {
        let place = Place { listener: "gate", ..place };
        let (at_home, address) = (own_address(), own_address());
        let configuration = Configuration::new()
            .listener(estate.listener(&HOME, at_home))
            .listener(estate.listener(&place, address));
        let _engine = ConfigurationFile::new(&estate.pki, &configuration).start();
        for version in Version::ALL {
            let alice = Visitor::new(&estate.pki, Some(&estate.pki.alice), version);
            assert!(!alice.resumes(at_home));
            assert!(!alice.resumes_as(place.server_name, address), "{place:?} {version:?}");
            assert!(!alice.resumes(at_home), "from {place:?} {version:?}");
            is_taken_for(&alice, at_home, "alice");
        }
    }
}

/// Two hosts behind one listener and one identity, and two identities of one listener with other CAs.
#[test]
fn a_ticket_of_one_host_opens_no_other_host_of_the_listener() {
    let estate = Estate::new();
    let address = own_address();
    let other = estate.pki.server_for(&[OTHER_NAME], 2090);
    let listener = ListenerSection::new("door", address)
        .set("tickets", 2)
        .identity(IdentitySection::new(&estate.server, &estate.pki.client_root_file))
        .identity(IdentitySection::new(&other, &estate.both_cas).names([OTHER_NAME]));
    let configured = Configured::start(&estate.pki, Configuration::new().listener(listener));
    for version in Version::ALL {
        let alice = Visitor::new(&estate.pki, Some(&estate.pki.alice), version);
        assert!(!alice.resumes(address));
        let mut of_home = alice.saved();
        alice.restore(&mut of_home);
        assert!(!alice.resumes_as(OTHER_NAME, address));
        assert!(alice.resumes_as(OTHER_NAME, address));
        // A stranger of the other host is nobody here, with or without a ticket from there.
        let stranger = estate.pki.client_of_another_ca();
        let stranger = Visitor::new(&estate.pki, Some(&stranger), version);
        assert!(!stranger.resumes_as(OTHER_NAME, address));
        assert!(stranger.resumes_as(OTHER_NAME, address));
        let refusal = Ending::refused_with(AlertDescription::UnknownCA);
        assert_eq!(stranger.visit(address), Err(refusal), "{version:?}");
        alice.restore(&mut of_home);
        assert!(alice.resumes(address));
    }
    assert_eq!(configured.metrics().nonzero(DECLINED), [("trust_changed".into(), 4)]);
}

#[test]
fn a_required_certificate_is_not_replaced_by_a_ticket_of_an_optional_one() {
    for version in Version::ALL {
        let estate = Estate::new();
        let address = own_address();
        let with = |client_auth: &'static str| {
            let place = Place { client_auth, ..HOME };
            let allow = match client_auth {
                "require" => vec!["any-verified"],
                _ => vec!["any-verified", "anonymous"],
            };
            Configuration::new().listener(estate.listener(&place, address).set("allow", allow))
        };
        let configured = Configured::start(&estate.pki, with("optional"));
        let nobody = Visitor::new(&estate.pki, None, version);
        assert!(!nobody.resumes(address));
        let alice = Visitor::new(&estate.pki, Some(&estate.pki.alice), version);
        assert!(!alice.resumes(address));
        configured.reload(with("require"));
        // It has no ticket to offer, and would not get far with one.
        let refusal = Ending::refused_with(AlertDescription::CertificateRequired);
        let refused = nobody.visit(address);
        assert!(
            refused == Err(refusal)
                || refused == Err(Ending::refused_with(AlertDescription::HandshakeFailure)),
            "{refused:?}"
        );
        assert!(!alice.resumes(address));
        assert_eq!(configured.metrics().nonzero(DECLINED), [("other_host".into(), 1)]);
    }
}
