//! What reaches a worker from other threads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use countersign_proto::ocsp::{Answer, StatusKey};
use countersign_proto::revocation::{RevocationFeed, Revocations};
use countersign_proto::{OperationId, Outcome, StapleCell, Stapled, TicketKeys};
use countersign_ring::Waker;
use crossbeam::queue::SegQueue;

use super::listening::{Bound, Served};

/// One thing said to a worker.
#[derive(Debug)]
pub enum Message {
    /// Stop accepting, let connections finish, cut them off at the deadline.
    Stop {
        /// When to cut off.
        deadline: Instant,
    },
    /// Serve another configuration from now on.
    Publish(Box<Publication>),
    /// Seal and open tickets with these keys from now on.
    TicketKeys(Box<TicketKeys>),
    /// Other revocation lists hold from now on, in these feeds of the worker. Whoever sends them keeps
    /// a handle to those that held before, so that no worker frees them.
    Revocations(Arc<Revocations>, Vec<Arc<RevocationFeed>>),
    /// An identity of the worker shows its certificate with another OCSP answer from now on, or without.
    Staple(Arc<StapleCell>, Stapled),
    /// What OCSP has told about a certificate, asked for by whichever worker.
    Status(StatusKey, Answer),
    /// The outcome of work that left a handshake step.
    Performed(Address, Box<Outcome>),
}

/// A configuration for one worker: nothing in it is shared with another.
#[derive(Debug)]
pub struct Publication {
    /// Grows by one with every publish.
    pub generation: u64,
    /// What each address serves; a socket whose address is not among them is given up.
    pub served: Vec<(SocketAddr, Served)>,
    /// Sockets that the worker does not have yet.
    pub added: Vec<Bound>,
}

/// Which operation of which connection an outcome belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) connection: u64,
    pub(super) operation: OperationId,
}

/// Sends to one worker; wakes it where it waits. Cloning gives another handle to the same worker.
#[derive(Clone)]
pub struct InboxSender {
    queue: Arc<SegQueue<Message>>,
    waker: Waker,
}

impl InboxSender {
    /// Puts a message into the inbox. Never blocks.
    pub fn send(&self, message: Message) {
        self.queue.push(message);
        self.waker.wake();
    }
}

impl std::fmt::Debug for InboxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InboxSender")
    }
}

/// The worker's end. Bounded by its senders: outcomes by the suspended handshakes, the rest is rare.
pub(super) struct Inbox {
    queue: Arc<SegQueue<Message>>,
    waker: Waker,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { queue: Arc::default(), waker }
    }

    pub(super) fn sender(&self) -> InboxSender {
        InboxSender { queue: Arc::clone(&self.queue), waker: self.waker.clone() }
    }

    pub(super) fn take(&self) -> Option<Message> {
        self.queue.pop()
    }
}
