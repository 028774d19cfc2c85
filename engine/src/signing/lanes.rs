//! Lanes: threads that take jobs from one bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use countersign_proto::{Handoff, Outcome, Work, WorkFailure};
use crossbeam::channel::{self, Receiver, Sender};

use super::{Job, Performer};

/// How a lane does a piece of work; `None` means that it never answers.
pub type Perform = dyn Fn(Box<Work>) -> Option<Outcome> + Send + Sync;

/// A number of threads that do work for suspended handshake steps.
///
/// They end once this is dropped and the queue is empty. Nobody waits for them: a lane may be inside a
/// call that never comes back, and the last owner of its lanes is a worker that is about to stop.
pub struct Lanes {
    handoff: Handoff,
    jobs: Sender<Job>,
}

impl Lanes {
    /// Starts `count` lanes with a queue of `depth` jobs before them.
    ///
    /// # Errors
    /// If a thread cannot be started; those that run already end again.
    pub fn start(
        handoff: Handoff,
        count: usize,
        depth: usize,
        perform: Arc<Perform>,
    ) -> std::io::Result<Self> {
        let (jobs, receiver) = channel::bounded(depth);
        for number in 0..count {
            let receiver = receiver.clone();
            let perform = Arc::clone(&perform);
            std::thread::Builder::new()
                .name(format!("lane-{number}"))
                .spawn(move || work(&receiver, &*perform))?;
        }
        Ok(Self { handoff, jobs })
    }
}

impl Performer for Lanes {
    fn handoff(&self) -> Handoff {
        self.handoff
    }

    fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        self.jobs.try_send(job).map_err(|refused| Box::new(refused.into_inner()))
    }
}

fn work(jobs: &Receiver<Job>, perform: &Perform) {
    for job in jobs {
        let (work, address, inbox) = job.into_parts();
        // A panic ends one handshake, at once, and not the lane: nothing of this loop is broken by it,
        // and `perform` is shared by reference, as it would be after any other lane's panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| perform(work))).unwrap_or_else(|_payload| {
            Some(Outcome::Failed(WorkFailure::Failed("a lane panicked".to_owned())))
        });
        if let Some(outcome) = outcome {
            Job::finish(address, &inbox, outcome);
        }
    }
}
