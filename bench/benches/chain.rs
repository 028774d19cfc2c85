//! The verification of a client's chain: end entity, one intermediate, a root. And what strangers may
//! send instead, to have us work.

use std::hint::black_box;

use countersign_bench::pki::Pki;
use countersign_bench::server::NOW;
use countersign_proto::{ChainLimits, ClientIdentity, TrustDomain};
use criterion::{BatchSize, Criterion};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
    SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "chain/",
        "with floor/public_key/p256_verify: twice for intermediate_new, once for intermediate_known; identity_alone is part of both",
    );
    let pki = Pki::new();
    let chain = pki.client("client.example").chain;
    let mut group = criterion.benchmark_group("chain/one_intermediate");
    group.bench_function("intermediate_new", |bencher| {
        bencher.iter_batched_ref(
            || pki.trust_domain(),
            |domain| domain.verify(black_box(&chain), NOW.unix).expect("a path"),
            BatchSize::SmallInput,
        );
    });
    let domain = pki.trust_domain();
    group.bench_function("intermediate_known", |bencher| {
        bencher.iter(|| domain.verify(black_box(&chain), NOW.unix).expect("a path"));
    });
    group.bench_function("identity_alone", |bencher| {
        bencher.iter(|| ClientIdentity::parse(black_box(&chain[0])).expect("an identity"));
    });
    group.finish();
    hostile(criterion);
}

/// As many certificates as can be configured, none of which any CA has issued.
fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain/hostile");
    for (name, algorithm) in [
        ("16_forged_p256", &PKCS_ECDSA_P256_SHA256),
        ("16_forged_p384", &PKCS_ECDSA_P384_SHA384),
        ("16_forged_p521", &PKCS_ECDSA_P521_SHA512),
    ] {
        let (domain, forger) = (trusting("root", algorithm), authority("root", algorithm));
        let chain = forged("root", &forger);
        group.bench_function(name, |bencher| {
            bencher.iter(|| domain.verify(black_box(&chain), NOW.unix).expect_err("forged"));
        });
    }
    let domain = trusting("root", &PKCS_ECDSA_P256_SHA256);
    let nobody = authority("nobody", &PKCS_ECDSA_P256_SHA256);
    // webpki alone takes a quarter of a second for these.
    let chain = forged("nobody", &nobody);
    group.bench_function("16_of_an_unknown_ca", |bencher| {
        bencher.iter(|| domain.verify(black_box(&chain), NOW.unix).expect_err("forged"));
    });
    // A client's certificate with 19,000 purposes, none of which is ours.
    let purposes = [6, 1, 42].repeat(19_000);
    let length = u16::try_from(purposes.len()).expect("below 64 KiB").to_be_bytes();
    let value = [&[0x30, 0x82][..], &length, &purposes].concat();
    let mut stuffed = named("client");
    stuffed.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 37], value)];
    let chain = [sign(&stuffed, &nobody)];
    group.bench_function("19000_purposes", |bencher| {
        bencher.iter(|| domain.verify(black_box(&chain), NOW.unix).expect_err("no purpose"));
    });
    group.finish();
}

type Forger = Issuer<'static, KeyPair>;

fn authority(name: &str, algorithm: &'static SignatureAlgorithm) -> Forger {
    Issuer::new(ca(name), KeyPair::generate_for(algorithm).expect("a key"))
}

fn trusting(name: &str, algorithm: &'static SignatureAlgorithm) -> TrustDomain {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let root = ca(name).self_signed(&key).expect("a root");
    let limits = ChainLimits { certificates: 16, bytes: 60 * 1024 };
    TrustDomain::new(&[root.der().clone()], limits, true).expect("a trust domain")
}

/// A client of a CA of this name, and fifteen CAs of this name by `forger`.
fn forged(name: &str, forger: &Forger) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![sign(&named("client"), forger)];
    chain.extend((0..15).map(|_| sign(&ca(name), forger)));
    chain
}

fn sign(params: &CertificateParams, issuer: &Forger) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a P-256 key");
    params.signed_by(&key, issuer).expect("a certificate").der().clone()
}

fn ca(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
