//! Reading completions and making events of them.

use std::io;
use std::net::SocketAddr;

use io_uring::cqueue;
use socket2::SockAddr;

use crate::buffers::{Pool, Received};
use crate::closing::Close;
use crate::files::{Family, Kind, Socket};
use crate::memory::KernelMemory;
use crate::operation::{CancelTarget, Operation, PeerAddress};
use crate::ring::{Ring, StarvedReceive};
use crate::user_data::UserData;

/// How an operation ended. `tag` is what it was started with.
#[derive(Debug)]
#[must_use = "an event can hold a lease or bytes that were handed back"]
pub enum Event {
    /// A connection came in.
    Accepted {
        /// Of the accept.
        tag: u64,
        /// The connection.
        socket: Socket,
        /// The address of the client.
        peer: SocketAddr,
    },
    /// An accept failed, and its slot is free again.
    AcceptFailed {
        /// Of the accept.
        tag: u64,
        /// `ECONNABORTED`: the client is gone, arm it again at once. `EMFILE`, `ENFILE`, `ENOBUFS`,
        /// `ENOMEM`: a limit of this process or host; arm it again after a pause.
        error: io::Error,
    },
    /// An accept was ended by [`Ring::cancel_accepts`], and its slot is free again.
    AcceptCancelled {
        /// Of the accept.
        tag: u64,
    },
    /// A connect ended.
    Connected {
        /// Of the connect.
        tag: u64,
        /// The connection. Also after an error it has its slot until it is closed.
        socket: Socket,
        /// `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, `ENOENT` (unix) and so on.
        result: io::Result<()>,
    },
    /// Bytes came in, or the peer has ended its direction of the stream.
    Received {
        /// Of the receive.
        tag: u64,
        /// The connection.
        socket: Socket,
        /// Empty at the end of the stream. To be recycled in either case.
        received: Received,
    },
    /// A receive failed.
    ReceiveFailed {
        /// Of the receive.
        tag: u64,
        /// The connection.
        socket: Socket,
        /// `ECONNRESET`, `ETIMEDOUT` and so on.
        error: io::Error,
    },
    /// A send ended.
    Sent {
        /// Of the send.
        tag: u64,
        /// The connection.
        socket: Socket,
        /// The bytes, handed back.
        bytes: Vec<u8>,
        /// As it was given.
        offset: usize,
        /// How many bytes were taken, counted from the offset. Fewer than asked for if the connection
        /// failed midway (the next send says how) or if it was more than 2 GiB. `EPIPE`,
        /// `ECONNRESET` and so on.
        result: io::Result<usize>,
    },
    /// Our direction of the stream was ended.
    ShutDown {
        /// Of the shutdown.
        tag: u64,
        /// The connection.
        socket: Socket,
        /// `ENOTCONN`: the connection was gone already.
        result: io::Result<()>,
    },
    /// A connection is closed, its slot is free and its name is stale.
    Closed {
        /// Of the close.
        tag: u64,
        /// The connection, for the last time.
        socket: Socket,
    },
    /// A [`Waker`](crate::Waker) was used.
    Woken,
}

impl Ring {
    /// The next event; `None` when there is none without waiting.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let completion = self.next_completion()?;
            if let Some(event) = self.complete(&completion) {
                return Some(event);
            }
        }
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        if let Some(completion) = self.uring.completion().next() {
            return Some(completion);
        }
        if self.uring.submission().cq_overflow() {
            // The kernel holds completions that the queue had no room for, and moves them there
            // when asked. An error comes again with the next submit, which reports it.
            let _ = self.uring.submit();
        }
        self.uring.completion().next()
    }

    fn complete(&mut self, completion: &cqueue::Entry) -> Option<Event> {
        let user_data = UserData::from_u64(completion.user_data());
        let Some(operation) = self.in_flight.complete(user_data) else {
            self.counters.completions_refused += 1;
            return None;
        };
        let result = result(completion.result());
        match operation {
            Operation::Accept { tag, slot, listener: _, peer } => {
                self.accepted(tag, slot, peer, result)
            }
            Operation::Connect { tag, socket, address: _ } => self.deliver(
                socket,
                Kind::Connect,
                Event::Connected { tag, socket, result: result.map(drop) },
            ),
            Operation::Receive { tag, socket, pool, buffer_bytes: _ } => {
                self.received(tag, socket, pool, result, completion.flags())
            }
            Operation::Send { tag, socket, bytes, offset } => {
                let result = result.map(|sent| sent as usize);
                self.deliver(socket, Kind::Send, Event::Sent { tag, socket, bytes, offset, result })
            }
            Operation::ShutdownWrite { tag, socket } => self.deliver(
                socket,
                Kind::Shutdown,
                Event::ShutDown { tag, socket, result: result.map(drop) },
            ),
            Operation::Cancel { target: CancelTarget::Socket { socket, .. } } => {
                // How many it found does not matter: those that it missed were ending anyway.
                self.end(socket, Kind::Cancel);
                self.advance_closing(socket)
            }
            Operation::Cancel { target: CancelTarget::Accept(_) } => None,
            // An error means that the connection had ended already.
            Operation::End { socket, manner: _ } => self.advance_closing(socket),
            Operation::Close { socket } => {
                // The slot is free all the same: an accept or a connect that is given it replaces
                // the file that may be left in it.
                self.counters.closes_failed += u64::from(result.is_err());
                self.advance_closing(socket)
            }
            Operation::Wake { .. } => {
                self.waker.noticed();
                self.arm_waker();
                Some(Event::Woken)
            }
        }
    }

    fn accepted(
        &mut self,
        tag: u64,
        slot: u32,
        peer: KernelMemory<PeerAddress>,
        result: io::Result<u32>,
    ) -> Option<Event> {
        self.accepts_armed -= 1;
        if let Err(error) = result {
            self.files.release(slot);
            return Some(match error.raw_os_error() {
                Some(libc::ECANCELED) => Event::AcceptCancelled { tag },
                _ => Event::AcceptFailed { tag, error },
            });
        }
        let socket = self.files.open(slot, Family::Tcp);
        // SAFETY: the completion of the accept that was given this memory has just been read.
        let peer = unsafe { peer.into_inner() };
        // SAFETY: the storage was zeroed at first, and the kernel wrote an address and its length
        // into it, which is at most what it was told the storage has.
        let address = unsafe { SockAddr::new(peer.storage, peer.length) };
        let Some(peer) = address.as_socket() else {
            // A listener is TCP, so that this cannot be; were it so, the connection is of no use.
            self.close_for(socket, Close::Reset, None);
            let error = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
            return Some(Event::AcceptFailed { tag, error });
        };
        Some(Event::Accepted { tag, socket, peer })
    }

    fn received(
        &mut self,
        tag: u64,
        socket: Socket,
        pool: Pool,
        result: io::Result<u32>,
        flags: u32,
    ) -> Option<Event> {
        let length = result.as_ref().map_or(0, |length| *length);
        // The kernel may have taken a buffer also where it received nothing into it.
        let lease = self.buffers.of_mut(pool).lease(flags, length);
        let found_no_buffer =
            matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ENOBUFS));
        if found_no_buffer && pool == Pool::Large && self.files.is_open(socket) {
            self.start_receive(socket, Pool::Ordinary, tag);
            return None;
        }
        if found_no_buffer && self.files.is_open(socket) {
            self.counters.receives_starved += 1;
            self.starved.push_back(StarvedReceive { socket, tag });
            return None;
        }
        let event = match (result, lease) {
            (Ok(0), lease) => {
                lease.into_iter().for_each(|lease| self.buffers.recycle(lease));
                Event::Received { tag, socket, received: Received::end_of_stream() }
            }
            (Ok(_), Some(received)) => Event::Received { tag, socket, received },
            (Ok(_), None) => {
                debug_assert!(false, "bytes were received, but into no buffer");
                let error = io::Error::from_raw_os_error(libc::EIO);
                Event::ReceiveFailed { tag, socket, error }
            }
            (Err(error), lease) => {
                lease.into_iter().for_each(|lease| self.buffers.recycle(lease));
                Event::ReceiveFailed { tag, socket, error }
            }
        };
        self.deliver(socket, Kind::Receive, event)
    }

    /// Ends an operation on a socket. Its event is delivered if the socket is open; if it is being
    /// closed, what the event holds is taken back.
    fn deliver(&mut self, socket: Socket, kind: Kind, event: Event) -> Option<Event> {
        self.end(socket, kind);
        if self.files.is_open(socket) {
            return Some(event);
        }
        if let Event::Received { received, .. } = event {
            self.buffers.recycle(received);
        }
        self.advance_closing(socket)
    }

    fn end(&mut self, socket: Socket, kind: Kind) {
        let slot = self.files.slot(socket);
        // A slot is released only when it is idle.
        debug_assert!(slot.is_some(), "an operation outlived its socket");
        if let Some(slot) = slot {
            slot.end(kind);
        }
    }
}

/// A completion's result: a count, or a negated error number.
fn result(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{BufferPool, Settings};

    const SMALLEST: Settings = Settings {
        submission_entries: 1,
        slots: 1,
        buffers: BufferPool { count: 1, bytes: 512 },
        large_buffers: BufferPool { count: 1, bytes: 512 },
    };

    /// Sixteen times as many completions as the queue has room for, submitted one at a time.
    #[test]
    fn full_queues_lose_nothing() {
        let settings = SMALLEST;
        let mut ring = Ring::open(&settings).unwrap();
        let nothing = UserData::from_u64(u64::MAX);
        for _ in 0..64 {
            ring.start(Operation::Cancel { target: CancelTarget::Accept(nothing) });
        }
        ring.submit().unwrap();
        assert!(ring.uring.submission().cq_overflow(), "the test is to fill the queue");
        assert_eq!(ring.in_flight(), 64);

        assert!(ring.next_event().is_none(), "a cancellation makes no event");
        assert_eq!(ring.in_flight(), 0, "also what the kernel held back has been read");
        assert_eq!(ring.counters().completions_refused, 0);
    }

    #[test]
    fn what_finds_no_room_waits_its_turn() {
        let settings = SMALLEST;
        let mut ring = Ring::open(&settings).unwrap();
        let target = CancelTarget::Accept(UserData::from_u64(u64::MAX));
        // As after a submit that the kernel had no memory for.
        let first = Operation::Cancel { target };
        let submission = first.submission();
        let user_data = ring.in_flight.insert(first);
        ring.backlog.push_back(submission.user_data(user_data.to_u64()));
        for _ in 0..5 {
            ring.start(Operation::Cancel { target });
        }
        assert_eq!(ring.counters().submissions_deferred, 5, "none overtakes the first");
        assert_eq!(ring.in_flight(), 6);

        ring.submit().unwrap();
        assert!(ring.next_event().is_none());
        assert_eq!(ring.in_flight(), 0);
    }
}
