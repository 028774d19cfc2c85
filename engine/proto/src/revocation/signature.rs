//! The signature on a list: remembered as a digest, verified once it is known whose it should be.

use aws_lc_rs::digest::{self, Context, Digest};
use aws_lc_rs::signature::{self as algorithm, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use crate::identity::Der;

/// Ed25519 signs the text itself, not a digest of it (RFC 8032 §5.1): a list signed so is kept whole
/// while it is read, and no larger one is.
pub(crate) const ED25519_BYTES_MAX: usize = 16 * 1024 * 1024;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// How a list is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    Ecdsa(Hash),
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl SignatureAlgorithm {
    /// From the content of an AlgorithmIdentifier.
    pub(crate) fn read(identifier: &[u8]) -> Option<Self> {
        const KNOWN: [(AlgorithmIdentifier, SignatureAlgorithm); 10] = [
            (alg_id::ECDSA_SHA256, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
            (alg_id::ECDSA_SHA384, SignatureAlgorithm::Ecdsa(Hash::Sha384)),
            (alg_id::ECDSA_SHA512, SignatureAlgorithm::Ecdsa(Hash::Sha512)),
            (alg_id::RSA_PKCS1_SHA256, SignatureAlgorithm::RsaPkcs1(Hash::Sha256)),
            (alg_id::RSA_PKCS1_SHA384, SignatureAlgorithm::RsaPkcs1(Hash::Sha384)),
            (alg_id::RSA_PKCS1_SHA512, SignatureAlgorithm::RsaPkcs1(Hash::Sha512)),
            (alg_id::RSA_PSS_SHA256, SignatureAlgorithm::RsaPss(Hash::Sha256)),
            (alg_id::RSA_PSS_SHA384, SignatureAlgorithm::RsaPss(Hash::Sha384)),
            (alg_id::RSA_PSS_SHA512, SignatureAlgorithm::RsaPss(Hash::Sha512)),
            (alg_id::ED25519, SignatureAlgorithm::Ed25519),
        ];
        let known = KNOWN.iter().find(|(known, _)| known.as_ref() == identifier);
        // RFC 4055 §5: the parameters of RSA are NULL, and absent ones are accepted all the same.
        let without_null = || {
            KNOWN.iter().find(|(known, of)| {
                matches!(of, Self::RsaPkcs1(_))
                    && known.as_ref().strip_suffix(&[5, 0]) == Some(identifier)
            })
        };
        known.or_else(without_null).map(|(_, of)| *of)
    }

    /// Takes in the text that is signed, piece by piece.
    pub(crate) fn begin(self) -> Text {
        match self {
            Self::Ecdsa(hash) | Self::RsaPkcs1(hash) | Self::RsaPss(hash) => {
                Text::Hashed(Context::new(match hash {
                    Hash::Sha256 => &digest::SHA256,
                    Hash::Sha384 => &digest::SHA384,
                    Hash::Sha512 => &digest::SHA512,
                }))
            }
            Self::Ed25519 => Text::Whole(Vec::new()),
        }
    }

    /// What verifies it, with a key of this kind.
    fn verification(self, key: &AlgorithmIdentifier) -> Option<&'static dyn VerificationAlgorithm> {
        use Hash::{Sha256, Sha384, Sha512};
        Some(match self {
            Self::Ecdsa(hash) if *key == alg_id::ECDSA_P256 => match hash {
                Sha256 => &algorithm::ECDSA_P256_SHA256_ASN1,
                Sha384 => &algorithm::ECDSA_P256_SHA384_ASN1,
                Sha512 => &algorithm::ECDSA_P256_SHA512_ASN1,
            },
            Self::Ecdsa(hash) if *key == alg_id::ECDSA_P384 => match hash {
                Sha256 => &algorithm::ECDSA_P384_SHA256_ASN1,
                Sha384 => &algorithm::ECDSA_P384_SHA384_ASN1,
                Sha512 => &algorithm::ECDSA_P384_SHA512_ASN1,
            },
            Self::Ecdsa(hash) if *key == alg_id::ECDSA_P521 => match hash {
                Sha256 => &algorithm::ECDSA_P521_SHA256_ASN1,
                Sha384 => &algorithm::ECDSA_P521_SHA384_ASN1,
                Sha512 => &algorithm::ECDSA_P521_SHA512_ASN1,
            },
            Self::RsaPkcs1(hash) if *key == alg_id::RSA_ENCRYPTION => match hash {
                Sha256 => &algorithm::RSA_PKCS1_2048_8192_SHA256,
                Sha384 => &algorithm::RSA_PKCS1_2048_8192_SHA384,
                Sha512 => &algorithm::RSA_PKCS1_2048_8192_SHA512,
            },
            Self::RsaPss(hash) if *key == alg_id::RSA_ENCRYPTION => match hash {
                Sha256 => &algorithm::RSA_PSS_2048_8192_SHA256,
                Sha384 => &algorithm::RSA_PSS_2048_8192_SHA384,
                Sha512 => &algorithm::RSA_PSS_2048_8192_SHA512,
            },
            Self::Ed25519 if *key == alg_id::ED25519 => &algorithm::ED25519,
            _ => return None,
        })
    }
}

/// The text that is signed, while it comes.
pub(crate) enum Text {
    Hashed(Context),
    Whole(Vec<u8>),
}

impl Text {
    /// `false` if it is too long to be kept.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Hashed(context) => context.update(bytes),
            Self::Whole(text) if text.len() + bytes.len() > ED25519_BYTES_MAX => return false,
            Self::Whole(text) => text.extend_from_slice(bytes),
        }
        true
    }

    fn finish(self) -> Signed {
        match self {
            Self::Hashed(context) => Signed::Digest(context.finish()),
            Self::Whole(text) => Signed::Text(text.into()),
        }
    }
}

enum Signed {
    Digest(Digest),
    Text(Box<[u8]>),
}

/// A signature, and what it is on.
pub(crate) struct Signature {
    algorithm: SignatureAlgorithm,
    signed: Signed,
    value: Box<[u8]>,
}

impl Signature {
    pub(crate) fn new(algorithm: SignatureAlgorithm, text: Text, value: &[u8]) -> Self {
        Self { algorithm, signed: text.finish(), value: value.into() }
    }

    /// Is it by the key of this SubjectPublicKeyInfo (DER with the header)?
    pub(crate) fn is_by(&self, spki: &[u8]) -> bool {
        self.verify(spki).is_some()
    }

    fn verify(&self, spki: &[u8]) -> Option<()> {
        let mut outer = Der(spki);
        let mut info = outer.expect(SEQUENCE, "").ok()?;
        let identifier = info.expect(SEQUENCE, "").ok()?.0;
        let [0, key @ ..] = info.expect(BIT_STRING, "").ok()?.0 else { return None };
        info.end("").and(outer.end("")).ok()?;
        const KINDS: [AlgorithmIdentifier; 5] = [
            alg_id::ECDSA_P256,
            alg_id::ECDSA_P384,
            alg_id::ECDSA_P521,
            alg_id::RSA_ENCRYPTION,
            alg_id::ED25519,
        ];
        let kind = KINDS.iter().find(|kind| kind.as_ref() == identifier)?;
        let key = UnparsedPublicKey::new(self.algorithm.verification(kind)?, key);
        match &self.signed {
            Signed::Digest(digest) => key.verify_digest(digest, &self.value).ok(),
            Signed::Text(text) => key.verify(text, &self.value).ok(),
        }
    }

    /// Is it the same signature on the same text?
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_text = match (&self.signed, &other.signed) {
            (Signed::Digest(ours), Signed::Digest(theirs)) => ours.as_ref() == theirs.as_ref(),
            (Signed::Text(ours), Signed::Text(theirs)) => ours == theirs,
            _ => false,
        };
        same_text && self.algorithm == other.algorithm && self.value == other.value
    }

    /// Memory beyond the structure itself.
    pub(crate) fn bytes(&self) -> usize {
        let text = match &self.signed {
            Signed::Digest(_) => 0,
            Signed::Text(text) => text.len(),
        };
        text + self.value.len()
    }
}
