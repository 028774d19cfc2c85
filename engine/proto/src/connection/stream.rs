//! The bookkeeping of one side's socket: what is queued, what is out with the driver, how it ends.

use std::mem;

use crate::desk::Desk;
use crate::op::{CloseManner, Op, SendBuffer, Side};
use crate::report::Traffic;

#[derive(Debug)]
pub(crate) struct Stream {
    side: Side,
    lifecycle: Lifecycle,
    /// Not yet handed to the driver.
    queued: Vec<u8>,
    /// Came back from the driver unfinished.
    unfinished: Option<SendBuffer>,
    /// Bytes that the driver sends now.
    sending: usize,
    receiving: bool,
    shutdown: Shutdown,
    /// Where buffers come from and go back to.
    desk: Desk,
    pub(crate) traffic: Traffic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifecycle {
    /// No socket yet.
    Absent,
    Open,
    CloseWanted(CloseManner),
    Closing,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    Wanted,
    Asked,
}

impl Stream {
    pub(crate) fn open(side: Side, desk: Desk) -> Self {
        Self { lifecycle: Lifecycle::Open, ..Self::absent(side, desk) }
    }

    pub(crate) fn absent(side: Side, desk: Desk) -> Self {
        Self {
            side,
            lifecycle: Lifecycle::Absent,
            queued: Vec::new(),
            unfinished: None,
            sending: 0,
            receiving: false,
            shutdown: Shutdown::No,
            desk,
            traffic: Traffic::default(),
        }
    }

    /// The driver has a socket for it now.
    pub(crate) fn opened(&mut self) {
        debug_assert_eq!(self.lifecycle, Lifecycle::Absent);
        self.lifecycle = Lifecycle::Open;
    }

    /// There is no socket (any more).
    pub(crate) fn is_released(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Absent | Lifecycle::Closed)
    }

    /// Where to append what is to be sent.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if self.queued.capacity() == 0 {
            self.queued = self.desk.buffer();
        }
        &mut self.queued
    }

    /// Bytes not yet sent.
    pub(crate) fn unsent(&self) -> usize {
        let unfinished = self.unfinished.as_ref().map_or(0, |buffer| buffer.remaining().len());
        self.queued.len() + unfinished + self.sending
    }

    /// Closes our sending direction once everything is sent.
    pub(crate) fn shut_down(&mut self) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Wanted;
        }
    }

    /// Closes the socket: gracefully once everything is sent, by reset at once.
    pub(crate) fn close(&mut self, manner: CloseManner) {
        match self.lifecycle {
            Lifecycle::Open | Lifecycle::CloseWanted(_) => {
                self.lifecycle = Lifecycle::CloseWanted(manner);
            }
            Lifecycle::Absent | Lifecycle::Closing | Lifecycle::Closed => {}
        }
    }

    /// Nothing more can be sent; drops what is queued.
    pub(crate) fn discard_unsent(&mut self) {
        self.queued = Vec::new();
        self.unfinished = None;
    }

    /// The next thing for the driver to do; `receive` says whether to receive if nothing is out.
    pub(crate) fn poll_op(&mut self, receive: bool) -> Option<Op> {
        match self.lifecycle {
            Lifecycle::Open => {}
            Lifecycle::CloseWanted(CloseManner::Reset) => {
                return Some(self.ask_to_close(CloseManner::Reset));
            }
            Lifecycle::CloseWanted(CloseManner::Graceful) if self.unsent() == 0 => {
                return Some(self.ask_to_close(CloseManner::Graceful));
            }
            Lifecycle::CloseWanted(CloseManner::Graceful) => return self.poll_send(),
            Lifecycle::Absent | Lifecycle::Closing | Lifecycle::Closed => return None,
        }
        if let Some(op) = self.poll_send() {
            return Some(op);
        }
        if self.shutdown == Shutdown::Wanted && self.unsent() == 0 {
            self.shutdown = Shutdown::Asked;
            return Some(Op::Shutdown(self.side));
        }
        if receive && !self.receiving {
            self.receiving = true;
            return Some(Op::Receive(self.side));
        }
        None
    }

    fn poll_send(&mut self) -> Option<Op> {
        if self.sending > 0 {
            return None;
        }
        let buffer = match self.unfinished.take() {
            Some(buffer) => buffer,
            None if self.queued.is_empty() => {
                if self.queued.capacity() > 0 {
                    self.desk.spare(mem::take(&mut self.queued));
                }
                return None;
            }
            None => SendBuffer::new(mem::take(&mut self.queued)),
        };
        self.sending = buffer.remaining().len();
        Some(Op::Send(self.side, buffer))
    }

    fn ask_to_close(&mut self, manner: CloseManner) -> Op {
        self.lifecycle = Lifecycle::Closing;
        self.discard_unsent();
        Op::Close(self.side, manner)
    }

    /// Notes a receive's completion; `false` if it comes too late to matter.
    pub(crate) fn received(&mut self, count: usize) -> bool {
        self.receiving = false;
        self.traffic.received += count as u64;
        matches!(self.lifecycle, Lifecycle::Open)
    }

    /// Notes a send's completion; `false` if it comes too late to matter.
    pub(crate) fn sent(&mut self, buffer: SendBuffer) -> bool {
        let left = buffer.remaining().len();
        self.traffic.sent += (self.sending - left.min(self.sending)) as u64;
        self.sending = 0;
        if !matches!(self.lifecycle, Lifecycle::Open | Lifecycle::CloseWanted(_)) {
            return false;
        }
        if left > 0 {
            self.unfinished = Some(buffer);
            return true;
        }
        self.desk.spare(buffer.into_parts().0);
        true
    }

    /// Notes that nothing can be sent any more; `false` if that comes too late to matter.
    pub(crate) fn send_failed(&mut self) -> bool {
        self.sending = 0;
        self.discard_unsent();
        matches!(self.lifecycle, Lifecycle::Open)
    }

    pub(crate) fn closed(&mut self) {
        debug_assert_eq!(self.lifecycle, Lifecycle::Closing);
        self.lifecycle = Lifecycle::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain_cache::ChainCacheLimits;
    use crate::limits::Limits;

    #[test]
    fn whoever_has_nothing_to_send_owns_no_buffer() {
        let desk =
            Desk::new(&Limits::default(), ChainCacheLimits::default(), 1, 0).expect("stacks");
        let mut stream = Stream::open(Side::Client, desk.clone());
        stream.out().extend_from_slice(b"answer");
        let Some(Op::Send(_, mut buffer)) = stream.poll_op(false) else { panic!("a send") };
        buffer.advance(b"answer".len());
        assert!(stream.sent(buffer));
        assert!(stream.poll_op(false).is_none());
        assert_eq!(stream.queued.capacity(), 0);

        // Room that was asked for, and in which nothing was written.
        assert!(stream.out().capacity() > 0, "it is the one that came back");
        assert!(stream.poll_op(false).is_none());
        assert_eq!(stream.queued.capacity(), 0);
        assert!(desk.buffer().capacity() > 0, "and came back again");
    }
}
