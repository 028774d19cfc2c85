//! What is signed with, in TLS' words: kinds of keys and signature schemes.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// The kinds of private keys that a TLS server signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// NIST P-256 (secp256r1).
    EcP256,
    /// NIST P-384 (secp384r1).
    EcP384,
    /// NIST P-521 (secp521r1).
    EcP521,
    /// RSA.
    Rsa {
        /// Length of the modulus.
        bits: u32,
    },
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl KeyKind {
    /// The schemes that such a key can sign, whatever its token can do.
    #[must_use]
    pub fn schemes(self) -> &'static [Scheme] {
        match self {
            Self::EcP256 => &[Scheme::EcdsaP256Sha256],
            Self::EcP384 => &[Scheme::EcdsaP384Sha384],
            Self::EcP521 => &[Scheme::EcdsaP521Sha512],
            Self::Rsa { .. } => &[
                Scheme::RsaPssSha256,
                Scheme::RsaPssSha384,
                Scheme::RsaPssSha512,
                Scheme::RsaPkcs1Sha256,
                Scheme::RsaPkcs1Sha384,
                Scheme::RsaPkcs1Sha512,
            ],
            Self::Ed25519 => &[Scheme::Ed25519],
        }
    }

    /// Bytes of one coordinate of the curve; `None` for RSA.
    pub(crate) fn coordinate_bytes(self) -> Option<usize> {
        match self {
            Self::EcP256 | Self::Ed25519 => Some(32),
            Self::EcP384 => Some(48),
            Self::EcP521 => Some(66),
            Self::Rsa { .. } => None,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcP256 => f.write_str("EC P-256"),
            Self::EcP384 => f.write_str("EC P-384"),
            Self::EcP521 => f.write_str("EC P-521"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// The signature schemes of TLS (RFC 9846, section 4.2.3) that tokens are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `ecdsa_secp256r1_sha256`.
    EcdsaP256Sha256,
    /// `ecdsa_secp384r1_sha384`.
    EcdsaP384Sha384,
    /// `ecdsa_secp521r1_sha512`.
    EcdsaP521Sha512,
    /// `rsa_pkcs1_sha256`.
    RsaPkcs1Sha256,
    /// `rsa_pkcs1_sha384`.
    RsaPkcs1Sha384,
    /// `rsa_pkcs1_sha512`.
    RsaPkcs1Sha512,
    /// `rsa_pss_rsae_sha256`.
    RsaPssSha256,
    /// `rsa_pss_rsae_sha384`.
    RsaPssSha384,
    /// `rsa_pss_rsae_sha512`.
    RsaPssSha512,
    /// `ed25519`.
    Ed25519,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 10] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::EcdsaP521Sha512,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::Ed25519,
    ];

    /// The scheme of a `SignatureScheme` code point of TLS; `None` for one that is none of ours.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.code() == code)
    }

    /// Its `SignatureScheme` code point in TLS.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::EcdsaP256Sha256 => 0x0403,
            Self::EcdsaP384Sha384 => 0x0503,
            Self::EcdsaP521Sha512 => 0x0603,
            Self::RsaPkcs1Sha256 => 0x0401,
            Self::RsaPkcs1Sha384 => 0x0501,
            Self::RsaPkcs1Sha512 => 0x0601,
            Self::RsaPssSha256 => 0x0804,
            Self::RsaPssSha384 => 0x0805,
            Self::RsaPssSha512 => 0x0806,
            Self::Ed25519 => 0x0807,
        }
    }

    /// Its name in TLS.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa_secp256r1_sha256",
            Self::EcdsaP384Sha384 => "ecdsa_secp384r1_sha384",
            Self::EcdsaP521Sha512 => "ecdsa_secp521r1_sha512",
            Self::RsaPkcs1Sha256 => "rsa_pkcs1_sha256",
            Self::RsaPkcs1Sha384 => "rsa_pkcs1_sha384",
            Self::RsaPkcs1Sha512 => "rsa_pkcs1_sha512",
            Self::RsaPssSha256 => "rsa_pss_rsae_sha256",
            Self::RsaPssSha384 => "rsa_pss_rsae_sha384",
            Self::RsaPssSha512 => "rsa_pss_rsae_sha512",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Whether `signature`, as TLS has it, is one over `message` by the key with this SubjectPublicKeyInfo (DER). RSA keys
    /// below 2,048 bits verify nothing.
    #[must_use]
    pub fn verifies(self, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::EcdsaP521Sha512 => &signature::ECDSA_P521_SHA512_ASN1,
            Self::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Ed25519 => &signature::ED25519,
        };
        UnparsedPublicKey::new(algorithm, spki).verify(message, signature).is_ok()
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::EcdsaP256Sha256 | Self::EcdsaP384Sha384 | Self::EcdsaP521Sha512 => Family::Ecdsa,
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512 => Family::Pkcs1,
            Self::RsaPssSha256 | Self::RsaPssSha384 | Self::RsaPssSha512 => Family::Pss,
            Self::Ed25519 => Family::Ed25519,
        }
    }

    /// The hash over the message. Ed25519 hashes by itself, with SHA-512, which nobody asks for.
    pub(crate) fn hash(self) -> Hash {
        match self {
            Self::EcdsaP256Sha256 | Self::RsaPkcs1Sha256 | Self::RsaPssSha256 => Hash::Sha256,
            Self::EcdsaP384Sha384 | Self::RsaPkcs1Sha384 | Self::RsaPssSha384 => Hash::Sha384,
            Self::EcdsaP521Sha512 | Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::Ed25519 => {
                Hash::Sha512
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a signature is made and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ecdsa,
    Pkcs1,
    Pss,
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn of(self, message: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message)
    }

    pub(crate) fn bytes(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// What stands before the hash in a `DigestInfo` (RFC 8017, section 9.2, note 1).
    pub(crate) fn digest_info_prefix(self) -> [u8; 19] {
        // SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.2.x, NULL }, OCTET STRING }: all three differ only in x and in lengths.
        let (last_arc, bytes) = match self {
            Self::Sha256 => (1, self.bytes()),
            Self::Sha384 => (2, self.bytes()),
            Self::Sha512 => (3, self.bytes()),
        };
        [
            0x30,
            17 + bytes,
            0x30,
            0x0d,
            0x06,
            0x09,
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x02,
            last_arc,
            0x05,
            0x00,
            0x04,
            bytes,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_those_of_tls_and_lead_back() {
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::from_code(scheme.code()), Some(scheme));
        }
        assert_eq!(Scheme::from_code(0x0201), None, "SHA-1 is not signed");
        assert_eq!(Scheme::RsaPssSha256.code(), 0x0804);
    }

    #[test]
    fn every_scheme_belongs_to_a_kind_of_key() {
        let kinds = [
            KeyKind::EcP256,
            KeyKind::EcP384,
            KeyKind::EcP521,
            KeyKind::Rsa { bits: 2048 },
            KeyKind::Ed25519,
        ];
        let count: usize = kinds.iter().map(|kind| kind.schemes().len()).sum();
        assert_eq!(count, Scheme::ALL.len());
    }

    #[test]
    fn a_signature_verifies_with_its_own_key_and_message_alone() {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let spki = |key: &EcdsaKeyPair| {
            let der: PublicKeyX509Der<'_> = key.public_key().as_der().expect("its SPKI");
            der.as_ref().to_vec()
        };
        let (own, other) = (key(), key());
        let signature = own.sign(&SystemRandom::new(), b"message").expect("a signature");
        let verifies = |key: &EcdsaKeyPair, message: &[u8]| {
            Scheme::EcdsaP256Sha256.verifies(&spki(key), message, signature.as_ref())
        };
        assert!(verifies(&own, b"message"));
        assert!(!verifies(&own, b"another") && !verifies(&other, b"message"));
        assert!(!Scheme::Ed25519.verifies(b"no key", b"message", signature.as_ref()));
    }

    #[test]
    fn a_digest_info_is_as_long_as_it_says() {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let prefix = hash.digest_info_prefix();
            assert_eq!(usize::from(prefix[1]) + 2, prefix.len() + usize::from(hash.bytes()));
            assert_eq!(hash.of(b"").as_ref().len(), usize::from(hash.bytes()));
        }
    }
}
