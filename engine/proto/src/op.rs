//! What a connection asks of its driver, and what it is told: plain data in both directions.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::seam::{Outcome, Work};

/// One of the two peers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connect to.
    Upstream,
}

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
    /// The built-in answer that says who the client is; nothing is dialled.
    Whoami,
}

/// Something for the driver to do. Each is answered by one [`Completion`], in any order.
#[derive(Debug)]
pub enum Op {
    /// Receive once. At most one is out for a side.
    Receive(Side),
    /// Send the rest of the buffer. At most one is out for a side.
    Send(Side, SendBuffer),
    /// Close our sending direction.
    Shutdown(Side),
    /// Connect to the upstream.
    Connect(UpstreamAddress),
    /// Do a suspended step's work. Not answered after the connection has closed.
    Perform(OperationId, Box<Work>),
    /// Close the socket. Whatever else is out for this side need not be answered any more.
    Close(Side, CloseManner),
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseManner {
    /// What was sent still arrives; the peer sees the end of the stream.
    Graceful,
    /// The peer sees a reset: it must not take what it got for complete.
    Reset,
}

/// What came of an [`Op`].
#[derive(Debug)]
pub enum Completion<'a> {
    /// Bytes; none at the end of the stream.
    Received(Side, &'a [u8]),
    /// Nothing can be received any more.
    ReceiveFailed(Side, io::ErrorKind),
    /// Some of the buffer was sent; its [`SendBuffer::advance`] was called.
    Sent(Side, SendBuffer),
    /// Nothing can be sent any more.
    SendFailed(Side, io::ErrorKind),
    /// Our sending direction is closed, or was already.
    ShutDown(Side),
    /// The upstream answered; or why not.
    Connected(Result<(), ConnectError>),
    /// The outcome of a suspended step's work.
    Performed(OperationId, Box<Outcome>),
    /// The socket is closed and its slot free.
    Closed(Side),
}

/// Why an upstream was not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The driver has no room for another socket.
    #[error("no room for another connection: {0}")]
    Full(String),
    /// The attempt failed.
    #[error("{0}")]
    Failed(String),
}

/// Names one suspended operation of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub(crate) u64);

impl OperationId {
    /// The number, for traces.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Bytes on their way to a peer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SendBuffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl SendBuffer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    /// What is still to be sent.
    #[must_use]
    pub fn remaining(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Marks the first `count` remaining bytes as sent.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.bytes.len() - self.sent, "more sent than there was");
        self.sent = self.bytes.len().min(self.sent + count);
    }

    /// The whole buffer and how much of it was sent already, for a driver whose kernel keeps it.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, usize) {
        (self.bytes, self.sent)
    }

    /// Puts together again what [`Self::into_parts`] took apart.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, sent: usize) -> Self {
        let sent = sent.min(bytes.len());
        Self { bytes, sent }
    }
}
