//! Closing a connection, in the order that lets the peer see it.
//!
//! ```text
//! Draining:  cancel what is in flight on the slot, wait until nothing is
//! Ending:    reset the connection, or shut it down where the close alone would not (before 6.13)
//! Releasing: close the direct descriptor; then the slot is free
//! ```

use crate::completion::Event;
use crate::files::{Family, Kind, Socket, State};
use crate::operation::{CancelTarget, Operation};
use crate::ring::Ring;

/// What the peer is to see of the end.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Close {
    /// An end of the stream (FIN). If bytes of the peer's were not received, the kernel sends RST
    /// instead (RFC 1122, section 4.2.2.13).
    Gracefully,
    /// A reset (RST): what we had not sent yet is thrown away, and the peer's read fails with
    /// `ECONNRESET`. On a unix socket the same as `Gracefully`.
    Reset,
}

#[derive(Copy, Clone, Debug)]
pub(crate) struct Closing {
    manner: Close,
    /// `None`: the caller has never heard of the connection, and is told nothing.
    tag: Option<u64>,
    step: Step,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Step {
    Draining,
    Ending,
    Releasing,
}

impl Ring {
    /// Closes the connection. Ends in [`Event::Closed`], when its slot is free again.
    ///
    /// From now on there is no other event for this socket: what is in flight is cancelled, and the
    /// buffers and bytes that come back are recycled or dropped, also where the operation had already
    /// completed and its event was not fetched yet.
    ///
    /// # Panics
    ///
    /// In debug builds, if the socket is closed already; otherwise that is ignored and counted.
    pub fn close(&mut self, socket: Socket, manner: Close, tag: u64) {
        self.close_for(socket, manner, Some(tag));
    }

    pub(crate) fn close_for(&mut self, socket: Socket, manner: Close, tag: Option<u64>) {
        self.forget_starved(socket);
        let Some(slot) = self.files.open_slot(socket) else { return self.refuse(socket) };
        slot.state = State::Closing(Closing { manner, tag, step: Step::Draining });
        if slot.is_idle() {
            self.advance_closing(socket);
        } else {
            let receive = slot.lone_receive();
            slot.begin(Kind::Cancel);
            let target = CancelTarget::Socket { socket, receive };
            self.start(Operation::Cancel { target });
        }
    }

    /// Takes the next step of closing, once nothing is in flight on the slot. Does nothing for a
    /// socket that is open.
    pub(crate) fn advance_closing(&mut self, socket: Socket) -> Option<Event> {
        let prompt_close = self.features.prompt_close;
        let slot = self.files.slot(socket)?;
        let family = slot.family;
        let idle = slot.is_idle();
        let State::Closing(closing) = &mut slot.state else { return None };
        match closing.step {
            Step::Draining if !idle => None,
            Step::Draining => {
                let manner = closing.manner;
                let needs_end = match manner {
                    Close::Reset if family == Family::Tcp => true,
                    Close::Gracefully | Close::Reset => !prompt_close,
                };
                closing.step = if needs_end { Step::Ending } else { Step::Releasing };
                self.start(match (needs_end, family) {
                    (false, _) => Operation::Close { socket },
                    (true, Family::Tcp) => Operation::End { socket, manner },
                    (true, Family::Unix) => Operation::End { socket, manner: Close::Gracefully },
                });
                None
            }
            Step::Ending => {
                closing.step = Step::Releasing;
                self.start(Operation::Close { socket });
                None
            }
            Step::Releasing => {
                let tag = closing.tag;
                self.files.release(socket.slot());
                tag.map(|tag| Event::Closed { tag, socket })
            }
        }
    }

    /// A receive that waits for a buffer is not the kernel's, so there is nothing to cancel.
    fn forget_starved(&mut self, socket: Socket) {
        let starved = self.starved.len();
        self.starved.retain(|receive| receive.socket != socket);
        if self.starved.len() < starved
            && let Some(slot) = self.files.slot(socket)
        {
            slot.end(Kind::Receive);
        }
    }
}
