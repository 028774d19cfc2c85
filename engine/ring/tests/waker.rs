//! Waking a ring that waits.

mod worker;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use countersign_ring::{Event, Ring};
use worker::{PATIENCE, open};

/// Waits as a worker without timers does. If nothing wakes it, the test's `recv_timeout` fails.
fn wait_without_timeout(ring: &mut Ring) -> Event {
    loop {
        if let Some(event) = ring.next_event() {
            return event;
        }
        ring.submit_and_wait(None).unwrap();
    }
}

#[test]
fn every_message_put_before_a_wake_up_is_found() {
    const MESSAGES: u32 = 10_000;
    let (inbox, messages) = mpsc::channel();
    let (give_waker, take_waker) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let worker = thread::spawn(move || {
        let mut ring = open();
        give_waker.send(ring.waker()).unwrap();
        let mut expected = 0;
        while expected < MESSAGES {
            let event = wait_without_timeout(&mut ring);
            assert!(matches!(event, Event::Woken), "{event:?}");
            for message in messages.try_iter() {
                assert_eq!(message, expected);
                expected += 1;
            }
        }
        done.send(()).unwrap();
    });
    let waker = take_waker.recv_timeout(PATIENCE).unwrap();
    let sender = thread::spawn(move || {
        for message in 0..MESSAGES {
            inbox.send(message).unwrap();
            waker.wake();
        }
    });
    finished.recv_timeout(PATIENCE).expect("a wake-up was lost");
    worker.join().unwrap();
    sender.join().unwrap();
}

#[test]
fn wake_ups_before_the_ring_notices_make_one_event() {
    let mut ring = open();
    let waker = ring.waker();
    for round in 0..3 {
        for _ in 0..1000 {
            waker.clone().wake();
        }
        let event = wait_without_timeout(&mut ring);
        assert!(matches!(event, Event::Woken), "round {round}: {event:?}");
        ring.submit_and_wait(Some(Duration::ZERO)).unwrap();
        assert!(ring.next_event().is_none(), "round {round}");
    }
    assert_eq!(ring.in_flight(), 0, "the waker's read is the ring's own");
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let mut ring = open();
    for timeout in [Duration::ZERO, Duration::from_millis(3)] {
        let begun = std::time::Instant::now();
        ring.submit_and_wait(Some(timeout)).unwrap();
        assert!(begun.elapsed() >= timeout);
        assert!(ring.next_event().is_none());
    }
    ring.waker().wake();
    ring.submit_and_wait(Some(Duration::MAX)).unwrap();
    assert!(matches!(ring.next_event(), Some(Event::Woken)));
}
