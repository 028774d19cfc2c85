//! 100 MB each way at the same time, byte for byte.

use std::sync::Arc;

use countersign_tests::backend::{self, Backend};
use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::engine::Launch;
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::seeded::{Fingerprint, Source};

use crate::clients::python_report;

const LENGTH: u64 = 100_000_000;

#[test]
fn different_bytes_each_way_in_tls13() {
    different_bytes_each_way(Version::Tls13);
}

#[test]
fn different_bytes_each_way_in_tls12() {
    different_bytes_each_way(Version::Tls12);
}

#[test]
fn python_and_an_echo_in_tls13() {
    python_and_an_echo(Version::Tls13);
}

#[test]
fn python_and_an_echo_in_tls12() {
    python_and_an_echo(Version::Tls12);
}

fn different_bytes_each_way(version: Version) {
    const UP_SEED: u64 = 0xc0ffee;
    const DOWN_SEED: u64 = 0xdecaf;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::source(DOWN_SEED, LENGTH);
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();

    let mut client =
        Client::established(engine.address, &Arc::new(config(&pki, Some(&pki.alice), version)));
    let received = client.exchange(Source::new(UP_SEED, LENGTH), LENGTH);
    assert_eq!(received, Ok(Fingerprint::of_seed(DOWN_SEED, LENGTH)), "{}", engine.log().tail());
    assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));

    let heard = backend.seen().wait_for_ended(1);
    assert_eq!(heard[0].received, Fingerprint::of_seed(UP_SEED, LENGTH));
    assert_eq!(heard[0].ending, backend::Ending::Eof);
    engine.wait_until_idle();
}

fn python_and_an_echo(version: Version) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    let report =
        python_report(&pki, engine.address.port(), version, &["--bytes", &LENGTH.to_string()]);
    assert_eq!(report["sent_sha256"], report["received_sha256"], "{report}");
    let heard = backend.seen().wait_for_ended(1);
    assert_eq!(heard[0].ending, backend::Ending::Eof);
    assert_eq!(heard[0].received.length, LENGTH);
    assert_eq!(report["sent_sha256"], heard[0].received.sha256);
    engine.wait_until_idle();
}
