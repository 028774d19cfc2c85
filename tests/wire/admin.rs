//! `/metrics`, `/healthz` and `/readyz`, over TCP and over a unix socket.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};

use countersign_tests::admin::Admin;
use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Ending, StreamEnd, Version, dial, read_to_end};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::{GET_AND_CLOSE, names, read_response, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME, start_of_year};
use countersign_tests::prometheus::{Kind, Metrics};
use countersign_tests::tool::OPENSSL;
use rustix::process::Signal;

use crate::configured::{Configured, REFUSED, admin, ask_whoami, tls};

#[test]
fn over_tcp() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    answers(&pki, &Admin::Tcp(own_address()));
}

#[test]
fn over_a_unix_socket() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    answers(&pki, &admin(&pki));
}

#[track_caller]
fn answers(pki: &Pki, admin: &Admin) {
    let listener = ListenerSection::of("door", own_address(), pki);
    let configuration = Configuration::new().admin(&admin.listen()).listener(listener);
    let engine = ConfigurationFile::new(pki, &configuration).start();
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics?name=value", 200),
        ("/metrics/", 404),
        ("/nothing", 404),
    ] {
        let answer = admin.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        assert_eq!(length, Some(answer.body.len()), "{path}: {answer:?}");
        for method in ["POST", "PUT", "DELETE"] {
            let answer = admin.ask(method, path).expect("an answer");
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}: {answer:?}");
        }
        let head = admin.ask("HEAD", path).expect("an answer");
        assert_eq!((head.status, head.body.as_str()), (status, ""), "HEAD {path}: {head:?}");
        assert_eq!(head.header("content-type"), answer.header("content-type"));
        assert!(head.header("content-length").is_some(), "HEAD {path}: {head:?}");
    }
    let content_type = admin.get("/metrics").header("content-type").map(str::to_owned);
    assert_eq!(content_type.as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    // Whoever connects and asks nothing keeps nobody else waiting.
    let idle: Vec<_> = (0..8).map(|_| connect(admin)).collect();
    assert_eq!(admin.get("/healthz").status, 200);
    drop(idle);
    assert_eq!(engine.terminate().code, Some(0));
    assert!(admin.ask("GET", "/healthz").is_err(), "the endpoint ends with the engine");
}

enum Idle {
    Tcp { _socket: TcpStream },
    Unix { _socket: UnixStream },
}

fn connect(admin: &Admin) -> Idle {
    match admin {
        Admin::Tcp(address) => {
            Idle::Tcp { _socket: TcpStream::connect(address).expect("a connection") }
        }
        Admin::Unix(path) => {
            Idle::Unix { _socket: UnixStream::connect(path).expect("a connection") }
        }
    }
}

#[test]
fn what_is_no_http_hurts_nobody() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let admin = Admin::Tcp(address);
    let listener = ListenerSection::of("door", own_address(), &pki);
    let configuration = Configuration::new().admin(&admin.listen()).listener(listener);
    let _engine = ConfigurationFile::new(&pki, &configuration).start();
    for noise in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", &[b'a'; 1 << 20]] {
        let mut socket = dial(address);
        drop(socket.write_all(noise).and_then(|()| socket.shutdown(std::net::Shutdown::Write)));
        assert_ne!(read_to_end(&socket).1, StreamEnd::Silence);
    }
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let admin = admin(&pki);
    let Admin::Unix(path) = &admin else { unreachable!("it is a unix socket") };
    let listener = ListenerSection::of("door", own_address(), &pki);
    let configuration = Configuration::new().admin(&admin.listen()).listener(listener);
    let file = ConfigurationFile::new(&pki, &configuration);
    let live = UnixListener::bind(path).expect("a listener");
    let failure = file.start_in_vain();
    assert_eq!(failure.status.code(), Some(1), "{failure:?}");
    assert!(failure.stderr.contains(&path.display().to_string()), "{failure:?}");
    drop(live);
    assert!(path.exists(), "a socket outlives its process");
    let engine = file.start();
    assert_eq!(admin.get("/readyz").status, 200);
    drop(engine);
    std::fs::remove_file(path).expect("the socket");
    std::fs::write(path, "precious").expect("a file");
    let failure = file.start_in_vain();
    assert_eq!(failure.status.code(), Some(1), "{failure:?}");
    assert_eq!(std::fs::read_to_string(path).expect("the file"), "precious");
}

#[test]
fn only_loopback_is_listened_on() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    for address in ["0.0.0.0:9100", "[::]:9100", "192.0.2.1:9100"] {
        let listener = ListenerSection::of("door", own_address(), &pki);
        let configuration = Configuration::new().admin(address).listener(listener);
        let failure = ConfigurationFile::new(&pki, &configuration).start_in_vain();
        assert_eq!(failure.status.code(), Some(1), "{failure:?}");
        let says_why = failure.stderr.contains("loopback") && failure.stderr.contains(address);
        assert!(says_why, "{failure:?}");
    }
}

#[test]
fn a_draining_engine_is_not_ready() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let backend = Backend::echo();
    let listener = ListenerSection::of("door", address, &pki).set("upstream", backend.upstream());
    let configured = Configured::start(
        &pki,
        Configuration::new().set("drain_timeout", "60s").listener(listener),
    );
    let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    client.send(b"here");
    assert_eq!(client.receive_exactly(4), b"here");
    assert_eq!(configured.admin.get("/readyz").status, 200);
    configured.engine.signal(Signal::TERM);
    wait_for("/readyz to say no", || (configured.admin.get("/readyz").status == 503).then_some(()));
    assert_eq!(configured.admin.get("/healthz").status, 200);
    assert_eq!(configured.metrics().count("countersign_connections_open", &[]), 1);
    client.send(b"still");
    assert_eq!(client.receive_exactly(5), b"still");
    client.close_notify();
    assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    assert_eq!(configured.engine.wait().code, Some(0));
}

#[test]
fn counters_add_up() {
    const GARBAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    /// A lone alert: record header, level, description.
    const ALERT_BYTES: u64 = 5 + 2;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki).set("allow", ["cn=alice"]);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));

    for _ in 0..3 {
        let mut socket = dial(address);
        socket.write_all(GARBAGE).expect("a write");
        assert_eq!(read_to_end(&socket).0.len() as u64, ALERT_BYTES);
    }
    configured.engine.wait_until_idle();
    let metrics = configured.metrics();
    assert_eq!(bytes(&metrics, "received"), 3 * GARBAGE.len() as u64);
    assert_eq!(bytes(&metrics, "sent"), 3 * ALERT_BYTES);

    let bob = pki.client("bob");
    for version in Version::ALL {
        for _ in 0..5 {
            let config = tls(&pki, Some(&pki.alice), version);
            assert!(names(&ask_whoami(SERVER_NAME, address, &config).expect("alice"), "alice"));
        }
        for (identity, times) in [(Some(&bob), 2), (None, 3)] {
            for _ in 0..times {
                let config = tls(&pki, identity, version);
                assert!(ask_whoami(SERVER_NAME, address, &config).is_err());
            }
        }
    }
    // One that was let in and ends badly.
    let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    assert!(names(&whoami(&mut client), "alice"));
    client.truncate();
    client.ending();
    drop(client);
    configured.engine.wait_until_idle();

    let metrics = configured.metrics();
    let count = |name| metrics.count(name, &[]);
    let established = metrics.count("countersign_handshakes_total", &[("resumed", "false")]);
    let refused = metrics.nonzero(REFUSED);
    assert_eq!(established, 11);
    assert_eq!(
        refused,
        [
            ("malformed_message".to_owned(), 3),
            ("client_certificate_missing".to_owned(), 6),
            ("denied_by_rule".to_owned(), 4)
        ]
    );
    assert_eq!(count("countersign_connections_accepted_total"), 11 + 13);
    assert_eq!(count("countersign_connections_released_total"), 11 + 13);
    assert_eq!(count("countersign_connections_open"), 0);
    assert_eq!(count("countersign_handshakes_in_flight"), 0);
    assert_eq!(count("countersign_connections_ended_cleanly_total"), 10);
    assert_eq!(
        metrics.nonzero("countersign_connections_ended_total"),
        [("client_truncated".to_owned(), 1)]
    );
    assert_eq!(count("countersign_handshake_duration_seconds_count"), established);
    let seconds = metrics.value("countersign_handshake_duration_seconds_sum", &[]);
    assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{seconds:?}");

    // The log tells the same of each of them.
    let records = configured.engine.connection_records(24);
    let sum = |field: &str| records.iter().filter_map(|record| record[field].as_u64()).sum::<u64>();
    assert_eq!(bytes(&metrics, "received"), sum("client_bytes_received"));
    assert_eq!(bytes(&metrics, "sent"), sum("client_bytes_sent"));
    let micros = sum("handshake_us") as f64 / 1e6;
    assert!((seconds.unwrap_or_default() - micros).abs() < 1e-3, "{seconds:?} {micros}");
}

#[test]
fn a_connection_that_is_open_is_counted_as_such() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let silent = dial(address);
    configured.wait_for_count("countersign_handshakes_in_flight", &[], 1);
    let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    assert!(names(&whoami(&mut client), "alice"));
    configured.wait_for_count("countersign_connections_open", &[], 2);
    let metrics = configured.metrics();
    assert_eq!(metrics.count("countersign_handshakes_in_flight", &[]), 1);
    drop(silent);
    client.send(GET_AND_CLOSE);
    read_response(&mut client).expect("an answer");
    drop(client);
    configured.wait_for_count("countersign_connections_open", &[], 0);
}

#[test]
fn what_is_configured_is_shown() {
    const NOT_AFTER: &str = "countersign_certificate_not_after_timestamp_seconds";
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (first, second) =
        (pki.server_for(&["first.example"], 2033), pki.server_for(&["second.example"], 2044));
    let door = ListenerSection::new("front-door", own_address())
        .limit("idle_timeout", "90s")
        .limit("handshake_timeout", "1500ms")
        .limit("client_hello_bytes", 4_096)
        .identity(IdentitySection::new(&first, &pki.client_root_file))
        .identity(IdentitySection::new(&second, &pki.client_root_file).names(["second.example"]));
    let configuration = Configuration::new()
        .set("max_connections", 700)
        .set("max_handshakes", 300)
        .listener(door)
        .listener(ListenerSection::of("back-door", own_address(), &pki));
    let configured = Configured::start(&pki, configuration);
    let metrics = configured.metrics();

    let limit = |name| metrics.count("countersign_limit", &[("limit", name)]);
    assert_eq!((limit("max_connections"), limit("max_handshakes")), (700, 300));
    let of_listener = |listener, limit| {
        metrics.value("countersign_listener_limit", &[("listener", listener), ("limit", limit)])
    };
    assert_eq!(of_listener("front-door", "idle_timeout"), Some(90.0));
    assert_eq!(of_listener("front-door", "handshake_timeout"), Some(1.5));
    assert_eq!(of_listener("front-door", "client_hello_bytes"), Some(4_096.0));
    assert_eq!(of_listener("back-door", "idle_timeout"), Some(300.0));
    assert_eq!(metrics.count("countersign_workers", &[]), 1);

    let shown = |listener: &str, subject: &str| {
        let samples = &metrics.families[NOT_AFTER].samples;
        let found = samples.iter().find(|sample| {
            sample.label("listener") == Some(listener) && sample.label("subject") == Some(subject)
        });
        found.unwrap_or_else(|| panic!("no {subject} of {listener} in {samples:#?}"))
    };
    assert_eq!(metrics.families[NOT_AFTER].samples.len(), 3);
    for (subject, identity, year) in
        [("CN=first.example", &first, 2033), ("CN=second.example", &second, 2044)]
    {
        let sample = shown("front-door", subject);
        assert_eq!(sample.value as i64, start_of_year(year));
        // As another program reads the certificate.
        let file = identity.chain_file.display().to_string();
        let finished = OPENSSL.run(&["x509", "-in", &file, "-noout", "-enddate", "-serial"]);
        let expected = format!("notAfter=Jan  1 00:00:00 {year} GMT");
        assert!(finished.said.contains(&expected), "{finished:?}");
        let serial = finished.said.lines().find_map(|line| line.strip_prefix("serial="));
        let (serial, told) =
            (serial.expect("a serial number"), sample.label("serial").expect("a label"));
        assert!(
            told.trim_start_matches('0').eq_ignore_ascii_case(serial.trim_start_matches('0')),
            "{told} is not {serial}"
        );
    }
    assert_eq!(shown("back-door", "CN=countersign test server").value as i64, start_of_year(2090));
}

#[test]
fn every_metric_is_there_from_the_start() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let listener = ListenerSection::of("door", own_address(), &pki);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let metrics = configured.metrics();
    for (name, family) in &metrics.families {
        assert!(name.starts_with("countersign_"), "{name}");
        // A series that appears with its first event hides that event from rate().
        assert!(!family.samples.is_empty(), "{name} has no series");
        let counts = family.kind != Kind::Gauge;
        let zero = family.samples.iter().all(|sample| sample.value == 0.0);
        assert!(!counts || zero, "{name} is not 0: {:?}", family.samples);
    }
    for (metric, label, value) in [
        (REFUSED, "reason", "unknown_server_name"),
        ("countersign_connections_ended_total", "reason", "idle_timeout"),
        ("countersign_limit_reached_total", "limit", "max_handshakes"),
        ("countersign_reloads_total", "result", "refused"),
    ] {
        assert_eq!(metrics.value(metric, &[(label, value)]), Some(0.0), "{metric} {value}");
    }
}

fn bytes(metrics: &Metrics, direction: &str) -> u64 {
    metrics.count("countersign_client_bytes_total", &[("direction", direction)])
}
