//! Keys: those that are made here, and where a CA's key is.
//!
//! A CA signs through [`CaSigning`] alone. [`open`] is the only place that knows what is behind it: a PEM file, or a
//! key that never leaves its token.

mod token;

use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use clap::ValueEnum;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize, SigningKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::error::{PkiError, Result};
use crate::config;

pub(super) use token::{Place, is_token};

/// The key of a CA, wherever it is.
pub(crate) type CaKey = Box<dyn CaSigning>;

/// What a CA signs with.
pub(crate) trait CaSigning: SigningKey {
    /// Why it did not sign, where there is more to say than rcgen can.
    fn problem(&self) -> Option<String> {
        None
    }
}

impl CaSigning for KeyPair {}

/// Algorithm and size of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    P256,
    P384,
    Ed25519,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl KeyKind {
    /// Makes a key.
    pub(crate) fn generate(self) -> Result<KeyPair> {
        match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => ed25519(),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
        .map_err(PkiError::crypto("make a key"))
    }

    /// The kind of a key that is there already: its successor is of the same.
    pub(super) fn of(key: &KeyPair) -> Option<Self> {
        // An RSAPublicKey (RFC 8017, appendix A.1.1) is little more than its modulus.
        let modulus_bits = key.der_bytes().len() * 8;
        let rsa = match modulus_bits {
            0..3_072 => Self::Rsa2048,
            3_072..4_096 => Self::Rsa3072,
            _ => Self::Rsa4096,
        };
        [
            (&PKCS_ECDSA_P256_SHA256, Self::P256),
            (&PKCS_ECDSA_P384_SHA384, Self::P384),
            (&PKCS_ED25519, Self::Ed25519),
            (&PKCS_RSA_SHA256, rsa),
        ]
        .into_iter()
        .find_map(|(algorithm, kind)| (key.algorithm() == algorithm).then_some(kind))
    }
}

impl KeyKind {
    /// The same in a token's words.
    fn in_token(self) -> countersign_hsm::KeyKind {
        use countersign_hsm::KeyKind as InToken;
        match self {
            Self::P256 => InToken::EcP256,
            Self::P384 => InToken::EcP384,
            Self::Ed25519 => InToken::Ed25519,
            Self::Rsa2048 => InToken::Rsa { bits: 2048 },
            Self::Rsa3072 => InToken::Rsa { bits: 3072 },
            Self::Rsa4096 => InToken::Rsa { bits: 4096 },
        }
    }
}

/// As PKCS#8 version 1 (RFC 5208): OpenSSL 3.0 does not read the version 2 that rcgen writes.
fn ed25519() -> std::result::Result<KeyPair, rcgen::Error> {
    let made = Ed25519KeyPair::generate().map_err(|_| rcgen::Error::RingUnspecified)?;
    let pkcs8 = made.to_pkcs8v1().map_err(|_| rcgen::Error::RingUnspecified)?;
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_ref()), &PKCS_ED25519)
}

/// The key that `place` names: a `pkcs11:` URI, or a path, from the PKI's directory if it is relative. `spki` is the
/// public key of the certificate that it is for, DER.
pub(super) fn open(place: &str, directory: &Path, spki: &[u8]) -> Result<CaKey> {
    if is_token(place) {
        return Ok(Box::new(Place::parse(place)?.open(spki)?));
    }
    Ok(Box::new(read(&directory.join(place))?))
}

/// A PEM file's key.
pub(super) fn read(path: &Path) -> Result<KeyPair> {
    let key = config::private_key(path).map_err(|problem| PkiError::content(path, problem))?;
    KeyPair::try_from(&key).map_err(|error| PkiError::content(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successors_key_is_of_the_same_kind() {
        for kind in [
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::Ed25519,
            KeyKind::Rsa2048,
            KeyKind::Rsa3072,
            KeyKind::Rsa4096,
        ] {
            assert_eq!(KeyKind::of(&kind.generate().expect("a key")), Some(kind));
        }
    }
}
