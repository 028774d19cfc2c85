//! Bytes through accepted and connected sockets.

mod worker;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use countersign_ring::{Close, ConnectAddress, ConnectRefused, Event, ListenOptions, Listener};
use worker::{PATIENCE, connection, listen, open, wait, wait_for_bytes};

#[test]
fn what_a_client_sends_comes_back() {
    let mut ring = open();
    let listener = listen();
    let address = listener.local_addr().unwrap();
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let client = thread::spawn(move || {
        let mut writer = TcpStream::connect(address).unwrap();
        writer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = writer.try_clone().unwrap();
        let writing = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut echoed = Vec::new();
        reader.read_to_end(&mut echoed).unwrap();
        writing.join().unwrap();
        echoed
    });

    ring.accept(&listener, 1).unwrap();
    loop {
        match wait(&mut ring) {
            Event::Accepted { tag, socket, .. } => {
                assert_eq!(tag, 1);
                ring.receive(socket, 2);
            }
            Event::Received { tag, socket, received } => {
                assert_eq!(tag, 2);
                if received.is_empty() {
                    ring.close(socket, Close::Gracefully, 4);
                    continue;
                }
                // Bytes before the offset are not to be sent.
                let mut bytes = b"unsent".to_vec();
                bytes.extend_from_slice(ring.bytes(&received));
                ring.recycle(received);
                ring.send(socket, bytes, b"unsent".len(), 3);
            }
            Event::Sent { tag, socket, bytes, offset, result } => {
                assert_eq!((tag, offset), (3, b"unsent".len()));
                assert_eq!(result.unwrap(), bytes.len() - offset);
                ring.receive(socket, 2);
            }
            Event::Closed { tag, .. } => {
                assert_eq!(tag, 4);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(client.join().unwrap() == expected);
    assert_eq!((ring.in_flight(), ring.slots_free()), (0, ring.slots()));
}

#[test]
fn a_send_larger_than_any_socket_buffer_completes_once_and_whole() {
    let mut ring = open();
    let (socket, mut client) = connection(&mut ring);
    let length = 32 << 20;
    let reading = thread::spawn(move || {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).unwrap();
        bytes.iter().all(|byte| *byte == 7)
    });
    ring.send(socket, vec![7; length], 0, 1);
    let event = wait(&mut ring);
    assert!(matches!(&event, Event::Sent { result: Ok(sent), .. } if *sent == length), "{event:?}");
    assert!(reading.join().unwrap());
}

#[test]
fn an_accept_tells_the_address_of_its_own_client() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let mut ring = open();
        let listener = Listener::bind(any.parse().unwrap(), &ListenOptions::default()).unwrap();
        for tag in 0..8 {
            ring.accept(&listener, tag).unwrap();
        }
        assert_eq!(ring.accepts_armed(), 8);
        ring.submit().unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();

        // Each client says over its own connection who it is.
        for mut client in &clients {
            client.write_all(client.local_addr().unwrap().to_string().as_bytes()).unwrap();
        }
        let accepted: Vec<_> = (0..8)
            .map(|_| match wait(&mut ring) {
                Event::Accepted { socket, peer, .. } => (socket, peer),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ring.accepts_armed(), 0);
        for (socket, peer) in accepted {
            ring.receive(socket, 0);
            let told = wait_for_bytes(&mut ring, socket);
            assert_eq!(String::from_utf8(told).unwrap(), peer.to_string());
        }
    }
}

#[test]
fn a_tcp_connection_is_made_and_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ring = open();
    let address = ConnectAddress::Tcp(listener.local_addr().unwrap());
    let socket = ring.connect(&address, 1).unwrap();
    let event = wait(&mut ring);
    let Event::Connected { tag: 1, socket: connected, result: Ok(()) } = event else {
        panic!("{event:?}")
    };
    assert_eq!(connected, socket);
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"hello").unwrap();
    ring.receive(socket, 2);
    assert_eq!(wait_for_bytes(&mut ring, socket), b"hello");
    ring.shutdown_write(socket, 3);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::ShutDown { tag: 3, result: Ok(()), .. }), "{event:?}");
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0, "the FIN came");
}

#[test]
fn a_refused_connection_says_so_and_keeps_its_slot_until_it_is_closed() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut ring = open();
    let socket = ring.connect(&ConnectAddress::Tcp(unused), 1).unwrap();
    let Event::Connected { result: Err(error), .. } = wait(&mut ring) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ring.slots_free(), ring.slots() - 1);
    ring.close(socket, Close::Reset, 2);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { tag: 2, .. }), "{event:?}");
    assert_eq!(ring.slots_free(), ring.slots());
}

#[test]
fn a_unix_connection_is_made_and_used_and_both_manners_close_it() {
    let folder = std::env::temp_dir().join(format!("countersign-ring-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("upstream.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut ring = open();
    for manner in [Close::Gracefully, Close::Reset] {
        let socket = ring.connect(&ConnectAddress::Unix(path.clone()), 1).unwrap();
        let event = wait(&mut ring);
        assert!(matches!(event, Event::Connected { result: Ok(()), .. }), "{event:?}");
        let (mut server, _) = listener.accept().unwrap();
        ring.send(socket, b"over a unix socket".to_vec(), 0, 2);
        let event = wait(&mut ring);
        assert!(matches!(event, Event::Sent { result: Ok(18), .. }), "{event:?}");
        ring.close(socket, manner, 3);
        let event = wait(&mut ring);
        assert!(matches!(event, Event::Closed { tag: 3, .. }), "{event:?}");
        let mut sent = String::new();
        server.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "over a unix socket");
    }

    std::fs::remove_dir_all(&folder).unwrap();
    ring.connect(&ConnectAddress::Unix(path), 1).unwrap();
    let Event::Connected { result: Err(error), .. } = wait(&mut ring) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_path_too_long_for_a_unix_socket_takes_no_slot() {
    let mut ring = open();
    let refused = ring.connect(&ConnectAddress::Unix("x".repeat(200).into()), 1).unwrap_err();
    assert!(matches!(refused, ConnectRefused::Os(_)), "{refused:?}");
    assert_eq!((ring.slots_free(), ring.in_flight()), (ring.slots(), 0));
}

#[test]
fn a_client_that_resets_makes_the_receive_fail() {
    let mut ring = open();
    let (socket, client) = connection(&mut ring);
    ring.receive(socket, 1);
    ring.submit().unwrap();
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let Event::ReceiveFailed { tag: 1, error, .. } = wait(&mut ring) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
