//! Who does not hold the keys cannot make us deliver anything.

use rustls::AlertDescription;

use super::handshake::{Peers, SUITES};
use super::{RecordLayer, TrafficRecords, open};
use crate::error::Reason;
use crate::limits::RECORD_WIRE_BYTES;

/// As if the broken record had never come; its sequence number is not used up.
fn revive(records: &mut TrafficRecords) {
    records.failure = None;
    records.closed = false;
    records.pending.clear();
}

#[test]
fn no_bit_of_a_record_can_be_changed() {
    for suite in SUITES {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let record = client.data(b"attack at dawn");
        for bit in 0..record.len() * 8 {
            let mut altered = record.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            // A longer length waits for more: it gets that, and is refused then.
            altered.resize(record.len() + RECORD_WIRE_BYTES, 0);
            let (plaintext, opened) = open(&mut server, &altered);
            assert!(plaintext.is_empty(), "bit {bit} of {suite:?}");
            let reason = opened.expect_err("refused");
            assert!(
                matches!(reason, Reason::MalformedMessage | Reason::ProtocolViolation),
                "bit {bit}: {reason:?}"
            );
            revive(&mut server);
        }
        assert_eq!(open(&mut server, &record).0, b"attack at dawn", "the record itself opens");
    }
}

#[test]
fn no_record_can_be_repeated_dropped_or_moved() {
    for suite in SUITES {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let records: Vec<_> = (0..8u8).map(|n| client.data(&[n; 3])).collect();
        for expected in 0..records.len() {
            for (at, record) in records.iter().enumerate().filter(|(at, _)| *at != expected) {
                let (mut plaintext, mut answers) = (Vec::new(), Vec::new());
                let opened = server.open(record, &mut plaintext, &mut answers);
                assert!(opened.is_err(), "record {at} as {expected}");
                assert!(plaintext.is_empty());
                assert_eq!(client.alert(&answers), Some(AlertDescription::BadRecordMac));
                revive(&mut server);
            }
            assert_eq!(open(&mut server, &records[expected]).0, [expected as u8; 3]);
        }
    }
}

#[test]
fn a_record_is_of_its_own_direction_and_connection() {
    for suite in SUITES {
        let peers = Peers::new(suite);
        let (_, mut server) = peers.forger_and_ours();
        let (mut stranger, _) = peers.forger_and_ours();
        let mut reflected = Vec::new();
        server.seal(b"ours", &mut reflected).expect("open");
        for record in [reflected, stranger.data(b"another's")] {
            assert_eq!(open(&mut server, &record), (Vec::new(), Err(Reason::MalformedMessage)));
            revive(&mut server);
        }
    }
}

/// TLS 1.2 hides neither type nor length; both are authenticated.
#[test]
fn data_cannot_be_made_an_alert() {
    for suite in SUITES.into_iter().filter(|suite| !suite.is_tls13()) {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let mut record = client.data(&[1, 0]);
        record[0] = super::super::framing::ALERT;
        assert_eq!(open(&mut server, &record), (Vec::new(), Err(Reason::MalformedMessage)));
    }
}
