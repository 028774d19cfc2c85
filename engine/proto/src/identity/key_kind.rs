//! What kind of key a certificate is for.

use super::certificate::{BIT_STRING, Der, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};

/// The kind of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA, also where the key is for RSASSA-PSS alone (RFC 4055 section 1.2).
    Rsa {
        /// Length of the modulus in bits.
        bits: u32,
    },
    /// An elliptic curve (RFC 5480): P-256.
    EcP256,
    /// An elliptic curve: P-384.
    EcP384,
    /// An elliptic curve: P-521.
    EcP521,
    /// An elliptic curve of another name, or one without a name.
    EcOther,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Ed448 (RFC 8410).
    Ed448,
    /// Another algorithm, or a key that could not be read.
    Unknown,
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];
const P521: &[u8] = &[0x2b, 0x81, 4, 0, 35];
const ED25519: &[u8] = &[0x2b, 0x65, 112];
const ED448: &[u8] = &[0x2b, 0x65, 113];

impl KeyKind {
    /// Of a SubjectPublicKeyInfo with its header.
    pub(super) fn of(spki: &[u8]) -> KeyKind {
        KeyKind::read(spki).unwrap_or(KeyKind::Unknown)
    }

    fn read(spki: &[u8]) -> Result<KeyKind, &'static str> {
        const MALFORMED: &str = "its public key is malformed";
        let mut spki = Der(spki).expect(SEQUENCE, MALFORMED)?;
        let mut algorithm = spki.expect(SEQUENCE, MALFORMED)?;
        let kind = algorithm.expect(OBJECT_IDENTIFIER, MALFORMED)?;
        Ok(match kind.0 {
            RSA | RSASSA_PSS => {
                // The number of unused bits, which is none, stands before the key.
                let key = spki.expect(BIT_STRING, MALFORMED)?;
                let key = key.0.strip_prefix(&[0]).ok_or(MALFORMED)?;
                let mut key = Der(key).expect(SEQUENCE, MALFORMED)?;
                let modulus = key.expect(INTEGER, MALFORMED)?;
                KeyKind::Rsa { bits: bits(modulus.0) }
            }
            EC => match algorithm.expect(OBJECT_IDENTIFIER, MALFORMED).map_or(&[][..], |oid| oid.0)
            {
                P256 => KeyKind::EcP256,
                P384 => KeyKind::EcP384,
                P521 => KeyKind::EcP521,
                _ => KeyKind::EcOther,
            },
            ED25519 => KeyKind::Ed25519,
            ED448 => KeyKind::Ed448,
            _ => KeyKind::Unknown,
        })
    }
}

/// How many bits a number has that is not negative, from its bytes.
fn bits(number: &[u8]) -> u32 {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let Some(first) = number.get(zeros) else { return 0 };
    let length = u32::try_from(number.len() - zeros).unwrap_or(u32::MAX / 8);
    length * 8 - first.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_as_many_bits_as_it_takes_to_write_it() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[1]), 1);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
    }

    #[test]
    fn what_is_no_key_is_of_unknown_kind() {
        for spki in [&[][..], &[0x30, 0], &[0x30, 2, 0x30, 0], &[0x30, 4, 0x30, 2, 6, 0]] {
            assert_eq!(KeyKind::of(spki), KeyKind::Unknown, "{spki:?}");
        }
    }
}
