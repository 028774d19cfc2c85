//! What stations answer, and what becomes of the operation then.

use std::sync::Arc;
use std::time::Instant;

use countersign_proto::{Outcome, WorkFailure};

use super::operation::Attempt;
use super::{ATTEMPTS_MAX, Dispatch, Origin, StationId};
use crate::signing::station::{Refusal, RefusalReason};
use crate::signing::tokens::checking::{Check, Checked};
use crate::signing::tokens::counters::Verdict;

impl<O: Origin> Dispatch<O> {
    /// A station answers. What nobody waits for any more is counted and ignored.
    pub(in crate::signing::tokens) fn answer(
        &mut self,
        now: Instant,
        station: StationId,
        attempt: u64,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let is_its = self.attempts.get(&attempt).is_some_and(|known| known.station == station);
        let Some(known) = self.attempts.remove(&attempt).filter(|_| is_its) else { return };
        if let Some(seat) = self.seats.get_mut(&station) {
            seat.in_flight = seat.in_flight.saturating_sub(1);
            self.show(station);
        }
        match result {
            Ok(signature) => self.signed(now, attempt, known, signature),
            Err(refusal) => self.refused(now, attempt, &known, refusal),
        }
        self.drop_if_over(station);
    }

    fn signed(&mut self, now: Instant, number: u64, attempt: Attempt, signature: Vec<u8>) {
        let Some(seat) = self.seats.get_mut(&attempt.station) else { return };
        seat.signed(now.duration_since(attempt.begun));
        let Some(operation) = self.operations.get(&attempt.operation) else {
            seat.counters.late();
            if !attempt.is_given_up {
                self.succeeded(now, &attempt);
            }
            return;
        };
        if seat.verifies(operation.scheme, self.rules.verify_own)
            && let Some(key) = self.keys.get(&operation.key)
        {
            seat.counters.verified();
            let (key, scheme) = (Arc::clone(&key.public_key), operation.scheme);
            let message = Arc::clone(&operation.message);
            self.checking.insert(number, attempt);
            (self.check)(Check { attempt: number, key, scheme, message, signature });
            return;
        }
        let id = attempt.operation;
        self.succeeded(now, &attempt);
        self.finish(id, Outcome::Signature(signature));
    }

    /// A signature was verified.
    pub(in crate::signing::tokens) fn checked(&mut self, now: Instant, checked: Checked) {
        let Some(attempt) = self.checking.remove(&checked.attempt) else { return };
        if checked.holds {
            self.succeeded(now, &attempt);
            return self.finish(attempt.operation, Outcome::Signature(checked.signature));
        }
        let Some(seat) = self.seats.get_mut(&attempt.station) else { return };
        let problem = format!("{}: it gave a signature that does not hold", seat.name);
        seat.erred(Verdict::WrongSignature);
        let is_opened = seat.breaker.trip(now);
        self.journal.wrong_signature(&seat.name);
        if is_opened {
            self.opened_breaker(attempt.station);
        }
        let failure = WorkFailure::WrongSignature(problem);
        self.try_elsewhere(now, checked.attempt, &attempt, failure, Again::Elsewhere);
    }

    /// A station did what it was asked.
    fn succeeded(&mut self, now: Instant, attempt: &Attempt) {
        let Some(seat) = self.seats.get_mut(&attempt.station) else { return };
        seat.counters.result(Verdict::Signed);
        if seat.breaker.succeeded(attempt.is_probe) {
            self.journal.breaker(&seat.name, false);
            self.show(attempt.station);
            self.release_waiting(now);
        }
    }

    fn refused(&mut self, now: Instant, number: u64, attempt: &Attempt, refusal: Refusal) {
        let Refusal { reason, problem } = refusal;
        let Some(seat) = self.seats.get_mut(&attempt.station) else { return };
        let problem = format!("{}: {problem}", seat.name);
        if attempt.is_given_up {
            seat.counters.late();
            return;
        }
        let (failure, again) = match reason {
            RefusalReason::Busy => {
                seat.counters.result(Verdict::Busy);
                seat.probe_was_void(attempt.is_probe);
                (WorkFailure::Busy(problem), Again::Elsewhere)
            }
            RefusalReason::Key => {
                seat.erred(Verdict::KeyMissing);
                seat.probe_was_void(attempt.is_probe);
                (WorkFailure::Failed(problem), Again::Elsewhere)
            }
            RefusalReason::Failed => {
                self.failed(now, attempt.station, attempt.is_probe, Verdict::Failed);
                (WorkFailure::Failed(problem), Again::Elsewhere)
            }
            // Whatever was in flight is lost at once when a token goes: that is one failure.
            RefusalReason::Lost if !attempt.is_probe && !seat.counts_loss(now) => {
                seat.erred(Verdict::Lost);
                (WorkFailure::Unavailable(problem), Again::Anywhere)
            }
            RefusalReason::Lost => {
                self.failed(now, attempt.station, attempt.is_probe, Verdict::Lost);
                (WorkFailure::Unavailable(problem), Again::Anywhere)
            }
        };
        self.try_elsewhere(now, number, attempt, failure, again);
    }

    /// An attempt has come to nothing: the next one, unless another is under way.
    fn try_elsewhere(
        &mut self,
        now: Instant,
        number: u64,
        attempt: &Attempt,
        failure: WorkFailure,
        again: Again,
    ) {
        let Some(operation) = self.operations.get_mut(&attempt.operation) else { return };
        operation.attempts.retain(|under_way| *under_way != number);
        match again {
            Again::Elsewhere => operation.excluded.push(attempt.station),
            Again::Anywhere => operation.lost_at = Some(attempt.station),
        }
        if !operation.attempts.is_empty() {
            operation.problem = Some(failure);
            return;
        }
        if operation.attempted >= ATTEMPTS_MAX || now >= operation.deadline {
            return self.finish(attempt.operation, Outcome::Failed(failure));
        }
        operation.problem = Some(failure);
        self.place(now, attempt.operation);
    }
}

/// Where an operation may be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Also where it failed, once that is back.
    Anywhere,
    /// It would fail there again.
    Elsewhere,
}
