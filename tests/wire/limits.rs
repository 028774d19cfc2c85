//! Limits hold back, and nobody is lost: who comes too early waits in the kernel's queue.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use countersign_tests::backend::{Backend, Unanswering};
use countersign_tests::client::{Client, Ending, StreamEnd, Version, dial, read_to_end};
use countersign_tests::configuration::{Configuration, ListenerSection, own_address};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::record::lone_fatal_alert;
use rustls::{AlertDescription, ClientConfig};

use crate::configured::{Configured, REFUSED, ask_whoami, tls};

const REACHED: &str = "countersign_limit_reached_total";
const IN_FLIGHT: &str = "countersign_handshakes_in_flight";
const OPEN: &str = "countersign_connections_open";

#[test]
fn handshakes_under_way() {
    const ROOM: usize = 5;
    const WAITING: usize = 12;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki).limit("handshake_timeout", "10m");
    let configuration = Configuration::new().set("max_handshakes", ROOM).listener(listener);
    let configured = Configured::start(&pki, configuration);
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);

    // Whoever is through does not count any more.
    let mut established: Vec<Client> =
        (0..2 * ROOM).map(|_| Client::established(address, &alice)).collect();
    for client in &mut established {
        assert!(names(&whoami(client), "alice"));
    }
    configured.wait_for_count(IN_FLIGHT, &[], 0);
    let idle: Vec<TcpStream> = (0..ROOM).map(|_| dial(address)).collect();
    configured.wait_for_count(IN_FLIGHT, &[], ROOM as u64);
    configured.engine.log().wait_for_event("handshakes_full");
    let waiting = waiting_clients(WAITING, address, &alice);
    // They are connected as far as the kernel is concerned, and not accepted.
    for client in &mut established {
        assert!(names(&whoami(client), "alice"), "who is in is served");
    }
    let metrics = configured.metrics();
    assert_eq!(metrics.count(IN_FLIGHT, &[]), ROOM as u64);
    assert_eq!(metrics.count("countersign_connections_accepted_total", &[]), 3 * ROOM as u64);
    assert_eq!(metrics.count(REACHED, &[("limit", "max_connections")]), 0);
    assert!(metrics.count(REACHED, &[("limit", "max_handshakes")]) > 0);

    // One place is enough for all of them, one after the other.
    let mut idle = idle.into_iter();
    drop(idle.next());
    for client in waiting {
        client.join().expect("a client that waited");
    }
    drop(idle);
    configured.wait_for_count(IN_FLIGHT, &[], 0);
    let metrics = configured.metrics();
    assert_eq!(metrics.nonzero(REFUSED), [("client_closed".to_owned(), ROOM as u64)]);
}

#[test]
fn connections_of_a_listener() {
    const ROOM: usize = 3;
    const WAITING: usize = 10;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (full, free) = (own_address(), own_address());
    let configuration = Configuration::new()
        .listener(ListenerSection::of("full", full, &pki).set("max_connections", ROOM))
        .listener(ListenerSection::of("free", free, &pki));
    let configured = Configured::start(&pki, configuration);
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);

    let mut holding: Vec<Client> = (0..ROOM).map(|_| Client::established(full, &alice)).collect();
    for client in &mut holding {
        assert!(names(&whoami(client), "alice"));
    }
    let waiting = waiting_clients(WAITING, full, &alice);
    configured.engine.log().wait_for_event("listener_full");
    for _ in 0..20 {
        let answer = ask_whoami(SERVER_NAME, free, &alice).expect("the other listener has room");
        assert!(names(&answer, "alice"));
    }
    configured.wait_for_count(OPEN, &[], ROOM as u64);
    let metrics = configured.metrics();
    assert!(metrics.count(REACHED, &[("limit", "listener_max_connections")]) > 0);
    assert_eq!(metrics.count(REACHED, &[("limit", "max_connections")]), 0);
    drop(holding);
    for client in waiting {
        client.join().expect("a client that waited");
    }
    configured.engine.wait_until_idle();
    assert_eq!(configured.metrics().nonzero(REFUSED), []);
}

#[test]
fn connections_of_a_listener_change_with_a_reload() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let with_room = |room: usize| {
        let listener = ListenerSection::of("door", address, &pki).set("max_connections", room);
        Configuration::new().listener(listener)
    };
    let configured = Configured::start(&pki, with_room(1));
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let mut holder = Client::established(address, &alice);
    assert!(names(&whoami(&mut holder), "alice"));
    let waiting = waiting_clients(3, address, &alice);
    configured.engine.log().wait_for_event("listener_full");
    configured.reload(with_room(2));
    for client in waiting {
        client.join().expect("room has come");
    }
    assert!(names(&whoami(&mut holder), "alice"));
}

#[test]
fn connections_of_a_worker() {
    const ROOM: usize = 4;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (one, other) = (own_address(), own_address());
    let configuration = Configuration::new()
        .set("max_connections", ROOM)
        .listener(ListenerSection::of("one", one, &pki))
        .listener(ListenerSection::of("other", other, &pki));
    let configured = Configured::start(&pki, configuration);
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let mut holding: Vec<Client> =
        [one, other, one, other].map(|address| Client::established(address, &alice)).into();
    for client in &mut holding {
        assert!(names(&whoami(client), "alice"));
    }
    let waiting: Vec<_> =
        [one, other].into_iter().flat_map(|address| waiting_clients(4, address, &alice)).collect();
    configured.engine.log().wait_for_event("connection_table_full");
    assert!(configured.metrics().count(REACHED, &[("limit", "max_connections")]) > 0);
    // One place serves the queues of both listeners.
    drop(holding.pop());
    for client in waiting {
        client.join().expect("a client that waited");
    }
}

#[test]
fn each_listener_has_timeouts_of_its_own() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (quick, patient) = (own_address(), own_address());
    let backend = Backend::echo();
    let listener = |name, address| {
        ListenerSection::of(name, address, &pki).set("upstream", backend.upstream())
    };
    let configuration = Configuration::new()
        .listener(
            listener("quick", quick)
                .limit("handshake_timeout", "400ms")
                .limit("idle_timeout", "500ms"),
        )
        .listener(listener("patient", patient));
    let configured = Configured::start(&pki, configuration);

    let (silent, patient_silent) = (dial(quick), dial(patient));
    let (bytes, end) = read_to_end(&silent);
    assert_eq!(lone_fatal_alert(&bytes), Some(AlertDescription::HandshakeFailure));
    assert_eq!(end, StreamEnd::Eof);
    for version in Version::ALL {
        let alice = tls(&pki, Some(&pki.alice), version);
        let mut patient = Client::established(patient, &alice);
        let mut quick = Client::established(quick, &alice);
        for client in [&mut quick, &mut patient] {
            client.send(b"word");
            assert_eq!(client.receive_exactly(4), b"word");
        }
        // A close_notify would fake a clean end.
        assert_eq!(quick.ending(), (Vec::new(), Ending::Truncated));
        let record = configured.engine.connection_record(quick.address());
        assert_eq!(record["reason"], "idle_timeout", "{record}");
        assert_eq!(record["listener"], "quick", "{record}");
        patient.send(b"still");
        assert_eq!(patient.receive_exactly(5), b"still");
        patient.close_notify();
        assert_eq!(patient.ending(), (Vec::new(), Ending::CloseNotify));
    }
    assert_eq!(
        configured.metrics().count(IN_FLIGHT, &[]),
        1,
        "the other silent one may be so for longer"
    );
    drop(patient_silent);
    let metrics = configured.metrics();
    assert_eq!(
        metrics.nonzero("countersign_connections_ended_total"),
        [("idle_timeout".to_owned(), 2)]
    );
    assert_eq!(metrics.count(REFUSED, &[("reason", "handshake_timeout")]), 1);
}

#[test]
fn an_upstream_that_does_not_answer() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let upstream = Unanswering::new();
    let listener = ListenerSection::of("door", address, &pki)
        .set("upstream", upstream.upstream())
        .limit("connect_timeout", "300ms");
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    for version in Version::ALL {
        let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), version));
        assert_eq!(client.ending(), (Vec::new(), Ending::Truncated));
        let record = configured.engine.connection_record(client.address());
        assert_eq!(record["reason"], "upstream_connect_timeout", "{record}");
        assert_eq!(record["result"], "allowed", "{record}");
    }
    configured.engine.wait_until_idle();
    assert_eq!(
        configured.metrics().nonzero("countersign_connections_ended_total"),
        [("upstream_connect_timeout".to_owned(), 2)]
    );
}

#[test]
fn a_half_closed_connection_ends() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    // It reads to the end and keeps its own side open.
    let backend = Backend::tcp(|mut connection| {
        connection.read_all(|_, _| {});
        connection.read_all(|_, _| {});
        thread::sleep(std::time::Duration::from_secs(5));
    });
    let listener = ListenerSection::of("door", address, &pki)
        .set("upstream", backend.upstream())
        .limit("half_closed_timeout", "300ms");
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    client.send(b"last words");
    client.close_notify();
    assert_eq!(client.ending(), (Vec::new(), Ending::Truncated));
    let record = configured.engine.connection_record(client.address());
    assert_eq!(record["reason"], "idle_timeout", "{record}");
}

/// Clients that each ask the built-in upstream once, as soon as they are let in.
fn waiting_clients(
    count: usize,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Vec<JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let config = Arc::clone(config);
            thread::spawn(move || {
                let answer = ask_whoami(SERVER_NAME, address, &config).expect("an answer, in time");
                assert!(names(&answer, "alice"));
            })
        })
        .collect()
}
