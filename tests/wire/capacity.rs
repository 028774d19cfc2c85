//! Many connections, too many connections, too few descriptors.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use countersign_tests::client::{Client, Ending, Version, config, config_with};
use countersign_tests::engine::Launch;
use countersign_tests::http::{GET_AND_CLOSE, names, read_response, whoami};
use countersign_tests::pki::{KeyKind, Pki};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

#[test]
fn ten_thousand_idle_connections_on_one_worker() {
    const DIALLERS: usize = 4;
    let count = affordable_connections(10_000) / DIALLERS * DIALLERS;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki)
        .option("--max-connections", &count.to_string())
        .option("--idle-timeout", "30m")
        .option("--handshake-timeout", "5m")
        .start();

    // One cheap group: the test is about connections, and the clients run on the same cores.
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let config = Arc::new(config_with(provider, &pki, Some(&pki.alice), Version::Tls13));
    let held = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..DIALLERS {
            scope.spawn(|| {
                for _ in 0..count / DIALLERS {
                    let client = Client::established(engine.address, &config);
                    held.lock().unwrap_or_else(PoisonError::into_inner).push(client);
                }
            });
        }
    });
    let mut held = held.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(held.len(), count);

    // In TLS 1.3 a client is done before the server: one answer on each of a sample, and the engine's own count.
    for client in held.iter_mut().step_by(97) {
        assert!(names(&whoami(client), "alice"));
    }
    let status = engine.status();
    assert_eq!(status["connections_open"], count, "{status}\n{}", engine.log().tail());

    drop(held);
    let status = engine.wait_until_idle();
    assert_eq!(status["released"], count, "{status}");
    let mut client = Client::established(engine.address, &config);
    assert!(names(&whoami(&mut client), "alice"));
}

#[test]
fn a_full_connection_table_serves_everybody_as_room_comes() {
    const ROOM: usize = 50;
    const CLIENTS: usize = 200;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).option("--max-connections", &ROOM.to_string()).start();
    let config = Arc::new(config(&pki, Some(&pki.alice), Version::Tls13));
    let mut holding: Vec<Client> =
        (0..ROOM).map(|_| Client::established(engine.address, &config)).collect();
    for client in &mut holding {
        assert!(names(&whoami(client), "alice"));
    }
    let waiting: Vec<_> = (ROOM..CLIENTS)
        .map(|_| {
            let (address, config) = (engine.address, Arc::clone(&config));
            thread::spawn(move || {
                let mut client = Client::established(address, &config);
                client.send(GET_AND_CLOSE);
                let response =
                    read_response(&mut client).expect("an answer, as soon as there is room");
                assert!(names(&response.json(), "alice"));
                assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
            })
        })
        .collect();
    engine.log().wait_for_event("connection_table_full");
    // Those who are in are served while the others wait.
    for client in &mut holding {
        assert!(names(&whoami(client), "alice"));
    }
    let status = engine.status();
    assert_eq!(status["connections_open"], ROOM, "{status}");
    drop(holding);
    for client in waiting {
        client.join().expect("a client that waited");
    }
    let status = engine.wait_until_idle();
    assert_eq!(status["accepted"], CLIENTS, "{status}");
}

#[test]
fn too_few_descriptors_are_an_error_at_start() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let failure = Launch::new(&pki)
        .under(&["prlimit", "--nofile=64:64"])
        .option("--max-connections", "1000")
        .start_in_vain();
    assert!(!failure.status.success(), "{failure:?}");
    assert!(failure.stderr.contains("RLIMIT_NOFILE"), "{failure:?}");
}

/// Raises this process's soft limit of descriptors to the hard one; gives `wanted`, or less where even that
/// does not carry it.
fn affordable_connections(wanted: usize) -> usize {
    /// For the other tests of this process.
    const SPARE_DESCRIPTORS: u64 = 1_000;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("raise RLIMIT_NOFILE to the hard limit");
    let affordable =
        maximum.map_or(wanted, |maximum| maximum.saturating_sub(SPARE_DESCRIPTORS) as usize);
    if affordable < wanted {
        warn(&format!(
            "RLIMIT_NOFILE is {maximum:?}: {affordable} connections instead of {wanted}"
        ));
    }
    affordable.min(wanted)
}

#[expect(
    clippy::print_stderr,
    reason = "a run that shows less than its name says so where its reader looks"
)]
fn warn(text: &str) {
    eprintln!("{text}");
}
