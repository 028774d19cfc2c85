//! The ring itself: opened, asked, dropped.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use io_uring::{IoUring, squeue, types};

use crate::buffers::{Pool, Pools, Received};
use crate::files::{Files, Socket};
use crate::setup::{self, Features, Settings, SetupError};
use crate::user_data::{InFlight, UserData};
use crate::waker::Waker;

/// An io_uring with its direct descriptors and receive buffers; see the [crate's page](crate).
///
/// It stays on the thread that opened it. Dropping it cancels what is in flight and waits for that
/// to end, for a second at most.
pub struct Ring {
    pub(crate) uring: IoUring,
    // The kernel may touch these two until nothing is in flight: `drop` frees them only then.
    pub(crate) in_flight: ManuallyDrop<InFlight>,
    pub(crate) buffers: ManuallyDrop<Pools>,
    pub(crate) files: Files,
    /// Submissions that the submission queue had no room for, in order.
    pub(crate) backlog: VecDeque<squeue::Entry>,
    /// Receives that found no buffer, in the order in which they will be tried again.
    pub(crate) starved: VecDeque<StarvedReceive>,
    pub(crate) accepts_armed: usize,
    pub(crate) waker: Waker,
    pub(crate) counters: Counters,
    pub(crate) features: Features,
    /// `IORING_SETUP_SINGLE_ISSUER`: the kernel refuses submissions from another thread.
    not_send: PhantomData<*const ()>,
}

/// A receive that ended with `ENOBUFS` and is kept here until a buffer is free.
pub(crate) struct StarvedReceive {
    pub(crate) socket: Socket,
    pub(crate) tag: u64,
}

/// What happened that no event tells. They only grow.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Completions whose user data named no operation in flight. Anything but 0 is a bug.
    pub completions_refused: u64,
    /// Operations refused because their socket was closed. Anything but 0 is a bug of the caller.
    pub operations_refused: u64,
    /// Receives that found no buffer and were tried again.
    pub receives_starved: u64,
    /// Submissions that had to wait for room in the submission queue.
    pub submissions_deferred: u64,
    /// Direct descriptors whose close failed. Anything but 0 is a bug of the kernel's or of ours.
    pub closes_failed: u64,
}

/// How long `drop` waits for the operations it has cancelled.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits until it cancels them again.
const DROP_INTERVAL: Duration = Duration::from_millis(20);

impl Ring {
    /// Opens a ring on the thread that is to use it.
    ///
    /// # Errors
    ///
    /// Each says what is missing and what to do about it.
    pub fn open(settings: &Settings) -> Result<Ring, SetupError> {
        static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(0);
        let identity = NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed);

        let (uring, features) = setup::open(settings)?;
        let buffers = Pools::register(&uring.submitter(), settings, identity)?;
        let waker =
            Waker::new().map_err(|source| SetupError::from_os("make an eventfd", source))?;
        let mut ring = Ring {
            uring,
            in_flight: ManuallyDrop::default(),
            buffers: ManuallyDrop::new(buffers),
            files: Files::new(settings.slots),
            backlog: VecDeque::new(),
            starved: VecDeque::new(),
            accepts_armed: 0,
            waker,
            counters: Counters::default(),
            features,
            not_send: PhantomData,
        };
        ring.arm_waker();
        Ok(ring)
    }

    /// What wakes this ring from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The bytes of a lease; none at the end of the stream.
    ///
    /// # Panics
    ///
    /// If the lease is another ring's.
    pub fn bytes(&self, received: &Received) -> &[u8] {
        self.buffers.bytes(received)
    }

    /// Ends a lease: the kernel may fill the buffer again.
    ///
    /// # Panics
    ///
    /// If the lease is another ring's.
    pub fn recycle(&mut self, received: Received) {
        self.buffers.recycle(received);
    }

    /// Slots of the direct descriptor table that neither a connection nor an armed accept has.
    pub fn slots_free(&self) -> u32 {
        self.files.free()
    }

    /// The size of the direct descriptor table.
    pub fn slots(&self) -> u32 {
        self.files.len()
    }

    /// Accepts that are armed and have not ended in an event yet.
    pub fn accepts_armed(&self) -> usize {
        self.accepts_armed
    }

    /// Operations that have not ended: of the caller's, and of the ring's own on connections being
    /// closed. The read that waits for a [`Waker`] is not counted.
    pub fn in_flight(&self) -> usize {
        const WAKE: usize = 1;
        self.in_flight.len() + self.starved.len() - WAKE
    }

    /// Whether operations on the socket are accepted: it has not been closed.
    pub fn is_open(&self, socket: Socket) -> bool {
        self.files.is_open(socket)
    }

    /// What happened that no event tells.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the kernel has beyond what is needed.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Ends every operation in flight; `false` if some did not end in time.
    fn cancel_everything(&mut self) -> bool {
        // What never reached the kernel needs no cancelling.
        for entry in self.backlog.drain(..) {
            self.in_flight.complete(UserData::from_u64(entry.get_user_data()));
        }
        let deadline = Instant::now() + DROP_TIMEOUT;
        let no_wait = types::Timespec::new();
        let interval = types::Timespec::from(DROP_INTERVAL);
        let wait = types::SubmitArgs::new().timespec(&interval);
        // Errors are not looked at: whatever they are, what counts is whether operations remain.
        let _ = self.uring.submit();
        loop {
            let any = types::CancelBuilder::any();
            let _ = self.uring.submitter().register_sync_cancel(Some(no_wait), any);
            for completion in self.uring.completion() {
                self.in_flight.complete(UserData::from_u64(completion.user_data()));
            }
            if self.in_flight.len() == 0 {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            // Moves completions here, too, that the queue had no room for.
            let _ = self.uring.submitter().submit_with_args(1, &wait);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.cancel_everything() {
            // Something hangs in the kernel. It may still write: its memory is left to it.
            return;
        }
        // Closes the connections now rather than when the kernel gets to tearing down the ring.
        let _ = self.uring.submitter().unregister_files();
        for pool in [Pool::Ordinary, Pool::Large] {
            let _ = self.uring.submitter().unregister_buf_ring(pool.group());
        }
        // SAFETY: dropped once, here, and not used after. No operation is in flight, so the kernel
        // writes to none of these buffers any more, and leases only name them.
        unsafe { ManuallyDrop::drop(&mut self.buffers) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.in_flight) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::closing::Close;
    use crate::completion::Event;
    use crate::files::Family;
    use crate::listener::{ListenOptions, Listener};
    use crate::memory::KernelMemory;
    use crate::operation::Operation;
    use crate::setup::BufferPool;

    const SETTINGS: Settings = Settings {
        submission_entries: 8,
        slots: 4,
        buffers: BufferPool { count: 4, bytes: 512 },
        large_buffers: BufferPool { count: 1, bytes: 4096 },
    };

    fn wait_for_event(ring: &mut Ring) -> Event {
        loop {
            if let Some(event) = ring.next_event() {
                return event;
            }
            ring.submit_and_wait(None).unwrap();
        }
    }

    /// The way of kernels before 6.13, which keep the file of a closed slot open for a while. Here the
    /// test keeps it open, so that only the shutdown can send the FIN.
    #[test]
    fn without_prompt_close_the_connection_is_shut_down_first() {
        let mut ring = Ring::open(&SETTINGS).unwrap();
        ring.features.prompt_close = false;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (kept_open, _) = listener.accept().unwrap();
        let slot = ring.files.reserve().unwrap();
        ring.uring.submitter().register_files_update(slot, &[kept_open.as_raw_fd()]).unwrap();
        let socket = ring.files.open(slot, Family::Tcp);

        ring.receive(socket, 2);
        ring.submit().unwrap();
        ring.close(socket, Close::Gracefully, 3);
        let event = wait_for_event(&mut ring);
        assert!(matches!(event, Event::Closed { tag: 3, .. }), "{event:?}");
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
        assert_eq!(ring.slots_free(), 4);
    }

    #[test]
    fn everything_in_flight_can_be_cancelled_and_is_waited_for() {
        let mut ring = Ring::open(&SETTINGS).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(address, &ListenOptions::default()).unwrap();
        ring.accept(&listener, 1).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Event::Accepted { socket, .. } = wait_for_event(&mut ring) else { panic!() };
        ring.receive(socket, 2);
        ring.send(socket, vec![0; 64 << 20], 0, 3);
        ring.accept(&listener, 4).unwrap();
        ring.submit().unwrap();
        // In the submission queue, and waiting for room in it.
        ring.accept(&listener, 5).unwrap();
        let deferred =
            Operation::Wake { eventfd: ring.waker.eventfd(), value: KernelMemory::new(0) };
        let submission = deferred.submission();
        let user_data = ring.in_flight.insert(deferred);
        ring.backlog.push_back(submission.user_data(user_data.to_u64()));

        assert_eq!(ring.in_flight.len(), 6);
        assert!(ring.cancel_everything(), "nothing is to be left to the kernel");
        assert_eq!(ring.in_flight.len(), 0);
    }

    #[test]
    fn a_completion_that_was_not_asked_for_is_counted_and_not_delivered() {
        let mut ring = Ring::open(&SETTINGS).unwrap();
        let nop = io_uring::opcode::Nop::new().build().user_data(u64::MAX);
        ring.backlog.push_back(nop);
        while ring.counters().completions_refused == 0 {
            ring.submit_and_wait(None).unwrap();
            assert!(ring.next_event().is_none());
        }
        assert_eq!(ring.counters().completions_refused, 1);
    }
}
