//! The test signer: what a lane does with work, as the test says.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use countersign_proto::{Outcome, Work, WorkFailure, WorkKind};

use super::PATIENCE;

/// What happens to a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is done, in software.
    Perform,
    /// It occupies its lane until the test releases it.
    Hold,
    /// It cannot be done.
    Fail,
    /// There is never an answer.
    Forget,
    /// The answer is one to another kind of work.
    Mistake,
    /// The lane panics.
    Panic,
}

/// Names one held piece of work: they are counted from 0 as they come.
pub(crate) type Ticket = usize;

/// Performs everything that it was not told to treat otherwise.
#[derive(Default)]
pub(crate) struct Signer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    once: Vec<(WorkKind, Manner)>,
    /// Held work, with what the test said shall become of it.
    held: BTreeMap<Ticket, Option<Manner>>,
    arrivals: usize,
    closed: bool,
}

impl Signer {
    /// Treats the next work of this kind so that is not spoken for yet.
    pub(crate) fn once(&self, kind: WorkKind, manner: Manner) {
        self.state().once.push((kind, manner));
    }

    /// How many pieces of work were ever held: the ticket of the next one.
    pub(crate) fn arrivals(&self) -> usize {
        self.state().arrivals
    }

    /// Says what becomes of work that is held.
    pub(crate) fn release(&self, ticket: Ticket, manner: Manner) {
        assert_ne!(manner, Manner::Hold, "that would release nothing");
        let mut state = self.state();
        let decision = state.held.get_mut(&ticket).expect("a ticket of work that is held");
        assert_eq!(decision.replace(manner), None, "work {ticket} is released already");
        self.changed.notify_all();
    }

    /// Gives every lane back, for good: what is held is forgotten, and nothing is waited for any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// What a lane calls.
    pub(crate) fn perform(&self, work: Work) -> Option<Outcome> {
        let kind = work.kind();
        let manner = match self.manner_for(kind) {
            Manner::Hold => self.hold(),
            manner => manner,
        };
        match manner {
            Manner::Perform => Some(work.perform()),
            Manner::Fail => Some(Outcome::Failed(WorkFailure::Failed("token removed".to_owned()))),
            Manner::Mistake if kind == WorkKind::Sign => Some(work_of_another_kind().perform()),
            Manner::Mistake => Some(Outcome::Signature(vec![0; 64])),
            Manner::Panic => panic!("the test signer panics, as it was told"),
            Manner::Forget | Manner::Hold => None,
        }
    }

    fn manner_for(&self, kind: WorkKind) -> Manner {
        let mut state = self.state();
        match state.once.iter().position(|(of, _)| *of == kind) {
            Some(index) => state.once.remove(index).1,
            None => Manner::Perform,
        }
    }

    fn hold(&self) -> Manner {
        let mut state = self.state();
        let ticket = state.arrivals;
        state.arrivals += 1;
        state.held.insert(ticket, None);
        loop {
            if let Some(manner) = state.held[&ticket] {
                state.held.remove(&ticket);
                return manner;
            }
            if state.closed {
                return Manner::Forget;
            }
            let (guard, waited) =
                self.changed.wait_timeout(state, 4 * PATIENCE).expect("no panic under the lock");
            assert!(!waited.timed_out(), "the test has forgotten work {ticket}");
            state = guard;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

fn work_of_another_kind() -> Work {
    let group = rustls::crypto::aws_lc_rs::kx_group::X25519;
    Work::Agree { group, peer: vec![9; 32] }
}
