//! What reaches the dispatcher: jobs from workers, and what stations, verifiers and the control thread say.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use countersign_proto::TokenKeyId;
use crossbeam::queue::{ArrayQueue, SegQueue};

use super::checking::Checked;
use super::counters::TokenCounters;
use super::dispatch::{Key, StationId};
use super::seat::Signs;
use crate::config::TokenRules;
use crate::signing::Job;
use crate::signing::station::Event;

/// Jobs that the dispatcher has not taken yet: more than all workers together are ever likely to have suspended.
const JOBS: usize = 65_536;

/// One thing said to the dispatcher.
pub(super) enum Message {
    Rules(TokenRules),
    /// A station is about to be opened.
    Expect {
        station: StationId,
        name: Arc<str>,
        counters: Arc<TokenCounters>,
        queue: usize,
    },
    Opened(StationId, Arc<dyn Signs>),
    /// It is part of what is served.
    Serve(StationId),
    Release(StationId),
    AddKey(TokenKeyId, Key),
    RemoveKey(TokenKeyId),
    Said(StationId, Event),
    Checked(Checked),
    End,
}

/// Two queues without locks: putting something in costs a worker a compare-and-swap, and a system call only where
/// the dispatcher sleeps.
pub(super) struct Mailbox {
    jobs: ArrayQueue<Job>,
    messages: SegQueue<Message>,
    dispatcher: OnceLock<Thread>,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self { jobs: ArrayQueue::new(JOBS), messages: SegQueue::new(), dispatcher: OnceLock::new() }
    }

    /// Never blocks.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.push(job)?;
        self.wake();
        Ok(())
    }

    /// Never blocks. Bounded by what is said: answers by the operations in flight, the rest is rare.
    pub(super) fn say(&self, message: Message) {
        self.messages.push(message);
        self.wake();
    }

    pub(super) fn job(&self) -> Option<Job> {
        self.jobs.pop()
    }

    pub(super) fn message(&self) -> Option<Message> {
        self.messages.pop()
    }

    /// This thread reads it.
    pub(super) fn read_by(&self, thread: Thread) {
        // There is one dispatcher, and it is started once.
        let _ = self.dispatcher.set(thread);
    }

    fn wake(&self) {
        if let Some(thread) = self.dispatcher.get() {
            thread.unpark();
        }
    }
}
