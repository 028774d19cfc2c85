//! A ring as its worker drives it, for the tests.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use countersign_ring::{BufferPool, Event, ListenOptions, Listener, Ring, Settings, Socket};

/// After this long a test has failed rather than being slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const SETTINGS: Settings = Settings {
    submission_entries: 64,
    slots: 64,
    buffers: BufferPool { count: 16, bytes: 4096 },
    large_buffers: BufferPool { count: 2, bytes: 65536 },
};

pub(crate) fn open() -> Ring {
    Ring::open(&SETTINGS).expect("the tests need a kernel with io_uring")
}

pub(crate) fn listen() -> Listener {
    let address = "127.0.0.1:0".parse().unwrap();
    Listener::bind(address, &ListenOptions::default()).unwrap()
}

/// The next event, however long it takes.
pub(crate) fn wait(ring: &mut Ring) -> Event {
    let begun = Instant::now();
    loop {
        if let Some(event) = ring.next_event() {
            return event;
        }
        assert!(begun.elapsed() < PATIENCE, "no event came");
        ring.submit_and_wait(Some(PATIENCE)).unwrap();
    }
}

/// A connection of a plain client to the ring.
pub(crate) fn connection(ring: &mut Ring) -> (Socket, TcpStream) {
    let listener = listen();
    ring.accept(&listener, 0).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    match wait(ring) {
        Event::Accepted { socket, .. } => (socket, client),
        other => panic!("{other:?}"),
    }
}

/// The bytes of the next event, which is to be a receive; none at the end of the stream.
pub(crate) fn wait_for_bytes(ring: &mut Ring, of: Socket) -> Vec<u8> {
    match wait(ring) {
        Event::Received { socket, received, .. } => {
            assert_eq!(socket, of);
            let bytes = ring.bytes(&received).to_vec();
            ring.recycle(received);
            bytes
        }
        other => panic!("{other:?}"),
    }
}
