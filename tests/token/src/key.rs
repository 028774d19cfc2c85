//! Keys: from files, and what is public about them.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RsaKeyPair,
};
use aws_lc_rs::{cmac, hmac};

use crate::cheap::Cheap;
use crate::mechanism::Hash;
use crate::settings;

/// A key that can sign.
pub(crate) enum Key {
    Ec(EcdsaKeyPair, Curve, OnceLock<Option<Cheap>>),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Box<hmac::Key>, usize),
    Aes(cmac::Key, usize),
}

/// A curve, and how aws-lc signs on it.
#[derive(Clone, Copy)]
pub(crate) struct Curve {
    /// Octets of r, and of s.
    pub(crate) scalar_bytes: usize,
    /// What a hash that was made elsewhere is passed off as.
    pub(crate) hash: Hash,
    /// Its order, big endian, as long as a scalar.
    pub(crate) order: &'static [u8],
    /// `CKA_EC_PARAMS`: the object identifier.
    pub(crate) oid: &'static [u8],
    signing: &'static EcdsaSigningAlgorithm,
}

/// SEC 2, section 2.4.2.
pub(crate) const ORDER_P256: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

const CURVES: [Curve; 3] = [
    Curve {
        scalar_bytes: 32,
        hash: Hash::Sha256,
        order: &ORDER_P256,
        oid: &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
    },
    Curve {
        scalar_bytes: 48,
        hash: Hash::Sha384,
        order: &[],
        oid: &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
    },
    Curve {
        scalar_bytes: 66,
        hash: Hash::Sha512,
        order: &[],
        oid: &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        signing: &ECDSA_P521_SHA512_FIXED_SIGNING,
    },
];

/// id-Ed25519 (RFC 8410, section 3).
pub(crate) const ED25519_OID: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

impl Key {
    /// The key that the settings speak of.
    pub(crate) fn load(settings: &settings::Key, folder: &Path) -> Result<Self, String> {
        match (&settings.file, &settings.secret, &settings.aes) {
            (Some(file), None, None) => Self::read(&folder.join(file)),
            (None, Some(digits), None) => {
                let bytes = octets(digits)?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
                Ok(Self::Secret(Box::new(key), bytes.len()))
            }
            (None, None, Some(digits)) => {
                let bytes = octets(digits)?;
                let algorithm = match bytes.len() {
                    16 => cmac::AES_128,
                    24 => cmac::AES_192,
                    32 => cmac::AES_256,
                    other => return Err(format!("an AES key of {other} octets")),
                };
                let key = cmac::Key::new(algorithm, &bytes).map_err(|error| error.to_string())?;
                Ok(Self::Aes(key, bytes.len()))
            }
            _ => Err("a key has exactly one of 'file', 'secret' and 'aes'".to_owned()),
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let blocks = pem::parse_many(&text).map_err(|error| format!("{name}: {error}"))?;
        let block = blocks.iter().find(|block| block.tag() == "PRIVATE KEY");
        let der = block.ok_or_else(|| format!("{name}: no PRIVATE KEY (PKCS#8)"))?.contents();
        for curve in CURVES {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve.signing, der) {
                return Ok(Self::Ec(pair, curve, OnceLock::new()));
            }
        }
        let rsa = RsaKeyPair::from_pkcs8(der).map(Self::Rsa);
        rsa.or_else(|_| Ed25519KeyPair::from_pkcs8(der).map(Self::Ed25519))
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Octets of a signature or MAC.
    pub(crate) fn signature_len(&self) -> usize {
        match self {
            Self::Ec(_, curve, _) => 2 * curve.scalar_bytes,
            Self::Rsa(pair) => pair.public_modulus_len(),
            Self::Ed25519(_) => 64,
            Self::Secret(..) => 32,
            Self::Aes(..) => 16,
        }
    }

    /// `SubjectPublicKeyInfo`, of a key pair.
    pub(crate) fn spki(&self) -> Option<Vec<u8>> {
        let spki: Result<PublicKeyX509Der<'_>, _> = match self {
            Self::Ec(pair, ..) => pair.public_key().as_der(),
            Self::Rsa(pair) => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
            Self::Secret(..) | Self::Aes(..) => return None,
        };
        spki.ok().map(|spki| spki.as_ref().to_vec())
    }

    /// The public point of a curve's key, as an OCTET STRING (PKCS#11 2.40 mechanisms, section 2.3.3).
    pub(crate) fn point(&self) -> Option<Vec<u8>> {
        let point = match self {
            Self::Ec(pair, ..) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            _ => return None,
        };
        let length = u8::try_from(point.len()).ok()?;
        let header = if length < 0x80 { vec![0x04, length] } else { vec![0x04, 0x81, length] };
        Some([&header, point].concat())
    }

    /// Modulus and public exponent of an RSA key, big endian, without leading zeros.
    pub(crate) fn modulus_and_exponent(&self) -> Option<(&[u8], &[u8])> {
        let Self::Rsa(pair) = self else { return None };
        // RSAPublicKey (RFC 8017, appendix A.1.1).
        let (_, numbers, _) = element(pair.public_key().as_ref())?;
        let (_, modulus, rest) = element(numbers)?;
        let (_, exponent, _) = element(rest)?;
        Some((without_zeros(modulus), without_zeros(exponent)))
    }
}

pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    &number[zeros..]
}

/// Tag, content and rest of a DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Octets out of hexadecimal digits.
pub(crate) fn octets(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("'{digits}' is not an even number of hexadecimal digits");
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(wrong());
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|_| wrong())).collect()
}
