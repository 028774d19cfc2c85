//! What webpki does not keep of an anchor's certificate.
//!
//! RFC 5280 §6.1.1 lets a trust anchor be a name and a key without further conditions. Operators
//! configure certificates, and expect what stands in them to hold.

use std::fmt;

use super::{ChainError, KEY_CERT_SIGN};
use crate::identity::{Certificate, Malformed, NameKinds};
use crate::tls::evidence::Issuer;

/// An anchor as a certificate.
pub(super) struct Authority {
    /// The subject with its header.
    pub(super) name: Box<[u8]>,
    /// The SubjectPublicKeyInfo with its header.
    pub(super) spki: Box<[u8]>,
    /// Both of them, as the evidence of a path has them.
    pub(super) issuer: Issuer,
    /// What it calls its key.
    pub(super) key_id: Option<Box<[u8]>>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    role: Role,
    /// Its extended key usage allows clients.
    allows_clients: bool,
    /// Its key usage allows to sign certificates.
    signs_certificates: bool,
    /// Its key usage allows to sign revocation lists.
    pub(super) signs_lists: bool,
    /// The kinds of names that it constrains.
    pub(super) constrained: NameKinds,
    /// Its name constraints, counted.
    pub(super) subtrees: usize,
}

enum Role {
    /// Issues certificates, with this many CA certificates below it at most.
    Ca { path_len: Option<usize> },
    /// Vouches for nobody but itself: the DER.
    Itself { der: Box<[u8]>, is_self_issued: bool },
}

/// What is odd about an anchor: it is not wrong, and some who expect to be let in will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorWarning {
    /// Counted from 1 in the order of the bundle.
    pub number: usize,
    /// What will happen, and why.
    pub problem: &'static str,
}

impl fmt::Display for AnchorWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}: {}", self.number, self.problem)
    }
}

impl Authority {
    pub(super) fn read(der: &[u8]) -> Result<Self, Malformed> {
        let certificate = Certificate::read(der)?;
        let constraints = certificate.basic_constraints()?;
        let name_constraints = certificate.name_constraints()?;
        // Version 1 has no way to say that it is a CA; configured as one it is taken for one (§6.1.4 k).
        let role = match constraints {
            Some(constraints) if constraints.is_ca => Role::Ca { path_len: constraints.path_len },
            None if certificate.version == 0 => Role::Ca { path_len: None },
            _ => Role::Itself {
                der: der.into(),
                is_self_issued: certificate.issuer == certificate.subject,
            },
        };
        Ok(Self {
            name: certificate.subject.into(),
            spki: certificate.spki.into(),
            issuer: Issuer::new(certificate.subject, certificate.spki),
            key_id: certificate.subject_key_id().map(Into::into),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            role,
            allows_clients: certificate
                .purposes()?
                .is_none_or(|purposes| purposes.client_auth || purposes.any),
            signs_certificates: certificate
                .key_usage()?
                .is_none_or(|usage| usage & KEY_CERT_SIGN != 0),
            signs_lists: certificate.key_usage()?.is_none_or(super::signs_lists),
            constrained: name_constraints.kinds,
            subtrees: name_constraints.subtrees,
        })
    }

    /// May a path end here at `now`, with these certificates between it and the end entity?
    pub(super) fn check(
        &self,
        now: i64,
        end_entity: &[u8],
        intermediates: &[Certificate<'_>],
    ) -> Result<(), ChainError> {
        if now > self.not_after {
            return Err(ChainError::AnchorExpired);
        }
        if now < self.not_before {
            return Err(ChainError::AnchorNotYetValid);
        }
        let path_len = match &self.role {
            Role::Ca { path_len } => *path_len,
            Role::Itself { der, .. } if **der == *end_entity => return Ok(()),
            Role::Itself { .. } => return Err(ChainError::AnchorNotCa),
        };
        if !self.signs_certificates {
            return Err(ChainError::KeyUsage(
                "the trust anchor's key usage does not allow keyCertSign",
            ));
        }
        if !self.allows_clients {
            return Err(ChainError::AnchorPurpose);
        }
        // "the maximum number of non-self-issued intermediate certificates" (§4.2.1.9)
        let length = intermediates.iter().filter(|ca| ca.issuer != ca.subject).count();
        if path_len.is_some_and(|most| length > most) {
            return Err(ChainError::AnchorPathLength);
        }
        Ok(())
    }

    /// What an operator should hear of before clients are refused for it.
    pub(super) fn warnings(&self) -> Vec<&'static str> {
        match self.role {
            Role::Ca { .. } => {}
            Role::Itself { is_self_issued: true, .. } => {
                return vec![
                    "it is no CA certificate: it lets in the client that presents this very certificate, and nobody below it",
                ];
            }
            Role::Itself { is_self_issued: false, .. } => {
                return vec![
                    "it is no CA certificate and another CA has issued it: it lets nobody in; trust that CA, and let rules choose the client",
                ];
            }
        }
        let mut warnings = Vec::new();
        if !self.signs_certificates {
            warnings.push("its key usage does not allow keyCertSign: nobody below it is let in");
        }
        if !self.allows_clients {
            warnings.push(
                "its extended key usage names neither clientAuth nor any use: nobody below it is let in",
            );
        }
        warnings.extend(UNPROCESSED.iter().filter_map(|(kinds, _, warning)| {
            (!self.constrained.both(*kinds).is_empty()).then_some(*warning)
        }));
        warnings
    }
}

/// Names whose constraints webpki does not process: it refuses whatever they apply to.
const UNPROCESSED: [(NameKinds, &str, &str); 4] = [
    (
        NameKinds::DIRECTORY,
        "directory names",
        "its name constraints speak of directory names, which are not processed: nobody below it is let in",
    ),
    (
        NameKinds::URI,
        "URIs",
        "its name constraints speak of URIs, which are not processed: nobody below it with a URI (such as a SPIFFE ID) is let in",
    ),
    (
        NameKinds::EMAIL,
        "email addresses",
        "its name constraints speak of email addresses, which are not processed: nobody below it with an email address as alternative name is let in",
    ),
    (
        NameKinds::RARE,
        "names of a rare kind",
        "its name constraints speak of otherName, x400Address, ediPartyName or registeredID, which are not processed: nobody below it with such an alternative name is let in",
    ),
];

/// The kind of names for which a path is refused that `constrained` applies to and that nobody
/// processes, where certificates have alternative names of the kinds `present`.
pub(super) fn unprocessed(constrained: NameKinds, present: NameKinds) -> Option<&'static str> {
    // Each certificate has a subject.
    let applies = constrained.both(present.or(NameKinds::DIRECTORY));
    let found = UNPROCESSED.iter().find(|(kinds, ..)| !applies.both(*kinds).is_empty());
    found.map(|(_, name, _)| *name)
}
