//! Waking a ring from another thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::EventfdFlags;

/// Wakes the ring it came from out of [`Ring::submit_and_wait`](crate::Ring::submit_and_wait), which
/// then reports [`Event::Woken`](crate::Event::Woken).
///
/// Wake-ups are coalesced: any number of them until the ring has noticed cost one system call and
/// make one event. Put what the worker is to find in its inbox first, then wake; what was put there
/// before the call is visible to the worker once it has the event.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    eventfd: Arc<OwnedFd>,
    /// A wake-up has been written that the ring has not noticed yet.
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        // Non-blocking is for the writer. The ring's read waits all the same (Linux 5.13: a file
        // that can be polled is).
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfd = Arc::new(rustix::event::eventfd(0, flags)?);
        let pending = AtomicBool::new(false);
        Ok(Waker { shared: Arc::new(Shared { eventfd, pending }) })
    }

    /// Wakes the ring. Never blocks; does nothing of use when the ring is gone.
    pub fn wake(&self) {
        if self.shared.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        while let Err(error) = rustix::io::write(&self.shared.eventfd, &1_u64.to_ne_bytes()) {
            debug_assert_eq!(error, rustix::io::Errno::INTR, "an eventfd of ours refuses a 1");
            if error != rustix::io::Errno::INTR {
                return;
            }
        }
    }

    /// The ring has noticed: the next [`Waker::wake`] writes again. Called before the event is
    /// delivered, so that what is put into the inbox afterwards is not missed.
    pub(crate) fn noticed(&self) {
        self.shared.pending.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn eventfd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.shared.eventfd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_for_each_time_the_ring_notices() {
        let waker = Waker::new().unwrap();
        for _ in 0..3 {
            waker.wake();
            waker.clone().wake();
            waker.wake();
            let mut count = [0; 8];
            rustix::io::read(waker.eventfd(), &mut count).unwrap();
            assert_eq!(u64::from_ne_bytes(count), 1);
            waker.noticed();
        }
    }
}
