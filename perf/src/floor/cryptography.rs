//! The operations of a handshake alone, one at a time, by the library that the engine uses.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey as PeerKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PSS_SHA256,
    RsaKeyPair, UnparsedPublicKey,
};
use aws_lc_rs::{aead, kem};
use rustix::thread::ClockId;
use rustix::time::clock_gettime;

use super::symmetric;
use crate::experiment::{Experiment, Variant};
use crate::problem::{During, Problem, Result};

/// Names of operations, in details of samples and in reports.
pub(crate) const X25519: &str = "x25519_us";
pub(crate) const P256_SIGN: &str = "p256_sign_us";
pub(crate) const P256_VERIFY: &str = "p256_verify_us";
pub(crate) const RSA2048_SIGN: &str = "rsa2048_sign_us";
/// Hashes, key schedule and records of a full handshake, and of a resumed one.
pub(crate) const SYMMETRIC: &str = "symmetric_us";
pub(crate) const SYMMETRIC_RESUMED: &str = "symmetric_resumed_us";
pub(crate) const MLKEM768_ENCAPSULATE: &str = "mlkem768_encapsulate_us";
pub(crate) const AES128_GCM_SEAL_GB: &str = "aes128_gcm_seal_gb_per_s";
pub(crate) const AES128_GCM_OPEN_GB: &str = "aes128_gcm_open_gb_per_s";

/// TLS's largest record (RFC 8446, section 5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// What a CertificateVerify of TLS 1.3 with SHA-256 signs (RFC 8446, section 4.4.3).
const SIGNED_BYTES: usize = 64 + 33 + 1 + 32;

/// How many of each operation the server has to do for one handshake; the sum is the floor.
///
/// A full one: what it hashes, derives and seals; the key pair and agreement, the signature with its own key, and two to verify: the client's
/// CertificateVerify and its certificate. The intermediate's certificate is the same for all clients, and
/// whoever remembers its signature need not verify it again. Seen clients cost the same as long as no
/// system keeps verified chains.
pub(crate) fn operations(experiment: Experiment, variant: Variant) -> Vec<(&'static str, f64)> {
    let mut operations = match experiment {
        Experiment::FullUnseen | Experiment::FullSeen | Experiment::Scaling => {
            let sign = if variant == Variant::Rsa { RSA2048_SIGN } else { P256_SIGN };
            // Its CA's signature over a client that was seen before need not be verified again; over the CA
            // itself nobody needs to more than once.
            let verifications = if experiment == Experiment::FullUnseen { 2.0 } else { 1.0 };
            vec![(SYMMETRIC, 1.0), (X25519, 1.0), (sign, 1.0), (P256_VERIFY, verifications)]
        }
        Experiment::Resumed => vec![(SYMMETRIC_RESUMED, 1.0), (X25519, 1.0)],
        _ => return Vec::new(),
    };
    if variant == Variant::MlKem {
        operations.push((MLKEM768_ENCAPSULATE, 1.0));
    }
    operations
}

/// Keys and signatures, made ahead.
pub(crate) struct Operations {
    random: SystemRandom,
    peer: Vec<u8>,
    p256: EcdsaKeyPair,
    signature: Vec<u8>,
    rsa: RsaKeyPair,
    encapsulation: Vec<u8>,
    aead: aead::LessSafeKey,
}

impl Operations {
    pub(crate) fn new() -> Result<Operations> {
        let what = "the cryptographic floor";
        let random = SystemRandom::new();
        let peer = EphemeralPrivateKey::generate(&agreement::X25519, &random).during(what)?;
        let peer = peer.compute_public_key().during(what)?.as_ref().to_vec();
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).during(what)?;
        let signature = p256.sign(&random, &[7; SIGNED_BYTES]).during(what)?.as_ref().to_vec();
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).during(what)?;
        let key = kem::DecapsulationKey::generate(&kem::ML_KEM_768).during(what)?;
        let key = key.encapsulation_key().during(what)?;
        let encapsulation = key.key_bytes().during(what)?.as_ref().to_vec();
        let aead = aead::UnboundKey::new(&aead::AES_128_GCM, &[7; 16]).during(what)?;
        let aead = aead::LessSafeKey::new(aead);
        Ok(Operations { random, peer, p256, signature, rsa, encapsulation, aead })
    }

    /// Times P-256 verifications for so long, on this thread; the mean in µs of CPU time.
    pub(crate) fn calibrate(&self, time: Duration) -> Result<f64> {
        mean_us(time, || self.verify())
    }

    /// Times every operation for about `time` each, on this thread.
    pub(crate) fn measure(&self, time: Duration) -> Result<BTreeMap<&'static str, f64>> {
        let mut record = vec![0; RECORD_BYTES + aead::AES_128_GCM.tag_len()];
        let gb_per_s = |us: f64| RECORD_BYTES as f64 / us / 1000.0;
        let seal = mean_us(time, || self.seal(&mut record))?;
        let both = mean_us(time, || self.seal(&mut record) && self.open(&mut record))?;
        Ok(BTreeMap::from([
            (X25519, mean_us(time, || self.agree())?),
            (P256_SIGN, mean_us(time, || self.sign())?),
            (P256_VERIFY, mean_us(time, || self.verify())?),
            (RSA2048_SIGN, mean_us(time, || self.sign_rsa())?),
            (MLKEM768_ENCAPSULATE, mean_us(time, || self.encapsulate())?),
            (SYMMETRIC, mean_us(time, || symmetric::play(symmetric::FULL, &mut record))?),
            (
                SYMMETRIC_RESUMED,
                mean_us(time, || symmetric::play(symmetric::RESUMED, &mut record))?,
            ),
            (AES128_GCM_SEAL_GB, gb_per_s(seal)),
            // Only a sealed record can be opened, once; a noisy pair can come out below its part.
            (AES128_GCM_OPEN_GB, gb_per_s((both - seal).max(seal / 4.0))),
        ]))
    }

    fn agree(&self) -> bool {
        let own = EphemeralPrivateKey::generate(&agreement::X25519, &self.random);
        own.is_ok_and(|own| {
            let public = own.compute_public_key();
            let peer = PeerKey::new(&agreement::X25519, &self.peer);
            let secret = agreement::agree_ephemeral(own, peer, (), |secret| {
                black_box(secret);
                Ok(())
            });
            black_box(public).is_ok() && secret.is_ok()
        })
    }

    fn sign(&self) -> bool {
        black_box(self.p256.sign(&self.random, &[7; SIGNED_BYTES])).is_ok()
    }

    fn verify(&self) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.p256.public_key());
        black_box(key.verify(&[7; SIGNED_BYTES], &self.signature)).is_ok()
    }

    fn sign_rsa(&self) -> bool {
        let mut signature = [0; 256];
        let padding = &RSA_PSS_SHA256;
        black_box(self.rsa.sign(padding, &self.random, &[7; SIGNED_BYTES], &mut signature)).is_ok()
    }

    fn encapsulate(&self) -> bool {
        let key = kem::EncapsulationKey::new(&kem::ML_KEM_768, &self.encapsulation);
        key.is_ok_and(|key| black_box(key.encapsulate()).is_ok())
    }

    fn seal(&self, record: &mut [u8]) -> bool {
        let (text, tag) = record.split_at_mut(RECORD_BYTES);
        let nonce = aead::Nonce::assume_unique_for_key([7; 12]);
        let made = self.aead.seal_in_place_separate_tag(nonce, aead::Aad::empty(), text);
        made.is_ok_and(|made| {
            tag.copy_from_slice(made.as_ref());
            true
        })
    }

    fn open(&self, record: &mut [u8]) -> bool {
        let nonce = aead::Nonce::assume_unique_for_key([7; 12]);
        self.aead.open_in_place(nonce, aead::Aad::empty(), record).is_ok()
    }
}

/// Repeats an operation for so much CPU time; its mean in µs. Nothing else of the thread is counted.
fn mean_us(time: Duration, mut operation: impl FnMut() -> bool) -> Result<f64> {
    let begun = cpu_time();
    let mut count = 0_u32;
    loop {
        for _ in 0..4 {
            if !operation() {
                return Err(Problem::new("an operation of the cryptographic floor failed"));
            }
        }
        count += 4;
        let spent = cpu_time() - begun;
        if spent >= time {
            return Ok(spent.as_secs_f64() * 1e6 / f64::from(count));
        }
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_works_and_takes_time() {
        let operations = Operations::new().expect("keys");
        let measured = operations.measure(Duration::from_millis(1)).expect("operations");
        assert_eq!(measured.len(), 9);
        assert!(measured.values().all(|value| value.is_finite() && *value > 0.0), "{measured:?}");
        assert!(operations.calibrate(Duration::from_millis(1)).expect("verification") > 0.0);
    }

    #[test]
    fn a_floor_is_made_of_operations_that_are_measured() {
        let measured = Operations::new().expect("keys").measure(Duration::from_micros(1));
        let measured = measured.expect("operations");
        for variant in Variant::ALL {
            for experiment in Experiment::ALL {
                for (operation, _) in operations(experiment, variant) {
                    assert!(measured.contains_key(operation), "{operation}");
                }
            }
        }
    }
}
