//! What aws-lc takes for the cryptography alone: no engine is faster with it, one operation at a time.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
};
use criterion::{Criterion, Throughput};

/// About what a CertificateVerify signs, and what a certificate of a few fields does.
const MESSAGE: [u8; 256] = [7; 256];

/// Application data of a full record.
const RECORD_BYTES: usize = 16_384;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with("floor/", "nothing: these are what all others are compared with");
    public_key(criterion);
    sums(criterion);
    symmetric(criterion);
}

fn public_key(criterion: &mut Criterion) {
    let peer = Operations::new();
    let mut group = criterion.benchmark_group("floor/public_key");
    group.bench_function("x25519_key_pair", |bencher| bencher.iter(|| peer.key_pair()));
    group.bench_function("x25519_key_pair_and_agreement", |bencher| bencher.iter(|| peer.agree()));
    group.bench_function("p256_sign", |bencher| bencher.iter(|| peer.sign()));
    group.bench_function("p256_verify", |bencher| bencher.iter(|| peer.verify()));
    group.finish();
}

/// The public-key operations of a server in a full TLS 1.3 handshake, by the signatures that it verifies.
fn sums(criterion: &mut Criterion) {
    let peer = Operations::new();
    let mut group = criterion.benchmark_group("floor/handshake");
    for (name, verifications) in
        [("x25519_sign_1_verify", 1), ("x25519_sign_2_verify", 2), ("x25519_sign_3_verify", 3)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                peer.agree();
                peer.sign();
                (0..verifications).for_each(|_| peer.verify());
            });
        });
    }
    group.finish();
}

fn symmetric(criterion: &mut Criterion) {
    let key = || LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[1; 16]).expect("16 bytes"));
    let nonce = || Nonce::assume_unique_for_key([2; 12]);
    let mut group = criterion.benchmark_group("floor/record");
    group.throughput(Throughput::Bytes(RECORD_BYTES as u64));
    let (sealing, mut record) = (key(), vec![0; RECORD_BYTES]);
    group.bench_function("aes_128_gcm_seal_16k", |bencher| {
        bencher.iter(|| {
            let sealed = sealing.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut record);
            sealed.expect("a record")
        });
    });
    let mut sealed = vec![0; RECORD_BYTES];
    sealing.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed).expect("a record");
    let (opening, mut record) = (key(), sealed.clone());
    group.bench_function("aes_128_gcm_open_16k_and_copy", |bencher| {
        bencher.iter(|| {
            // Opening in place destroys it.
            record.copy_from_slice(&sealed);
            black_box(opening.open_in_place(nonce(), Aad::empty(), &mut record).expect("a record"));
        });
    });
    group.bench_function("sha256_16k", |bencher| {
        bencher.iter(|| digest::digest(&SHA256, black_box(&sealed[..RECORD_BYTES])));
    });
    group.finish();
}

/// Keys, and a peer's share and signature.
struct Operations {
    random: SystemRandom,
    share: Vec<u8>,
    key: EcdsaKeyPair,
    signature: Vec<u8>,
}

impl Operations {
    fn new() -> Self {
        let random = SystemRandom::new();
        let peer = EphemeralPrivateKey::generate(&X25519, &random).expect("a key");
        let share = peer.compute_public_key().expect("a share").as_ref().to_vec();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let signature = key.sign(&random, &MESSAGE).expect("a signature").as_ref().to_vec();
        Self { random, share, key, signature }
    }

    fn key_pair(&self) -> EphemeralPrivateKey {
        let key = EphemeralPrivateKey::generate(&X25519, &self.random).expect("a key");
        black_box(key.compute_public_key().expect("a share"));
        key
    }

    fn agree(&self) {
        let peer = UnparsedPublicKey::new(&X25519, black_box(&self.share));
        let agreed = agreement::agree_ephemeral(self.key_pair(), peer, Unspecified, |secret| {
            black_box(secret);
            Ok(())
        });
        agreed.expect("a secret");
    }

    fn sign(&self) {
        black_box(self.key.sign(&self.random, black_box(&MESSAGE)).expect("a signature"));
    }

    fn verify(&self) {
        let key = self.key.public_key().as_ref();
        let key = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, black_box(key));
        key.verify(black_box(&MESSAGE), black_box(&self.signature)).expect("it holds");
    }
}
