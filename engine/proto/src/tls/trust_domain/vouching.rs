//! Whether an anchor still stands behind a path that was verified before.

use rustls_pki_types::UnixTime;

use super::TrustDomain;
use super::anchor::Authority;
use crate::time::seconds;
use crate::tls::evidence::Evidence;

/// What an anchor says of a path that led to it when it was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouching {
    /// It is trusted, until then: seconds since the epoch.
    Until(i64),
    /// It is trusted, and has expired.
    Expired,
    /// It is trusted, and not valid yet.
    NotYetValid,
    /// No anchor has its name and its key.
    Unknown,
}

impl Vouching {
    fn weight(&self) -> (u8, i64) {
        match self {
            Self::Until(not_after) => (2, *not_after),
            Self::Expired | Self::NotYetValid => (1, 0),
            Self::Unknown => (0, 0),
        }
    }
}

impl TrustDomain {
    /// Whether a path that was verified before, perhaps by another domain, leads to an anchor of this one.
    /// An anchor is who it is by name and key: a renewed certificate of it vouches for its old paths.
    pub(crate) fn vouches(&self, evidence: &Evidence, now: UnixTime) -> Vouching {
        let Some(last) = evidence.issued.last() else { return Vouching::Unknown };
        let now = seconds(now);
        let judge = |authority: &Authority| match authority {
            authority if now > authority.not_after => Vouching::Expired,
            authority if now < authority.not_before => Vouching::NotYetValid,
            authority => Vouching::Until(authority.not_after),
        };
        let known = self.authorities.iter().filter(|authority| authority.issuer == last.issuer);
        // A bundle may have an old and a new certificate of one CA: the one that lasts longest counts.
        known.map(judge).max_by_key(Vouching::weight).unwrap_or(Vouching::Unknown)
    }
}
