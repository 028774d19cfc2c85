//! When connections want to be woken: a heap with at most one live entry a connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use countersign_proto::Moment;

use super::table::Key;

/// An entry is not removed when its connection's time moves on: a connection is looked at when its
/// entry comes due, and entered again if its time is later by then. Idle timers that move with every
/// byte so cost nothing.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Moment, Key)>>,
}

impl Timers {
    pub(super) fn insert(&mut self, due: Moment, key: Key) {
        self.heap.push(Reverse((due, key)));
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    pub(super) fn take_due(&mut self, now: Moment) -> Option<(Moment, Key)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
