//! The load generator: it counts what happened and nothing else, and says what went wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use countersign_tests::backend::{Backend, Connection, Refusing, Unanswering};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::Launch;
use countersign_tests::loadgen::Load;
use countersign_tests::pki::{KeyKind, Pki};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};
use serde_json::json;

#[test]
fn every_handshake_that_was_asked_for_is_counted() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for (version, agreed) in [
        ("1.3", "TLS1.3 TLS13_AES_128_GCM_SHA256 X25519"),
        ("1.2", "TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519"),
    ] {
        let load = Load::new(&pki, engine.address).option("--tls", version);
        let loaded = load.option("--count", "20").run(&pki).well();
        assert_eq!(loaded.count("/handshakes/full"), 20, "{loaded:?}");
        assert_eq!(loaded.count("/handshakes/failed"), 0);
        assert_eq!(loaded.count("/requests/completed"), 20);
        assert_eq!(loaded.count("/connections/opened"), 20);
        assert_eq!(loaded.count("/latency_us/handshake/count"), 20);
        assert_eq!(loaded.json["negotiated"], json!({ agreed: 20 }));
    }
    assert_eq!(engine.wait_until_idle()["accepted"], 40);
}

#[test]
fn an_engine_that_gives_no_tickets_is_offered_none() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let listener = ListenerSection::of("door", own_address(), &pki).set("tickets", 0);
    let engine = ConfigurationFile::new(&pki, &Configuration::new().listener(listener)).start();
    let load = Load::new(&pki, engine.address).option("--resume", "100");
    let loaded = load.option("--count", "10").run(&pki).well();
    assert_eq!(counts(&loaded.json), (10, 0, 0), "{loaded:?}");
}

#[test]
fn what_a_server_resumes_is_counted_as_resumed() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let server = tls_server(&pki, Ticketer::new().expect("a ticketer"));
    let load = Load::new(&pki, address(&server)).option("--connections", "1");
    let loaded = load.option("--resume", "100").option("--count", "10").run(&pki).well();
    // The first has nothing to offer yet.
    assert_eq!(counts(&loaded.json), (1, 9, 9), "{loaded:?}");
    let load = Load::new(&pki, address(&server)).option("--connections", "1");
    let loaded = load.option("--resume", "50").option("--count", "10").run(&pki).well();
    assert_eq!(counts(&loaded.json), (5, 5, 5), "{loaded:?}");
}

#[test]
fn what_a_server_declines_is_counted_as_full() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let server = tls_server(&pki, Arc::new(Forgetful(Ticketer::new().expect("a ticketer"))));
    let load = Load::new(&pki, address(&server)).option("--connections", "1");
    let loaded = load.option("--resume", "100").option("--count", "10").run(&pki).well();
    assert_eq!(counts(&loaded.json), (10, 0, 9), "{loaded:?}");
}

#[test]
fn without_a_probe_a_ticket_is_the_proof() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let server = tls_server(&pki, Ticketer::new().expect("a ticketer"));
    let load = Load::new(&pki, address(&server)).flag("--no-probe");
    let loaded = load.option("--count", "5").run(&pki).well();
    assert_eq!((loaded.count("/handshakes/full"), loaded.count("/requests/completed")), (5, 0));
}

#[test]
fn a_pool_of_unseen_clients_that_is_used_up_ends_the_run() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let directory = pki.directory().join("clients");
    let issued = |address| {
        let load = Load::without_client(&pki, address).option("--connections", "1");
        load.option("--make-client-ca", &directory.display().to_string())
            .option("--clients", "20")
            .option("--seen", "4")
            .option("--unseen", "100")
            // More than a run could pretend to: what ends it is the pool.
            .option("--count", "1000000000000")
    };
    // The CA must be there before the engine can trust it.
    let nobody = Refusing::new();
    let _ = issued(parsed(&nobody.upstream())).run(&pki).badly(&["refuses connections"]);
    let mode = fs::metadata(directory.join("client-issuer.key")).expect("the key").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let engine = Launch::new(&pki)
        .client_ca(&directory.join("client-root.pem"))
        .rules(&["--allow", "dns=*.client-domain"])
        .start();
    let loaded = issued(engine.address).run(&pki).badly(&["used up", "--clients"]);
    assert_eq!(loaded.count("/handshakes/full"), 16, "{loaded:?}");
    assert_eq!(loaded.json["errors"], json!({}));
    let mut clients: Vec<String> = engine
        .connection_records(16)
        .iter()
        .map(|record| record["identity"]["subject"].to_string())
        .collect();
    clients.sort();
    clients.dedup();
    assert_eq!(clients.len(), 16, "nobody comes twice: {clients:?}");
}

#[test]
fn a_server_under_another_ca_is_not_accepted() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let load = Load::new(&pki, engine.address)
        .option("--ca", &pki.stranger_root_file.display().to_string());
    let loaded = load.run(&pki).badly(&["certificate is not accepted", "--ca"]);
    assert_eq!(loaded.count("/handshakes/full"), 0);
    assert!(loaded.count("/errors/server_certificate") > 0);
}

#[test]
fn a_client_that_policy_refuses_is_a_failure_and_no_success() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).rules(&["--allow", "cn=nobody"]).start();
    for version in ["1.3", "1.2"] {
        let load = Load::new(&pki, engine.address).option("--tls", version);
        // Patient enough not to give up before the last.
        let load = load.option("--ramp", "1m").option("--give-up", "1m").option("--count", "8");
        let loaded = load.run(&pki).badly(&["access_denied", "8 errors"]);
        assert_eq!(loaded.json["errors"], json!({ "tls_alert:access_denied": 8 }), "{loaded:?}");
        assert_eq!(counts(&loaded.json), (0, 0, 0));
        assert_eq!(loaded.count("/handshakes/failed"), 8);
    }
}

#[test]
fn errors_within_the_allowance_are_reported_and_forgiven() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let server = Backend::tcp(move |mut connection| {
        respond(&mut connection, "404 Not Found");
    });
    let load = Load::without_client(&pki, address(&server)).flag("--plaintext");
    let load = load.option("--mode", "request").option("--give-up", "1m").option("--ramp", "1m");
    let loaded = load.option("--count", "3").option("--max-errors", "3").run(&pki);
    // Allowed, and yet nothing was done.
    let loaded = loaded.badly(&["nothing was completed"]);
    assert_eq!(loaded.json["errors"], json!({ "http_status:404": 3 }));
    assert_eq!(loaded.count("/requests/failed"), 3);
}

#[test]
fn a_port_with_nothing_behind_it_ends_the_run_early() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let nobody = Refusing::new();
    let target = parsed(&nobody.upstream());
    let load = Load::new(&pki, target).option("--duration", "1h");
    let loaded = load.run(&pki).badly(&["nothing succeeded", &target.to_string(), "refuses"]);
    assert!(loaded.count("/errors/connect_refused") > 0, "{loaded:?}");
    assert!(loaded.json["ended_early"].is_string());
}

#[test]
fn a_server_that_does_not_answer_ends_the_run_early() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let silent = Backend::recording();
    let unanswering = Unanswering::new();
    for target in [address(&silent), parsed(&unanswering.upstream())] {
        let load = Load::new(&pki, target).option("--duration", "1h").option("--timeout", "200ms");
        let loaded = load.run(&pki).badly(&["nothing succeeded", "no answer within"]);
        assert!(loaded.count("/errors/timeout") > 0, "{loaded:?}");
    }
}

#[test]
fn a_server_that_is_killed_ends_the_run_early() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let target = engine.address.to_string();
    let load = Load::new(&pki, engine.address).option("--duration", "1h");
    let running = load.option("--give-up", "300ms").start();
    wait_for("some handshakes", || (engine.status()["accepted"].as_u64() > Some(10)).then_some(()));
    drop(engine);
    let finished = running.outlast();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let said = format!("{target} has stopped answering");
    assert!(finished.said.contains(&said) && finished.said.contains("refuses"), "{finished:?}");
}

#[test]
fn an_open_loop_starts_as_many_as_it_was_asked_for() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for mode in ["handshake", "request"] {
        // Further apart than it stays awake for, and nearer.
        let load = Load::new(&pki, engine.address).option("--mode", mode).option("--rate", "100");
        let load = load.option("--spin", if mode == "request" { "20ms" } else { "0s" });
        let loaded = load.option("--count", "25").run(&pki).well();
        assert_eq!(loaded.count("/requests/completed"), 25, "{loaded:?}");
        assert_eq!(
            loaded.json["open_loop"],
            json!({ "rate": 100.0, "due": 25, "left_waiting": 0 })
        );
    }
    let load = Load::new(&pki, engine.address).option("--rate", "40");
    let loaded = load.run(&pki);
    // 50 ms of the ramp and 500 ms, one each 25 ms; the last may not be done when the run ends.
    assert!(loaded.count("/open_loop/due") <= 22, "{loaded:?}");
    let late = loaded.count("/latency_us/begun_late/count");
    assert!((1..=22).contains(&late), "{loaded:?}");
    assert!(loaded.count("/handshakes/full") <= loaded.count("/open_loop/due"), "{loaded:?}");
}

#[test]
fn held_connections_are_counted_while_they_live() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for mode in ["handshake", "request"] {
        let load = Load::new(&pki, engine.address).flag("--hold").option("--mode", mode);
        let loaded = load.option("--connections", "20").option("--duration", "200ms").run(&pki);
        let loaded = loaded.well();
        assert!(loaded.finished.said.contains("holding 20 connections"), "{loaded:?}");
        assert_eq!(loaded.json["connections"], json!({ "opened": 20, "alive_at_end": 20 }));
        assert_eq!(loaded.count("/handshakes/full"), 20);
    }
}

#[test]
fn held_connections_that_the_server_closes_are_errors() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let load = Load::new(&pki, engine.address).flag("--hold").option("--duration", "1h");
    let running = load.option("--give-up", "300ms").start();
    running.wait_for_output("holding 4 connections");
    drop(engine);
    let finished = running.outlast();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.said.contains("0 alive at the end"), "{finished:?}");
}

#[test]
fn bytes_go_both_ways_with_and_without_being_looked_at() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (sink, source) = (Backend::recording(), Backend::source(1, u64::MAX));
    for (mode, backend, field) in
        [("upload", &sink, "/bytes/sent"), ("download", &source, "/bytes/received")]
    {
        let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
        for discard in [false, true] {
            let load = Load::new(&pki, engine.address).option("--mode", mode);
            let load = load.option("--connections", "2").option("--seal-ahead", "1");
            let load = if discard { load.flag("--discard") } else { load };
            let loaded = load.run(&pki).well();
            assert!(loaded.count(field) > 0, "{loaded:?}");
        }
    }
    assert!(sink.seen().received_bytes() > 0 && source.seen().sent_bytes() > 0);
}

#[test]
fn a_script_is_played_in_turns() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let server = Backend::tcp(|mut connection| {
        let mut bytes = [0; 5];
        if connection.read_exact(&mut bytes).is_ok() && connection.write_all(&[b'.'; 700]).is_ok() {
            connection.read_all(|_, _| {});
        }
    });
    let load = Load::without_client(&pki, address(&server)).option("--mode", "tcp");
    let loaded = load.option("--script", "5,700,3").option("--count", "6").run(&pki).well();
    assert_eq!(loaded.count("/requests/completed"), 6, "{loaded:?}");
    assert_eq!(server.seen().connections(), 6);
}

#[test]
fn floods_are_counted_when_they_are_answered() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for flood in ["client-hello", "garbage"] {
        let load = Load::new(&pki, engine.address).option("--flood", flood);
        let loaded = load.option("--count", "10").run(&pki).well();
        assert_eq!(loaded.count("/floods_answered"), 10, "{loaded:?}");
        assert_eq!(counts(&loaded.json), (0, 0, 0));
    }
    let load = Load::new(&pki, engine.address).flag("--reuse-key-share");
    assert_eq!(load.option("--count", "10").run(&pki).well().count("/handshakes/full"), 10);
}

#[test]
fn reports_are_written() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let [plot, log] = ["plot.svg", "latency.hlog"].map(|name| pki.directory().join(name));
    let load = Load::new(&pki, engine.address)
        .option("--plot", &plot.display().to_string())
        .option("--hdr-log", &log.display().to_string())
        .option("--server-pid", &std::process::id().to_string())
        .option("--count", "20");
    let loaded = load.run(&pki).well();
    assert!(loaded.json.pointer("/cpu/server_us_per_handshake").is_some_and(|us| us.is_number()));
    assert!(loaded.finished.said.contains("p99.9"), "{loaded:?}");
    let plot = fs::read_to_string(plot).expect("the picture");
    assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n"), "{plot}");
    assert!(plot.contains("Latency by percentile") && plot.contains("Rate over time"));
    let log = fs::read_to_string(log).expect("the log");
    assert!(log.contains("#[StartTime: ") && log.contains(",HIST"), "{log}");
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let target = SocketAddr::from(([127, 0, 0, 1], 1));
    let load = || Load::new(&pki, target);
    for (load, code, words) in [
        (load().option("--unseen", "5"), 2, "--clients"),
        (load().option("--group", "x25519mlkem768").option("--tls", "1.2"), 2, "TLS 1.3"),
        (load().option("--suite", "TLS_NULL"), 2, "TLS13_AES_128_GCM_SHA256"),
        (load().option("--ca", "/nonexistent"), 1, "/nonexistent"),
        (load().option("--server-pid", "4194305"), 1, "4194305"),
        (load().option("--connections", "4000000000"), 1, "open files"),
        (load().option("--cpus", "1000"), 1, "CPU 1000"),
    ] {
        let finished = load.start().finish();
        assert_eq!(finished.status.code(), Some(code), "{finished:?}");
        assert!(finished.said.contains(words), "{finished:?}");
    }
}

/// Full, resumed, offered.
fn counts(json: &serde_json::Value) -> (u64, u64, u64) {
    let count = |name: &str| json["handshakes"][name].as_u64().expect("a count");
    (count("full"), count("resumed"), count("resumption_offered"))
}

fn address(backend: &Backend) -> SocketAddr {
    parsed(&backend.upstream())
}

fn parsed(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

/// Another TLS server than the engine: with tickets, and a response to the first request.
fn tls_server(pki: &Pki, ticketer: Arc<dyn ProducesTickets>) -> Backend {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(&pki.client_root_file).expect("the client root");
    roots.add(root).expect("a CA certificate");
    let verifier = WebPkiClientVerifier::builder(roots.into()).build().expect("a verifier");
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(pki.server.chain.clone(), pki.server.key.clone_key())
        .expect("a server configuration");
    config.ticketer = ticketer;
    let config = Arc::new(config);
    Backend::tcp(move |mut connection: Connection| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        respond(&mut Stream::new(&mut tls, &mut connection), "200 OK");
    })
}

/// Waits for a request, answers it, waits for the end.
fn respond(stream: &mut (impl Read + Write), status: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi");
    if stream.write_all(response.as_bytes()).and_then(|()| stream.flush()).is_ok() {
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    }
}

/// Gives tickets and knows none of them again.
#[derive(Debug)]
struct Forgetful(Arc<dyn ProducesTickets>);

impl ProducesTickets for Forgetful {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
