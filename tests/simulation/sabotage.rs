//! What can be broken on purpose: a checker that never objects proves nothing.

use countersign_proto::Side;

/// Something to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    Nothing,
    DialsBeforeAuthorization,
    LetsEveryoneIn,
    CorruptsBytesToUpstream,
    CorruptsBytesToClient,
    LosesBytesToUpstream,
    PassesTruncationForAnEnd,
    ResetsInsteadOfAlert,
    EndsTwice,
    LosesCloses,
    LosesTimers,
    ReceivesTwice,
    ForgetsPublications,
    ForgetsExpiry,
}

impl Sabotage {
    pub(crate) fn damage(self, side: Side, bytes: &mut [u8]) {
        let is_meant = match self {
            Self::CorruptsBytesToUpstream => side == Side::Upstream,
            // The record's header and what follows it stay; the last byte belongs to a tag.
            Self::CorruptsBytesToClient => side == Side::Client && bytes.len() > 4_000,
            _ => false,
        };
        if let (true, Some(last)) = (is_meant, bytes.last_mut()) {
            *last ^= 1;
        }
    }
}
