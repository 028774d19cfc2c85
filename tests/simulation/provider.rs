//! Cryptography that draws on the seed alone: randomness, and key exchanges made from it.
//!
//! aws-lc draws its own randomness when it makes a key pair, so the private keys are made here and
//! given to it. rustls wants its sources to live for ever: they are static, and what they draw from
//! belongs to the thread, on which one world at a time runs.

use std::cell::RefCell;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, PublicKey, UnparsedPublicKey};
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, default_provider};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::{Error, NamedGroup, PeerMisbehaved, SupportedCipherSuite};

use crate::random::Random;

thread_local! {
    static STREAM: RefCell<Random> = RefCell::new(Random::from_seed(0));
}

/// From here on this thread's cryptography draws on `seed`.
pub(crate) fn reseed(seed: u64) {
    STREAM.set(Random::from_seed(seed));
}

#[derive(Debug)]
pub(crate) struct SeededRandom;

pub(crate) static RANDOM: SeededRandom = SeededRandom;

impl SecureRandom for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        STREAM.with_borrow_mut(|stream| stream.fill(buffer));
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct SeededGroup {
    name: NamedGroup,
    algorithm: &'static Algorithm,
    private_key_bytes: usize,
}

pub(crate) static X25519: SeededGroup =
    SeededGroup { name: NamedGroup::X25519, algorithm: &agreement::X25519, private_key_bytes: 32 };
pub(crate) static P256: SeededGroup = SeededGroup {
    name: NamedGroup::secp256r1,
    algorithm: &agreement::ECDH_P256,
    private_key_bytes: 32,
};
pub(crate) static P384: SeededGroup = SeededGroup {
    name: NamedGroup::secp384r1,
    algorithm: &agreement::ECDH_P384,
    private_key_bytes: 48,
};

impl SupportedKxGroup for SeededGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut scalar = vec![0; self.private_key_bytes];
        RANDOM.fill(&mut scalar)?;
        // Below the order of both NIST curves, and never zero.
        scalar[0] = scalar[0] & 0x7f | 0x01;
        let failed = |_| Error::General("a seeded key pair".to_owned());
        let private = PrivateKey::from_private_key(self.algorithm, &scalar)
            .map_err(|error| Error::General(error.to_string()))?;
        let public = private.compute_public_key().map_err(failed)?;
        Ok(Box::new(SeededExchange { name: self.name, private, public }))
    }

    fn name(&self) -> NamedGroup {
        self.name
    }
}

struct SeededExchange {
    name: NamedGroup,
    private: PrivateKey,
    public: PublicKey,
}

impl ActiveKeyExchange for SeededExchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(self.private.algorithm(), peer);
        let invalid = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        agreement::agree(&self.private, peer, invalid, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn group(&self) -> NamedGroup {
        self.name
    }
}

/// The same on every machine: the engine's own choice looks at the CPU.
pub(crate) fn suites() -> Vec<SupportedCipherSuite> {
    vec![
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
}

/// What a client is given: these groups in this order, a share for the first of them.
pub(crate) fn of_client(groups: &[&'static SeededGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites(),
        kx_groups: groups.iter().map(|group| *group as &'static dyn SupportedKxGroup).collect(),
        secure_random: &RANDOM,
        ..default_provider()
    })
}
