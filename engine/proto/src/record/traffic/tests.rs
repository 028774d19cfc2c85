//! Our layer against rustls' own, and against an attacker who holds the keys.

mod arbitrary;
mod differential;
mod forger;
mod handshake;
mod key_updates;
mod limits;
mod oracle;
mod oracle_agreements;
mod oracle_differences;
mod tampering;
mod volume;

use rustls::AlertDescription;

use self::forger::Forger;
use self::handshake::{Peers, SUITES};
use super::{Opened, RecordLayer, TrafficRecords};
use crate::error::Reason;

/// Decisions that depend on nothing but a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// A length around those where records end, or any other up to three records.
    fn length(&mut self) -> usize {
        match self.below(16) {
            0 => 1,
            1 => 16_383,
            2 => 16_384,
            3 => 16_385,
            4 => self.below(50_000),
            5 | 6 => self.below(4_000),
            _ => self.below(200),
        }
    }
}

/// Opens `wire` in one call; what was answered is dropped.
fn open(records: &mut TrafficRecords, wire: &[u8]) -> (Vec<u8>, Result<Opened, Reason>) {
    let (mut plaintext, mut answers) = (Vec::new(), Vec::new());
    let opened = records.open(wire, &mut plaintext, &mut answers);
    (plaintext, opened.map_err(|error| error.reason))
}

#[test]
fn an_end_is_final() {
    for suite in SUITES {
        let peers = Peers::new(suite);
        let (mut client, mut server) = peers.forger_and_ours();
        let first = client.data(b"one");
        let mut broken = client.data(b"two");
        *broken.last_mut().expect("a tag") ^= 1;

        let (mut plaintext, mut answers) = (Vec::new(), Vec::new());
        let both = [first, broken].concat();
        let error = server.open(&both, &mut plaintext, &mut answers).expect_err("broken");
        assert_eq!(plaintext, b"one", "what stood before it is delivered");
        assert_eq!(client.alert(&answers), Some(AlertDescription::BadRecordMac));

        answers.clear();
        let again = server.open(&client.data(b"three"), &mut plaintext, &mut answers);
        assert_eq!(again.expect_err("over").detail, error.detail);
        assert!(server.seal(b"four", &mut answers).is_err());
        server.close_notify(&mut answers);
        assert_eq!((plaintext.as_slice(), answers.as_slice()), (&b"one"[..], &b""[..]));
    }
}

#[test]
fn each_direction_closes_by_itself() {
    for suite in SUITES {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let mut wire = client.data(b"last words");
        wire.extend(client.sealed(super::framing::ALERT, &[1, 0]));
        wire.extend_from_slice(b"what follows is ignored");
        assert_eq!(open(&mut server, &wire), (b"last words".to_vec(), Ok(Opened::Complete)));
        assert_eq!(open(&mut server, b"and this"), (Vec::new(), Ok(Opened::Complete)));

        let mut out = Vec::new();
        server.seal(b"still here", &mut out).expect("half-closed");
        assert_eq!(client.open(&out), [(23, b"still here".to_vec())]);
        out.clear();
        server.close_notify(&mut out);
        assert_eq!(client.alert(&out), Some(AlertDescription::CloseNotify));
        out.clear();
        server.close_notify(&mut out);
        assert_eq!(server.seal(b"late", &mut out).expect_err("closed").reason, Reason::Internal);
        assert!(out.is_empty());
    }
}

#[test]
fn nothing_is_said_after_close_notify_and_everything_is_heard() {
    for suite in SUITES {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let (mut plaintext, mut out) = (Vec::new(), Vec::new());
        server.seal(b"once", &mut out).expect("open");
        server.close_notify(&mut out);
        out.clear();
        let mut wire = client.data(b"heard");
        if suite.is_tls13() {
            wire.extend(client.key_update(1));
            wire.extend(client.data(b" again"));
        }
        server.open(&wire, &mut plaintext, &mut out).expect("half-closed");
        assert!(plaintext.starts_with(b"heard"));
        server.open(&[0; 64], &mut plaintext, &mut out).expect_err("no record");
        assert!(out.is_empty(), "neither a KeyUpdate nor an alert");
    }
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let (mut client, mut server) = Peers::new(SUITES[0]).forger_and_ours();
    let wire = client.data(&[7; 16_384]);
    let (start, end) = wire.split_at(9_000);
    assert_eq!(open(&mut server, start).0, b"");
    assert!((9_000..=wire.len()).contains(&server.pending.capacity()));
    assert_eq!(open(&mut server, end).0.len(), 16_384);
    assert_eq!(server.pending.capacity(), 0);
}

/// Five bytes that promise 16 KiB are not worth 16 KiB.
#[test]
fn no_more_is_held_than_twice_what_arrived() {
    let (mut client, mut server) = Peers::new(SUITES[0]).forger_and_ours();
    let wire = client.data(&[7; 16_384]);
    for (arrived, byte) in (1..).zip(&wire[..wire.len() - 1]) {
        assert!(open(&mut server, &[*byte]).0.is_empty());
        assert!(server.pending.capacity() <= (2 * arrived).clamp(5, wire.len()));
    }
    assert_eq!(open(&mut server, &wire[wire.len() - 1..]).0.len(), 16_384);
}
