//! Public keys as SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), made from what tokens tell.

use aws_lc_rs::digest;

use crate::der::{self, BIT_STRING, EXPLICIT_0, INTEGER, OCTET_STRING, OID, SEQUENCE};
use crate::scheme::KeyKind;

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const PRINTABLE_STRING: u8 = 0x13;
/// PKCS#11 v3.0 and tokens of before name the curve by a string.
const ED25519_NAMES: [&[u8]; 2] = [b"edwards25519", b"Ed25519"];
const NULL: &[u8] = &[0x05, 0x00];

const CURVES: [(KeyKind, &[u8]); 3] =
    [(KeyKind::EcP256, P256), (KeyKind::EcP384, P384), (KeyKind::EcP521, P521)];

/// The `CKA_EC_PARAMS` of a kind of key; `None` for RSA.
pub(crate) fn ec_params(kind: KeyKind) -> Option<Vec<u8>> {
    if kind == KeyKind::Ed25519 {
        return Some(der::tagged(PRINTABLE_STRING, &[ED25519_NAMES[0]]));
    }
    let (_, curve) = CURVES.into_iter().find(|(known, _)| *known == kind)?;
    Some(der::tagged(OID, &[curve]))
}

/// The kind of key that a `CKA_EC_PARAMS` belongs to.
pub(crate) fn kind_of_ec_params(params: &[u8]) -> Option<KeyKind> {
    let mut rest = params;
    let (tag, content) = der::take_any(&mut rest)?;
    match tag {
        OID if content == ED25519 => Some(KeyKind::Ed25519),
        OID => CURVES.into_iter().find(|(_, curve)| *curve == content).map(|(kind, _)| kind),
        PRINTABLE_STRING => ED25519_NAMES.contains(&content).then_some(KeyKind::Ed25519),
        _ => None,
    }
}

/// The kind of key in an SPKI; `None` if it is not well-formed or not a kind that signs here.
pub(crate) fn kind(spki: &[u8]) -> Option<KeyKind> {
    let mut content = der::only(spki, SEQUENCE)?;
    let mut algorithm = der::take(&mut content, SEQUENCE)?;
    let key = der::only(content, BIT_STRING)?;
    match der::take(&mut algorithm, OID)? {
        EC_PUBLIC_KEY => kind_of_ec_params(algorithm),
        ED25519 => Some(KeyKind::Ed25519),
        RSA_ENCRYPTION => {
            // The first byte of a BIT STRING counts its unused bits.
            let mut numbers = der::only(key.strip_prefix(&[0])?, SEQUENCE)?;
            let modulus = der::take(&mut numbers, INTEGER)?;
            Some(KeyKind::Rsa { bits: bits(modulus)? })
        }
        _ => None,
    }
}

/// The length of a number in bits.
pub(crate) fn bits(number: &[u8]) -> Option<u32> {
    let digits = der::without_leading_zeros(number);
    let first = digits.first()?;
    u32::try_from(digits.len() * 8).ok().map(|bits| bits - first.leading_zeros())
}

/// Of an RSA key's `CKA_MODULUS` and `CKA_PUBLIC_EXPONENT`.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let has_both = bits(modulus).is_some() && bits(exponent).is_some();
    let algorithm = der::tagged(SEQUENCE, &[&der::tagged(OID, &[RSA_ENCRYPTION]), NULL]);
    let numbers = der::tagged(SEQUENCE, &[&der::unsigned(modulus), &der::unsigned(exponent)]);
    has_both
        .then(|| der::tagged(SEQUENCE, &[&algorithm, &der::tagged(BIT_STRING, &[&[0], &numbers])]))
}

/// Of a `CKA_EC_POINT`, which the standard wraps in an OCTET STRING and some tokens do not.
pub(crate) fn ec(kind: KeyKind, point: &[u8]) -> Option<Vec<u8>> {
    let coordinate = kind.coordinate_bytes()?;
    let is_point = |point: &[u8]| match kind {
        KeyKind::Ed25519 => point.len() == coordinate,
        _ => point.len() == 1 + 2 * coordinate && point[0] == 0x04,
    };
    let point = [Some(point), der::only(point, OCTET_STRING)]
        .into_iter()
        .flatten()
        .find(|point| is_point(point))?;
    let algorithm = if kind == KeyKind::Ed25519 {
        der::tagged(SEQUENCE, &[&der::tagged(OID, &[ED25519])])
    } else {
        der::tagged(SEQUENCE, &[&der::tagged(OID, &[EC_PUBLIC_KEY]), &ec_params(kind)?])
    };
    Some(der::tagged(SEQUENCE, &[&algorithm, &der::tagged(BIT_STRING, &[&[0], point])]))
}

/// Of a certificate, whose signature nobody looks at here.
pub(crate) fn of_certificate(certificate: &[u8]) -> Option<Vec<u8>> {
    // Tokens pad values; what follows the certificate is not looked at.
    let mut input = certificate;
    let mut signed = der::take(&mut input, SEQUENCE)?;
    let mut tbs = der::take(&mut signed, SEQUENCE)?;
    if tbs.first() == Some(&EXPLICIT_0) {
        der::take_any(&mut tbs)?;
    }
    // serialNumber, signature, issuer, validity, subject
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        der::take(&mut tbs, tag)?;
    }
    let spki = der::take(&mut tbs, SEQUENCE)?;
    Some(der::tagged(SEQUENCE, &[spki]))
}

/// SHA-256 of an SPKI in hexadecimal, to show and compare.
pub(crate) fn fingerprint(spki: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, spki);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
    use aws_lc_rs::{encoding::AsDer, encoding::PublicKeyX509Der, rand};

    use super::*;

    #[test]
    fn an_ec_point_becomes_an_spki_wrapped_or_not() {
        for (kind, algorithm) in [
            (KeyKind::EcP256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            (KeyKind::EcP384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            (KeyKind::EcP521, &signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        ] {
            let key = EcdsaKeyPair::generate(algorithm).expect("a key");
            let point = key.public_key().as_ref();
            let expected: PublicKeyX509Der<'_> = key.public_key().as_der().expect("its SPKI");
            for told in [point.to_vec(), der::tagged(OCTET_STRING, &[point])] {
                let spki = ec(kind, &told).expect("a point");
                assert_eq!(spki, expected.as_ref());
                assert_eq!(super::kind(&spki), Some(kind));
            }
            assert_eq!(ec(kind, &point[1..]), None);
        }
    }

    #[test]
    fn an_ed25519_point_becomes_an_spki() {
        let document = Ed25519KeyPair::generate_pkcs8(&rand::SystemRandom::new()).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("the same");
        let point = key.public_key().as_ref();
        let expected: PublicKeyX509Der<'_> = key.public_key().as_der().expect("its SPKI");
        for told in [point.to_vec(), der::tagged(OCTET_STRING, &[point])] {
            let spki = ec(KeyKind::Ed25519, &told).expect("a point");
            assert_eq!(spki, expected.as_ref());
            assert_eq!(kind(&spki), Some(KeyKind::Ed25519));
        }
    }

    #[test]
    fn a_modulus_and_an_exponent_become_an_spki() {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let public = key.public_key();
        // SEQUENCE { INTEGER, INTEGER } (RFC 8017, appendix A.1.1).
        let mut numbers = der::only(public.as_ref(), SEQUENCE).expect("a key");
        let modulus = der::take(&mut numbers, INTEGER).expect("its modulus");
        let exponent = der::take(&mut numbers, INTEGER).expect("its exponent");
        let expected: PublicKeyX509Der<'_> = public.as_der().expect("its SPKI");
        let spki = rsa(modulus, &[&[0, 0, 0], exponent].concat()).expect("both");
        assert_eq!(spki, expected.as_ref());
        assert_eq!(kind(&spki), Some(KeyKind::Rsa { bits: 2048 }));
        assert_eq!(rsa(modulus, &[]), None);
    }

    #[test]
    fn curves_are_known_by_oid_and_by_name() {
        for kind in [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519] {
            assert_eq!(kind_of_ec_params(&ec_params(kind).expect("a curve")), Some(kind));
        }
        assert_eq!(kind_of_ec_params(&der::tagged(OID, &[ED25519])), Some(KeyKind::Ed25519));
        assert_eq!(kind_of_ec_params(&der::tagged(OID, &[b"other"])), None);
        assert_eq!(kind_of_ec_params(&[]), None);
    }

    #[test]
    fn rubbish_is_no_certificate_and_no_key() {
        for rubbish in
            [&[][..], &[0x30], &[0x30, 0x03, 0x30, 0x01, 0xa0], &[0x30, 0x80, 0, 0], &[4; 70]]
        {
            assert_eq!(of_certificate(rubbish), None);
            assert_eq!(kind(rubbish), None);
        }
    }
}
