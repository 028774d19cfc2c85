//! The same stream of records, right or wrong, to rustls' records and to ours: the same verdict.

use rustls::AlertDescription as Alert;

use super::handshake::{Peers, SUITES, Suite, boxed};
use super::{Chance, Forger, Opened, RecordLayer};
use crate::record::traffic::framing::{ALERT, APPLICATION_DATA};

/// How far a stream got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Complete,
    Error,
}

/// The verdict on a stream: its end, and the last alert that was sent.
pub(super) type Verdict = (End, Option<Alert>);

/// What is sent, piece by piece.
pub(super) type Script = fn(&mut Forger) -> Vec<Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    Both,
    Tls13,
    Tls12,
}

impl In {
    pub(super) fn suites(self) -> impl Iterator<Item = Suite> {
        SUITES.into_iter().filter(move |suite| match self {
            Self::Both => true,
            Self::Tls13 => suite.is_tls13(),
            Self::Tls12 => !suite.is_tls13(),
        })
    }
}

/// Feeds the pieces up to an error; returns the data delivered and the verdict.
fn judge(
    mut records: Box<dyn RecordLayer>,
    forger: &mut Forger,
    pieces: &[Vec<u8>],
) -> (Vec<u8>, Verdict) {
    let (mut data, mut answers, mut end) = (Vec::new(), Vec::new(), End::Open);
    for piece in pieces {
        end = match records.open(piece, &mut data, &mut answers) {
            Ok(Opened::More) => End::Open,
            Ok(Opened::Complete) => End::Complete,
            Err(_) => End::Error,
        };
        if end == End::Error {
            break;
        }
    }
    (data, (end, forger.alert(&answers)))
}

pub(super) fn by_rustls(
    peers: &Peers,
    script: impl Fn(&mut Forger) -> Vec<Vec<u8>>,
) -> (Vec<u8>, Verdict) {
    let (mut forger, records) = peers.forger_and_rustls();
    let pieces = script(&mut forger);
    judge(boxed(records), &mut forger, &pieces)
}

pub(super) fn by_ours(
    peers: &Peers,
    script: impl Fn(&mut Forger) -> Vec<Vec<u8>>,
) -> (Vec<u8>, Verdict) {
    let (mut forger, records) = peers.forger_and_ours();
    let pieces = script(&mut forger);
    judge(boxed(records), &mut forger, &pieces)
}

/// A stream of mostly right records with something wrong in it now and then.
fn random_script(seed: u64) -> impl Fn(&mut Forger) -> Vec<Vec<u8>> {
    move |forger| {
        let mut chance = Chance(seed);
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for _ in 0..chance.below(40) {
            let length = chance.length().min(16_384);
            let data = chance.bytes(length);
            pieces.push(match chance.below(24) {
                0 => forger.data(b""),
                1..4 if forger.is_tls13() => forger.key_update((seed & 1) as u8),
                4 if forger.is_tls13() => {
                    forger.padded(APPLICATION_DATA, &data[..length.min(900)], chance.below(900))
                }
                5 if chance.one_in(4) => forger.sealed(ALERT, &[1, 0]),
                6 if chance.one_in(4) => forger.sealed(ALERT, &[2, 80]),
                7 if chance.one_in(4) => {
                    let mut record = forger.data(&data);
                    let at = 5 + chance.below(record.len() - 5);
                    record[at] ^= 1 << chance.below(8);
                    record
                }
                8 if chance.one_in(4) => pieces.last().cloned().unwrap_or_default(),
                9 if chance.one_in(4) => {
                    forger.data(&data);
                    Vec::new()
                }
                10 if chance.one_in(4) => {
                    let record = forger.data(&data);
                    record[..chance.below(record.len())].to_vec()
                }
                _ => forger.data(&data),
            });
        }
        pieces
    }
}

/// How many random streams are judged alike.
pub(super) fn judge_random_streams(seeds: std::ops::Range<u64>) {
    for suite in SUITES {
        let peers = Peers::new(suite);
        for seed in seeds.clone() {
            let script = random_script(seed);
            assert!(
                by_ours(&peers, &script) == by_rustls(&peers, &script),
                "seed {seed} of {suite:?}"
            );
        }
    }
}

#[test]
fn random_streams_get_the_verdict_of_rustls() {
    judge_random_streams(0..60);
}
