//! Starting operations and handing them to the kernel.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use io_uring::{squeue, types};
use socket2::{Domain, SockAddr, Type};

use crate::buffers::Pool;
use crate::files::{Family, Full, Kind, Socket};
use crate::listener::Listener;
use crate::memory::KernelMemory;
use crate::operation::{CancelTarget, Operation, PeerAddress};
use crate::ring::{Ring, StarvedReceive};
use crate::user_data::UserData;

/// Where to connect to.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub enum ConnectAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix stream socket, at most 107 bytes.
    Unix(PathBuf),
}

/// Why a connect was not even started.
#[derive(Debug, thiserror::Error)]
pub enum ConnectRefused {
    /// See [`Full`].
    #[error(transparent)]
    Full(#[from] Full),
    /// `EMFILE`, `ENFILE` or `ENOBUFS`: a limit of this process or host. `EINVAL`: the path is too
    /// long.
    #[error("could not make a socket: {0}")]
    Os(#[from] io::Error),
}

/// The kernel takes a signed number of seconds; nobody waits longer than this.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl Ring {
    /// Arms one accept, which takes one connection and ends in [`Event::Accepted`],
    /// [`Event::AcceptFailed`] or [`Event::AcceptCancelled`]. Its slot is reserved from now on.
    ///
    /// [`Event::Accepted`]: crate::Event::Accepted
    /// [`Event::AcceptFailed`]: crate::Event::AcceptFailed
    /// [`Event::AcceptCancelled`]: crate::Event::AcceptCancelled
    ///
    /// # Errors
    ///
    /// [`Full`]: arm it again when a connection has been closed.
    pub fn accept(&mut self, listener: &Listener, tag: u64) -> Result<(), Full> {
        let slot = self.files.reserve()?;
        let peer = KernelMemory::new(PeerAddress::empty());
        let listener = listener.descriptor();
        self.accepts_armed += 1;
        self.start(Operation::Accept { tag, slot, listener, peer });
        Ok(())
    }

    /// Ends every armed accept: as cancelled or, if a connection came first, as accepted.
    pub fn cancel_accepts(&mut self) {
        let armed: Vec<UserData> = self
            .in_flight
            .iter()
            .filter(|(_, operation)| matches!(operation, Operation::Accept { .. }))
            .map(|(user_data, _)| user_data)
            .collect();
        for accept in armed {
            self.start(Operation::Cancel { target: CancelTarget::Accept(accept) });
        }
    }

    /// Makes a socket (TCP with `TCP_NODELAY`, or unix stream) and starts to connect it. Ends in
    /// [`Event::Connected`](crate::Event::Connected); to give up earlier, close the socket.
    ///
    /// # Errors
    ///
    /// Nothing was started, and no slot is taken.
    pub fn connect(
        &mut self,
        address: &ConnectAddress,
        tag: u64,
    ) -> Result<Socket, ConnectRefused> {
        let slot = self.files.reserve()?;
        match self.place_socket(slot, address) {
            Ok((family, address)) => {
                let socket = self.files.open(slot, family);
                let address = Box::new(address);
                self.begin(socket, Kind::Connect);
                self.start(Operation::Connect { tag, socket, address });
                Ok(socket)
            }
            Err(error) => {
                self.files.release(slot);
                Err(error.into())
            }
        }
    }

    /// Waits for bytes, into a buffer of the ring. Ends in
    /// [`Event::Received`](crate::Event::Received) or
    /// [`Event::ReceiveFailed`](crate::Event::ReceiveFailed). While no buffer is free it waits for
    /// one.
    ///
    /// # Panics
    ///
    /// If a receive is in flight on this socket; in debug builds also if the socket is closed, which
    /// otherwise is ignored and counted.
    pub fn receive(&mut self, socket: Socket, tag: u64) {
        if self.begin(socket, Kind::Receive) {
            self.start_receive(socket, Pool::Ordinary, tag);
        }
    }

    /// As [`Ring::receive`], into one of the few large buffers, for a connection that has much to say;
    /// while none of them is free, into an ordinary one.
    ///
    /// # Panics
    ///
    /// As [`Ring::receive`].
    pub fn receive_bulk(&mut self, socket: Socket, tag: u64) {
        if self.begin(socket, Kind::Receive) {
            self.start_receive(socket, Pool::Large, tag);
        }
    }

    pub(crate) fn start_receive(&mut self, socket: Socket, pool: Pool, tag: u64) {
        let buffer_bytes = self.buffers.of(pool).buffer_bytes();
        let receive = self.start(Operation::Receive { tag, socket, pool, buffer_bytes });
        if let Some(slot) = self.files.slot(socket) {
            slot.note_receive(receive);
        }
    }

    /// Sends `bytes[offset..]`, all of it unless the connection fails. The ring owns the bytes until
    /// [`Event::Sent`](crate::Event::Sent) hands them back.
    ///
    /// # Panics
    ///
    /// If `offset` is beyond the bytes, or a send is in flight on this socket; in debug builds also
    /// if the socket is closed, which otherwise is ignored and counted (the bytes are dropped).
    pub fn send(&mut self, socket: Socket, bytes: Vec<u8>, offset: usize, tag: u64) {
        assert!(offset <= bytes.len(), "the offset lies beyond the bytes to send");
        if self.begin(socket, Kind::Send) {
            self.start(Operation::Send { tag, socket, bytes, offset });
        }
    }

    /// Ends our direction of the stream (FIN). Ends in [`Event::ShutDown`](crate::Event::ShutDown).
    ///
    /// The kernel does this on a worker thread of its own (about 5 µs): only where the peer must see
    /// the end while the connection goes on.
    ///
    /// # Panics
    ///
    /// If a shutdown is in flight on this socket; in debug builds also if the socket is closed,
    /// which otherwise is ignored and counted.
    pub fn shutdown_write(&mut self, socket: Socket, tag: u64) {
        if self.begin(socket, Kind::Shutdown) {
            self.start(Operation::ShutdownWrite { tag, socket });
        }
    }

    /// Submits what was started, and returns without waiting.
    ///
    /// # Errors
    ///
    /// The ring is broken (`EBADR`: the kernel had no memory for a completion and lost it). What can
    /// be repeated is not an error.
    pub fn submit(&mut self) -> io::Result<()> {
        self.retry_starved();
        self.flush_backlog()?;
        tolerate(self.uring.submit())
    }

    /// Submits what was started, and waits until something has completed, a [`Waker`] was used, a
    /// signal came or the time is over (`None`: without end).
    ///
    /// It may return without an event to be had: a completion can concern the ring alone.
    ///
    /// [`Waker`]: crate::Waker
    ///
    /// # Errors
    ///
    /// As [`Ring::submit`].
    pub fn submit_and_wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.retry_starved();
        self.flush_backlog()?;
        if !self.backlog.is_empty() {
            // The kernel takes no more now. Its completions must be read first, so do not wait.
            return Ok(());
        }
        tolerate(match timeout {
            None => self.uring.submit_and_wait(1),
            Some(timeout) => {
                let timeout = types::Timespec::from(timeout.min(TIMEOUT_MAX));
                let arguments = types::SubmitArgs::new().timespec(&timeout);
                self.uring.submitter().submit_with_args(1, &arguments)
            }
        })
    }

    /// Makes the socket and puts it into the slot. The ordinary descriptor is closed on return: the
    /// slot holds the only reference to the file.
    fn place_socket(&self, slot: u32, address: &ConnectAddress) -> io::Result<(Family, SockAddr)> {
        let (family, domain, address) = match address {
            ConnectAddress::Tcp(address) => {
                (Family::Tcp, Domain::for_address(*address), SockAddr::from(*address))
            }
            ConnectAddress::Unix(path) => (Family::Unix, Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = socket2::Socket::new(domain, Type::STREAM, None)?;
        if family == Family::Tcp {
            socket.set_tcp_nodelay(true)?;
        }
        self.uring.submitter().register_files_update(slot, &[socket.as_raw_fd()])?;
        Ok((family, address))
    }

    /// Notes that an operation of this kind begins on an open socket; `false` refuses it.
    pub(crate) fn begin(&mut self, socket: Socket, kind: Kind) -> bool {
        let begun = self.files.open_slot(socket).map(|slot| slot.begin(kind)).is_some();
        if !begun {
            self.refuse(socket);
        }
        begun
    }

    #[cold]
    pub(crate) fn refuse(&mut self, socket: Socket) {
        self.counters.operations_refused += 1;
        debug_assert!(false, "an operation on a closed socket: {socket:?}");
    }

    pub(crate) fn arm_waker(&mut self) {
        let (eventfd, value) = (self.waker.eventfd(), KernelMemory::new(0));
        self.start(Operation::Wake { eventfd, value });
    }

    /// Makes the operation's memory the slab's, and its submission the kernel's.
    pub(crate) fn start(&mut self, operation: Operation) -> UserData {
        let submission = operation.submission();
        let user_data = self.in_flight.insert(operation);
        self.push(submission.user_data(user_data.to_u64()));
        user_data
    }

    /// Tries again the receives that found no buffer, as many as there may be buffers.
    ///
    /// Called once for each submission, and only for buffers that are not leased out: a receive that
    /// fails again has lost its buffer to another one whose completion is yet to be read, so that
    /// this does not spin.
    fn retry_starved(&mut self) {
        let count = self.starved.len().min(self.buffers.of(Pool::Ordinary).unleased());
        for _ in 0..count {
            if let Some(StarvedReceive { socket, tag }) = self.starved.pop_front() {
                self.start_receive(socket, Pool::Ordinary, tag);
            }
        }
    }

    fn push(&mut self, submission: squeue::Entry) {
        if self.backlog.is_empty() {
            if self.push_to_queue(&submission) {
                return;
            }
            // An error here comes again with the next submit, which reports it.
            let _ = self.uring.submit();
            if self.push_to_queue(&submission) {
                return;
            }
        }
        self.counters.submissions_deferred += 1;
        self.backlog.push_back(submission);
    }

    fn flush_backlog(&mut self) -> io::Result<()> {
        while let Some(submission) = self.backlog.pop_front() {
            if self.push_to_queue(&submission) {
                continue;
            }
            let submitted = tolerate(self.uring.submit());
            if submitted.is_err() || !self.push_to_queue(&submission) {
                self.backlog.push_front(submission);
                return submitted;
            }
        }
        Ok(())
    }

    fn push_to_queue(&mut self, submission: &squeue::Entry) -> bool {
        // SAFETY: every submission comes from `Operation::submission`, whose addresses lie in
        // memory of the operation or in a static. The operation was put into the slab before, and
        // leaves it only when its completion has been read.
        unsafe { self.uring.submission().push(submission) }.is_ok()
    }
}

/// Makes nothing of what only means "come again": a signal, the end of the time, and a kernel that
/// is short of memory or wants its completions read first.
pub(crate) fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result.as_ref().map_err(io::Error::raw_os_error) {
        Ok(_) | Err(Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY)) => Ok(()),
        Err(_) => result.map(drop),
    }
}
