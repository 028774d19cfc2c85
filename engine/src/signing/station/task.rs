//! What lanes are given to do.

use std::time::Instant;

use countersign_hsm::{Scheme, Uri};
use zeroize::Zeroizing;

use super::{KeyFacts, KeySpec, StationError};

/// What waits for a lane.
pub(super) enum Task {
    Sign(Operation),
    Errand(Box<Errand>),
    /// There are more lanes than needed.
    Retire,
}

pub(super) struct Operation {
    pub(super) id: u64,
    pub(super) key: u64,
    pub(super) scheme: Scheme,
    pub(super) message: Vec<u8>,
    pub(super) deadline: Instant,
}

/// Something for the control thread. Its reply is always given: an errand that is dropped says so.
pub(super) struct Errand {
    pub(super) work: ErrandWork,
    reply: Option<Box<Reply>>,
}

type Reply = dyn FnOnce(Result<Found, StationError>) + Send;

pub(super) enum ErrandWork {
    Key(KeySpec),
    Challenge { key: u64, scheme: Scheme, message: Vec<u8> },
    Derive { uri: Uri, message: Vec<u8> },
}

pub(super) enum Found {
    Key(KeyFacts),
    Bytes(Zeroizing<Vec<u8>>),
}

impl Errand {
    pub(super) fn new(
        work: ErrandWork,
        reply: impl FnOnce(Result<Found, StationError>) + Send + 'static,
    ) -> Self {
        Self { work, reply: Some(Box::new(reply)) }
    }

    pub(super) fn finish(mut self, result: Result<Found, StationError>) {
        self.reply_with(result);
    }

    fn reply_with(&mut self, result: Result<Found, StationError>) {
        if let Some(reply) = self.reply.take() {
            reply(result);
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.reply_with(Err(StationError::passing(
            "the token is not there; it is being looked for",
        )));
    }
}
