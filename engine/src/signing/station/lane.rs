//! A lane: a thread that owns one session and does one thing at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use countersign_hsm::{Session, Token};
use zeroize::Zeroizing;

use super::berth::{Berth, Doing, Standing};
use super::crew::{Core, Counts};
use super::gate::Gate;
use super::persistence::{Failure, Trouble, Verdict};
use super::queue::Queue;
use super::task::{Errand, ErrandWork, Found, Operation, Task};
use super::{ERRAND_PATIENCE, KeyFacts, RefusalReason};

pub(super) struct Lane {
    pub(super) core: Arc<Core>,
    pub(super) token: Token,
    /// None while it is being opened anew.
    pub(super) session: Option<Session>,
    /// Operations that failed one after the other.
    pub(super) failures: u32,
    pub(super) gate: Arc<Gate>,
    /// The generation of handles that it used last.
    pub(super) keys_generation: u64,
    berth: Arc<Berth>,
    tasks: Arc<Queue>,
    counts: Arc<Counts>,
}

/// Where a lane works.
pub(super) struct Place {
    pub(super) berth: Arc<Berth>,
    pub(super) tasks: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
    pub(super) gate: Arc<Gate>,
    pub(super) token: Token,
}

impl Lane {
    pub(super) fn new(core: Arc<Core>, place: Place, session: Session) -> Self {
        let Place { berth, tasks, counts, gate, token } = place;
        let (session, failures, keys_generation) = (Some(session), 0, 0);
        Self { core, token, session, failures, gate, keys_generation, berth, tasks, counts }
    }

    /// Works until its shift ends, there is nothing to do for it, or it was given up for lost.
    pub(super) fn work(mut self) {
        // Not by reference into `self`: it is lent out mutably for each task.
        let tasks = Arc::clone(&self.tasks);
        while let Some(task) = tasks.take() {
            let goes_on = match task {
                Task::Sign(operation) => self.serve(&operation),
                Task::Errand(errand) => self.run(*errand),
                Task::Retire => !self.may_retire(),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Does one lane less still leave the least?
    fn may_retire(&self) -> bool {
        let least = self.core.plan.lanes.least.max(1);
        let fewer = |open: usize| (open > least).then(|| open - 1);
        let retires =
            self.counts.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok();
        if retires {
            *self.berth.standing() = Standing::Over;
        }
        retires
    }

    fn serve(&mut self, operation: &Operation) -> bool {
        let now = Instant::now();
        if now >= operation.deadline {
            let problem =
                "it waited for a session until it was too late to begin; the token is overloaded";
            self.core.refuse(operation.id, RefusalReason::Busy, problem);
            return true;
        }
        self.begin(Doing {
            operation: Some(operation.id),
            began: now,
            deadline: operation.deadline,
        });
        let result = self.persist(operation.deadline, |lane| {
            lane.sign(operation.key, operation.scheme, &operation.message)
        });
        let (is_owed, goes_on) = self.end();
        let (result, verdict) = apart(result);
        if is_owed {
            self.core.answer(operation.id, result.map_err(|failure| failure.refusal));
        }
        self.go_on(goes_on, verdict)
    }

    fn run(&mut self, errand: Errand) -> bool {
        let now = Instant::now();
        let deadline = now + ERRAND_PATIENCE;
        self.begin(Doing { operation: None, began: now, deadline });
        let result = self.persist(deadline, |lane| lane.find(&errand.work));
        let (_, goes_on) = self.end();
        let (result, verdict) = apart(result);
        errand.finish(result.map_err(Failure::into_error));
        self.go_on(goes_on, verdict)
    }

    fn find(&mut self, work: &ErrandWork) -> Result<Found, Trouble> {
        match work {
            ErrandWork::Key(spec) => {
                let key = self.key(spec.id)?;
                let facts =
                    KeyFacts { schemes: key.schemes(), spki: key.spki().map(<[u8]>::to_vec) };
                Ok(Found::Key(facts))
            }
            ErrandWork::Challenge { key, scheme, message } => {
                let signature = self.sign(*key, *scheme, message)?;
                Ok(Found::Bytes(Zeroizing::new(signature)))
            }
            ErrandWork::Derive { uri, message } => {
                let session = self.session()?;
                let missing = |error| Trouble::of_look_up(uri, error);
                let key = session.mac_key(uri).map_err(missing)?;
                Ok(Found::Bytes(session.mac(&key, message)?))
            }
        }
    }

    fn begin(&self, doing: Doing) {
        *self.berth.standing() = Standing::Busy(doing);
        let busy = self.counts.busy.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.peak.fetch_max(busy, Ordering::Relaxed);
    }

    /// Is the operation still to be answered, and does this lane go on?
    fn end(&self) -> (bool, bool) {
        let (is_owed, goes_on) = self.berth.end();
        // One that was given up for lost is not counted any more.
        if goes_on {
            self.counts.busy.fetch_sub(1, Ordering::Relaxed);
            self.core.came_back(&self.counts);
        }
        (is_owed, goes_on)
    }

    fn go_on(&self, goes_on: bool, verdict: Option<Verdict>) -> bool {
        match verdict {
            Some(Verdict { problem, remedy }) => {
                self.core.go_down(self.berth.shift, &problem, remedy);
                false
            }
            None => goes_on,
        }
    }
}

fn apart<T>(result: Result<T, Failure>) -> (Result<T, Failure>, Option<Verdict>) {
    match result {
        Ok(value) => (Ok(value), None),
        Err(mut failure) => {
            let verdict = failure.verdict.take();
            (Err(failure), verdict)
        }
    }
}

impl Drop for Lane {
    /// Also when something panicked in it: nobody waits for what it was in.
    fn drop(&mut self) {
        // A session can hang when it is closed; the berth stays taken so long.
        self.session = None;
        let before = std::mem::replace(&mut *self.berth.standing(), Standing::Over);
        if matches!(before, Standing::Idle | Standing::Busy(_)) {
            self.counts.open.fetch_sub(1, Ordering::Relaxed);
        }
        if matches!(before, Standing::Busy(_)) {
            self.counts.busy.fetch_sub(1, Ordering::Relaxed);
        }
        if let Standing::Busy(Doing { operation: Some(operation), .. }) = before {
            let problem = "the thread that worked on it has panicked";
            self.core.refuse(operation, RefusalReason::Lost, problem);
        }
        self.core.wake();
    }
}
