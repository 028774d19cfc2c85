//! One operation, and the attempts at it.

use std::sync::Arc;
use std::time::Instant;

use countersign_hsm::Scheme;
use countersign_proto::{TokenKeyId, WorkFailure};

use super::StationId;

/// A signature that a handshake waits for.
pub(super) struct Operation<O> {
    pub(super) origin: O,
    pub(super) key: TokenKeyId,
    pub(super) scheme: Scheme,
    pub(super) message: Arc<[u8]>,
    pub(super) deadline: Instant,
    /// Under way, or being verified.
    pub(super) attempts: Vec<u64>,
    /// How many there were in all.
    pub(super) attempted: u32,
    /// Stations that would fail again.
    pub(super) excluded: Vec<StationId>,
    /// The station that lost it last: others come first.
    pub(super) lost_at: Option<StationId>,
    /// No station has it.
    pub(super) waits: bool,
    /// What went wrong last.
    pub(super) problem: Option<WorkFailure>,
}

/// An operation, given to one station.
pub(super) struct Attempt {
    pub(super) operation: u64,
    pub(super) station: StationId,
    pub(super) begun: Instant,
    /// The station's breaker waits for it.
    pub(super) is_probe: bool,
    /// The deadline has passed, and that was counted.
    pub(super) is_given_up: bool,
}

impl<O> Operation<O> {
    pub(super) fn new(
        origin: O,
        key: TokenKeyId,
        scheme: Scheme,
        message: Arc<[u8]>,
        deadline: Instant,
    ) -> Self {
        Self {
            origin,
            key,
            scheme,
            message,
            deadline,
            attempts: Vec::with_capacity(2),
            attempted: 0,
            excluded: Vec::new(),
            lost_at: None,
            waits: false,
            problem: None,
        }
    }
}
