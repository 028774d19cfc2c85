//! The same checks in quantity, and figures. Both only when asked for:
//!
//!     COUNTERSIGN_RECORDS=2000000 cargo test --profile checked -p countersign-proto \
//!         --lib millions -- --ignored --nocapture
//!     cargo test --profile checked -p countersign-proto --lib throughput -- --ignored --nocapture

use std::io::Write;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::RecordLayer;
use super::arbitrary::{receive_garbage, receive_lies};
use super::differential::{converse, converse_with_ourselves};
use super::handshake::{Peers, SUITES};
use super::oracle::judge_random_streams;

const CONTENT: usize = 16_384;
const BATCH: usize = 256;

/// What one system takes to seal and to open a batch of full records, in seconds.
type Timed<'a> = (&'static str, Box<dyn FnMut() -> (f64, f64) + 'a>);

fn aead_alone(seconds: impl Fn(&mut dyn FnMut()) -> f64) -> (f64, f64) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key"));
    let nonce = |n: usize| {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&n.to_be_bytes());
        Nonce::assume_unique_for_key(bytes)
    };
    let mut records = vec![(vec![5; CONTENT], vec![0; 17]); BATCH];
    let sealed = seconds(&mut || {
        for (n, (body, tail)) in records.iter_mut().enumerate() {
            let aad = Aad::from([23, 3, 3, 0, 0]);
            key.seal_in_place_scatter(nonce(n), aad, body, &[23], tail).expect("sealed");
        }
    });
    let records: Vec<_> = records.into_iter().map(|(body, tail)| [body, tail].concat()).collect();
    let mut plaintext = vec![0; CONTENT + 1];
    let opened = seconds(&mut || {
        for (n, record) in records.iter().enumerate() {
            let (body, tag) = record.split_at(CONTENT + 1);
            let aad = Aad::from([23, 3, 3, 0, 0]);
            key.open_separate_gather(nonce(n), aad, body, tag, &mut plaintext).expect("opened");
        }
    });
    (sealed, opened)
}

fn layer(
    forger: &mut super::Forger,
    records: &mut dyn RecordLayer,
    seconds: impl Fn(&mut dyn FnMut()) -> f64,
) -> (f64, f64) {
    let content = vec![5; CONTENT];
    // Written once, so that no page fault is measured.
    let mut wire = vec![1; BATCH * (CONTENT + 64)];
    wire.clear();
    let sealed = seconds(&mut || {
        for _ in 0..BATCH {
            records.seal(&content, &mut wire).expect("sealed");
        }
    });
    let arriving: Vec<_> = (0..BATCH).map(|_| forger.data(&content)).collect();
    let (mut plaintext, mut answers) = (Vec::with_capacity(CONTENT + 64), Vec::new());
    let opened = seconds(&mut || {
        for record in &arriving {
            plaintext.clear();
            records.open(record, &mut plaintext, &mut answers).expect("opened");
        }
    });
    assert_eq!(plaintext, content);
    (sealed, opened)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Systems in turn, so that a slow moment of the machine hits all of them.
fn report(systems: &mut [Timed<'_>], rounds: usize) {
    let mut taken = vec![(Vec::new(), Vec::new()); systems.len()];
    for round in 0..=rounds {
        for ((_, run), (seals, opens)) in systems.iter_mut().zip(&mut taken) {
            let (sealed, opened) = run();
            // The first round warms up.
            if round > 0 {
                seals.push(sealed);
                opens.push(opened);
            }
        }
    }
    let out = &mut std::io::stdout().lock();
    for ((name, _), (seals, opens)) in systems.iter().zip(taken) {
        let rate = |seconds| (BATCH * CONTENT) as f64 / 1e9 / median(seconds);
        let (seal, open) = (rate(seals), rate(opens));
        writeln!(out, "{name:16} seal {seal:6.2} GB/s  open {open:6.2} GB/s").expect("stdout");
    }
}

#[cfg(test)]
fn seconds(run: &mut dyn FnMut()) -> f64 {
    let start = std::time::Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "figures, not a verdict"]
fn throughput_of_full_records() {
    let peers = Peers::new(SUITES[0]);
    let (mut forger, mut ours) = peers.forger_and_ours();
    let (mut rustls_forger, mut rustls) = peers.forger_and_rustls();
    let mut systems: [Timed<'_>; 3] = [
        ("aws-lc alone", Box::new(|| aead_alone(seconds))),
        ("ours", Box::new(|| layer(&mut forger, &mut ours, seconds))),
        ("rustls' records", Box::new(|| layer(&mut rustls_forger, &mut rustls, seconds))),
    ];
    report(&mut systems, 51);
}

#[test]
#[ignore = "minutes; COUNTERSIGN_RECORDS says how many"]
fn millions_of_records() {
    let wanted: usize = std::env::var("COUNTERSIGN_RECORDS")
        .ok()
        .map_or(2_000_000, |text| text.parse().expect("COUNTERSIGN_RECORDS is a number"));
    let seed = std::env::var("COUNTERSIGN_SEED")
        .ok()
        .map_or(1_000_000, |text| text.parse().expect("COUNTERSIGN_SEED is a number"));
    let peers = SUITES.map(Peers::new);
    let mut records = 0;
    let mut seed: u64 = seed;
    while records < wanted {
        // Shown only if this fails; a seed can be given to begin with.
        writeln!(std::io::stdout().lock(), "seed {seed}, {records} records").expect("stdout");
        for (suite, peers) in SUITES.into_iter().zip(&peers) {
            records += converse(peers, suite, seed, 3_000);
            records += converse_with_ourselves(suite, seed, 2_000);
            receive_garbage(peers, suite, seed);
            receive_lies(peers, suite, seed);
        }
        judge_random_streams(seed..seed + 2);
        seed += 2;
    }
    writeln!(std::io::stdout().lock(), "{records} records").expect("stdout");
}
