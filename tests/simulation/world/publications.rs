//! What is published while connections are open, the walk that asks each of them about it, and the clock
//! by which certificates expire.

use std::time::Duration;

use countersign_proto::{Connection, Consequence};

use super::World;
use super::agenda::Happening;
use crate::invariants::Verdict;
use crate::pki::{BRIEF_NOT_AFTER, EPOCH_SECONDS, Shown};
use crate::plan::{MILLISECOND, SECOND, nanos};
use crate::sabotage::Sabotage;
use crate::trace::Kind;

/// The walk through a table takes so long.
const WALK_NANOS: u64 = 20 * MILLISECOND;

/// A timer comes so late at most.
const TIMER_NANOS: u64 = 2 * MILLISECOND;

/// A clock that was set forward is noticed within this.
const CLOCK_LOOK: Duration = Duration::from_secs(300);

impl World {
    pub(super) fn publish(&mut self, number: usize) -> Verdict {
        if self.stopping {
            // Nothing is published to an engine that stops.
            return Ok(());
        }
        let (_, regime) = self.plan.publications[number];
        self.regime = regime;
        self.published = number + 1;
        for worker in &mut self.workers {
            worker.publish(&self.plan, self.sabotage, regime);
        }
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            if session.connection.is_some() {
                session.ledger.published(regime);
            }
            // Table order is chance, and so is how much of it one turn of the loop takes.
            let delay = session.random.within(0..=WALK_NANOS);
            self.agenda.after(delay, Happening::Reconsider(index));
        }
        self.trace.note(self.agenda.now, 0, Kind::Published, number, &regime);
        self.agenda.after(WALK_NANOS + 1, Happening::Reconsidered(number));
        let finished = WALK_NANOS + nanos(self.plan.limits.withdrawal_timeout) + TIMER_NANOS + 1;
        self.agenda.after(finished, Happening::Finished(number));
        Ok(())
    }

    pub(super) fn reconsider(&mut self, index: usize) -> Verdict {
        let now = self.now();
        let Some(connection) = &mut self.sessions[index].connection else { return Ok(()) };
        if self.sabotage == Sabotage::ForgetsPublications {
            return Ok(());
        }
        let before = connection.phase();
        if connection.handle_publication(now) {
            if before == "expect_upstream" {
                self.see("reconsidered_while_dialling");
            }
            self.see("reconsidered");
        }
        self.pump(index)
    }

    /// Nobody is let in whom what is published last keeps out, once everybody was asked about it.
    pub(super) fn check_survivors(&mut self, number: usize, consequence: Consequence) -> Verdict {
        let is_last = self.published == number + 1;
        let applies = is_last && !self.stopping && self.plan.withdrawal.revoked == consequence;
        if !applies || self.regime.lets_friends_in() {
            return Ok(());
        }
        for (index, session) in self.sessions.iter().enumerate() {
            if session.connection.as_ref().is_some_and(Connection::is_authorized) {
                self.touched = Some(index);
                let regime = self.regime;
                return Err(format!("it outlived {regime:?}, and {consequence:?} is configured"));
            }
        }
        Ok(())
    }

    pub(super) fn set_clock(&mut self, seconds: i64) -> Verdict {
        self.clock_step += seconds;
        self.note_expiry();
        Ok(())
    }

    /// `CLOCK_REALTIME`, in whole seconds since the epoch.
    pub(super) fn wall_seconds(&self) -> u64 {
        let seconds = EPOCH_SECONDS + self.agenda.now / SECOND;
        seconds.saturating_add_signed(self.clock_step)
    }

    /// Since when has the certificate of [`Shown::Brief`] been expired?
    pub(super) fn note_expiry(&mut self) {
        if self.wall_seconds() > BRIEF_NOT_AFTER {
            self.has_expired = true;
            self.expired_since.get_or_insert(self.agenda.now);
        } else {
            self.expired_since = None;
        }
    }

    /// Nobody stays whose certificate has expired.
    pub(super) fn check_expiry(&mut self, index: usize) -> Verdict {
        self.note_expiry();
        let session = &mut self.sessions[index];
        session.ledger.has_expired = self.has_expired && session.plan.client.shown == Shown::Brief;
        let patience = match self.plan.clock_step {
            Some(_) => nanos(CLOCK_LOOK),
            None => 0,
        };
        let patience = patience + SECOND + TIMER_NANOS;
        let since = self.expired_since.map_or(0, |since| self.agenda.now - since);
        let is_in = session.connection.as_ref().is_some_and(Connection::is_authorized);
        let must_have_ended = is_in
            && session.ledger.has_expired
            && since > patience
            && self.plan.withdrawal.expired == Consequence::Close;
        if must_have_ended {
            return Err("its certificate has expired, and it lives on".to_owned());
        }
        Ok(())
    }
}
