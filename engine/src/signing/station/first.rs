//! Whoever waits for a station's first opening, and what becomes of the station where that fails.

use std::time::Duration;

use countersign_hsm::Remedy;
use crossbeam::channel::{self, Receiver, Sender};

use super::StationError;

/// What becomes of a station whose token cannot be opened to begin with, for a reason that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no station then.
    Refused,
    /// The station goes on trying, as after a loss.
    Awaited,
}

/// Hears of the first opening.
pub(super) struct First {
    reply: Sender<Result<(), StationError>>,
    absence: Absence,
}

/// The other end of it.
pub(super) struct Opening {
    answer: Receiver<Result<(), StationError>>,
    absence: Absence,
}

pub(super) fn begin(absence: Absence) -> (First, Opening) {
    let (reply, answer) = channel::bounded(1);
    (First { reply, absence }, Opening { answer, absence })
}

impl Absence {
    fn awaits(self, error: &StationError) -> bool {
        self == Self::Awaited && error.remedy != Remedy::Fatal
    }
}

impl First {
    /// Do the attempts go on after this error?
    pub(super) fn awaits(&self, error: &StationError) -> bool {
        self.absence.awaits(error)
    }

    pub(super) fn tell(self, result: Result<(), StationError>) {
        // Whoever asked may have lost patience.
        let _ = self.reply.try_send(result);
    }
}

impl Opening {
    /// What was told within that time.
    pub(super) fn wait(&self, patience: Duration) -> Option<Result<(), StationError>> {
        self.answer.recv_timeout(patience).ok()
    }

    /// What that means for the station: nothing, or why its token is absent.
    ///
    /// # Errors
    /// Why there is no station.
    pub(super) fn judge(
        &self,
        told: Result<(), StationError>,
    ) -> Result<Option<StationError>, StationError> {
        match told {
            Ok(()) => Ok(None),
            Err(error) if self.absence.awaits(&error) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }
}
