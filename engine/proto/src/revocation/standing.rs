//! What the lists say of a certificate.

use super::list::{CrlNumber, RevocationReason};
use crate::error::Reason;

/// How a certificate stands with the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A list that is in date does not have it.
    Good,
    /// A list has it, whether in date or not.
    Revoked(RevocationReason),
    /// There is no list for it that its CA has signed.
    Unknown,
    /// The freshest list does not have it, and is out of date.
    Expired,
}

impl Verdict {
    /// The stable name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked(_) => "revoked",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
        }
    }

    /// The worse comes later.
    pub(super) fn severity(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Expired => 1,
            Self::Unknown => 2,
            Self::Revoked(_) => 3,
        }
    }
}

/// Which list a verdict comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// The list's number, a delta's where one was looked into.
    pub number: Option<CrlNumber>,
    /// When it was made: seconds since the epoch.
    pub this_update: i64,
    /// When it is out of date: seconds since the epoch.
    pub next_update: i64,
}

/// A verdict and the list that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How the certificate stands.
    pub verdict: Verdict,
    /// The list; none where it is unknown.
    pub list: Option<ListFacts>,
}

/// What was found about the certificates of a path, end entity first; nothing where revocation is not
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The generation of the [`Revocations`](super::Revocations) that were asked; 0 where none were.
    pub generation: u64,
    /// Until when that is the answer, seconds since the epoch: after it a list is out of date, though
    /// the generation is the same.
    pub holds_until: i64,
    /// What the lists say.
    pub standings: Box<[Standing]>,
    /// Whom the shadow lists would have refused.
    pub shadow: Option<RevocationRefusal>,
}

impl Default for Checked {
    fn default() -> Self {
        Self { generation: 0, holds_until: i64::MAX, standings: Box::default(), shadow: None }
    }
}

/// Why a path is refused by the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRefusal {
    /// Which certificate of the path: 0 is the end entity.
    pub position: usize,
    /// How it stands.
    pub standing: Standing,
}

impl RevocationRefusal {
    /// The reason that the operator reads.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self.standing.verdict {
            Verdict::Revoked(_) => Reason::ClientCertificateRevoked,
            Verdict::Expired => Reason::RevocationListExpired,
            Verdict::Unknown | Verdict::Good => Reason::RevocationUnknown,
        }
    }
}

impl std::error::Error for RevocationRefusal {}

impl std::fmt::Display for RevocationRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            0 => f.write_str("the client's certificate")?,
            position => write!(f, "intermediate {position} of the path")?,
        }
        match self.standing.verdict {
            Verdict::Revoked(reason) => write!(f, " is revoked ({})", reason.name())?,
            Verdict::Expired => {
                f.write_str(" may be revoked: the CA's freshest CRL is out of date")?;
            }
            Verdict::Unknown | Verdict::Good => {
                return f.write_str(" may be revoked: no CRL of its CA is known, or none whose signature, scope and key usage hold");
            }
        }
        let Some(list) = self.standing.list else { return Ok(()) };
        f.write_str("; CRL ")?;
        if let Some(number) = list.number {
            write!(f, "{number} ")?;
        }
        let ListFacts { this_update, next_update, .. } = list;
        write!(f, "made at {this_update}, to be replaced by {next_update} (seconds since 1970)")
    }
}
