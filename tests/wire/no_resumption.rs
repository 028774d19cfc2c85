//! Nothing is resumed yet: not by TLS 1.2 session ID, not by ticket, not in TLS 1.3. A resumed session would
//! skip the client's certificate.

use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Version, config};
use countersign_tests::engine::Launch;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::tool::{Finished, OPENSSL};
use rustls::HandshakeKind;
use rustls::client::{Resumption, Tls12Resumption};

use crate::clients::python_report;
use crate::s_client;

#[test]
fn rustls_with_session_ids_only() {
    rustls_twice(Version::Tls12, Tls12Resumption::SessionIdOnly);
}

#[test]
fn rustls_with_tickets_in_tls12() {
    rustls_twice(Version::Tls12, Tls12Resumption::SessionIdOrTickets);
}

#[test]
fn rustls_in_tls13() {
    rustls_twice(Version::Tls13, Tls12Resumption::Disabled);
}

#[test]
fn openssl_with_session_ids_only() {
    openssl_twice(Version::Tls12, &["-no_ticket"]);
}

#[test]
fn openssl_with_tickets_in_tls12() {
    openssl_twice(Version::Tls12, &[]);
}

#[test]
fn openssl_in_tls13() {
    openssl_twice(Version::Tls13, &[]);
}

#[test]
fn python_in_both_versions() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        let report = python_report(&pki, engine.address.port(), version, &["--twice"]);
        assert_eq!(
            (&report["resumed"], &report["second_resumed"]),
            (&false.into(), &false.into()),
            "{report}"
        );
    }
}

/// Three connections that share a session cache, with data on each so that tickets would have come.
fn rustls_twice(version: Version, tls12: Tls12Resumption) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let mut config = config(&pki, Some(&pki.alice), version);
    config.resumption = Resumption::in_memory_sessions(16).tls12_resumption(tls12);
    let config = Arc::new(config);
    for _ in 0..3 {
        let mut client = Client::established(engine.address, &config);
        assert!(names(&whoami(&mut client), "alice"));
        assert_ne!(client.tls().handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(client.tls().tls13_tickets_received(), 0);
        client.close_notify();
        client.ending();
    }
}

/// Saves the session of one connection and offers it on a second. s_client says "New" or "Reused".
fn openssl_twice(version: Version, further: &[&str]) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    let session = pki.directory().join("session.pem");
    let port = engine.address.port();
    let converse = |option: &str| -> Finished {
        let mut arguments = s_client::arguments(&pki, port, Some(&pki.alice), version);
        arguments.extend(further.iter().map(|&argument| argument.to_owned()));
        arguments.extend([option.to_owned(), session.display().to_string()]);
        let mut client = OPENSSL.start(&arguments);
        client.wait_for_output("Verify return code: 0 (ok)");
        client.input("greetings\n");
        client.wait_for_output("greetings");
        client.finish()
    };

    let first = converse("-sess_out");
    assert!(first.said.contains("New, TLSv1"), "{first:?}");
    assert!(!first.said.contains("Post-Handshake New Session Ticket arrived"), "{first:?}");
    assert!(!first.said.contains("TLS session ticket"), "{first:?}");
    // In TLS 1.3 a session is only what a ticket brings; in TLS 1.2 s_client saves one that has an ID or a ticket.
    assert!(version == Version::Tls12 || !session.exists(), "{first:?}");
    if session.exists() {
        let second = converse("-sess_in");
        assert!(second.said.contains("New, TLSv1"), "{second:?}");
        assert!(!second.said.contains("Reused, "), "{second:?}");
    }
}
