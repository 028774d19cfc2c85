//! The test signer: does suspended work at once, later, too late, never, twice, or not at all.

use std::collections::BTreeMap;

use countersign_proto::{OperationId, Outcome, Work, WorkFailure, WorkKind};

use crate::random::Random;

/// What the signer makes of a world's work, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temper {
    pub(crate) fails: u64,
    pub(crate) is_silent: u64,
    pub(crate) is_late: u64,
    pub(crate) repeats: u64,
    pub(crate) delay_nanos: u64,
    /// After this long an answer comes too late.
    pub(crate) deadline_nanos: u64,
}

/// An answer to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Failed,
    /// To an operation that is over: it must change nothing.
    Stale,
}

/// The work of one connection.
#[derive(Default)]
pub(crate) struct Signer {
    open: BTreeMap<OperationId, Work>,
    finished: Vec<OperationId>,
    /// A failure was dealt for work of this kind.
    pub(crate) failed: Option<WorkKind>,
    pub(crate) asked_at: Option<u64>,
}

impl Signer {
    /// Takes work in. Gives the answers that will come, each with its delay.
    pub(crate) fn take(
        &mut self,
        temper: &Temper,
        random: &mut Random,
        now: u64,
        operation: OperationId,
        work: Work,
    ) -> Vec<(u64, OperationId, Answer)> {
        self.asked_at = Some(now);
        let previous = self.open.keys().chain(&self.finished).copied().collect::<Vec<_>>();
        self.open.insert(operation, work);
        let delay = random.within(0..=temper.delay_nanos);
        let mut answers = Vec::new();
        if random.percent(temper.repeats)
            && let Some(stale) = previous.last()
        {
            answers.push((random.within(0..=delay), *stale, Answer::Stale));
        }
        if random.percent(temper.is_silent) {
            return answers;
        }
        if random.percent(temper.is_late) {
            let late = temper.deadline_nanos + 1 + random.within(0..=temper.delay_nanos);
            answers.push((late, operation, Answer::Done));
        } else if random.percent(temper.fails) {
            answers.push((delay, operation, Answer::Failed));
        } else {
            answers.push((delay, operation, Answer::Done));
            if random.percent(temper.repeats) {
                answers.push((delay + 1, operation, Answer::Stale));
            }
        }
        answers
    }

    /// What the answer is; `None` if there is nothing to answer any more.
    pub(crate) fn answer(&mut self, operation: OperationId, answer: Answer) -> Option<Outcome> {
        let failed = |text: &str| Outcome::Failed(WorkFailure::Failed(text.to_owned()));
        if answer == Answer::Stale {
            return Some(failed("said twice"));
        }
        let work = self.open.remove(&operation)?;
        self.finished.push(operation);
        if answer == Answer::Failed {
            self.failed = Some(work.kind());
            return Some(failed("the token is in a bad mood"));
        }
        Some(work.perform())
    }
}
