//! Lanes: threads that take jobs from one bounded queue.

use std::sync::Arc;
use std::thread::JoinHandle;

use countersign_proto::{Handoff, Outcome, Work};
use crossbeam::channel::{self, Receiver, Sender};

use super::{Job, Performer};

/// How a lane does a piece of work; `None` means that it never answers.
pub type Perform = dyn Fn(Box<Work>) -> Option<Outcome> + Send + Sync;

/// A number of threads that do work for suspended handshake steps.
pub struct Lanes {
    handoff: Handoff,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Starts `count` lanes with a queue of `depth` jobs before them.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        handoff: Handoff,
        count: usize,
        depth: usize,
        perform: Arc<Perform>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel::bounded(depth);
        let threads = (0..count)
            .map(|number| {
                let receiver = receiver.clone();
                let perform = Arc::clone(&perform);
                std::thread::Builder::new()
                    .name(format!("lane-{number}"))
                    .spawn(move || work(&receiver, &*perform))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { handoff, jobs: Some(sender), threads })
    }
}

impl Performer for Lanes {
    fn handoff(&self) -> Handoff {
        self.handoff
    }

    fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(job).map_err(|refused| Box::new(refused.into_inner())),
            None => Err(Box::new(job)),
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A lane that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Job>, perform: &Perform) {
    for job in jobs {
        let (work, address, inbox) = job.into_parts();
        if let Some(outcome) = perform(work) {
            Job::finish(address, &inbox, outcome);
        }
    }
}
