//! The end of a connection: what is queued still arrives, then the sockets are released.
//!
//! Closing a socket with unread input makes the kernel send a reset, which destroys the alert in the
//! client's receive queue. So after an alert our sending direction is closed first, and what the
//! client still sends is read and thrown away, within bounds of bytes, time and number.

use super::Phase;
use super::core::Core;
use super::timer::Timer;
use crate::desk::Place;
use crate::op::{CloseManner, Side};

pub(super) struct Closing {
    drain: Option<Drain>,
}

struct Drain {
    bytes_left: usize,
    _place: Place,
}

impl Closing {
    /// Sends what is queued, then lets the client see the end of the stream.
    pub(super) fn begin(core: &mut Core) -> Self {
        core.start_timer(patience(core));
        match core.desk.drain() {
            Some(place) => {
                core.client.shut_down();
                Self { drain: Some(Drain { bytes_left: core.limits().drain_bytes, _place: place }) }
            }
            // Too many at one time: the alert may get lost, the engine does not.
            None => {
                core.client.close(CloseManner::Graceful);
                Self { drain: None }
            }
        }
    }

    /// Sends what is queued and closes: the client has said that it has no more to send.
    pub(super) fn flush(core: &mut Core) -> Self {
        core.start_timer(patience(core));
        core.client.close(CloseManner::Graceful);
        Self { drain: None }
    }

    /// Something was sent: whoever reads slowly gets the time to read all.
    pub(super) fn sent(self, core: &mut Core) -> Phase {
        core.timers.stop_all();
        core.start_timer(patience(core));
        Phase::Closing(self)
    }

    /// The sockets were told to close already.
    pub(super) fn without_drain() -> Self {
        Self { drain: None }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn received(mut self, core: &mut Core, bytes: &[u8]) -> Phase {
        if let Some(drain) = &mut self.drain {
            drain.bytes_left = drain.bytes_left.saturating_sub(bytes.len());
            if bytes.is_empty() || drain.bytes_left == 0 {
                self.drain = None;
                core.client.close(CloseManner::Graceful);
            }
        }
        Phase::Closing(self)
    }

    pub(super) fn broken(mut self, core: &mut Core, side: Side) -> Phase {
        if side == Side::Client {
            self.drain = None;
        }
        core.stream(side).close(CloseManner::Graceful);
        Phase::Closing(self)
    }

    /// It took too long: what is still queued is lost.
    pub(super) fn timed_out(mut self, core: &mut Core) -> Phase {
        self.drain = None;
        for side in [Side::Client, Side::Upstream] {
            let stream = core.stream(side);
            let manner =
                if stream.unsent() == 0 { CloseManner::Graceful } else { CloseManner::Reset };
            stream.close(manner);
        }
        Phase::Closing(self)
    }
}

/// Whoever was let in, and its upstream, get what is still queued for them as long as they go on
/// reading; a client that was refused only has its alert to read.
fn patience(core: &Core) -> Timer {
    let unsent = core.client.unsent() + core.upstream.unsent();
    if core.report.allowed && unsent > 0 { Timer::Idle } else { Timer::Drain }
}
