//! A PKI that can be bent in every way, and tests of what becomes of its chains.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature};

use super::*;

mod anchors;
mod generated;
mod hostile;
mod refusals;
mod vectors;

/// 2025-06-15
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_750_000_000));

type Der = CertificateDer<'static>;
type Key = &'static KeyPair;

/// A name and a key that issue certificates.
#[derive(Clone)]
struct Ca {
    params: CertificateParams,
    key: Key,
}

impl Ca {
    fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        Self { params, key: p256() }
    }

    fn self_signed(&self) -> Der {
        self.params.self_signed(self.key).unwrap().der().clone()
    }

    fn by(&self, issuer: &Self) -> Der {
        issuer.sign(&self.params, self.key)
    }

    fn sign(&self, params: &CertificateParams, key: Key) -> Der {
        let issuer = Issuer::from_params(&self.params, self.key);
        params.signed_by(key, &issuer).unwrap().der().clone()
    }

    /// A client's certificate.
    fn client(&self, name: &str) -> Der {
        self.client_with(name, |_| {})
    }

    fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Der {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        self.sign(&params, p256())
    }
}

fn p256() -> Key {
    Box::leak(Box::new(KeyPair::generate().unwrap()))
}

fn key_of(algorithm: &'static rcgen::SignatureAlgorithm) -> Key {
    Box::leak(Box::new(KeyPair::generate_for(algorithm).unwrap()))
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn path_len(length: u8) -> IsCa {
    IsCa::Ca(BasicConstraints::Constrained(length))
}

/// As many certificates and bytes as can be configured.
fn domain(anchors: &[Der]) -> TrustDomain {
    let limits = ChainLimits { certificates: 16, bytes: 60 * 1024 };
    TrustDomain::new(anchors, limits, true).unwrap()
}

/// Why a chain is refused; `None` if it is not.
fn refusal(anchors: &[Der], chain: &[Der]) -> Option<ChainError> {
    domain(anchors).verify(chain, NOW).err()
}

impl TrustDomain {
    /// What webpki and [`Self::check_path`] say without our search before them.
    fn verify_plainly(&self, chain: &[Der], now: UnixTime) -> Result<Evidence, ChainError> {
        let (end_entity, intermediates) = chain.split_first().unwrap();
        let parsed = EndEntityCert::try_from(end_entity).map_err(ChainError::Path)?;
        self.find_path(&ALL, &self.anchors, &parsed, intermediates, now)
    }
}

/// Counts the signatures that are really verified.
#[derive(Debug)]
struct Counting<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    count: &'a AtomicUsize,
}

impl SignatureVerificationAlgorithm for Counting<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.algorithm.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// How many signatures it takes to find out, and what is found out.
fn counted(domain: &TrustDomain, chain: &[Der]) -> (usize, Result<(), ChainError>) {
    let count = AtomicUsize::new(0);
    let counting = ALL.map(|algorithm| Counting { algorithm, count: &count });
    let algorithms = counting.each_ref().map(|counting| counting as _);
    let result = domain.verify_by(&algorithms, chain, NOW).map(drop);
    (count.load(Ordering::Relaxed), result)
}
