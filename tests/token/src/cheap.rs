//! ECDSA on P-256 that costs its host next to nothing, as that of a real token does.
//!
//! What is dear in a signature (FIPS 186-5, section 6.4.1) is r, the x of a multiple of the base point, and it does
//! not depend on what is signed. So some are drawn beforehand and used in turn. Such signatures verify, **and any two
//! with the same r give the private key away**: they are for measurements, and for nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::signature::EcdsaKeyPair;

/// Nonces to take in turn.
const NONCES: usize = 64;
/// Octets of a number.
const BYTES: usize = 32;

/// A number below 2^256, least limb first.
type Number = [u64; 4];

/// The order of P-256 (SEC 2, section 2.4.2).
const ORDER: Number =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];

/// The nonces of one key.
pub(crate) struct Cheap {
    nonces: Vec<Nonce>,
    turn: AtomicUsize,
}

struct Nonce {
    r: [u8; BYTES],
    /// The nonce's inverse, times 2^256.
    inverse: Number,
    /// r times the private key.
    rd: Number,
}

impl Cheap {
    pub(crate) fn new(pair: &EcdsaKeyPair) -> Result<Self, Unspecified> {
        let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes()?;
        let private = number(private.as_ref())?;
        let nonces: Result<_, _> = (0..NONCES).map(|_| Nonce::draw(&private)).collect();
        Ok(Self { nonces: nonces?, turn: AtomicUsize::new(0) })
    }

    /// r and s for a hash of 32 octets.
    pub(crate) fn sign(&self, hash: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let nonce = &self.nonces[turn % NONCES];
        let sum = sum(&below_order(number(hash)?), &nonce.rd);
        let s = product(&nonce.inverse, &sum);
        Ok([nonce.r, octets(&s)].concat())
    }
}

impl Nonce {
    fn draw(private: &Number) -> Result<Self, Unspecified> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes)?;
        // Fails for a number that is no nonce, which one in 2^32 draws is.
        let point = PrivateKey::from_private_key(&ECDH_P256, &bytes)
            .map_err(|_| Unspecified)?
            .compute_public_key()?;
        let x = point.as_ref().get(1..=BYTES).ok_or(Unspecified)?;
        let r = below_order(number(x)?);
        Ok(Self {
            r: octets(&r),
            inverse: inverse(&number(&bytes)?),
            rd: product(&scaled(&r), private),
        })
    }
}

fn number(octets: &[u8]) -> Result<Number, Unspecified> {
    let octets: &[u8; BYTES] = octets.try_into()?;
    let (limbs, _) = octets.as_chunks();
    let mut number = [0; 4];
    for (limb, octets) in number.iter_mut().zip(limbs.iter().rev()) {
        *limb = u64::from_be_bytes(*octets);
    }
    Ok(number)
}

fn octets(number: &Number) -> [u8; BYTES] {
    let mut octets = [0; BYTES];
    for (octets, limb) in octets.chunks_exact_mut(8).zip(number.iter().rev()) {
        octets.copy_from_slice(&limb.to_be_bytes());
    }
    octets
}

/// What is below 2^256 less the order, if that leaves something.
fn below_order(number: Number) -> Number {
    reduced(number, 0)
}

/// A number of five limbs below twice the order, modulo the order.
fn reduced(number: Number, top: u64) -> Number {
    let mut less = [0; 4];
    let mut borrow = false;
    for at in 0..4 {
        let (first, under) = number[at].overflowing_sub(ORDER[at]);
        let (second, under_again) = first.overflowing_sub(u64::from(borrow));
        less[at] = second;
        borrow = under || under_again;
    }
    if top == 0 && borrow { number } else { less }
}

/// `a + b` modulo the order, of numbers below it.
fn sum(a: &Number, b: &Number) -> Number {
    let mut sum = [0; 4];
    let mut carry = 0;
    for at in 0..4 {
        (sum[at], carry) = multiply_add(a[at], 0, 0, b[at], carry);
    }
    reduced(sum, carry)
}

/// `a b / 2^256` modulo the order (Montgomery 1985; the loop is CIOS of Koç, Acar, Kaliski 1996).
fn product(a: &Number, b: &Number) -> Number {
    let mut t = [0; 4];
    let mut top = 0;
    for limb in b {
        let mut carry = 0;
        for at in 0..4 {
            (t[at], carry) = multiply_add(t[at], a[at], *limb, carry, 0);
        }
        let (high, overflow) = multiply_add(top, 0, 0, carry, 0);
        let factor = t[0].wrapping_mul(NEGATED_INVERSE);
        (_, carry) = multiply_add(t[0], factor, ORDER[0], 0, 0);
        for at in 1..4 {
            (t[at - 1], carry) = multiply_add(t[at], factor, ORDER[at], carry, 0);
        }
        let (third, over) = multiply_add(high, 0, 0, carry, 0);
        t[3] = third;
        top = overflow + over;
    }
    reduced(t, top)
}

/// -1 / order modulo 2^64: each step of Newton's doubles the number of right bits.
const NEGATED_INVERSE: u64 = {
    let mut inverse = 1_u64;
    let mut step = 0;
    while step < 6 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(ORDER[0].wrapping_mul(inverse)));
        step += 1;
    }
    inverse.wrapping_neg()
};

/// `a + b c + d + e`, low and high half. Of the product and `e` one is zero, so that 128 bits hold it.
fn multiply_add(a: u64, b: u64, c: u64, d: u64, e: u64) -> (u64, u64) {
    let sum = u128::from(a) + u128::from(b) * u128::from(c) + u128::from(d) + u128::from(e);
    (sum as u64, (sum >> 64) as u64)
}

/// Times 2^256.
fn scaled(number: &Number) -> Number {
    (0..256).fold(*number, |number, _| sum(&number, &number))
}

/// The inverse times 2^256: the power to the order less two (Fermat).
fn inverse(number: &Number) -> Number {
    let base = scaled(number);
    let mut power = scaled(&[1, 0, 0, 0]);
    for bit in (0..256).rev() {
        power = product(&power, &power);
        let limb = if bit < 64 { ORDER[0] - 2 } else { ORDER[bit / 64] };
        if limb >> (bit % 64) & 1 == 1 {
            power = product(&power, &base);
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, KeyPair, UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn an_inverse_times_its_number_is_one() {
        for k in [[1, 0, 0, 0], [7, 0, 0, 9], [0, u64::MAX, 1, 0xffff]] {
            assert_eq!(product(&inverse(&k), &k), [1, 0, 0, 0]);
        }
    }

    #[test]
    fn what_reaches_the_order_is_reduced() {
        let mut last = ORDER;
        last[0] -= 1;
        assert_eq!(below_order(ORDER), [0; 4]);
        assert_eq!(below_order(last), last);
        assert_eq!(sum(&last, &[2, 0, 0, 0]), [1, 0, 0, 0]);
        assert_eq!(product(&scaled(&last), &last), [1, 0, 0, 0], "minus one squared");
    }

    #[test]
    fn cheap_signatures_verify() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        let cheap = Cheap::new(&pair).expect("nonces");
        for number in 0..3 * NONCES {
            let message = number.to_be_bytes();
            let signature = cheap.sign(digest(&SHA256, &message).as_ref()).expect("a signature");
            public.verify(&message, &signature).expect("a signature that holds");
        }
    }
}
