//! Bytes between an authorized client and the upstream: half-closes, truncation, resets, timeouts, and a
//! reader that does not read.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use countersign_tests::backend::{self, Backend, Refusing, Unanswering};
use countersign_tests::client::{Client, Ending, StreamEnd, Version, config, stream_end};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::{Engine, Launch};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::seeded::{Digest, Fingerprint, Seeded, Source};
use countersign_tests::tool::OPENSSL;

use crate::s_client;

const MIB: u64 = 1 << 20;

#[test]
fn the_backend_answers_after_the_client_has_said_everything() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::tcp(|mut connection| {
        connection.read_all(|_, _| {});
        drop(connection.write_all(b"late answer"));
    });
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        for with_fin in [false, true] {
            let mut client = connect(&engine, &pki, version);
            client.send(b"question");
            client.close_notify();
            if with_fin {
                client.truncate();
            }
            assert_eq!(
                client.ending(),
                (b"late answer".to_vec(), Ending::CloseNotify),
                "{version:?} {with_fin}"
            );
            assert_eq!(stream_end(&client.socket), StreamEnd::Eof);
        }
    }
    let heard = backend.seen().wait_for_ended(4);
    let question =
        backend::Heard { received: Fingerprint::of(b"question"), ending: backend::Ending::Eof };
    assert!(heard.iter().all(|heard| *heard == question), "{heard:?}");
    engine.wait_until_idle();
}

#[test]
fn the_client_sends_on_after_the_backend_has_said_everything() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::tcp(|mut connection| {
        drop(connection.write_all(b"all I have to say"));
        connection.shutdown_write();
        connection.read_all(|_, _| {});
    });
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    let speech = Seeded::new(3).bytes(300_000);
    for version in Version::ALL {
        let mut client = connect(&engine, &pki, version);
        assert_eq!(client.ending(), (b"all I have to say".to_vec(), Ending::CloseNotify));
        client.send(&speech);
        client.close_notify();
        assert_eq!(stream_end(&client.socket), StreamEnd::Eof);
    }
    let heard = backend.seen().wait_for_ended(2);
    let all = backend::Heard { received: Fingerprint::of(&speech), ending: backend::Ending::Eof };
    assert!(heard.iter().all(|heard| *heard == all), "{heard:?}");
    engine.wait_until_idle();
}

#[test]
fn a_truncated_client_is_no_clean_end_for_the_backend() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for (count, version) in Version::ALL.into_iter().enumerate() {
        let mut client = connect(&engine, &pki, version);
        client.send(b"pay 100");
        assert_eq!(client.receive_exactly(7), b"pay 100");
        client.truncate();
        let heard = backend.seen().wait_for_ended(count + 1);
        assert_eq!(heard[count].ending, backend::Ending::Reset, "{version:?}");
        let record = engine.connection_record(client.address());
        assert_eq!(record["reason"], "client_truncated", "{record}");
    }
    engine.wait_until_idle();
}

#[test]
fn a_client_reset_is_no_clean_end_for_the_backend() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    let mut client = connect(&engine, &pki, Version::Tls13);
    client.send(b"pay 100");
    assert_eq!(client.receive_exactly(7), b"pay 100");
    let address = client.address();
    client.reset();
    assert_eq!(backend.seen().wait_for_ended(1)[0].ending, backend::Ending::Reset);
    let record = engine.connection_record(address);
    assert_eq!(record["reason"], "client_reset", "{record}");
    engine.wait_until_idle();
}

#[test]
fn an_upstream_reset_is_no_clean_end_for_the_client() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::tcp(|mut connection| {
        drop(connection.write_all(b"balance: 1"));
        // The client has the beginning before the reset can overtake it.
        let mut first = [0; 3];
        drop(std::io::Read::read_exact(&mut connection, &mut first));
        connection.reset();
    });
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        let mut client = connect(&engine, &pki, version);
        assert_eq!(client.receive_exactly(10), b"balance: 1");
        client.send(b"ack");
        assert_eq!(client.ending(), (Vec::new(), Ending::Truncated), "{version:?}");
    }
    engine.wait_until_idle();
}

#[test]
fn a_unix_socket_upstream() {
    const LENGTH: u64 = 3_000_000;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::unix(&pki.directory().join("backend.socket"), backend::echo);
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        let mut client = connect(&engine, &pki, version);
        let received = client.exchange(Source::new(5, LENGTH), LENGTH);
        assert_eq!(received, Ok(Fingerprint::of_seed(5, LENGTH)), "{}", engine.log().tail());
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    engine.wait_until_idle();
}

#[test]
fn an_upstream_that_refuses_ends_the_connection() {
    let upstream = Refusing::new();
    ends_without_an_upstream(&upstream.upstream(), &[], "upstream_connect_failed");
}

#[test]
fn an_upstream_that_does_not_answer_ends_the_connection() {
    let upstream = Unanswering::new();
    ends_without_an_upstream(
        &upstream.upstream(),
        &["--connect-timeout", "1s"],
        "upstream_connect_timeout",
    );
}

#[test]
fn a_unix_socket_that_is_not_there_ends_the_connection() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let path = pki.directory().join("nobody.socket");
    ends_without_an_upstream(&format!("unix:{}", path.display()), &[], "upstream_connect_failed");
}

/// The client has proven who it is, but there is nobody to talk to: the connection ends, not as if
/// something had been said.
#[track_caller]
fn ends_without_an_upstream(upstream: &str, options: &[&str], reason: &str) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let mut launch = Launch::new(&pki).upstream(upstream);
    for pair in options.chunks(2) {
        launch = launch.option(pair[0], pair[1]);
    }
    let engine = launch.start();
    for version in Version::ALL {
        let mut client = connect(&engine, &pki, version);
        let (bytes, ending) = client.ending();
        assert_eq!(bytes, b"");
        assert!(
            matches!(ending, Ending::Truncated | Ending::Alert { then: StreamEnd::Eof, .. }),
            "{ending:?}"
        );
        let record = engine.connection_record(client.address());
        assert_eq!(record["reason"], reason, "{record}");
    }
    engine.wait_until_idle();
}

#[test]
fn an_idle_connection_ends() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine =
        Launch::new(&pki).upstream(&backend.upstream()).option("--idle-timeout", "1s").start();
    for version in Version::ALL {
        let mut client = connect(&engine, &pki, version);
        client.send(b"one word");
        assert_eq!(client.receive_exactly(8), b"one word");
        // A close_notify would fake a clean end.
        assert_eq!(client.ending(), (Vec::new(), Ending::Truncated));
        let record = engine.connection_record(client.address());
        assert_eq!(record["reason"], "idle_timeout", "{record}");
    }
    engine.wait_until_idle();
}

#[test]
fn a_busy_connection_outlives_the_idle_timeout() {
    const TURNS: usize = 30;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine =
        Launch::new(&pki).upstream(&backend.upstream()).option("--idle-timeout", "1s").start();
    let mut client = connect(&engine, &pki, Version::Tls13);
    for _ in 0..TURNS {
        client.send(b"tick");
        assert_eq!(client.receive_exactly(4), b"tick");
        thread::sleep(Duration::from_millis(100));
    }
    client.close_notify();
    assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    engine.wait_until_idle();
}

#[test]
fn key_updates_between_data() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    let mut client = OPENSSL.start(&s_client::arguments(
        &pki,
        engine.address.port(),
        Some(&pki.alice),
        Version::Tls13,
    ));
    client.wait_for_output("Verify return code: 0 (ok)");
    // K asks for an update of both directions' keys, k updates the client's alone (s_client(1)). s_client takes a
    // command only at the beginning of what it reads at once, hence the waiting.
    for (count, command) in ["K\n", "k\n"].into_iter().cycle().take(6).enumerate() {
        client.input(command);
        client.wait_for_outputs("KEYUPDATE", count + 1);
        let text = format!("after update {count}");
        client.input(&format!("{text}\n"));
        client.wait_for_output(&text);
    }
    let finished = client.finish();
    assert!(finished.status.success(), "{finished:?}");
    engine.wait_until_idle();
}

#[test]
fn a_client_that_does_not_read_costs_the_engine_little() {
    const LENGTH: u64 = 200_000_000;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::source(11, LENGTH);
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        let before = engine.resident_bytes();
        let sent_before = backend.seen().sent_bytes();
        let mut client = connect(&engine, &pki, version);
        let sent = wait_until_still(|| backend.seen().sent_bytes()) - sent_before;
        assert!(
            sent > 0 && sent < LENGTH / 2,
            "the backend could send {sent} bytes to a client that reads none"
        );
        let growth = engine.resident_bytes().saturating_sub(before);
        assert!(growth < 64 * MIB, "{} MiB for a slow reader", growth / MIB);

        let mut digest = Digest::default();
        let mut buffer = [0; 16 * 1024];
        while digest.length() < LENGTH {
            let length = client.receive(&mut buffer).expect("the rest");
            digest.update(&buffer[..length]);
        }
        assert_eq!(digest.finish(), Fingerprint::of_seed(11, LENGTH));
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    engine.wait_until_idle();
}

#[test]
fn a_backend_that_does_not_read_costs_the_engine_little() {
    const LENGTH: u64 = 100_000_000;
    let reads = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&reads);
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::tcp(move |mut connection| {
        wait_for("leave to read", || gate.load(Ordering::SeqCst).then_some(()));
        connection.read_all(|_, _| {});
    });
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    let before = engine.resident_bytes();
    let mut client = connect(&engine, &pki, Version::Tls13);
    let sender = thread::spawn(move || {
        let mut source = Source::new(12, LENGTH);
        while !source.ready().is_empty() {
            let ready = source.ready();
            client.send(ready);
            let taken = ready.len();
            source.consume(taken);
        }
        client.close_notify();
        client.ending()
    });
    wait_for("the backend's connection", || (backend.seen().connections() == 1).then_some(()));
    // The engine's own counter of bytes is not the judge: its memory, once it stands still, is.
    let resident = wait_until_still(|| engine.resident_bytes() / MIB) * MIB;
    assert!(
        resident.saturating_sub(before) < 64 * MIB,
        "{} MiB for a slow backend",
        (resident - before) / MIB
    );
    assert!(!sender.is_finished(), "100 MB went where nobody reads");
    reads.store(true, Ordering::SeqCst);
    assert_eq!(sender.join().expect("the sender"), (Vec::new(), Ending::CloseNotify));
    assert_eq!(backend.seen().wait_for_ended(1)[0].received, Fingerprint::of_seed(12, LENGTH));
    engine.wait_until_idle();
}

#[track_caller]
fn connect(engine: &Engine, pki: &Pki, version: Version) -> Client {
    Client::established(engine.address, &Arc::new(config(pki, Some(&pki.alice), version)))
}

/// Waits until `measure` has given the same for a second, and gives that.
#[track_caller]
fn wait_until_still(measure: impl Fn() -> u64) -> u64 {
    const SAMPLES: usize = 10;
    let (mut last, mut same) = (measure(), 0);
    wait_for("a value that stands still", || {
        thread::sleep(Duration::from_millis(100));
        let now = measure();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same >= SAMPLES && now > 0).then_some(now)
    })
}
