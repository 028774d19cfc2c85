//! What the peer, the port and the memory see of an end.

mod worker;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use countersign_ring::{
    BufferPool, Close, ConnectAddress, Event, ListenOptions, Listener, Ring, Settings,
};
use worker::{PATIENCE, SETTINGS, connection, listen, open, wait};

#[test]
fn a_close_with_a_receive_in_flight_ends_the_stream() {
    let mut ring = open();
    let (socket, mut client) = connection(&mut ring);
    ring.receive(socket, 1);
    ring.submit().unwrap();
    ring.close(socket, Close::Gracefully, 2);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { tag: 2, .. }), "and nothing before: {event:?}");
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    assert_eq!((ring.in_flight(), ring.slots_free()), (0, ring.slots()));
}

#[test]
fn what_was_sent_before_a_graceful_close_arrives() {
    let mut ring = open();
    let (socket, mut client) = connection(&mut ring);
    ring.receive(socket, 1);
    ring.send(socket, b"last words".to_vec(), 0, 2);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Sent { .. }), "{event:?}");
    ring.close(socket, Close::Gracefully, 3);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { .. }), "{event:?}");
    let mut words = String::new();
    client.read_to_string(&mut words).unwrap();
    assert_eq!(words, "last words");
}

#[test]
fn a_reset_is_seen_as_one_with_or_without_operations_in_flight() {
    for receive_in_flight in [false, true] {
        let mut ring = open();
        let (socket, mut client) = connection(&mut ring);
        if receive_in_flight {
            ring.receive(socket, 1);
            ring.submit().unwrap();
        }
        ring.close(socket, Close::Reset, 2);
        let event = wait(&mut ring);
        assert!(matches!(event, Event::Closed { tag: 2, .. }), "{event:?}");
        let error = client.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_reset_is_seen_by_a_peer_that_has_ended_its_direction() {
    let mut ring = open();
    let (socket, mut client) = connection(&mut ring);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    ring.receive(socket, 1);
    let event = wait(&mut ring);
    assert!(matches!(&event, Event::Received { received, .. } if received.is_empty()), "{event:?}");
    ring.close(socket, Close::Reset, 2);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { .. }), "{event:?}");
    let error = client.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_close_with_a_send_in_flight_to_a_peer_that_does_not_read() {
    let mut ring = open();
    let (socket, client) = connection(&mut ring);
    ring.send(socket, vec![0; 64 << 20], 0, 1);
    ring.receive(socket, 2);
    ring.submit().unwrap();
    ring.close(socket, Close::Reset, 3);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { tag: 3, .. }), "{event:?}");
    assert_eq!(ring.in_flight(), 0);
    drop(client);
}

#[test]
fn a_connect_that_hangs_is_given_up_by_closing_it() {
    // A backlog of 0 holds one connection; the SYN of further ones is dropped and sent again.
    let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let address = listener.local_addr().unwrap();
    let mut ring = open();
    let mut hanging = Vec::new();
    for tag in 0..8 {
        hanging.push(ring.connect(&ConnectAddress::Tcp(address), tag).unwrap());
    }
    ring.submit().unwrap();
    for socket in hanging {
        ring.close(socket, Close::Reset, 9);
    }
    for _ in 0..8 {
        let event = wait(&mut ring);
        assert!(matches!(event, Event::Closed { tag: 9, .. }), "{event:?}");
    }
    assert_eq!((ring.in_flight(), ring.slots_free()), (0, ring.slots()));
}

#[test]
fn a_receive_that_completed_before_the_close_gives_its_buffer_back() {
    let mut ring =
        Ring::open(&Settings { buffers: BufferPool { count: 1, ..SETTINGS.buffers }, ..SETTINGS })
            .unwrap();
    for _ in 0..3 {
        let (socket, mut client) = connection(&mut ring);
        client.write_all(b"never delivered").unwrap();
        ring.receive(socket, 1);
        // The completion is there, and its event is not fetched.
        ring.submit_and_wait(Some(PATIENCE)).unwrap();
        ring.close(socket, Close::Gracefully, 2);
        let event = wait(&mut ring);
        assert!(matches!(event, Event::Closed { tag: 2, .. }), "{event:?}");
    }
    // The only buffer would be gone by now.
    let (socket, mut client) = connection(&mut ring);
    client.write_all(b"delivered").unwrap();
    ring.receive(socket, 1);
    let Event::Received { received, .. } = wait(&mut ring) else { panic!() };
    assert_eq!(ring.bytes(&received), b"delivered");
    assert_eq!(ring.counters().receives_starved, 0);
    ring.recycle(received);
}

#[test]
fn an_address_is_free_once_accepts_are_cancelled_and_the_ring_is_dropped() {
    let mut ring = open();
    let listener = listen();
    let address = listener.local_addr().unwrap();
    for tag in 0..16 {
        ring.accept(&listener, tag).unwrap();
    }
    ring.submit().unwrap();
    ring.cancel_accepts();
    let mut cancelled: Vec<u64> = (0..16)
        .map(|_| match wait(&mut ring) {
            Event::AcceptCancelled { tag } => tag,
            other => panic!("{other:?}"),
        })
        .collect();
    cancelled.sort_unstable();
    assert!(cancelled.into_iter().eq(0..16));
    assert_eq!((ring.accepts_armed(), ring.slots_free()), (0, ring.slots()));
    drop((ring, listener));
    // Without SO_REUSEPORT, and without trying again: nobody may hold the address any more.
    let options = ListenOptions { reuse_port: false, retry_in_use: Duration::ZERO, backlog: 1 };
    Listener::bind(address, &options).unwrap();
}

#[test]
fn a_cancelled_accept_that_has_its_connection_keeps_it() {
    let mut ring = open();
    let listener = listen();
    ring.accept(&listener, 1).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // Armed and cancelled in one submission, with the connection already waiting.
    ring.cancel_accepts();
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Accepted { tag: 1, .. }), "{event:?}");
}

#[test]
fn an_address_in_use_is_tried_again_and_reported_in_the_end() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let at_once = ListenOptions { retry_in_use: Duration::ZERO, ..ListenOptions::default() };
    let error = Listener::bind(address, &at_once).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    let patient = ListenOptions { retry_in_use: PATIENCE, ..ListenOptions::default() };
    let binding = std::thread::spawn(move || Listener::bind(address, &patient));
    // So that it is likely to have been refused once; it must succeed either way.
    std::thread::sleep(Duration::from_millis(20));
    drop(holder);
    assert_eq!(binding.join().unwrap().unwrap().local_addr().unwrap(), address);
}

#[test]
fn only_a_listening_tcp_socket_is_adopted() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    listening.set_nonblocking(true).unwrap();
    let address = listening.local_addr().unwrap();
    let connected = TcpStream::connect(address).unwrap();
    assert!(Listener::from_fd(connected.into()).is_err());
    let (server, _) = loop {
        if let Ok(accepted) = listening.accept() {
            break accepted;
        }
    };
    drop(server);

    let listener = Listener::from_fd(listening.into()).unwrap();
    let mut ring = open();
    ring.accept(&listener, 1).unwrap();
    ring.submit().unwrap();
    assert!(ring.next_event().is_none(), "it waits although the socket was non-blocking");
    let _client = TcpStream::connect(address).unwrap();
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Accepted { tag: 1, .. }), "{event:?}");
}

#[test]
fn dropping_a_ring_with_everything_in_flight_does_not_hang_and_ends_its_connections() {
    let mut ring = open();
    let listener = listen();
    let (receiving, mut client) = connection(&mut ring);
    let (sending, unread) = connection(&mut ring);
    ring.receive(receiving, 1);
    ring.send(sending, vec![0; 64 << 20], 0, 2);
    ring.accept(&listener, 3).unwrap();
    ring.submit().unwrap();
    // And these were never submitted.
    ring.accept(&listener, 4).unwrap();
    ring.connect(&ConnectAddress::Tcp(listener.local_addr().unwrap()), 5).unwrap();
    let waker = ring.waker();

    let begun = Instant::now();
    drop(ring);
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    drop(unread);
    waker.wake();
    waker.wake();
}
