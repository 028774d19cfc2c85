//! The status of a certificate, as its CA's responder tells it: OCSP (RFC 6960), in the profile of
//! RFC 5019, with the nonces of RFC 9654.
//!
//! Requests are made and answers judged here; somebody else carries them. Invariants, written as
//! absences:
//!
//! * No [`Answer`] that its CA has not signed, itself or by a signer whom it has directly certified for
//!   that; none about another certificate; none outside of its time. [`verify`] alone makes them.
//! * No guess: what cannot be read, and every critical extension that is not known, is an error.
//! * No answer of the network panics, or costs more than its 64 KiB can.

mod cache;
mod extensions;
mod question;
mod response;
mod signer;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

pub use self::cache::{Freshness, StatusCache};
pub use self::extensions::{must_staple, responder_of};
pub use self::question::{CertIdHash, NONCE_BYTES, Nonce, Question, QuestionError, StatusKey};
pub use self::response::OcspError;
pub use self::verdict::{Expected, verify};

/// The largest answer that is read, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// The clocks of a CA and of this host may differ by so much, in seconds.
pub const SKEW_SECONDS: i64 = 300;

/// That a responder does not know a certificate is remembered so long, in seconds: it may be new.
pub const UNKNOWN_SECONDS: i64 = 60;

/// What a responder says about a certificate (RFC 6960 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is not revoked.
    Good,
    /// It is revoked, or on hold.
    Revoked {
        /// Since when: seconds since the epoch.
        at: i64,
        /// The CRLReason (RFC 5280 §5.3.1), if it is told.
        reason: Option<u8>,
    },
    /// The responder does not know it.
    Unknown,
}

impl Status {
    /// The stable name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked { .. } => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

/// What a responder has said, verified. Times are seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it is about.
    pub status: Status,
    /// The status was right then.
    pub this_update: i64,
    /// There will be something newer by then; without it, there always is.
    pub next_update: Option<i64>,
    /// When it came.
    pub received_at: i64,
    /// It has the nonce of our request: it was made for us.
    pub has_our_nonce: bool,
}

/// Whether a request carries a nonce, which makes an answer that was recorded before useless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NonceUse {
    /// It does not: many responders sign their answers ahead.
    #[default]
    Off,
    /// It does; an answer without one is good too, one with another is not.
    Prefer,
    /// It does, and the answer must have it.
    Require,
}

/// What becomes of a client about whom no responder gives an answer that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoAnswer {
    /// It is refused.
    #[default]
    FailClosed,
    /// It is let in.
    FailOpen,
}

/// How the clients of a trust domain are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspRules {
    /// Whom to ask, by HTTP URL; who the certificate names, if it is not said.
    pub responder: Option<Arc<str>>,
    /// The hash by which a request names the CA.
    pub hash: CertIdHash,
    /// Whether requests carry a nonce.
    pub nonce: NonceUse,
    /// From the question to its answer.
    pub timeout: Duration,
    /// What becomes of clients without an answer.
    pub no_answer: NoAnswer,
    /// An answer is used so long after it came, at most; those without a nextUpdate so long after their
    /// thisUpdate.
    pub max_age: Duration,
}

impl OcspRules {
    /// Which answers may be used again.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        Freshness { max_age: seconds(self.max_age), with_nonce: self.nonce == NonceUse::Require }
    }
}

/// A question on its way: whom to ask what, and how.
#[derive(Clone, Debug)]
pub struct Enquiry {
    /// What is asked.
    pub question: Question,
    /// Whom: an HTTP URL.
    pub responder: Arc<str>,
    /// The hash by which the CA is named.
    pub hash: CertIdHash,
    /// Whether it carries a nonce.
    pub nonce: NonceUse,
    /// From here to the answer.
    pub timeout: Duration,
    /// Of the rules.
    pub max_age: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnquiryFailure {
    /// There is nobody to ask.
    #[error(
        "the certificate names no OCSP responder that is spoken to (an http URL), and the configuration none"
    )]
    Nobody,
    /// The responder could not be asked, or did not answer.
    #[error("the OCSP responder {responder} gave no answer: {problem}")]
    NotAnswered {
        /// Its URL.
        responder: Arc<str>,
        /// What happened.
        problem: String,
    },
    /// Its answer does not hold.
    #[error("the answer of the OCSP responder {responder} does not hold: {problem}")]
    Invalid {
        /// Its URL.
        responder: Arc<str>,
        /// Why.
        problem: OcspError,
    },
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
