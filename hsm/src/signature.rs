//! From what tokens return to what TLS sends.

use crate::der;
use crate::error::{Error, Remedy};
use crate::scheme::KeyKind;

/// How far a token may pad each half of an ECDSA signature: to the next power of two of the longest curve.
const HALF_BYTES_MAX: usize = 128;

/// The signature of a key of `kind` as TLS sends it.
///
/// # Errors
/// When it cannot be a signature of such a key.
pub(crate) fn encode(kind: KeyKind, raw: Vec<u8>) -> Result<Vec<u8>, Error> {
    match kind {
        KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => ecdsa(kind, &raw),
        KeyKind::Rsa { bits } => rsa(bits, raw),
        KeyKind::Ed25519 if raw.len() == 64 => Ok(raw),
        KeyKind::Ed25519 => Err(wrong(kind, raw.len(), "64 bytes")),
    }
}

/// r and s, each half of it, as a SEQUENCE of two INTEGERs (RFC 9846, section 4.2.3).
///
/// Section 6.3.1 wants both as long as the curve's order; tokens are seen that cut zeros off both, or pad them.
fn ecdsa(kind: KeyKind, raw: &[u8]) -> Result<Vec<u8>, Error> {
    let order_bytes = kind.coordinate_bytes().expect("a curve has coordinates");
    let refused = || wrong(kind, raw.len(), &format!("r and s of {order_bytes} bytes each"));
    if !raw.len().is_multiple_of(2) || raw.len() > 2 * HALF_BYTES_MAX {
        return Err(refused());
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    for number in [r, s] {
        let digits = der::without_leading_zeros(number);
        if digits.is_empty() || digits.len() > order_bytes {
            return Err(refused());
        }
    }
    Ok(der::tagged(der::SEQUENCE, &[&der::unsigned(r), &der::unsigned(s)]))
}

/// As long as the modulus (RFC 8017, sections 8.1.1 and 8.2.1); zeros that were cut off come back.
fn rsa(bits: u32, raw: Vec<u8>) -> Result<Vec<u8>, Error> {
    let modulus_bytes = bits.div_ceil(8) as usize;
    if raw.len() == modulus_bytes {
        return Ok(raw);
    }
    let digits = der::without_leading_zeros(&raw);
    if digits.is_empty() || digits.len() > modulus_bytes {
        let expected = format!("{modulus_bytes} bytes");
        return Err(wrong(KeyKind::Rsa { bits }, raw.len(), &expected));
    }
    let mut padded = vec![0; modulus_bytes - digits.len()];
    padded.extend_from_slice(digits);
    Ok(padded)
}

fn wrong(kind: KeyKind, bytes: usize, expected: &str) -> Error {
    Error::found(
        "C_Sign",
        Remedy::Reopen,
        format!(
            "the token returned {bytes} bytes that are no signature of an {kind} key, which has {expected}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(r: &[u8], s: &[u8]) -> Vec<u8> {
        [r, s].concat()
    }

    #[test]
    fn r_and_s_become_the_shortest_integers() {
        let mut r = vec![0; 32];
        r[31] = 0x7f;
        let mut s = vec![0; 32];
        s[30] = 0x80;
        let der = encode(KeyKind::EcP256, halves(&r, &s)).expect("well formed");
        assert_eq!(der, [0x30, 8, 2, 1, 0x7f, 2, 3, 0, 0x80, 0]);
    }

    #[test]
    fn short_and_padded_halves_give_the_same_der() {
        let r = [&[0x11; 31][..]].concat();
        let s = [&[0x22; 31][..]].concat();
        let short = encode(KeyKind::EcP256, halves(&r, &s)).expect("short");
        let full =
            encode(KeyKind::EcP256, halves(&[&[0], &r[..]].concat(), &[&[0], &s[..]].concat()))
                .expect("full");
        let padded = encode(
            KeyKind::EcP256,
            halves(&[&[0; 35], &r[..]].concat(), &[&[0; 35], &s[..]].concat()),
        )
        .expect("padded");
        assert_eq!(short, full);
        assert_eq!(padded, full);
    }

    #[test]
    fn a_p521_signature_has_a_length_in_two_bytes() {
        let der = encode(KeyKind::EcP521, vec![0x7f; 132]).expect("well formed");
        assert_eq!(der[..3], [0x30, 0x81, 136]);
    }

    #[test]
    fn what_is_no_ecdsa_signature_is_refused() {
        for raw in [
            vec![],
            vec![1; 63],
            vec![0; 64],
            vec![1; 66],
            halves(&[0; 32], &[1; 32]),
            vec![0; 4096],
        ] {
            let error = encode(KeyKind::EcP256, raw).expect_err("no signature");
            assert_eq!(error.remedy(), Remedy::Reopen);
        }
    }

    #[test]
    fn an_rsa_signature_is_as_long_as_the_modulus() {
        let kind = KeyKind::Rsa { bits: 2048 };
        assert_eq!(encode(kind, vec![5; 256]).expect("whole"), vec![5; 256]);
        let short = encode(kind, vec![5; 255]).expect("a zero was cut off");
        assert_eq!((short.len(), short[0]), (256, 0));
        assert!(encode(kind, vec![5; 257]).is_err());
        assert!(encode(kind, vec![0; 300]).is_err());
    }

    #[test]
    fn an_ed25519_signature_has_64_bytes() {
        assert!(encode(KeyKind::Ed25519, vec![1; 64]).is_ok());
        assert!(encode(KeyKind::Ed25519, vec![1; 63]).is_err());
    }
}
