//! The cryptography that rustls is given, with the seam below it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::{Error, NamedGroup, ProtocolVersion, SupportedCipherSuite};

use crate::seam::{self, Outcome, Work};

/// Which operations leave the running step instead of being done in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handoff {
    /// Signatures with the server's key.
    pub sign: bool,
    /// Path building and the signatures of CAs.
    pub verify_chain: bool,
    /// The client's CertificateVerify.
    pub verify_possession: bool,
    /// Key agreement.
    pub agree: bool,
}

impl Handoff {
    /// Everything leaves the step.
    pub const ALL: Self =
        Self { sign: true, verify_chain: true, verify_possession: true, agree: true };
}

/// Key agreement groups in the server's order.
pub type Groups = Vec<&'static dyn SupportedKxGroup>;

/// The provider for one worker: suites and groups in the server's order, randomness from `random`.
///
/// `groups` says what to agree with; with `handoff.agree` the agreement itself leaves the step.
#[must_use]
pub fn provider(
    suites: &[SupportedCipherSuite],
    groups: &Groups,
    random: &'static dyn SecureRandom,
    handoff: Handoff,
) -> CryptoProvider {
    let kx_groups = if handoff.agree {
        groups.iter().map(|group| handed_out(*group)).collect()
    } else {
        groups.clone()
    };
    CryptoProvider {
        cipher_suites: suites.to_vec(),
        kx_groups,
        secure_random: random,
        ..aws_lc_rs::default_provider()
    }
}

/// ECDHE with AEAD only. AES-128-GCM first where the CPU has instructions for it (its SHA-256 is in
/// hardware too, which SHA-384 is not), ChaCha20-Poly1305 first where not.
#[must_use]
pub fn default_suites() -> Vec<SupportedCipherSuite> {
    use cipher_suite as suite;
    let aes = [
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    let chacha = [
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    if has_aes_instructions() {
        aes.into_iter().chain(chacha).collect()
    } else {
        chacha.into_iter().chain(aes).collect()
    }
}

fn has_aes_instructions() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[allow(unreachable_code)]
    false
}

/// X25519MLKEM768, X25519, P-256, P-384.
#[must_use]
pub(crate) fn default_groups() -> Groups {
    vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1]
}

/// The group whose agreement leaves the step. rustls wants groups that live for ever, so there is one
/// of each; a group that is not ours (a simulator's) is wrapped once and leaked.
fn handed_out(group: &'static dyn SupportedKxGroup) -> &'static dyn SupportedKxGroup {
    static X25519MLKEM768: HandedOut = HandedOut(kx_group::X25519MLKEM768);
    static X25519: HandedOut = HandedOut(kx_group::X25519);
    static SECP256R1: HandedOut = HandedOut(kx_group::SECP256R1);
    static SECP384R1: HandedOut = HandedOut(kx_group::SECP384R1);
    let ours: [&'static HandedOut; 4] = [&X25519MLKEM768, &X25519, &SECP256R1, &SECP384R1];
    match ours.into_iter().find(|known| std::ptr::addr_eq(known.0, group)) {
        Some(known) => known,
        None => Box::leak(Box::new(HandedOut(group))),
    }
}

#[derive(Debug)]
struct HandedOut(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for HandedOut {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(HandedOutExchange(self.0.start()?)))
    }

    fn start_and_complete(&self, peer_pub_key: &[u8]) -> Result<CompletedKeyExchange, Error> {
        match seam::hand_out(Work::Agree { group: self.0, peer: peer_pub_key.to_vec() }) {
            Outcome::Agreed(result) => result,
            other => Err(seam::undone(other)),
        }
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.0.usable_for_version(version)
    }
}

struct HandedOutExchange(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for HandedOutExchange {
    fn complete(self: Box<Self>, peer_pub_key: &[u8]) -> Result<SharedSecret, Error> {
        let work = Work::CompleteAgreement { exchange: self.0, peer: peer_pub_key.to_vec() };
        match seam::hand_out(work) {
            Outcome::Secret(result) => result,
            other => Err(seam::undone(other)),
        }
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.0.group()
    }
}

/// A provider like `provider` that agrees with `group` alone.
pub(crate) fn with_only(
    provider: &CryptoProvider,
    group: &'static dyn SupportedKxGroup,
) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![group], ..provider.clone() })
}
