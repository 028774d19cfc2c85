//! Why anchors cannot be trusted, and why a chain does not hold.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use crate::error::Reason;
use crate::identity::IdentityError;
use crate::revocation::RevocationRefusal;

/// Why a bundle of CA certificates cannot be a trust domain.
#[derive(Debug, thiserror::Error)]
pub enum TrustDomainError {
    /// There is nothing in it.
    #[error("there is no CA certificate in it")]
    Empty,
    /// A certificate cannot be parsed, or not used as an anchor.
    #[error("certificate {number} cannot be used as a trust anchor: {problem}")]
    Anchor {
        /// Counted from 1 in the order of the bundle.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The names do not fit into a CertificateRequest.
    #[error(
        "the names of its {count} certificates take {bytes} bytes; a CertificateRequest carries 65,535 at most"
    )]
    Names {
        /// Certificates in the bundle.
        count: usize,
        /// Bytes that their names take on the wire.
        bytes: usize,
    },
}

/// Why a client's chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More certificates or bytes than allowed.
    #[error("{certificates} certificates of {bytes} bytes")]
    TooLarge {
        /// Certificates sent.
        certificates: usize,
        /// Their DER bytes.
        bytes: usize,
    },
    /// So many signatures of its CA certificates are wrong that nothing more is looked at.
    #[error(
        "too many signatures of its CA certificates do not hold; send the client's certificate, then its issuers in order, and nothing else"
    )]
    TooManyForged,
    /// More names than can be held against the name constraints of its CAs.
    #[error("{names} names against {subtrees} name constraints are too many to compare")]
    TooManyComparisons {
        /// Subjects and alternative names.
        names: usize,
        /// Name constraints of its CAs.
        subtrees: usize,
    },
    /// Path validation failed.
    #[error("{}", describe(.0))]
    Path(webpki::Error),
    /// A CA's name constraints speak of names that are not processed, and such names are there.
    #[error(
        "a CA of the path constrains {0}, which this engine does not process: it refuses whoever the constraint applies to"
    )]
    UnprocessedConstraint(&'static str),
    /// The anchor has expired (webpki does not look).
    #[error("the trust anchor has expired")]
    AnchorExpired,
    /// The anchor is not valid yet.
    #[error("the trust anchor is not valid yet")]
    AnchorNotYetValid,
    /// The anchor is no CA, and the path does not end with its own certificate.
    #[error(
        "the trust anchor is no CA certificate: it vouches for nobody but itself (RFC 5280 §4.2.1.9)"
    )]
    AnchorNotCa,
    /// More CA certificates on the path than the anchor's own basic constraints allow.
    #[error("the trust anchor's path length constraint is violated (RFC 5280 §4.2.1.9)")]
    AnchorPathLength,
    /// The anchor's own extended key usage is there and names neither clientAuth nor any use.
    #[error("the trust anchor's extended key usage does not allow clientAuth (RFC 5280 §4.2.1.12)")]
    AnchorPurpose,
    /// Key usage is there and does not allow the use (RFC 5280 §4.2.1.3; webpki does not look).
    #[error("{0}")]
    KeyUsage(&'static str),
    /// The end entity's names cannot be read.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// A certificate cannot be parsed.
    #[error("a certificate of the chain cannot be parsed")]
    Malformed,
    /// A revocation list has a certificate of the path, or none speaks for it.
    #[error("{0}")]
    Revocation(#[from] RevocationRefusal),
}

impl ChainError {
    /// The reason that the operator reads.
    #[must_use]
    #[allow(deprecated, reason = "webpki still declares the variants without context")]
    pub fn reason(&self) -> Reason {
        use webpki::Error as E;
        match self {
            Self::TooLarge { .. } => Reason::ClientChainTooLarge,
            Self::AnchorExpired => Reason::ClientCertificateExpired,
            Self::AnchorNotYetValid => Reason::ClientCertificateNotYetValid,
            Self::AnchorNotCa => Reason::UnknownIssuer,
            Self::AnchorPurpose => Reason::ClientCertificatePurpose,
            Self::AnchorPathLength
            | Self::UnprocessedConstraint(_)
            | Self::TooManyComparisons { .. } => Reason::ClientCertificateInvalid,
            Self::TooManyForged => Reason::ClientCertificateBadSignature,
            Self::KeyUsage(_) => Reason::ClientCertificateKeyUsage,
            Self::Identity(_) | Self::Malformed => Reason::ClientCertificateMalformed,
            Self::Revocation(refusal) => refusal.reason(),
            Self::Path(error) => match error {
                E::BadDer | E::BadDerTime | E::TrailingData(_) | E::MalformedExtensions => {
                    Reason::ClientCertificateMalformed
                }
                E::CertExpired { .. } | E::InvalidCertValidity => Reason::ClientCertificateExpired,
                E::CertNotValidYet { .. } => Reason::ClientCertificateNotYetValid,
                E::UnknownIssuer => Reason::UnknownIssuer,
                E::RequiredEkuNotFound
                | E::RequiredEkuNotFoundContext(_)
                | E::EmptyEkuExtension => Reason::ClientCertificatePurpose,
                E::InvalidSignatureForPublicKey
                | E::SignatureAlgorithmMismatch
                | E::UnsupportedSignatureAlgorithmContext(_)
                | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                    Reason::ClientCertificateBadSignature
                }
                _ => Reason::ClientCertificateInvalid,
            },
        }
    }

    /// The error that makes rustls send the alert of [`Self::reason`].
    pub(crate) fn steering(&self) -> CertificateError {
        match self.reason() {
            Reason::ClientCertificateExpired => CertificateError::Expired,
            Reason::ClientCertificateNotYetValid => CertificateError::NotValidYet,
            Reason::UnknownIssuer => CertificateError::UnknownIssuer,
            Reason::ClientCertificatePurpose => CertificateError::InvalidPurpose,
            Reason::ClientCertificateBadSignature => CertificateError::BadSignature,
            Reason::ClientCertificateMalformed => CertificateError::BadEncoding,
            Reason::ClientCertificateRevoked => CertificateError::Revoked,
            _ => CertificateError::Other(OtherError(Arc::new(self.clone()))),
        }
    }
}

/// What webpki found, in words; its own are its variants' names.
fn describe(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => format!(
            "a certificate of the path expired at {} (seconds since 1970; now is {})",
            not_after.as_secs(),
            time.as_secs()
        ),
        E::CertNotValidYet { time, not_before } => format!(
            "a certificate of the path is not valid before {} (seconds since 1970; now is {})",
            not_before.as_secs(),
            time.as_secs()
        ),
        E::UnknownIssuer => "no path to a trust anchor: the client's CA is another one, or the client did not send an intermediate".into(),
        E::RequiredEkuNotFoundContext(context) => {
            let text =
                "the extended key usage of a certificate of the path does not allow clientAuth";
            match context.present.as_slice() {
                [] => text.into(),
                _ => format!("{text}: it allows any use, and that alone is not taken for it"),
            }
        }
        E::InvalidSignatureForPublicKey => "a signature in the path is wrong".into(),
        E::NameConstraintViolation => "a name constraint of a CA is violated".into(),
        E::PathLenConstraintViolated => "a CA's path length constraint is violated".into(),
        E::CaUsedAsEndEntity => "the client's certificate is a CA's".into(),
        E::EndEntityUsedAsCa => "an intermediate is not a CA's certificate".into(),
        E::UnsupportedCriticalExtension => {
            "a certificate of the path has a critical extension that this engine does not process".into()
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a certificate of the path is signed in a way that is not accepted: ECDSA, Ed25519 and RSA with SHA-2 are".into()
        }
        E::BadDerTime => {
            "a date in a certificate of the path cannot be read (none before 1970 can)".into()
        }
        E::MaximumPathDepthExceeded => "more than 6 intermediates on a path".into(),
        other => format!("{other:?}"),
    }
}
