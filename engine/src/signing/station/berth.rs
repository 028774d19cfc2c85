//! What a lane does, for the watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A lane's place in its crew.
pub(super) struct Berth {
    pub(super) shift: u64,
    standing: Mutex<Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Opening {
        since: Instant,
    },
    Idle,
    Busy(Doing),
    /// It did not come back from the module in time. What it says is not heard any more.
    Lost {
        since: Instant,
    },
    Over,
}

/// What a lane is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doing {
    /// None once it is answered, and for errands.
    pub(super) operation: Option<u64>,
    pub(super) began: Instant,
    pub(super) deadline: Instant,
}

impl Berth {
    pub(super) fn new(shift: u64, standing: Standing) -> Arc<Self> {
        Arc::new(Self { shift, standing: Mutex::new(standing) })
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what the lane is in. Is its operation still to be answered, and does the lane go on?
    pub(super) fn end(&self) -> (bool, bool) {
        let mut standing = self.standing();
        let Standing::Busy(doing) = *standing else { return (false, false) };
        *standing = Standing::Idle;
        (doing.operation.is_some(), true)
    }

    pub(super) fn is_there(&self) -> bool {
        !matches!(*self.standing(), Standing::Over | Standing::Lost { .. })
    }

    /// Takes the operation that the lane is in, so that the lane cannot answer it any more.
    pub(super) fn take_operation(&self) -> Option<u64> {
        match &mut *self.standing() {
            Standing::Busy(doing) => doing.operation.take(),
            _ => None,
        }
    }
}
