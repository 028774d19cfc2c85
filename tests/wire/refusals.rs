//! Clients that must not get through. Each reads the right alert and then the end of the stream, no byte
//! reaches the backend, and the log says why.
//!
//! On loopback an alert is read even by a client whose connection is then reset, so looking for the alert
//! alone could not fail. These clients have sent more than the engine will ever read as TLS when they are
//! refused, and look for a reset where the end of the stream should be.

use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::engine::{Engine, Launch};
use countersign_tests::pki::{Identity, KeyKind, Pki};
use countersign_tests::record::{APPLICATION_DATA, record};
use countersign_tests::seeded::Seeded;
use countersign_tests::tool::OPENSSL;
use rustls::AlertDescription;

use crate::s_client;

#[test]
fn no_certificate() {
    let scene = Scene::new(&["--allow", "any-verified"]);
    scene.refuses(None, AlertDescription::CertificateRequired, "client_certificate_missing");
}

#[test]
fn another_ca() {
    let scene = Scene::new(&["--allow", "any-verified"]);
    let identity = scene.pki.client_of_another_ca();
    scene.refuses(Some(&identity), AlertDescription::UnknownCA, "unknown_issuer");
}

#[test]
fn expired() {
    let scene = Scene::new(&["--allow", "any-verified"]);
    let identity = scene.pki.expired_client();
    scene.refuses(
        Some(&identity),
        AlertDescription::CertificateExpired,
        "client_certificate_expired",
    );
}

#[test]
fn not_yet_valid() {
    let scene = Scene::new(&["--allow", "any-verified"]);
    let identity = scene.pki.client_not_yet_valid();
    scene.refuses(
        Some(&identity),
        AlertDescription::CertificateExpired,
        "client_certificate_not_yet_valid",
    );
}

#[test]
fn a_certificate_for_servers_only() {
    let scene = Scene::new(&["--allow", "any-verified"]);
    let identity = scene.pki.client_with_server_purpose();
    scene.refuses(
        Some(&identity),
        AlertDescription::UnsupportedCertificate,
        "client_certificate_purpose",
    );
}

#[test]
fn an_intermediate_is_missing() {
    let scene = Scene::new(&["--allow", "any-verified"]);
    let identity = scene.pki.client_without_intermediate();
    scene.refuses(Some(&identity), AlertDescription::UnknownCA, "unknown_issuer");
}

#[test]
fn a_name_that_no_rule_allows() {
    let scene = Scene::new(&["--allow", "cn=alice"]);
    let identity = scene.pki.client("mallory");
    scene.refuses(Some(&identity), AlertDescription::AccessDenied, "denied_by_rule");
}

#[test]
fn a_common_name_that_is_denied() {
    let scene = Scene::new(&["--allow", "any-verified", "--deny", "cn=mallory"]);
    let identity = scene.pki.client("mallory");
    scene.refuses(Some(&identity), AlertDescription::AccessDenied, "denied_by_rule");
}

#[test]
fn a_dns_name_outside_the_allowed_glob() {
    let scene = Scene::new(&["--allow", "dns=a*.clients.example"]);
    let identity = scene.pki.client("mallory");
    scene.refuses(Some(&identity), AlertDescription::AccessDenied, "denied_by_rule");
}

#[test]
fn a_uri_outside_the_allowed_glob() {
    let scene = Scene::new(&["--allow", "uri=spiffe://clients.example/al*"]);
    let identity = scene.pki.client("mallory");
    scene.refuses(Some(&identity), AlertDescription::AccessDenied, "denied_by_rule");
}

#[test]
fn a_refused_client_that_stays_is_let_go() {
    let scene = Scene::new(&["--allow", "cn=nobody"]);
    for version in Version::ALL {
        let config = Arc::new(config(&scene.pki, Some(&scene.pki.alice), version));
        let mut client = Client::connect(scene.engine.address, &config);
        assert_eq!(refusal(&mut client), Ending::refused_with(AlertDescription::AccessDenied));
        // This side stays open: the engine's drain has an end of its own.
        scene.engine.wait_until_idle();
        drop(client);
    }
    assert_eq!(scene.backend.seen().connections(), 0);
}

/// An engine that will refuse, and a backend that nothing must reach.
struct Scene {
    pki: Pki,
    backend: Backend,
    engine: Engine,
}

impl Scene {
    fn new(rules: &[&str]) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::recording();
        let engine = Launch::new(&pki).rules(rules).upstream(&backend.upstream()).start();
        Self { pki, backend, engine }
    }

    #[track_caller]
    fn refuses(&self, identity: Option<&Identity>, alert: AlertDescription, reason: &str) {
        for version in Version::ALL {
            self.refuses_rustls(identity, version, alert, reason);
            self.refuses_openssl(identity, version, alert);
        }
        self.engine.wait_until_idle();
        let records = self.engine.connection_records(4);
        assert_eq!(records.len(), 4, "{records:?}");
        assert!(
            records
                .iter()
                .all(|record| record["result"] == "refused" && record["reason"] == reason),
            "{records:?}"
        );
        assert_eq!(
            (self.backend.seen().connections(), self.backend.seen().received_bytes()),
            (0, 0)
        );
        self.allows_alice();
    }

    #[track_caller]
    fn refuses_rustls(
        &self,
        identity: Option<&Identity>,
        version: Version,
        alert: AlertDescription,
        reason: &str,
    ) {
        let config = Arc::new(config(&self.pki, identity, version));
        let mut client = Client::connect(self.engine.address, &config);
        let address = client.address();
        let ending = refusal(&mut client);
        assert_eq!(
            ending,
            Ending::refused_with(alert),
            "{version:?}\n{}",
            self.engine.log().tail()
        );
        // The engine drains until this side closes too; the record comes after that.
        drop(client);
        let record = self.engine.connection_record(address);
        assert_eq!(record["result"], "refused", "{record}");
        assert_eq!(record["reason"], reason, "{record}");
    }

    #[track_caller]
    fn refuses_openssl(
        &self,
        identity: Option<&Identity>,
        version: Version,
        alert: AlertDescription,
    ) {
        let client = OPENSSL.start(&s_client::arguments(
            &self.pki,
            self.engine.address.port(),
            identity,
            version,
        ));
        let finished = client.outlast();
        assert!(!finished.status.success(), "{finished:?}");
        let number = format!("SSL alert number {}", u8::from(alert));
        assert!(finished.said.contains(&number), "no {number}: {finished:?}");
        // ECONNRESET and EPIPE, as s_client prints them.
        assert!(
            !finished.said.contains("errno=104") && !finished.said.contains("errno=32"),
            "{finished:?}"
        );
    }

    /// The engine is none the worse for it: every scene's rules allow alice.
    #[track_caller]
    fn allows_alice(&self) {
        let config = Arc::new(config(&self.pki, Some(&self.pki.alice), Version::Tls13));
        let mut client = Client::established(self.engine.address, &config);
        client.send(b"hello");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        let heard = self.backend.seen().wait_for_ended(1);
        assert_eq!(heard[0].received.length, 5);
        self.engine.wait_until_idle();
    }
}

/// Sends a whole handshake and 16 KiB behind it without waiting, then reads how the server ends it.
fn refusal(client: &mut Client) -> Ending {
    const PIECES: usize = 4;
    const PIECE_BYTES: usize = 4096;
    if let Err(ending) = client.send_last_flight() {
        return ending;
    }
    let mut noise = Seeded::new(1);
    for _ in 0..PIECES {
        if client.tls().is_handshaking() {
            client.write_raw(&record(APPLICATION_DATA, &noise.bytes(PIECE_BYTES)));
        } else {
            client.send(&noise.bytes(PIECE_BYTES));
        }
    }
    client.ending().1
}
