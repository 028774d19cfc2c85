//! A ticket key, and what is derived from it.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

/// A ticket key has at least so many bytes: 256 bits of secret.
pub const KEY_BYTES_MIN: usize = 32;

/// More than this adds nothing; it bounds what is kept.
pub const KEY_BYTES_MAX: usize = 128;

/// Another version of the format or of the derivation must never meet the same keys.
const SALT: &[u8] = b"countersign session tickets v1";

pub(super) const NAME_BYTES: usize = 16;
pub(super) const DOMAIN_TAG_BYTES: usize = 8;

/// Tells a trust domain from another, under one ticket key.
pub(super) type DomainTag = [u8; DOMAIN_TAG_BYTES];

const SEALING_KEY_BYTES: usize = 32;

/// A secret from which tickets are sealed: kept like a CA's key. Its parts are wiped when it is dropped.
#[derive(Clone)]
pub struct TicketKey {
    secret: Zeroizing<Vec<u8>>,
}

/// Why bytes cannot be a ticket key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ticket key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes; this has {0}")]
pub struct TicketKeyError(pub usize);

impl TicketKey {
    /// A key of random bytes: whoever made them must have drawn them from a generator for keys.
    ///
    /// # Errors
    /// If there are too few of them, or too many.
    pub fn new(secret: Zeroizing<Vec<u8>>) -> Result<Self, TicketKeyError> {
        match secret.len() {
            KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(Self { secret }),
            wrong => Err(TicketKeyError(wrong)),
        }
    }

    pub(super) fn derive(&self) -> Derivation {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(&self.secret);
        let mut name = [0; NAME_BYTES];
        expand(&prk, &[b"name"], &mut name).expect("HKDF-SHA256 gives up to 8,160 bytes");
        Derivation { prk, name }
    }
}

impl PartialEq for TicketKey {
    /// For noticing that a file has changed and that a key stands twice: not in constant time, and never
    /// asked by a peer.
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for TicketKey {}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey")
    }
}

/// A ticket key after HKDF-Extract (RFC 5869), and the name by which tickets know it.
pub(super) struct Derivation {
    prk: Prk,
    pub(super) name: [u8; NAME_BYTES],
}

impl Derivation {
    /// What tells tickets of one trust domain from those of another to us, and to nobody else.
    pub(super) fn domain_tag(&self, domain: &[u8; 32]) -> DomainTag {
        let mut tag = [0; DOMAIN_TAG_BYTES];
        expand(&self.prk, &[b"domain", domain], &mut tag)
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        tag
    }

    /// The key of one worker's life and one trust domain.
    pub(super) fn sealing_key(&self, worker: &[u8], domain: &[u8; 32]) -> LessSafeKey {
        let mut bytes = Zeroizing::new([0; SEALING_KEY_BYTES]);
        expand(&self.prk, &[b"seal", domain, worker], &mut *bytes)
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        let key = UnboundKey::new(&AES_256_GCM, &*bytes).expect("AES-256 has keys of 32 bytes");
        LessSafeKey::new(key)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand; the parts of `info` are of fixed sizes, so that no two lists of them read alike.
fn expand(prk: &Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), Unspecified> {
    prk.expand(info, Length(out.len()))?.fill(out)
}
