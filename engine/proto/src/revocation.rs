//! Revocation by lists (RFC 5280 §5): which certificates their CAs have taken back.
//!
//! A list is read as it comes ([`ListReader`]) and believed by nobody: it counts for a CA only once its
//! signature has been verified with that CA's key. What is known at one time is a [`Revocations`],
//! never changed; a [`RevocationFeed`] is the place where a worker's trust domain finds the one that
//! holds now. Every certificate of a path below its anchor is asked about, when the path is verified
//! and, from its [`Evidence`](crate::Evidence) alone, whenever somebody wants to know again.

mod distribution;
mod feed;
mod list;
mod once_table;
mod parser;
mod reader;
mod serials;
mod set;
mod signature;
mod standing;

pub use feed::{LOOKUPS, Lookups, RevocationFeed, Revocations};
pub use list::{CrlNumber, RevocationList, RevocationReason};
pub use parser::{LIST_BYTES_MAX, ListError};
pub use reader::{ListReader, ReadError};
pub use serials::SERIAL_BYTES_MAX;
pub use set::{ListSet, OnExpired, OnUnknown, RevocationMemory, RevocationPolicy};
pub use standing::{Checked, ListFacts, RevocationRefusal, Standing, Verdict};

pub(crate) use distribution::{PointName, of_certificate};

/// A list that was made so much later than now is not believed yet, in seconds: clocks differ.
pub(crate) const CLOCK_SKEW_SECONDS: i64 = 3_600;

/// Keys of CAs that a trust domain remembers, so that lists that come later can be verified without a
/// certificate.
pub const ISSUERS_MAX: usize = 1_024;

/// Distribution points of certificates that are fetched for a trust domain.
pub const POINTS_FETCHED_MAX: usize = 256;

#[cfg(test)]
mod tests;
