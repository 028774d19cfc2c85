//! What will happen, in the order of virtual time.

use std::collections::BTreeMap;

use countersign_proto::{OperationId, Side};

use crate::signer::Answer;

/// What will happen, in the order of time.
#[derive(Default)]
pub(super) struct Agenda {
    pub(super) now: u64,
    pub(super) events: BTreeMap<(u64, u64), Happening>,
    pub(super) sequence: u64,
    pub(super) turns_at_once: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    Accept(usize),
    Arrive(usize, Side),
    ClientTurn(usize),
    UpstreamTurn(usize),
    ReceiveNow(usize, Side),
    SendNow(usize, Side),
    Sent(usize, Side),
    ShutDownNow(usize, Side),
    ConnectAnswered(usize),
    Performed(usize, OperationId, Answer),
    LateReceive(usize, Side),
    LateSend(usize, Side),
    Closed(usize, Side),
    Timer(usize),
    Abort(usize),
    Stop,
    Publish(usize),
    /// A connection is asked about what was published.
    Reconsider(usize),
    /// Every connection has been asked about that publication.
    Reconsidered(usize),
    /// Whoever was to finish after it has had the time.
    Finished(usize),
    SetClock(i64),
    AbortAll,
}

impl Agenda {
    pub(super) fn after(&mut self, nanos: u64, happening: Happening) {
        self.sequence += 1;
        self.events.insert((self.now + nanos, self.sequence), happening);
    }

    pub(super) fn next(&mut self) -> Option<Happening> {
        let ((at, _), happening) = self.events.pop_first()?;
        self.turns_at_once = if at == self.now { self.turns_at_once + 1 } else { 0 };
        self.now = at;
        Some(happening)
    }
}
