//! Which token does which operation, and what becomes of it. No thread, no clock, no lock: time is an argument,
//! operations go out to [`Signs`], answers come back by [`Dispatch::answer`].
//!
//! Invariants, written as absences:
//!
//! * No operation is finished twice, and none is kept beyond its deadline.
//! * No answer counts for an operation that has ended: each attempt has a number of its own.
//! * No signature is sent that was verified and does not hold.

mod answers;
mod operation;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use countersign_hsm::{Remedy, Scheme};
use countersign_proto::{Outcome, TokenKeyId, WorkFailure};

use self::operation::{Attempt, Operation};
use super::checking::{Check, PublicKey};
use super::counters::{Gauges, Verdict};
use super::journal::Journal;
use super::seat::{Room, Seat, Signs};
use crate::config::TokenRules;
use crate::signing::station::StationInfo;

/// What a station is called here: numbers are not used again.
pub(super) type StationId = u64;

/// Operations that wait for a token to come back.
const WAITING_MAX: usize = 4_096;

/// Each operation may be attempted so often, hedges included: one that kills each token that gets it ends here.
const ATTEMPTS_MAX: u32 = 4;

/// Hedges: one for so many operations, and so many saved up.
const HEDGE_SHARE: f64 = 0.1;
const HEDGES_SAVED: f64 = 64.0;

/// Where an outcome goes.
pub(super) trait Origin {
    /// Sends it; whoever asked may be gone.
    fn finish(self, outcome: Outcome);
}

/// A key, and the stations that have it, with what they call it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) places: Vec<(StationId, u64)>,
    pub(super) public_key: Arc<PublicKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The operation is over.
    Deadline,
    /// It is given to another token too.
    Hedge,
    /// A breaker lets somebody try.
    Release,
}

pub(super) struct Dispatch<O> {
    rules: TokenRules,
    seats: BTreeMap<StationId, Seat>,
    keys: HashMap<TokenKeyId, Key>,
    operations: HashMap<u64, Operation<O>>,
    attempts: HashMap<u64, Attempt>,
    /// Attempts whose signature is being verified.
    checking: HashMap<u64, Attempt>,
    /// Operations that no token has.
    waiting: VecDeque<u64>,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    next: u64,
    /// Operations so far: whose turn it is.
    begun: usize,
    hedges_saved: f64,
    check: Box<dyn Fn(Check) + Send>,
    journal: Journal,
}

impl<O: Origin> Dispatch<O> {
    pub(super) fn new(check: Box<dyn Fn(Check) + Send>, journal: Journal) -> Self {
        Self {
            rules: TokenRules::default(),
            seats: BTreeMap::new(),
            keys: HashMap::new(),
            operations: HashMap::new(),
            attempts: HashMap::new(),
            checking: HashMap::new(),
            waiting: VecDeque::new(),
            timers: BinaryHeap::new(),
            next: 0,
            begun: 0,
            hedges_saved: HEDGES_SAVED / 4.0,
            check,
            journal,
        }
    }

    /// Other rules hold for operations that begin from now on.
    pub(super) fn set_rules(&mut self, rules: TokenRules) {
        self.rules = rules;
    }

    /// A station is about to be opened; it may speak before it is.
    pub(super) fn expect(&mut self, id: StationId, seat: Seat) {
        self.seats.insert(id, seat);
    }

    /// It has been opened.
    pub(super) fn opened(&mut self, now: Instant, id: StationId, station: Arc<dyn Signs>) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.station = Some(station);
        }
        self.release_waiting(now);
    }

    /// It is part of what is served, and is told of from now on.
    pub(super) fn serve(&mut self, id: StationId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.serve();
            self.show(id);
        }
    }

    /// Nothing new is given to it; it goes when nothing is in flight there.
    pub(super) fn release(&mut self, id: StationId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.is_released = true;
        }
        self.show(id);
        self.drop_if_over(id);
    }

    /// A key can be signed with from now on.
    pub(super) fn add_key(&mut self, id: TokenKeyId, key: Key) {
        self.keys.insert(id, key);
    }

    /// Nobody has it any more.
    pub(super) fn remove_key(&mut self, id: TokenKeyId) {
        self.keys.remove(&id);
    }

    /// A handshake wants a signature.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        origin: O,
        key: TokenKeyId,
        scheme: Scheme,
        message: Vec<u8>,
    ) {
        let Some(known) = self.keys.get(&key) else {
            let nobody = "no token has this key: it was taken out of the configuration";
            origin.finish(Outcome::Failed(WorkFailure::Failed(nobody.to_owned())));
            return;
        };
        let hedges = known.places.len() > 1;
        let id = self.number();
        let deadline = now + self.rules.operation_timeout;
        self.begun = self.begun.wrapping_add(1);
        self.hedges_saved = HEDGES_SAVED.min(self.hedges_saved + HEDGE_SHARE);
        self.operations.insert(id, Operation::new(origin, key, scheme, message.into(), deadline));
        self.place(now, id);
        // Where it could not be placed there is nothing to time.
        let Some(operation) = self.operations.get(&id) else { return };
        self.timers.push(Reverse((deadline, id, Timer::Deadline)));
        let first = operation.attempts.first().and_then(|attempt| self.attempts.get(attempt));
        if let Some(seat) = first.and_then(|attempt| self.seats.get(&attempt.station))
            && hedges
        {
            let due = now + seat.hedge_after(&self.rules);
            self.timers.push(Reverse((due, id, Timer::Hedge)));
        }
    }

    /// The token is there.
    pub(super) fn up(&mut self, now: Instant, id: StationId, info: &StationInfo) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        if seat.up(info.lanes) {
            self.journal.up(&seat.name, info);
        }
        self.show(id);
        self.release_waiting(now);
    }

    /// The token is gone, and perhaps comes back.
    pub(super) fn down(&mut self, now: Instant, id: StationId, problem: String, remedy: Remedy) {
        let Some(seat) = self.seats.get_mut(&id).filter(|seat| !seat.is_released) else { return };
        self.journal.down(&seat.name, &problem, remedy);
        seat.down(now, problem, remedy);
        self.show(id);
        if remedy == Remedy::Fatal {
            self.release_waiting(now);
        }
    }

    /// How many sessions of the token do what.
    pub(super) fn sessions(&mut self, id: StationId, busy: usize, open: usize, waiting: usize) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.sessions(busy, open, waiting);
            self.show(id);
        }
    }

    /// Something about the token that the operator should read.
    pub(super) fn notice(&mut self, now: Instant, id: StationId, message: &str) {
        if let Some(seat) = self.seats.get(&id) {
            self.journal.notice(now, &seat.name, message);
        }
    }

    /// What was due until now.
    pub(super) fn fire_timers(&mut self, now: Instant) {
        while let Some(Reverse((due, id, timer))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            match timer {
                Timer::Deadline => self.expire(now, id),
                Timer::Hedge => self.hedge(now, id),
                Timer::Release => self.release_waiting(now),
            }
        }
    }

    /// When something is due next.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives an operation that no token has to one; or has it wait; or ends it.
    fn place(&mut self, now: Instant, id: u64) {
        let mut is_full = false;
        let mut is_soon = false;
        for (station, key) in self.candidates(now, id, &mut is_soon) {
            match self.submit(now, id, station, key) {
                Submitted::Yes => return,
                Submitted::Full => is_full = true,
                Submitted::Gone => is_soon = true,
            }
        }
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if !operation.attempts.is_empty() {
            // Another token still has it.
            return;
        }
        let was_lost = matches!(operation.problem, Some(WorkFailure::Unavailable(_)));
        let places = self.keys.get(&operation.key).map_or(&[][..], |key| &key.places);
        let seats = || {
            let usable = places.iter().filter(|(id, _)| !operation.excluded.contains(id));
            usable.filter_map(|(id, _)| self.seats.get(id))
        };
        let may_wait = is_soon || was_lost && seats().any(Seat::may_come_back);
        if may_wait && self.waiting.len() < WAITING_MAX {
            operation.waits = true;
            self.waiting.push_back(id);
            return;
        }
        let failure = match operation.problem.take() {
            Some(failure) => failure,
            None if is_full || may_wait => {
                let names: Vec<_> = seats().map(|seat| &*seat.name).collect();
                WorkFailure::Busy(format!("no room in the queue of {}", names.join(", ")))
            }
            None => {
                let problems: Vec<_> = seats().map(Seat::problem).collect();
                WorkFailure::Unavailable(problems.join("; "))
            }
        };
        self.finish(id, Outcome::Failed(failure));
    }

    /// The stations that an operation can be given to now, the one with the least to do first.
    fn candidates(&self, now: Instant, id: u64, is_soon: &mut bool) -> Vec<(StationId, u64)> {
        let Some(operation) = self.operations.get(&id) else { return Vec::new() };
        let Some(key) = self.keys.get(&operation.key) else { return Vec::new() };
        let mut found: Vec<_> = Vec::with_capacity(key.places.len());
        for (station, key) in &key.places {
            let has_it = operation.attempts.iter().any(|attempt| {
                let attempt = self.attempts.get(attempt).or_else(|| self.checking.get(attempt));
                attempt.is_some_and(|attempt| attempt.station == *station)
            });
            if has_it || operation.excluded.contains(station) {
                continue;
            }
            let Some(seat) = self.seats.get(station) else { continue };
            match seat.room(now) {
                Room::Yes => {
                    let rank = (operation.lost_at == Some(*station), seat.in_flight);
                    found.push((rank, *station, *key));
                }
                Room::Soon => *is_soon = true,
                Room::No => {}
            }
        }
        // Where several have as little to do, each is first in its turn.
        if !found.is_empty() {
            let turn = self.begun % found.len();
            found.rotate_left(turn);
        }
        found.sort_by_key(|(rank, ..)| *rank);
        found.into_iter().map(|(_, station, key)| (station, key)).collect()
    }

    fn submit(&mut self, now: Instant, id: u64, station: StationId, key: u64) -> Submitted {
        let attempt = self.number();
        let Some(operation) = self.operations.get_mut(&id) else { return Submitted::Gone };
        let Some(seat) = self.seats.get_mut(&station) else { return Submitted::Gone };
        let Some(signs) = &seat.station else { return Submitted::Gone };
        if signs.submit(attempt, key, operation.scheme, &operation.message).is_err() {
            // A station that has just gone refuses too, and will say so in a moment.
            if seat.in_flight < seat.queue {
                return Submitted::Gone;
            }
            seat.counters.result(Verdict::Busy);
            return Submitted::Full;
        }
        let is_probe = seat.breaker.asked(now);
        seat.in_flight += 1;
        operation.attempted += 1;
        operation.attempts.push(attempt);
        self.attempts.insert(
            attempt,
            Attempt { operation: id, station, begun: now, is_probe, is_given_up: false },
        );
        self.show(station);
        Submitted::Yes
    }

    /// Gives an operation to another token too, if there is one with nothing better to do.
    fn hedge(&mut self, now: Instant, id: u64) {
        let Some(operation) = self.operations.get(&id) else { return };
        let is_slow = operation.attempts.len() == 1
            && self.attempts.contains_key(&operation.attempts[0])
            && operation.attempted < ATTEMPTS_MAX;
        if !is_slow || self.hedges_saved < 1.0 {
            return;
        }
        for (station, key) in self.candidates(now, id, &mut false) {
            if self.submit(now, id, station, key) == Submitted::Yes {
                self.hedges_saved -= 1.0;
                if let Some(seat) = self.seats.get(&station) {
                    seat.counters.hedged();
                }
                return;
            }
        }
    }

    /// Whoever waits for a token may find one now.
    fn release_waiting(&mut self, now: Instant) {
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some(operation) = self.operations.get_mut(&id) {
                operation.waits = false;
                self.place(now, id);
            }
        }
    }

    /// The deadline of an operation.
    fn expire(&mut self, now: Instant, id: u64) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.waits {
            let failure = operation.problem.take().unwrap_or_else(|| {
                WorkFailure::Unavailable("no token has come back within the deadline".to_owned())
            });
            self.waiting.retain(|waiting| *waiting != id);
            return self.finish(id, Outcome::Failed(failure));
        }
        for attempt in std::mem::take(&mut operation.attempts) {
            // What is being verified has come in time from its token; we are late.
            let Some(attempt) = self.attempts.get_mut(&attempt) else { continue };
            attempt.is_given_up = true;
            let (station, is_probe) = (attempt.station, attempt.is_probe);
            self.failed(now, station, is_probe, Verdict::TimedOut);
        }
        self.finish(id, Outcome::Failed(WorkFailure::TimedOut));
    }

    /// A token has failed; perhaps once too often.
    fn failed(&mut self, now: Instant, station: StationId, is_probe: bool, verdict: Verdict) {
        let Some(seat) = self.seats.get_mut(&station) else { return };
        seat.erred(verdict);
        if seat.breaker.failed(now, is_probe) {
            self.opened_breaker(station);
        }
    }

    fn opened_breaker(&mut self, station: StationId) {
        let Some(seat) = self.seats.get(&station) else { return };
        self.journal.breaker(&seat.name, true);
        if let Some(until) = seat.breaker.open_until() {
            self.timers.push(Reverse((until, 0, Timer::Release)));
        }
        self.show(station);
    }

    /// Tells how all stations of a name stand together: a reload may have opened a token anew.
    fn show(&self, id: StationId) {
        let Some(seat) = self.seats.get(&id) else { return };
        let alike = self.seats.values().filter(|of| Arc::ptr_eq(&of.counters, &seat.counters));
        let gauges = alike.filter_map(Seat::gauges);
        seat.counters.show(&gauges.fold(Gauges::default(), |all, one| all.and(&one)));
    }

    fn finish(&mut self, id: u64, outcome: Outcome) {
        if let Some(operation) = self.operations.remove(&id) {
            operation.origin.finish(outcome);
        }
    }

    fn drop_if_over(&mut self, id: StationId) {
        if self.seats.get(&id).is_some_and(|seat| seat.is_released && seat.in_flight == 0) {
            self.seats.remove(&id);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Submitted {
    Yes,
    Full,
    Gone,
}
