//! The direct descriptor table: never too full, never confused.

mod worker;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use countersign_ring::{Close, ConnectAddress, ConnectRefused, Event, Full, Ring, Settings};
use worker::{PATIENCE, SETTINGS, connection, listen, open, wait, wait_for_bytes};

#[test]
fn a_thousand_connections_pass_through_64_slots_and_none_is_lost() {
    const CONNECTIONS: usize = 1000;
    let mut ring = open();
    assert_eq!(ring.slots(), 64);
    let listener = listen();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..4)
        .map(|quarter| {
            thread::spawn(move || {
                // All at once: most of them wait in the backlog for a slot.
                let mut clients: Vec<_> =
                    (0..CONNECTIONS / 4).map(|_| TcpStream::connect(address).unwrap()).collect();
                for (n, client) in clients.iter_mut().enumerate() {
                    client.set_read_timeout(Some(PATIENCE)).unwrap();
                    client.write_all(format!("{quarter} {n}").as_bytes()).unwrap();
                }
                for (n, client) in clients.iter_mut().enumerate() {
                    let mut echoed = String::new();
                    client.read_to_string(&mut echoed).unwrap();
                    assert_eq!(echoed, format!("{quarter} {n}"));
                }
            })
        })
        .collect();

    let mut closed = 0;
    while closed < CONNECTIONS {
        while ring.accept(&listener, 0).is_ok() {}
        assert_eq!(ring.slots_free(), 0);
        match wait(&mut ring) {
            Event::Accepted { socket, .. } => ring.receive(socket, 0),
            Event::Received { socket, received, .. } => {
                let bytes = ring.bytes(&received).to_vec();
                ring.recycle(received);
                assert!(!bytes.is_empty());
                ring.send(socket, bytes, 0, 0);
            }
            Event::Sent { socket, result, .. } => {
                result.unwrap();
                ring.close(socket, Close::Gracefully, 0);
            }
            Event::Closed { .. } => closed += 1,
            other => panic!("{other:?}"),
        }
    }
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(ring.accepts_armed() + ring.slots_free() as usize, 64);
    assert_eq!(ring.counters().completions_refused, 0);
    assert_eq!(ring.counters().closes_failed, 0);
}

#[test]
fn a_full_table_refuses_accepts_and_connects() {
    let mut ring = Ring::open(&Settings { slots: 1, ..SETTINGS }).unwrap();
    let listener = listen();
    ring.accept(&listener, 1).unwrap();
    assert_eq!(ring.accept(&listener, 2), Err(Full));
    let address = ConnectAddress::Tcp(listener.local_addr().unwrap());
    let refused = ring.connect(&address, 3).unwrap_err();
    assert!(matches!(refused, ConnectRefused::Full(Full)), "{refused:?}");
}

#[test]
fn a_stale_socket_is_refused_and_its_successor_left_alone() {
    let mut ring = Ring::open(&Settings { slots: 1, ..SETTINGS }).unwrap();
    let (stale, _first) = connection(&mut ring);
    ring.close(stale, Close::Gracefully, 1);
    assert!(!ring.is_open(stale), "closed is closed, before the event");
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { .. }), "{event:?}");
    let (socket, mut client) = connection(&mut ring);
    assert_eq!(socket.slot(), stale.slot());
    assert_ne!(socket, stale);

    // Debug builds stop at the bug, release builds count it: both refuse the operation.
    let misuses: [fn(&mut Ring, _); 4] = [
        |ring, stale| ring.receive(stale, 2),
        |ring, stale| ring.send(stale, b"for the first".to_vec(), 0, 3),
        |ring, stale| ring.shutdown_write(stale, 4),
        |ring, stale| ring.close(stale, Close::Reset, 5),
    ];
    for misuse in misuses {
        let stopped = catch_unwind(AssertUnwindSafe(|| misuse(&mut ring, stale))).is_err();
        assert_eq!(stopped, cfg!(debug_assertions));
    }
    assert_eq!(ring.counters().operations_refused, 4);
    assert_eq!(ring.in_flight(), 0);

    client.write_all(b"for the second").unwrap();
    ring.receive(socket, 6);
    assert_eq!(wait_for_bytes(&mut ring, socket), b"for the second");
}

#[test]
fn one_receive_at_a_time() {
    let mut ring = open();
    let (socket, _client) = connection(&mut ring);
    ring.receive(socket, 1);
    let again = catch_unwind(AssertUnwindSafe(|| ring.receive(socket, 2)));
    assert!(again.is_err());
    assert_eq!(ring.in_flight(), 1);
}

#[test]
fn a_queue_of_one_submission_carries_many() {
    let mut ring = Ring::open(&Settings { submission_entries: 1, ..SETTINGS }).unwrap();
    let connections: Vec<_> = (0..20).map(|_| connection(&mut ring)).collect();
    for (socket, _) in &connections {
        ring.send(*socket, b"to each".to_vec(), 0, 0);
        ring.receive(*socket, 1);
    }
    ring.submit().unwrap();
    for (_, client) in &connections {
        let mut client: &TcpStream = client;
        let mut bytes = [0; 7];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"to each");
        client.write_all(b"from each").unwrap();
    }
    let (mut sent, mut received) = (0, 0);
    while (sent, received) != (20, 20) {
        match wait(&mut ring) {
            Event::Sent { .. } => sent += 1,
            Event::Received { received: lease, .. } => {
                assert_eq!(ring.bytes(&lease), b"from each");
                ring.recycle(lease);
                received += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}
