//! The provided buffers.

mod worker;

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use countersign_ring::{BufferPool, Close, Event, Ring, Settings};
use worker::{PATIENCE, SETTINGS, connection, open, wait, wait_for_bytes};

/// Two small buffers for eight connections that all have more to say than both can hold.
#[test]
fn receives_without_a_buffer_wait_for_one() {
    let settings = Settings { buffers: BufferPool { count: 2, bytes: 64 }, ..SETTINGS };
    let mut ring = Ring::open(&settings).unwrap();
    let mut connections: Vec<_> = (0..8).map(|_| connection(&mut ring)).collect();
    for (n, (socket, client)) in connections.iter_mut().enumerate() {
        client.write_all(&[n as u8; 1000]).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        ring.receive(*socket, n as u64);
    }
    let mut totals: BTreeMap<u64, usize> = BTreeMap::new();
    let mut ended = 0;
    let mut leases = Vec::new();
    while ended < 8 {
        // Both buffers are held until there is nothing else to do.
        let event = loop {
            if let Some(event) = ring.next_event() {
                break event;
            }
            for lease in leases.drain(..) {
                ring.recycle(lease);
            }
            ring.submit_and_wait(Some(PATIENCE)).unwrap();
        };
        let Event::Received { tag, socket, received } = event else { panic!("{event:?}") };
        if received.is_empty() {
            ended += 1;
            continue;
        }
        assert!(ring.bytes(&received).iter().all(|byte| u64::from(*byte) == tag));
        *totals.entry(tag).or_default() += received.len();
        leases.push(received);
        ring.receive(socket, tag);
    }
    assert!(totals.values().eq([1000; 8].iter()), "{totals:?}");
    assert!(ring.counters().receives_starved > 0, "the test is to drain the buffers");
}

#[test]
fn a_receive_without_a_buffer_costs_nothing_while_it_waits() {
    let mut ring =
        Ring::open(&Settings { buffers: BufferPool { count: 1, ..SETTINGS.buffers }, ..SETTINGS })
            .unwrap();
    let (first, mut first_client) = connection(&mut ring);
    let (second, mut second_client) = connection(&mut ring);
    first_client.write_all(b"first").unwrap();
    second_client.write_all(b"second").unwrap();
    ring.receive(first, 1);
    let Event::Received { received, .. } = wait(&mut ring) else { panic!() };

    ring.receive(second, 2);
    for _ in 0..100 {
        ring.submit_and_wait(Some(Duration::from_millis(1))).unwrap();
        assert!(ring.next_event().is_none());
    }
    assert_eq!(ring.counters().receives_starved, 1, "tried once, and not again for no buffer");
    assert_eq!(ring.in_flight(), 1, "it is waiting all the same");

    ring.recycle(received);
    assert_eq!(wait_for_bytes(&mut ring, second), b"second");
}

#[test]
fn a_connection_whose_receive_waits_for_a_buffer_can_be_closed() {
    let mut ring =
        Ring::open(&Settings { buffers: BufferPool { count: 1, ..SETTINGS.buffers }, ..SETTINGS })
            .unwrap();
    let (first, mut first_client) = connection(&mut ring);
    let (second, mut second_client) = connection(&mut ring);
    first_client.write_all(b"first").unwrap();
    second_client.write_all(b"second").unwrap();
    ring.receive(first, 1);
    let Event::Received { received, .. } = wait(&mut ring) else { panic!() };
    ring.receive(second, 2);
    while ring.counters().receives_starved == 0 {
        ring.submit_and_wait(Some(PATIENCE)).unwrap();
        assert!(ring.next_event().is_none());
    }
    ring.close(second, Close::Gracefully, 3);
    let event = wait(&mut ring);
    assert!(matches!(event, Event::Closed { tag: 3, .. }), "{event:?}");
    ring.recycle(received);
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn a_lease_is_good_only_for_the_ring_that_gave_it() {
    let (mut ring, mut other) = (open(), open());
    let (socket, mut client) = connection(&mut ring);
    client.write_all(b"mine").unwrap();
    ring.receive(socket, 1);
    let Event::Received { received, .. } = wait(&mut ring) else { panic!() };
    assert!(catch_unwind(AssertUnwindSafe(|| other.bytes(&received).len())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| other.recycle(received))).is_err());
}

/// More connections with much to say than there are large buffers: the others take ordinary ones.
#[test]
fn a_bulk_receive_takes_a_large_buffer_or_failing_that_an_ordinary_one() {
    let mut ring = open();
    let mut connections: Vec<_> = (0..3).map(|_| connection(&mut ring)).collect();
    for (n, (socket, client)) in connections.iter_mut().enumerate() {
        client.write_all(&[n as u8; 60_000]).unwrap();
        ring.receive_bulk(*socket, n as u64);
    }
    let mut leases = Vec::new();
    while leases.len() < 3 {
        let Event::Received { tag, received, .. } = wait(&mut ring) else { panic!() };
        assert!(ring.bytes(&received).iter().all(|byte| u64::from(*byte) == tag));
        leases.push(received);
    }
    let mut lengths: Vec<_> = leases.iter().map(|received| received.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths[0], 4096, "{lengths:?}");
    assert!(lengths[1..].iter().all(|length| *length > 4096), "{lengths:?}");

    leases.into_iter().for_each(|lease| ring.recycle(lease));
    let (socket, client) = &mut connections[0];
    client.write_all(b"more").unwrap();
    ring.receive_bulk(*socket, 9);
    let Event::Received { received, .. } = wait(&mut ring) else { panic!() };
    ring.recycle(received);
}
