//! Arbitrary bytes, with and without the keys: no panic, no growth, no plaintext out of nothing.

use super::handshake::{Peers, SUITES, Suite};
use super::{Chance, RecordLayer};
use crate::limits::RECORD_WIRE_BYTES;

/// Bytes that look like records now and then, cut anywhere. Nothing authenticates.
pub(super) fn receive_garbage(peers: &Peers, suite: Suite, seed: u64) {
    let mut chance = Chance(seed);
    let (_, mut server) = peers.forger_and_ours();
    let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let mut bytes = Vec::new();
        if !chance.one_in(4) {
            let length = if chance.one_in(2) { chance.below(300) } else { chance.below(65_536) };
            let content_type = if chance.one_in(8) { chance.next() as u8 } else { 23 };
            let version = if chance.one_in(8) { chance.next() as u8 } else { 3 };
            bytes.extend([content_type, version, 3, (length >> 8) as u8, length as u8]);
        }
        let length = chance.length();
        bytes.extend(chance.bytes(length));
        while !bytes.is_empty() {
            let piece: Vec<_> = bytes.drain(..1 + chance.below(bytes.len())).collect();
            let failed = server.open(&piece, &mut plaintext, &mut wire).is_err();
            assert!(plaintext.is_empty(), "seed {seed} of {suite:?}");
            assert!(server.pending.capacity() <= RECORD_WIRE_BYTES);
            if failed {
                assert_eq!(server.pending.capacity(), 0);
                assert!(wire.len() < 64, "one alert");
                // Go on as if that had not been.
                (server.failure, server.closed) = (None, false);
                wire.clear();
            }
        }
    }
}

/// Records that authenticate and say anything.
pub(super) fn receive_lies(peers: &Peers, suite: Suite, seed: u64) {
    let mut chance = Chance(seed);
    let (mut client, mut server) = peers.forger_and_ours();
    let (mut plaintext, mut wire) = (Vec::new(), Vec::new());
    let mut said = Vec::new();
    for _ in 0..60 {
        let length = if chance.one_in(8) { chance.below(18_000) } else { chance.below(8) };
        let mut content = chance.bytes(length);
        if chance.one_in(2) {
            for byte in &mut content {
                *byte = [0, 1, 2, 24][usize::from(*byte & 3)];
            }
        }
        let content_type =
            if chance.one_in(8) { chance.next() as u8 } else { 21 + chance.below(3) as u8 };
        let record = match suite.is_tls13() && chance.one_in(2) {
            true => client.padded(content_type, &content, chance.below(300)),
            false => client.sealed(content_type, &content),
        };
        let before = plaintext.len();
        let opened = server.open(&record, &mut plaintext, &mut wire);
        assert!(
            plaintext.len() == before || content_type == 23 || content_type == 0,
            "seed {seed} of {suite:?}: only data is delivered"
        );
        if content_type == 23 && opened.is_ok() && !server.peer_closed {
            said.extend_from_slice(&content);
            assert!(plaintext == said, "seed {seed} of {suite:?}");
        } else {
            plaintext.clone_from(&said);
        }
        if opened.is_err() {
            return;
        }
    }
}

#[test]
fn whatever_arrives_is_survived() {
    for suite in SUITES {
        let peers = Peers::new(suite);
        for seed in 0..40 {
            receive_garbage(&peers, suite, seed);
            receive_lies(&peers, suite, seed);
        }
    }
}
