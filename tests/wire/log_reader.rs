//! Somebody reads the log slowly, or not at all: no worker waits for that.

use std::io::Write;
use std::net::SocketAddr;

use countersign_tests::admin::Admin;
use countersign_tests::client::{Client, Version, dial};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::Unread;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::record::lone_fatal_alert;
use rustix::process::Signal;

use crate::configured::{admin, ask_whoami, tls};

const DROPPED: &str = "countersign_log_lines_dropped_total";
const RELEASED: &str = "countersign_connections_released_total";

/// More than a worker's queue (8,192 entries) and a pipe (64 KiB) hold.
const CONNECTIONS: u64 = 9_500;

#[test]
fn nobody_reads_the_log() {
    let scene = Unheard::new();
    let alice = tls(&scene.pki, Some(&scene.pki.alice), Version::Tls13);
    let mut open = Client::established(scene.address, &alice);
    assert!(names(&whoami(&mut open), "alice"));
    scene.fill_the_log();
    assert!(scene.admin.metrics().count(DROPPED, &[]) > 0);

    // Thousands of connections on, the same is served as before.
    for version in Version::ALL {
        let alice = tls(&scene.pki, Some(&scene.pki.alice), version);
        for _ in 0..100 {
            let answer = ask_whoami(SERVER_NAME, scene.address, &alice).expect("alice");
            assert!(names(&answer, "alice"));
        }
    }
    assert!(names(&whoami(&mut open), "alice"));
    assert_eq!(scene.admin.get("/readyz").status, 200);
    drop(open);
    let released = CONNECTIONS + 1 + 200;
    wait_for("all connections to be over", || {
        (scene.admin.metrics().count(RELEASED, &[]) == released).then_some(())
    });
    let dropped = scene.admin.metrics().count(DROPPED, &[]);

    // Read after all, the log has every line that was not dropped, whole.
    let engine = scene.engine.read(scene.address);
    let lines = wait_for("the rest of the log", || {
        let lines = engine.log().events("connection").len() as u64;
        (lines + dropped >= released).then_some(lines)
    });
    assert_eq!(lines + dropped, released);
    let status = engine.status();
    assert_eq!(status["log_lines_dropped"], dropped, "{status}");
    for line in engine.log().text().lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(parsed.is_ok_and(|line| line.is_object()), "{line}");
    }
    assert_eq!(engine.terminate().code, Some(0));
}

#[test]
fn an_engine_whose_log_nobody_reads_reloads() {
    let scene = Unheard::new();
    scene.fill_the_log();
    let generation = || scene.admin.metrics().count("countersign_config_generation_served", &[]);
    assert_eq!(generation(), 1);
    for turn in 2..5 {
        scene.engine.signal(Signal::HUP);
        wait_for("the configuration to be taken", || (generation() == turn).then_some(()));
    }
}

#[test]
fn an_engine_whose_log_nobody_reads_stops() {
    let scene = Unheard::new();
    scene.fill_the_log();
    scene.engine.signal(Signal::USR1);
    scene.engine.signal(Signal::TERM);
    assert_eq!(scene.engine.wait().code(), Some(0));
}

/// An engine whose log nobody reads.
struct Unheard {
    engine: Unread,
    admin: Admin,
    address: SocketAddr,
    pki: Pki,
}

impl Unheard {
    fn new() -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let (admin, address) = (admin(&pki), own_address());
        let listener = ListenerSection::of("door", address, &pki);
        let configuration = Configuration::new().admin(&admin.listen()).listener(listener);
        let engine = ConfigurationFile::new(&pki, &configuration).start_unread();
        wait_for("the engine to be ready", || {
            admin.ask("GET", "/readyz").ok().filter(|answer| answer.status == 200)
        });
        Self { engine, admin, address, pki }
    }

    /// Refusals cost the least, and each is a line.
    #[track_caller]
    fn fill_the_log(&self) {
        for _ in 0..CONNECTIONS {
            let mut socket = dial(self.address);
            socket.write_all(b"no TLS at all, and not the beginning of it").expect("a write");
            assert!(lone_fatal_alert(&read_without_wait(&mut socket)).is_some());
        }
    }
}

/// To the end of the stream, without the wait for a late reset, which would add up.
fn read_without_wait(socket: &mut std::net::TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(socket, &mut bytes).expect("an answer");
    bytes
}
