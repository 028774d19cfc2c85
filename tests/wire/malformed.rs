//! Peers that speak no TLS, too much of it, too old a version of it, or too slowly.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Ending, StreamEnd, Version, config, dial, read_to_end};
use countersign_tests::deadline::PATIENCE;
use countersign_tests::engine::{Engine, Launch};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::record::{
    APPLICATION_DATA, HANDSHAKE, client_hello_tls11, lone_fatal_alert, padded_client_hello, record,
    records,
};
use countersign_tests::seeded::Seeded;
use countersign_tests::tool::OPENSSL;
use rustls::AlertDescription;
use serde_json::Value;

use crate::s_client;

#[test]
fn plain_http() {
    let scene = Scene::new(&[]);
    let (_, record) =
        scene.refuses_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    assert_eq!(record["reason"], "malformed_message", "{record}");
    scene.is_unharmed();
}

#[test]
fn random_bytes() {
    let scene = Scene::new(&[]);
    let mut noise = Seeded::new(7);
    for length in [16, 64, 600, 5_000, 16_000] {
        for _ in 0..8 {
            let mut bytes = noise.bytes(length);
            // A first byte that is no ContentType: no server need wait for more.
            bytes[0] |= 0x80;
            let (_, record) = scene.refuses_bytes(&bytes);
            assert_eq!(record["reason"], "malformed_message", "{record}");
        }
    }
    scene.is_unharmed();
}

#[test]
fn records_that_hold_no_client_hello() {
    let scene = Scene::new(&[]);
    let mut noise = Seeded::new(8);
    let not_hellos = [
        // A server_hello, a finished and a message type that does not exist, where a client_hello must come first.
        record(HANDSHAKE, &[&[2, 0, 0, 40][..], &noise.bytes(40)].concat()),
        record(HANDSHAKE, &[&[20, 0, 0, 32][..], &noise.bytes(32)].concat()),
        record(HANDSHAKE, &[&[99, 0, 0, 32][..], &noise.bytes(32)].concat()),
        // A client_hello whose body is noise.
        record(HANDSHAKE, &[&[1, 0, 1, 0][..], &noise.bytes(256)].concat()),
        // Application data before any handshake.
        record(APPLICATION_DATA, &noise.bytes(64)),
        // A record longer than 2^14 + 2048 bytes (RFC 5246 section 6.2.3), header and all.
        [&[HANDSHAKE, 3, 1, 0xff, 0xff][..], &noise.bytes(16_000)].concat(),
    ];
    for bytes in &not_hellos {
        scene.refuses_bytes(bytes);
    }
    scene.is_unharmed();
}

#[test]
fn tls11_by_hand() {
    let scene = Scene::new(&[]);
    let (alert, record) = scene.refuses_bytes(&client_hello_tls11());
    assert_eq!(alert, AlertDescription::ProtocolVersion);
    assert_eq!(record["reason"], "protocol_version", "{record}");
    scene.is_unharmed();
}

#[test]
fn tls11_by_openssl() {
    let scene = Scene::new(&[]);
    let mut arguments = s_client::unversioned_arguments(
        &scene.pki,
        scene.engine.address.port(),
        Some(&scene.pki.alice),
    );
    // OpenSSL 3 offers TLS 1.1 at security level 0 only.
    arguments.extend(["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"].map(str::to_owned));
    let finished = OPENSSL.start(&arguments).outlast();
    assert!(!finished.status.success(), "{finished:?}");
    let number = format!("SSL alert number {}", u8::from(AlertDescription::ProtocolVersion));
    assert!(finished.said.contains(&number), "{finished:?}");
    let record = scene.engine.log().wait_for_event("connection");
    assert_eq!(
        (&record["result"], &record["reason"]),
        (&"refused".into(), &"protocol_version".into()),
        "{record}"
    );
    scene.is_unharmed();
}

#[test]
fn tls12_with_cbc_suites_only() {
    let scene = Scene::new(&[]);
    let mut arguments = s_client::arguments(
        &scene.pki,
        scene.engine.address.port(),
        Some(&scene.pki.alice),
        Version::Tls12,
    );
    arguments
        .extend(["-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"].map(str::to_owned));
    let finished = OPENSSL.start(&arguments).outlast();
    assert!(!finished.status.success(), "{finished:?}");
    let number = format!("SSL alert number {}", u8::from(AlertDescription::HandshakeFailure));
    assert!(finished.said.contains(&number), "{finished:?}");
    scene.is_unharmed();
}

#[test]
fn a_client_hello_over_the_limit() {
    let scene = Scene::new(&["--max-client-hello", "4096"]);
    for version in Version::ALL {
        let hello = scene.client_hello(version);
        for message_bytes in [5_000, 16_000, 40_000, 60_000] {
            let (_, record) = scene.refuses_bytes(&padded_client_hello(&hello, message_bytes));
            assert_eq!(record["reason"], "client_hello_too_large", "{message_bytes}: {record}");
        }
    }
    scene.is_unharmed();
}

#[test]
fn a_client_hello_within_the_limit_is_answered() {
    let scene = Scene::new(&["--max-client-hello", "4096"]);
    for version in Version::ALL {
        let padded = padded_client_hello(&scene.client_hello(version), 4_000);
        let mut socket = dial(scene.engine.address);
        socket.write_all(&padded).expect("a hello");
        let mut header = [0; 5];
        socket.read_exact(&mut header).expect("an answer");
        assert_eq!(header[0], HANDSHAKE, "a ServerHello, not an alert");
    }
    scene.is_unharmed();
}

#[test]
fn a_client_hello_in_single_bytes_and_in_single_byte_records_is_answered() {
    let scene = Scene::new(&[]);
    for version in Version::ALL {
        let hello = scene.client_hello(version);
        let (in_records, _) = records(&hello);
        let message: Vec<u8> =
            in_records.iter().flat_map(|record| record.payload).copied().collect();
        let in_single_byte_records: Vec<u8> =
            message.iter().flat_map(|&byte| record(HANDSHAKE, &[byte])).collect();
        for bytes in [&hello, &in_single_byte_records] {
            let mut socket = dial(scene.engine.address);
            for byte in bytes {
                socket.write_all(&[*byte]).expect("a byte");
            }
            let mut header = [0; 5];
            socket.read_exact(&mut header).expect("an answer");
            if header[0] != HANDSHAKE {
                let record =
                    scene.engine.connection_record(socket.local_addr().expect("an address"));
                panic!("no ServerHello to {} bytes in {version:?}: {record}", bytes.len());
            }
        }
    }
    scene.is_unharmed();
}

#[test]
fn a_client_of_one_byte_at_a_time_runs_into_the_handshake_timeout() {
    let scene = Scene::new(&["--handshake-timeout", "1s"]);
    for version in Version::ALL {
        let hello = scene.client_hello(version);
        let socket = dial(scene.engine.address);
        let client = socket.local_addr().expect("a local address");
        assert_eq!(drip(&socket, &hello), StreamEnd::Eof);
        scene.ended_by_timeout(client);
    }
    scene.is_unharmed();
}

#[test]
fn a_client_that_never_speaks_runs_into_the_handshake_timeout() {
    let scene = Scene::new(&["--handshake-timeout", "1s"]);
    let socket = dial(scene.engine.address);
    let (_, end) = read_to_end(&socket);
    assert_eq!(end, StreamEnd::Eof);
    scene.ended_by_timeout(socket.local_addr().expect("a local address"));
    scene.is_unharmed();
}

#[test]
fn a_client_that_stops_within_the_handshake_runs_into_the_handshake_timeout() {
    let scene = Scene::new(&["--handshake-timeout", "1s"]);
    for version in Version::ALL {
        let mut client = Client::connect(scene.engine.address, &scene.config(version));
        let hello = client.take_pending();
        client.write_raw(&hello);
        // Reads the server's flight and never answers it.
        let (_, end) = read_to_end(&client.socket);
        assert_eq!(end, StreamEnd::Eof);
        scene.ended_by_timeout(client.address());
    }
    scene.is_unharmed();
}

/// An engine in front of a backend that nothing but a good client must reach.
struct Scene {
    pki: Pki,
    backend: Backend,
    engine: Engine,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::recording();
        let mut launch = Launch::new(&pki).upstream(&backend.upstream());
        for pair in options.chunks(2) {
            launch = launch.option(pair[0], pair[1]);
        }
        let engine = launch.start();
        Self { pki, backend, engine }
    }

    fn config(&self, version: Version) -> Arc<rustls::ClientConfig> {
        Arc::new(config(&self.pki, Some(&self.pki.alice), version))
    }

    fn client_hello(&self, version: Version) -> Vec<u8> {
        Client::connect(self.engine.address, &self.config(version)).take_pending()
    }

    /// Sends `bytes` and more behind them; the answer must be one fatal alert and then a clean end. Gives the
    /// alert and the log's record.
    #[track_caller]
    fn refuses_bytes(&self, bytes: &[u8]) -> (AlertDescription, Value) {
        let mut socket = dial(self.engine.address);
        let client = socket.local_addr().expect("a local address");
        // Errors show on the reading side. What comes behind stays unread in the engine's socket.
        drop(socket.write_all(bytes).and_then(|()| socket.write_all(&[0; 8192])));
        let (answer, end) = read_to_end(&socket);
        assert_eq!(end, StreamEnd::Eof, "after {answer:?}\n{}", self.engine.log().tail());
        let alert =
            lone_fatal_alert(&answer).unwrap_or_else(|| panic!("no lone fatal alert: {answer:?}"));
        // The engine drains until this side closes too; the record comes after that.
        drop(socket);
        let record = self.engine.connection_record(client);
        assert_eq!(record["result"], "refused", "{record}");
        (alert, record)
    }

    #[track_caller]
    fn ended_by_timeout(&self, client: std::net::SocketAddr) {
        let record = self.engine.connection_record(client);
        assert_eq!(record["result"], "refused", "{record}");
        assert_eq!(record["reason"], "handshake_timeout", "{record}");
    }

    /// Nothing reached the backend, nothing is left behind, and a good client gets through.
    #[track_caller]
    fn is_unharmed(&self) {
        self.engine.wait_until_idle();
        assert_eq!(
            (self.backend.seen().connections(), self.backend.seen().received_bytes()),
            (0, 0)
        );
        let mut client = Client::established(self.engine.address, &self.config(Version::Tls13));
        client.send(b"hello");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        assert_eq!(self.backend.seen().wait_for_ended(1)[0].received.length, 5);
        self.engine.wait_until_idle();
    }
}

/// Sends a byte every 100 ms and looks for the end between them; says how it came. Never sends the last
/// byte, so that no fast engine gets a whole hello.
fn drip(mut socket: &TcpStream, hello: &[u8]) -> StreamEnd {
    const PAUSE: Duration = Duration::from_millis(100);
    socket.set_read_timeout(Some(PAUSE)).expect("a read timeout");
    let mut bytes = hello[..hello.len() - 1].iter();
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 64];
    while Instant::now() < deadline {
        if let Some(byte) = bytes.next() {
            drop(socket.write_all(&[*byte]));
        }
        match socket.read(&mut buffer) {
            Ok(0) => {
                drop(socket.shutdown(Shutdown::Both));
                return StreamEnd::Eof;
            }
            // Whatever alert the engine finds right here.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return StreamEnd::Reset,
        }
    }
    StreamEnd::Silence
}

#[test]
fn other_clients_are_served_while_slow_ones_wait() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).option("--handshake-timeout", "2m").start();
    let config = Arc::new(config(&pki, Some(&pki.alice), Version::Tls13));
    let slow: Vec<Client> = (0..200)
        .map(|turn| {
            let mut client = Client::connect(engine.address, &config);
            let hello = client.take_pending();
            client.write_raw(&hello[..turn % hello.len()]);
            client
        })
        .collect();
    let mut client = Client::established(engine.address, &config);
    assert!(names(&whoami(&mut client), "alice"));
    drop((client, slow));
    engine.wait_until_idle();
}
