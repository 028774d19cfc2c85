//! How much one key seals, and what a connection weighs.

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{AlertDescription, ConnectionTrafficSecrets};

use super::handshake::{Peers, SUITES};
use super::{RecordLayer, TrafficRecords, open};
use crate::error::Reason;
use crate::record::traffic::aead::TrafficKey;
use crate::record::traffic::framing::{APPLICATION_DATA, HANDSHAKE};
use crate::tls::TlsVersion;

#[test]
fn a_key_seals_as_much_as_its_aead_allows() {
    for suite in SUITES {
        let (_, server) = Peers::new(suite).forger_and_ours();
        let limit = match suite.0 {
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        };
        assert_eq!(server.key_records, limit.min(u64::MAX - 0xffff), "as rustls has it");
    }
}

#[test]
fn tls13_changes_keys_before_one_has_sealed_too_much() {
    for suite in SUITES.into_iter().filter(|suite| suite.is_tls13()) {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        server.key_records = 10;
        let mut wire = Vec::new();
        for n in 0..100u8 {
            server.seal(&[n], &mut wire).expect("open");
        }
        server.seal(&vec![7; 16_384 * 20], &mut wire).expect("also within one call");
        let contents = client.open(&wire);
        let mut requests = Vec::new();
        let mut under_one_key = 0;
        for (content_type, content) in &contents {
            under_one_key += 1;
            assert!(under_one_key <= 10);
            if *content_type == HANDSHAKE {
                assert_eq!(under_one_key, 10, "no earlier than needed");
                requests.push(content[4]);
                under_one_key = 0;
            }
        }
        let data: usize =
            contents.iter().filter(|(kind, _)| *kind == APPLICATION_DATA).map(|c| c.1.len()).sum();
        assert_eq!(data, 100 + 16_384 * 20);
        // The client is asked once, until it has done it.
        assert_eq!((requests[0], requests[1..].iter().sum::<u8>()), (1, 0));
        assert!(open(&mut server, &client.key_update(0)).1.is_ok());
        wire.clear();
        server.seal(&vec![7; 16_384 * 20], &mut wire).expect("open");
        let asks = client.open(&wire).iter().filter(|c| c.1 == [24, 0, 0, 1, 1]).count();
        assert_eq!(asks, 1);
    }
}

#[test]
fn tls13_asks_once_when_the_clients_key_has_sealed_enough() {
    let (mut client, mut server) = Peers::new(SUITES[0]).forger_and_ours();
    server.key_records = 10;
    let (mut data, mut wire) = (Vec::new(), Vec::new());
    for round in 1..4 {
        for _ in 0..50 {
            server.open(&client.data(b"a"), &mut data, &mut wire).expect("still opened");
        }
        assert_eq!(client.open(&wire), [(HANDSHAKE, vec![24, 0, 0, 1, 1])]);
        assert_eq!(data.len(), round * 50);
        wire.clear();
        server.open(&client.key_update(0), &mut data, &mut wire).expect("what was asked for");
    }
}

#[test]
fn tls12_ends_when_its_key_has_sealed_enough() {
    for suite in SUITES.into_iter().filter(|suite| !suite.is_tls13()) {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        server.key_records = 10;
        let mut wire = Vec::new();
        // The first was Finished.
        for n in 1..10u8 {
            server.seal(&[n], &mut wire).expect("open");
        }
        let error = server.seal(b"too much", &mut wire).expect_err("exhausted");
        assert_eq!(error.reason, Reason::KeyExhausted);
        assert_eq!(server.seal(b"x", &mut wire).expect_err("over").reason, Reason::KeyExhausted);
        let contents = client.open(&wire);
        assert_eq!(contents.len(), 10, "nothing behind the alert");
        // Not close_notify: a client must not take this for the end of the data.
        assert_eq!(contents[9].1, [2, AlertDescription::InternalError.into()]);
    }
}

#[test]
fn a_sequence_number_is_never_used_twice() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let key = |sequence| {
            let secrets = ConnectionTrafficSecrets::Chacha20Poly1305 {
                key: AeadKey::from([7; 32]),
                iv: Iv::from([9; 12]),
            };
            TrafficKey::new(version, (sequence, secrets)).map_err(|error| error.detail)
        };
        let mut sealing = key(u64::MAX - 1).expect("a key");
        let mut opening = key(u64::MAX - 1).expect("a key");
        let (mut wire, mut plaintext) = (Vec::new(), Vec::new());
        assert!(sealing.seal(APPLICATION_DATA, b"last", &mut wire).is_ok());
        let sealed = wire.clone();
        let (header, fragment) = sealed.split_first_chunk().expect("a record");
        assert!(opening.open(*header, fragment, &mut plaintext).is_ok());
        assert!(sealing.seal(APPLICATION_DATA, b"one more", &mut wire).is_err());
        assert!(wire == sealed, "and no plaintext is left in it");
        assert!(opening.open(*header, fragment, &mut plaintext).is_err());
    }
}

#[test]
fn a_connection_is_small() {
    let bytes = size_of::<TrafficRecords>();
    assert!(bytes <= 192, "{bytes} bytes");
}
