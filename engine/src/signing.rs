//! Work that leaves a handshake step: who does it, away from the worker.
//!
//! Software keys sign at once, in the step itself. What may take long is given to a [`Performer`],
//! whose outcomes come back through the worker's inbox.

mod lanes;
pub mod station;
mod tokens;

use countersign_proto::{Handoff, Outcome, Work};

pub use lanes::{Lanes, Perform};
pub(crate) use tokens::{Tokens, TokensReader};

use crate::worker::{Address, InboxSender, Message};

/// Does work for suspended handshake steps, on threads of its own.
pub trait Performer: Send + Sync {
    /// Which work leaves the step at all.
    fn handoff(&self) -> Handoff;

    /// Takes a job without blocking.
    ///
    /// # Errors
    /// Gives the job back if the queue is full; the handshake is then refused.
    fn submit(&self, job: Job) -> Result<(), Box<Job>>;
}

/// One piece of work and where its outcome goes.
pub struct Job {
    /// What is to be done.
    pub work: Box<Work>,
    pub(crate) address: Address,
    pub(crate) inbox: InboxSender,
}

impl Job {
    /// Sends the outcome to the worker. An outcome that comes too late is ignored there.
    pub fn finish(address: Address, inbox: &InboxSender, outcome: Outcome) {
        inbox.send(Message::Performed(address, Box::new(outcome)));
    }

    /// Takes the job apart into the work and the way back.
    #[must_use]
    pub fn into_parts(self) -> (Box<Work>, Address, InboxSender) {
        (self.work, self.address, self.inbox)
    }
}

/// Everything is done in the step itself.
#[derive(Debug, Default)]
pub struct InPlace;

impl Performer for InPlace {
    fn handoff(&self) -> Handoff {
        Handoff::default()
    }

    fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        Err(Box::new(job))
    }
}
