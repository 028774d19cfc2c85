//! Signatures and MACs: right ones, and wrong or oddly encoded ones on request.

use std::borrow::Cow;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{cmac, hmac};
use cryptoki_sys::*;

use crate::cheap::Cheap;
use crate::key::{Curve, Key, ORDER_P256};
use crate::mechanism::{Hash, Mechanism};

/// What a signature is to suffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) wrong: bool,
    pub(crate) short: bool,
    pub(crate) padded: bool,
}

/// How the signature is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) damage: Damage,
    /// On P-256, where it is to be of ordinary form.
    pub(crate) cheap: bool,
}

impl Key {
    /// Can this mechanism be used with this key?
    pub(crate) fn fits(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Ecdsa(_) => matches!(self, Self::Ec(..)),
            Mechanism::RsaPkcs(_) | Mechanism::RsaPss(..) => matches!(self, Self::Rsa(_)),
            Mechanism::Eddsa => matches!(self, Self::Ed25519(_)),
            Mechanism::Sha256Hmac => matches!(self, Self::Secret(..)),
            Mechanism::AesCmac => matches!(self, Self::Aes(..)),
        }
    }

    /// A signature as PKCS#11 has it: r and s side by side for ECDSA.
    pub(crate) fn sign(
        &self,
        mechanism: Mechanism,
        data: &[u8],
        manner: Manner,
    ) -> Result<Vec<u8>, CK_RV> {
        let damage = manner.damage;
        let failed = |_| CKR_FUNCTION_FAILED;
        match (self, mechanism) {
            (Self::Ec(pair, curve, cheap), Mechanism::Ecdsa(hash)) => {
                let wanted = manner.cheap && curve.order == ORDER_P256 && !damage.short;
                let new = || Cheap::new(pair).ok();
                let cheap = if wanted { cheap.get_or_init(new).as_ref() } else { None };
                ecdsa(pair, *curve, cheap, &hashed(hash, data), damage)
            }
            (Self::Rsa(pair), Mechanism::RsaPkcs(hash)) => {
                let (encoding, digest) = match hash {
                    Some(hash) => (hash, hash_of(hash, data, damage)),
                    None => of_digest_info(data, damage)?,
                };
                rsa(pair, pkcs1(encoding), &digest)
            }
            (Self::Rsa(pair), Mechanism::RsaPss(hash, inside)) => {
                let digest = if inside {
                    hash_of(hash, data, damage)
                } else {
                    imported(hash, data, damage).ok_or(CKR_DATA_LEN_RANGE)?
                };
                rsa(pair, pss(hash), &digest)
            }
            (Self::Ed25519(pair), Mechanism::Eddsa) => {
                Ok(pair.try_sign(&spoiled(data, damage)).map_err(failed)?.as_ref().to_vec())
            }
            (Self::Secret(key, _), Mechanism::Sha256Hmac) => {
                Ok(hmac::sign(key, &spoiled(data, damage)).as_ref().to_vec())
            }
            (Self::Aes(key, _), Mechanism::AesCmac) => {
                Ok(cmac::sign(key, &spoiled(data, damage)).map_err(failed)?.as_ref().to_vec())
            }
            _ => Err(CKR_KEY_TYPE_INCONSISTENT),
        }
    }
}

fn ecdsa(
    pair: &EcdsaKeyPair,
    curve: Curve,
    cheap: Option<&Cheap>,
    given: &[u8],
    damage: Damage,
) -> Result<Vec<u8>, CK_RV> {
    if given.is_empty() {
        return Err(CKR_DATA_LEN_RANGE);
    }
    let digest =
        imported(curve.hash, &fitted(given, curve.hash), damage).ok_or(CKR_DATA_LEN_RANGE)?;
    let sign = || {
        let signed = match cheap {
            Some(cheap) => cheap.sign(digest.as_ref()),
            None => pair.sign_digest(&digest).map(|signature| signature.as_ref().to_vec()),
        };
        signed.map_err(|_| CKR_FUNCTION_FAILED)
    };
    if damage.short {
        return short(curve, sign);
    }
    let signature = sign()?;
    if damage.padded {
        let (r, s) = signature.split_at(curve.scalar_bytes);
        return Ok([&[0], r, &[0], s].concat());
    }
    Ok(signature)
}

/// What is given, or its hash.
fn hashed(hash: Option<Hash>, data: &[u8]) -> Cow<'_, [u8]> {
    match hash {
        Some(hash) => digest::digest(hash.algorithm(), data).as_ref().to_vec().into(),
        None => data.into(),
    }
}

/// A hash of any length as ECDSA takes it (FIPS 186-5, section 6.4.1): its leftmost octets, or zeros in front.
fn fitted(given: &[u8], hash: Hash) -> Vec<u8> {
    let length = hash.algorithm().output_len();
    let taken = &given[..given.len().min(length)];
    [&vec![0; length - taken.len()], taken].concat()
}

/// Signs until r and s (or what serves as well, the order less s) both begin with a zero octet, and leaves that away.
fn short(curve: Curve, sign: impl Fn() -> Result<Vec<u8>, CK_RV>) -> Result<Vec<u8>, CK_RV> {
    const TRIES_MAX: u32 = 1 << 20;
    for _ in 0..TRIES_MAX {
        let signature = sign()?;
        let (r, s) = signature.split_at(curve.scalar_bytes);
        if r[0] != 0 {
            continue;
        }
        let other = (curve.order.len() == s.len()).then(|| difference(curve.order, s));
        let short_s = Some(s).filter(|s| s[0] == 0).or(other.as_deref().filter(|s| s[0] == 0));
        if let Some(s) = short_s {
            return Ok([&r[1..], &s[1..]].concat());
        }
    }
    Err(CKR_FUNCTION_FAILED)
}

/// `a - b` of numbers of one length, big endian, where a is the greater.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut result = vec![0; a.len()];
    let mut borrow = 0;
    for at in (0..a.len()).rev() {
        let (first, under) = a[at].overflowing_sub(b[at]);
        let (second, under_again) = first.overflowing_sub(borrow);
        result[at] = second;
        borrow = u8::from(under || under_again);
    }
    result
}

/// The hash within a DigestInfo (RFC 8017, section 9.2, note 1).
fn of_digest_info(data: &[u8], damage: Damage) -> Result<(Hash, Digest), CK_RV> {
    const START: [u8; 15] =
        [0x30, 0, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0];
    const END: [u8; 3] = [0x05, 0x00, 0x04];
    for (hash, arc) in [(Hash::Sha256, 1), (Hash::Sha384, 2), (Hash::Sha512, 3)] {
        let length = hash.algorithm().output_len();
        let octet = u8::try_from(length).map_err(|_| CKR_GENERAL_ERROR)?;
        let mut prefix = [&START[..], &END, &[octet]].concat();
        prefix[1] = octet + 17;
        prefix[14] = arc;
        if let Some(digest) = data.strip_prefix(&prefix[..]).filter(|rest| rest.len() == length) {
            return Ok((hash, imported(hash, digest, damage).ok_or(CKR_DATA_LEN_RANGE)?));
        }
    }
    // Anything else would be signed by a real token, and is never asked for by TLS 1.2 or 1.3.
    Err(CKR_DATA_INVALID)
}

fn rsa(
    pair: &RsaKeyPair,
    encoding: &'static dyn RsaEncoding,
    digest: &Digest,
) -> Result<Vec<u8>, CK_RV> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign_digest(encoding, digest, &mut signature).map_err(|_| CKR_FUNCTION_FAILED)?;
    Ok(signature)
}

fn pkcs1(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &RSA_PKCS1_SHA256,
        Hash::Sha384 => &RSA_PKCS1_SHA384,
        Hash::Sha512 => &RSA_PKCS1_SHA512,
    }
}

fn pss(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &RSA_PSS_SHA256,
        Hash::Sha384 => &RSA_PSS_SHA384,
        Hash::Sha512 => &RSA_PSS_SHA512,
    }
}

fn hash_of(hash: Hash, data: &[u8], damage: Damage) -> Digest {
    digest::digest(hash.algorithm(), &spoiled(data, damage))
}

fn imported(hash: Hash, digest: &[u8], damage: Damage) -> Option<Digest> {
    Digest::import_less_safe(&spoiled(digest, damage), hash.algorithm()).ok()
}

/// Other data of the same length where the signature is to be wrong: it is as well-formed as any.
fn spoiled(data: &[u8], damage: Damage) -> Cow<'_, [u8]> {
    let mut data = Cow::Borrowed(data);
    if damage.wrong {
        match data.to_mut() {
            empty if empty.is_empty() => empty.push(0),
            data => data[0] ^= 1,
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_subtracted_with_a_borrow() {
        assert_eq!(difference(&[2, 0, 0], &[0, 0, 1]), [1, 0xff, 0xff]);
        assert_eq!(difference(&[9, 8], &[9, 8]), [0, 0]);
    }

    #[test]
    fn a_hash_is_cut_or_filled_up() {
        assert_eq!(fitted(&[7; 48], Hash::Sha256), [7; 32]);
        assert_eq!(fitted(&[7; 20], Hash::Sha256), [[0; 12].as_slice(), &[7; 20]].concat());
    }
}
