//! One certificate revocation list, read and not yet believed.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::digest;

use super::distribution::PointName;
use super::serials::Serials;
use super::signature::Signature;

/// Keys of which a list remembers whether it is theirs. A CA of more keys than that costs a signature
/// verification each time one of the further ones is asked about.
const KEYS_REMEMBERED: usize = 8;

/// A CRL number: at most 20 bytes, of which the leading zeros are not shown (RFC 5280 §5.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; 20]);

impl CrlNumber {
    /// From an INTEGER's content; `None` if it is negative or too long.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        let content = match content {
            [0, rest @ ..] => rest,
            [first, ..] if first & 0x80 == 0 => content,
            _ => return None,
        };
        let mut number = [0; 20];
        number[20_usize.checked_sub(content.len())?..].copy_from_slice(content);
        Some(Self(number))
    }
}

impl fmt::Display for CrlNumber {
    /// Decimal where it is short, else hexadecimal with `0x` before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = self.0.split_at(12);
        if high.iter().all(|byte| *byte == 0) {
            let low = low.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            return write!(f, "{low}");
        }
        f.write_str("0x")?;
        self.0.iter().skip_while(|byte| **byte == 0).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a certificate was revoked (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum RevocationReason {
    Unspecified = 0,
    KeyCompromise = 1,
    CaCompromise = 2,
    AffiliationChanged = 3,
    Superseded = 4,
    CessationOfOperation = 5,
    CertificateHold = 6,
    /// In a delta: it is not revoked any more.
    RemoveFromCrl = 8,
    PrivilegeWithdrawn = 9,
    AaCompromise = 10,
}

impl RevocationReason {
    const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// By its number.
    pub(crate) fn read(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// As RFC 5280 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::RemoveFromCrl => "removeFromCRL",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }
}

/// Which of a CA's certificates a list is about (RFC 5280 §5.2.5). Without an
/// IssuingDistributionPoint it is about all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Those with one of these distribution points; all if there are none.
    pub(crate) points: Box<[PointName]>,
    pub(crate) only: Only,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Only {
    #[default]
    All,
    EndEntities,
    Authorities,
    Attributes,
}

impl Scope {
    pub(crate) fn covers(&self, points: &[PointName], is_authority: bool) -> bool {
        let kind = match self.only {
            Only::All => true,
            Only::EndEntities => !is_authority,
            Only::Authorities => is_authority,
            Only::Attributes => false,
        };
        kind && (self.points.is_empty() || points.iter().any(|point| self.points.contains(point)))
    }
}

/// A list as it was read. Whose it is stands in it as a name; it counts only for a key that its
/// signature has been verified with.
pub struct RevocationList {
    /// The issuer's name, DER with the header.
    pub(crate) issuer: Box<[u8]>,
    pub(crate) this_update: i64,
    pub(crate) next_update: i64,
    pub(crate) number: Option<CrlNumber>,
    /// Of a delta: the number of the list that it builds upon (RFC 5280 §5.2.4).
    pub(crate) base: Option<CrlNumber>,
    /// The authorityKeyIdentifier as it stands (RFC 5280 §5.2.1).
    pub(crate) authority_key: Box<[u8]>,
    pub(crate) scope: Scope,
    pub(crate) serials: Serials,
    pub(crate) signature: Signature,
    pub(crate) verdicts: [OnceLock<([u8; 32], bool)>; KEYS_REMEMBERED],
    /// Bytes of DER that it was read from.
    pub(crate) der_bytes: u64,
}

impl RevocationList {
    /// The issuer's name, DER with the header.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// The issuer's name as RFC 4514 writes it, safe to show.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        crate::identity::distinguished_name_text(&self.issuer)
    }

    /// When it was made: seconds since the epoch.
    #[must_use]
    pub fn this_update(&self) -> i64 {
        self.this_update
    }

    /// When there will be a newer one: seconds since the epoch.
    #[must_use]
    pub fn next_update(&self) -> i64 {
        self.next_update
    }

    /// Its number; lists of version 1 have none.
    #[must_use]
    pub fn number(&self) -> Option<CrlNumber> {
        self.number
    }

    /// The number of the list that a delta builds upon; `None` for a complete list.
    #[must_use]
    pub fn base(&self) -> Option<CrlNumber> {
        self.base
    }

    /// How many serial numbers stand in it.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.serials.len()
    }

    /// The reason with which a certificate stands in it, by its serial number (an INTEGER's content);
    /// `None` if it does not. One that stands there twice is removed only if both say so.
    #[must_use]
    pub fn reason(&self, serial: &[u8]) -> Option<RevocationReason> {
        let reasons = self.serials.find(serial);
        let reasons = reasons
            .reasons()
            .map(|number| RevocationReason::read(number).unwrap_or(RevocationReason::Unspecified));
        reasons.min_by_key(|reason| *reason == RevocationReason::RemoveFromCrl)
    }

    /// Bytes of DER that it was read from.
    #[must_use]
    pub fn der_bytes(&self) -> u64 {
        self.der_bytes
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.issuer.len() + self.signature.bytes() + self.serials.bytes()
    }

    /// Is it the same list to the byte?
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.der_bytes == other.der_bytes
            && self.signature.is_same(&other.signature)
    }

    /// Is there a fresher one here of the same CA, the same key as far as it says, the same scope and
    /// kind?
    #[must_use]
    pub fn is_superseded_by(&self, other: &Self) -> bool {
        (other.this_update, other.number) > (self.this_update, self.number)
            && self.base.is_some() == other.base.is_some()
            && self.issuer == other.issuer
            && self.authority_key == other.authority_key
            && self.scope == other.scope
    }

    /// Is it signed with the key of this SubjectPublicKeyInfo (DER with the header)? Verified once
    /// and remembered.
    #[must_use]
    pub fn is_signed_by(&self, spki: &[u8]) -> bool {
        self.is_by(&sha256(spki), Some(spki)) == Some(true)
    }

    /// As [`Self::is_signed_by`]; `None` where nobody knows the key's text, only its hash.
    pub(crate) fn is_by(&self, key: &[u8; 32], spki: Option<&[u8]>) -> Option<bool> {
        let known = self.verdicts.iter().map_while(OnceLock::get).find(|(of, _)| of == key);
        if let Some((_, verdict)) = known {
            return Some(*verdict);
        }
        let spki = spki?;
        debug_assert!(sha256(spki) == *key, "a key is known by its own hash");
        let verdict = self.signature.is_by(spki);
        for place in &self.verdicts {
            // Who comes second has come to the same verdict, or stands in the next place.
            if place.set((*key, verdict)).is_ok() || place.get().is_some_and(|(of, _)| of == key) {
                break;
            }
        }
        Some(verdict)
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationList({}, {:?})", self.issuer_text(), self.number)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, bytes);
    std::array::from_fn(|index| hash.as_ref()[index])
}
