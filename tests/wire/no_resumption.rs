//! Nothing is resumed but by a ticket: not by TLS 1.2 session ID, and with `tickets = 0` not at all. A session
//! that resumed past the ticketer would skip every look at the client's certificate.

use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Version, config};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::engine::Engine;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::tool::{Finished, OPENSSL};
use rustls::HandshakeKind;
use rustls::client::{Resumption, Tls12Resumption};

use crate::clients::python_report;
use crate::s_client;

#[test]
fn rustls_with_session_ids_only() {
    rustls_twice(1, Version::Tls12, Tls12Resumption::SessionIdOnly);
    rustls_twice(0, Version::Tls12, Tls12Resumption::SessionIdOnly);
}

#[test]
fn rustls_with_tickets_in_tls12() {
    rustls_twice(0, Version::Tls12, Tls12Resumption::SessionIdOrTickets);
}

#[test]
fn rustls_in_tls13() {
    rustls_twice(0, Version::Tls13, Tls12Resumption::Disabled);
}

#[test]
fn openssl_with_session_ids_only() {
    openssl_twice(1, Version::Tls12, &["-no_ticket"]);
    openssl_twice(0, Version::Tls12, &["-no_ticket"]);
}

#[test]
fn openssl_with_tickets_in_tls12() {
    openssl_twice(0, Version::Tls12, &[]);
}

#[test]
fn openssl_in_tls13() {
    openssl_twice(0, Version::Tls13, &[]);
}

/// An engine whose listener gives so many tickets.
fn start(pki: &Pki, tickets: u64, upstream: &str) -> Engine {
    let listener = ListenerSection::of("door", own_address(), pki)
        .set("tickets", tickets)
        .set("upstream", upstream);
    ConfigurationFile::new(pki, &Configuration::new().listener(listener)).start()
}

#[test]
fn python_in_both_versions() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    // Python connects to 127.0.0.1 alone.
    let listener = ListenerSection::of("door", "127.0.0.1:0".parse().expect("an address"), &pki)
        .set("tickets", 0)
        .set("upstream", backend.upstream());
    let engine = ConfigurationFile::new(&pki, &Configuration::new().listener(listener)).start();
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
fn rustls_twice(tickets: u64, version: Version, tls12: Tls12Resumption) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = start(&pki, tickets, "builtin:whoami");
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
fn openssl_twice(tickets: u64, version: Version, further: &[&str]) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = start(&pki, tickets, &backend.upstream());
    let session = pki.directory().join("session.pem");
    let address = engine.address;
    let converse = |option: &str| -> Finished {
        let name = Some(SERVER_NAME);
        let mut arguments = s_client::arguments_to(&pki, address, name, Some(&pki.alice), version);
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
