//! Whoever loses what it was let in by is out, whichever way it comes: a matrix of causes and ways, with no
//! cell left empty.
//!
//! Ways: a full handshake of a client that was never seen; one whose chain the worker knows; a session resumed
//! in TLS 1.3, and in 1.2; a connection that is open.

use std::fs;
use std::net::SocketAddr;

use std::time::{Duration, SystemTime};

use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::crl::{Authority, Crl};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::whoami;
use countersign_tests::pki::{Identity, KeyKind, Pki, SERVER_NAME};

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::resumption_sessions::{DECLINED, Visitor};

const ENDED: &str = "countersign_connections_ended_total";

/// Full handshakes that each cause has refused: two of a client never seen, two of a known one, and one
/// after each declined ticket.
const REFUSALS: u64 = 6;

/// One engine, and clients that it has let in.
struct Scene {
    pki: Pki,
    address: SocketAddr,
    configured: Configured,
}

struct Clients {
    never_seen: Identity,
    known: Identity,
    with_tickets: [Visitor; 2],
    open: Client,
}

/// What each cause is called where.
struct Names {
    refused: &'static str,
    declined: Option<&'static str>,
    ended: &'static str,
}

const REVOKED: Names = Names {
    refused: "client_certificate_revoked",
    declined: Some("revoked"),
    ended: "client_certificate_revoked",
};

const NOT_ALLOWED: Names = Names {
    refused: "denied_by_rule",
    declined: Some("policy_changed"),
    ended: "client_no_longer_allowed",
};

impl Scene {
    /// With clients that were let in in every way.
    #[track_caller]
    fn with_clients() -> (Self, Clients) {
        let scene = Self::start();
        let (bob, alice) = (scene.pki.client("bob"), scene.pki.client("alice-1"));
        let clients = scene.let_in(bob, alice).expect("let in");
        (scene, clients)
    }

    /// Puts a list in the place of another, as whoever publishes one should.
    fn replace_list(&self, name: &str, der: &[u8]) {
        let folder = self.pki.directory().join("crls");
        fs::write(folder.join(".new"), der).expect("a list");
        fs::rename(folder.join(".new"), folder.join(name)).expect("in place of the old one");
    }

    fn start() -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        for (authority, name) in [(Authority::Root, "root"), (Authority::Intermediate, "issuing")] {
            let list = Crl::new(1).signed(&pki, authority);
            fs::create_dir_all(pki.directory().join("crls")).expect("a folder");
            fs::write(pki.directory().join("crls").join(name), list.der()).expect("a list");
        }
        let configuration = Self::configuration(&pki, address, |it| it, |it| it);
        let configured = Configured::start(&pki, configuration);
        Self { pki, address, configured }
    }

    fn configuration(
        pki: &Pki,
        address: SocketAddr,
        listener: impl FnOnce(ListenerSection) -> ListenerSection,
        identity: impl FnOnce(IdentitySection) -> IdentitySection,
    ) -> Configuration {
        let crls = format!("{}/", pki.directory().join("crls").display());
        let of_pki = identity(IdentitySection::of(pki).set("crl", vec![crls]));
        let section = listener(ListenerSection::new("door", address).identity(of_pki));
        Configuration::new().set("workers", 1).listener(section)
    }

    /// Lets in `known` in every way.
    fn let_in(&self, never_seen: Identity, known: Identity) -> Result<Clients, Ending> {
        for version in Version::ALL {
            ask_whoami(SERVER_NAME, self.address, &tls(&self.pki, Some(&known), version))?;
        }
        let with_tickets = Version::ALL.map(|it| Visitor::new(&self.pki, Some(&known), it));
        for visitor in &with_tickets {
            visitor.visit(self.address)?;
            assert!(visitor.visit(self.address)?.resumed, "a ticket is of use");
        }
        let config = tls(&self.pki, Some(&known), Version::Tls13);
        let mut open = Client::connect_to(SERVER_NAME, self.address, &config);
        open.handshake()?;
        whoami(&mut open);
        Ok(Clients { never_seen, known, with_tickets, open })
    }

    /// Every way is shut, each for the reason that it should be.
    #[track_caller]
    fn all_is_shut(&self, mut clients: Clients, names: &Names) {
        // The open one first: it ends by itself.
        let (_, ending) = clients.open.ending();
        assert!(matches!(ending, Ending::Reset | Ending::Truncated), "{ending:?}");
        let record = self.configured.engine.connection_record(clients.open.address());
        assert_eq!(
            (&record["result"], &record["reason"]),
            (&"allowed".into(), &names.ended.into())
        );

        for identity in [&clients.never_seen, &clients.known] {
            for version in Version::ALL {
                let config = tls(&self.pki, Some(identity), version);
                let fate = ask_whoami(SERVER_NAME, self.address, &config);
                assert!(fate.is_err(), "{}: {fate:?}", identity.common_name);
            }
        }
        for visitor in &clients.with_tickets {
            let fate = visitor.visit(self.address);
            assert!(fate.is_err(), "by a ticket: {fate:?}");
        }
        let count = |name, reason| self.configured.metrics().count(name, &[("reason", reason)]);
        if let Some(declined) = names.declined {
            assert_eq!(count(DECLINED, declined), 2, "tickets");
        }
        self.configured.wait_for_count(REFUSED, &[("reason", names.refused)], REFUSALS);
        assert_eq!(count(ENDED, names.ended), 1, "open connections");
    }
}

#[test]
fn the_revoked() {
    let (scene, clients) = Scene::with_clients();
    let list = Crl::new(2).revoke(&clients.never_seen).revoke(&clients.known);
    let list = list.signed(&scene.pki, Authority::Intermediate);
    scene.replace_list("issuing", list.der());
    scene.all_is_shut(clients, &REVOKED);
}

#[test]
fn those_below_a_revoked_ca() {
    let (scene, clients) = Scene::with_clients();
    let list = Crl::new(2).revoke_certificate(&clients.known.chain[1]);
    let list = list.signed(&scene.pki, Authority::Root);
    scene.replace_list("root", list.der());
    scene.all_is_shut(clients, &REVOKED);
}

#[test]
fn those_who_lost_their_rule() {
    let (scene, clients) = Scene::with_clients();
    scene.configured.reload(Scene::configuration(
        &scene.pki,
        scene.address,
        |listener| listener.set("allow", ["cn=nobody"]),
        |identity| identity,
    ));
    scene.all_is_shut(clients, &NOT_ALLOWED);
}

#[test]
fn those_who_are_denied() {
    let (scene, clients) = Scene::with_clients();
    scene.configured.reload(Scene::configuration(
        &scene.pki,
        scene.address,
        |listener| listener.set("deny", ["cn=bob", "cn=alice-*"]),
        |identity| identity,
    ));
    scene.all_is_shut(clients, &NOT_ALLOWED);
}

#[test]
fn those_whose_ca_was_removed() {
    let (scene, clients) = Scene::with_clients();
    let others = scene.pki.stranger_root_file.display().to_string();
    scene.configured.reload(Scene::configuration(
        &scene.pki,
        scene.address,
        |listener| listener,
        |identity| identity.set("client_ca", others.clone()),
    ));
    scene.all_is_shut(
        clients,
        &Names {
            refused: "unknown_issuer",
            declined: Some("trust_changed"),
            ended: "client_ca_no_longer_trusted",
        },
    );
}

#[test]
fn those_whose_certificate_has_expired() {
    // On a loaded machine a certificate may run out before everybody is in.
    for seconds in [2, 5, 10, 20, 40] {
        let scene = Scene::start();
        let brief = |name| scene.pki.short_lived_client(name, Duration::from_secs(seconds));
        let (bob, alice) = (brief("bob"), brief("alice-1"));
        let ends = SystemTime::now() + Duration::from_secs(seconds + 1);
        let Ok(clients) = scene.let_in(bob, alice) else { continue };
        wait_for("both certificates to expire", || (SystemTime::now() > ends).then_some(()));
        scene.all_is_shut(
            clients,
            &Names {
                refused: "client_certificate_expired",
                // A client does not offer a ticket that has run out, and it ran out with the certificate.
                declined: None,
                ended: "client_certificate_expired",
            },
        );
        return;
    }
    panic!("no client was let in within 40 seconds");
}
