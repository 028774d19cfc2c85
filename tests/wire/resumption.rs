//! Resumption: a client that was let in comes back with a ticket, in both versions, and is the same client.

use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{Version, config, config_with};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::engine::Launch;
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::tool::{Finished, OPENSSL};
use rustls::crypto::aws_lc_rs::{self, kx_group};

use crate::clients::python_report;
use crate::configured::Configured;
use crate::resumption_sessions::{DECLINED, Visitor, is_taken_for};
use crate::s_client;

const HANDSHAKES: &str = "countersign_handshakes_total";

#[test]
fn a_client_comes_back_by_a_ticket_and_is_who_it_was() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let configured = Configured::start(
            &pki,
            Configuration::new()
                .set("workers", 2)
                .listener(ListenerSection::of("door", address, &pki)),
        );
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        let first = alice.visit(address).expect("let in");
        assert!(!first.resumed);
        let first = configured.engine.connection_record(first.client);
        assert_eq!(first["resumed"], false);
        for _ in 0..6 {
            let again = alice.visit(address).expect("let in");
            assert!(again.resumed, "{version:?}");
            let record = configured.engine.connection_record(again.client);
            assert_eq!(record["resumed"], true, "{record}");
            for same in ["identity", "rule", "authenticated_at", "result", "server_name"] {
                assert_eq!(record[same], first[same], "{same}: {record}");
            }
        }
        is_taken_for(&alice, address, "alice");
        let metrics = configured.metrics();
        assert_eq!(metrics.count(HANDSHAKES, &[("resumed", "false")]), 1);
        assert_eq!(metrics.count(HANDSHAKES, &[("resumed", "true")]), 7);
        assert_eq!(metrics.count("countersign_tickets_offered_total", &[]), 7);
        assert_eq!(metrics.count("countersign_tickets_issued_total", &[]), 8);
        assert_eq!(metrics.nonzero(DECLINED), []);
        configured.engine.wait_until_idle();
    }
}

#[test]
fn openssl_resumes_in_both_versions() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::echo();
        let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
        let session = pki.directory().join("session.pem").display().to_string();
        let port = engine.address.port();
        let first = converse(&pki, port, version, &["-sess_out", &session]);
        assert!(first.said.contains("New, TLSv1"), "{first:?}");
        for _ in 0..2 {
            let again =
                converse(&pki, port, version, &["-sess_in", &session, "-sess_out", &session]);
            assert!(again.said.contains("Reused, TLSv1"), "{again:?}");
        }
        assert_eq!(engine.wait_until_idle()["resumed"], 2);
    }
}

#[test]
fn python_resumes_in_both_versions() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        let report = python_report(&pki, engine.address.port(), version, &["--twice"]);
        assert_eq!(
            (&report["resumed"], &report["second_resumed"]),
            (&false.into(), &true.into()),
            "{report}"
        );
    }
}

#[test]
fn a_client_gets_as_many_tickets_as_are_configured() {
    for tickets in 0..=4 {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let listener = ListenerSection::of("door", address, &pki).set("tickets", tickets);
        let configured = Configured::start(&pki, Configuration::new().listener(listener));
        let alice = Visitor::new(&pki, Some(&pki.alice), Version::Tls13);
        for visit in [alice.visit(address), alice.visit(address)] {
            let visit = visit.expect("let in");
            assert_eq!(visit.tickets, tickets);
        }
        assert_eq!(alice.resumes(address), tickets > 0);
        let metrics = configured.metrics();
        assert_eq!(metrics.count("countersign_tickets_issued_total", &[]), 3 * u64::from(tickets));
    }
}

#[test]
fn a_session_resumes_through_a_hello_retry_request() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki).set("groups", ["P-256"]);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let alice = Visitor::with(config_with(provider, &pki, Some(&pki.alice), Version::Tls13));
    assert!(!alice.resumes(address));
    assert!(alice.resumes(address));
    is_taken_for(&alice, address, "alice");
    assert_eq!(configured.metrics().nonzero(DECLINED), []);
}

#[test]
fn a_ticket_of_one_version_or_suite_is_no_use_in_another() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = |suites: [&str; 1]| {
        Configuration::new().listener(
            ListenerSection::of("door", address, &pki)
                .set("versions", ["1.3"])
                .set("suites", suites),
        )
    };
    let configured = Configured::start(&pki, listener(["TLS_AES_128_GCM_SHA256"]));
    let alice = Visitor::new(&pki, Some(&pki.alice), Version::Tls13);
    assert!(!alice.resumes(address));
    // Another hash: the session's secret is of no use.
    configured.reload(listener(["TLS_AES_256_GCM_SHA384"]));
    assert!(!alice.resumes(address), "a full handshake, by which alice is let in");
    assert!(alice.resumes(address));
    let metrics = configured.metrics();
    let unusable = metrics.nonzero(DECLINED);
    // A client may know better than to offer it.
    assert!(unusable.is_empty() || unusable == [("unusable".to_owned(), 1)], "{unusable:?}");
}

#[test]
fn a_client_without_a_certificate_gets_no_ticket() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let identity = IdentitySection::of(&pki).set("client_auth", "optional");
        let listener = ListenerSection::new("door", address)
            .set("allow", ["any-verified", "anonymous"])
            .identity(identity);
        let configured = Configured::start(&pki, Configuration::new().listener(listener));
        let nobody = Visitor::new(&pki, None, version);
        for _ in 0..2 {
            let visit = nobody.visit(address).expect("let in");
            assert_eq!((visit.resumed, visit.tickets), (false, 0));
        }
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        assert!(!alice.resumes(address));
        assert!(alice.resumes(address));
        assert_eq!(configured.metrics().count("countersign_tickets_issued_total", &[]), 2);
    }
}

#[test]
fn a_ticket_that_would_not_fit_into_a_client_hello_is_not_issued() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    // A ticket leaves 4 KiB of a ClientHello to everything else.
    let listener = ListenerSection::of("door", address, &pki).limit("client_hello_bytes", 4_608);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let alice = Visitor::new(&pki, Some(&pki.alice), Version::Tls13);
    for _ in 0..2 {
        let visit = alice.visit(address).expect("let in");
        assert_eq!((visit.resumed, visit.tickets), (false, 0));
    }
    assert_eq!(configured.metrics().count("countersign_tickets_issued_total", &[]), 0);
}

/// Somebody got hold of a ticket, and not of the session's secret: nobody is let in by it.
#[test]
fn a_ticket_without_its_secret_lets_nobody_in() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::echo();
        let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
        let file = pki.directory().join("session.pem").display().to_string();
        let port = engine.address.port();
        let first = converse(&pki, port, version, &["-sess_out", &file]);
        assert!(first.said.contains("New, TLSv1"), "{first:?}");
        let opened = backend.seen().connections();
        let mut session = Session::read(&file);
        session.flip_secret();
        session.write(&file);
        let mut arguments = s_client::arguments(&pki, port, Some(&pki.alice), version);
        arguments.extend(["-sess_in".to_owned(), file]);
        let thief = OPENSSL.run(&arguments);
        assert!(!thief.status.success(), "{thief:?}");
        let records = engine.connection_records(2);
        assert_eq!(records[1]["result"], "refused", "{}", records[1]);
        assert_eq!(records[1]["identity"], serde_json::Value::Null, "{}", records[1]);
        assert_eq!(backend.seen().connections(), opened);
    }
}

#[test]
fn a_ticket_that_was_tampered_with_is_declined() {
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::echo();
        let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
        let file = pki.directory().join("session.pem").display().to_string();
        let port = engine.address.port();
        converse(&pki, port, version, &["-sess_out", &file]);
        let whole = Session::read(&file);
        let length = whole.ticket().len();
        // Version, key name, worker, domain, number, the sealed part, its tag.
        for (place, reason) in [
            (0, "unknown_key"),
            (1, "unknown_key"),
            (17, "malformed"),
            (33, "trust_changed"),
            (48, "malformed"),
            (length / 2, "malformed"),
            (length - 1, "malformed"),
        ] {
            let mut session = whole.clone();
            session.change_ticket(|ticket| ticket[place] ^= 1);
            declines(&pki, &engine, version, &session, reason);
        }
        for (kept, reason) in [(1, "unknown_key"), (49, "malformed"), (length - 1, "malformed")] {
            let mut session = whole.clone();
            session.change_ticket(|ticket| ticket.truncate(kept));
            declines(&pki, &engine, version, &session, reason);
        }
        let mut session = whole.clone();
        session.change_ticket(|ticket| ticket.push(0));
        declines(&pki, &engine, version, &session, "malformed");
        let mut session = whole;
        session.change_ticket(|ticket| ticket.fill(0xff));
        declines(&pki, &engine, version, &session, "unknown_key");
    }
}

/// A changed ticket leads to a full handshake, in which its client is let in as always.
#[track_caller]
fn declines(
    pki: &Pki,
    engine: &countersign_tests::engine::Engine,
    version: Version,
    session: &Session,
    reason: &str,
) {
    let count = || engine.status()["tickets_declined"][reason].as_u64().unwrap_or(0);
    let before = count();
    let file = pki.directory().join("tampered.pem").display().to_string();
    session.write(&file);
    let finished = converse(pki, engine.address.port(), version, &["-sess_in", &file]);
    assert!(finished.said.contains("New, TLSv1"), "{finished:?}");
    assert_eq!(count(), before + 1, "{reason}, {version:?}");
}

/// One conversation by s_client with an echoing backend.
#[track_caller]
fn converse(pki: &Pki, port: u16, version: Version, further: &[&str]) -> Finished {
    let mut arguments = s_client::arguments(pki, port, Some(&pki.alice), version);
    arguments.extend(further.iter().map(|&argument| argument.to_owned()));
    let mut client = OPENSSL.start(&arguments);
    client.wait_for_output("Verify return code: 0 (ok)");
    client.input("greetings\n");
    client.wait_for_output("greetings");
    client.finish()
}

/// A session as OpenSSL keeps it (SSL_SESSION, i2d_SSL_SESSION(3)): the fields of its SEQUENCE.
#[derive(Clone)]
struct Session(Vec<(u8, Vec<u8>)>);

const OCTET_STRING: u8 = 0x04;
/// `[10] EXPLICIT`: the ticket.
const TICKET: u8 = 0xaa;

impl Session {
    fn read(file: &str) -> Self {
        let der = format!("{file}.der");
        let converted =
            OPENSSL.run(&["sess_id", "-in", file, "-outform", "DER", "-out", &der, "-noout"]);
        let converted = match std::fs::metadata(&der) {
            Ok(_) => converted,
            Err(_) => OPENSSL.run(&["sess_id", "-in", file, "-outform", "DER", "-out", &der]),
        };
        assert!(converted.status.success(), "{converted:?}");
        let bytes = std::fs::read(&der).expect("the session");
        let fields = fields(&bytes);
        assert_eq!((fields.len(), fields[0].0), (1, 0x30), "one SEQUENCE");
        Self(self::fields(&fields[0].1))
    }

    fn write(&self, file: &str) {
        let der = format!("{file}.der");
        let mut body = Vec::new();
        for (tag, content) in &self.0 {
            body.extend(field(*tag, content));
        }
        std::fs::write(&der, field(0x30, &body)).expect("the session");
        let converted = OPENSSL.run(&["sess_id", "-inform", "DER", "-in", &der, "-out", file]);
        assert!(converted.status.success(), "{converted:?}");
    }

    fn ticket(&self) -> Vec<u8> {
        let (_, content) = self.0.iter().find(|(tag, _)| *tag == TICKET).expect("a ticket");
        fields(content).remove(0).1
    }

    fn change_ticket(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut ticket = self.ticket();
        change(&mut ticket);
        let (_, content) = self.0.iter_mut().find(|(tag, _)| *tag == TICKET).expect("a ticket");
        *content = field(OCTET_STRING, &ticket);
    }

    /// Cipher, session ID and master key are the first three OCTET STRINGs.
    fn flip_secret(&mut self) {
        let mut strings = self.0.iter_mut().filter(|(tag, _)| *tag == OCTET_STRING);
        let (_, secret) = strings.nth(2).expect("a master key");
        secret[0] ^= 1;
    }
}

/// The fields of a run of DER, of lengths that take up to four bytes.
fn fields(mut der: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let more = if *first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let length = match more {
            0 => usize::from(*first),
            _ => rest[..more].iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)),
        };
        let content = &rest[more..more + length];
        found.push((*tag, content.to_vec()));
        der = &rest[more + length..];
    }
    found
}

fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u16::try_from(content.len()).expect("a short field") {
        short @ 0..0x80 => der.push(short as u8),
        long => {
            der.push(0x82);
            der.extend(long.to_be_bytes());
        }
    }
    der.extend_from_slice(content);
    der
}

#[test]
fn the_load_generators_way_of_sessions_is_ours_too() {
    // A store of rustls' own, which offers a TLS 1.3 ticket once and only to the server that gave it.
    for version in Version::ALL {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let engine = Launch::new(&pki).start();
        let mut config = config(&pki, Some(&pki.alice), version);
        config.resumption = rustls::client::Resumption::in_memory_sessions(16);
        let config = Arc::new(config);
        for visit in 0..3 {
            let mut client =
                countersign_tests::client::Client::established(engine.address, &config);
            assert!(countersign_tests::http::names(
                &countersign_tests::http::whoami(&mut client),
                "alice"
            ));
            let resumed = client.tls().handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            assert_eq!(resumed, visit > 0);
            client.close_notify();
            client.ending();
        }
    }
}
