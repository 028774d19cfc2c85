use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::tls::trust_domain::{ALL, ChainError, ChainLimits, TrustDomain, VerifiedChain};

/// 2025-06-15
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_750_000_000));

type Chain = Vec<CertificateDer<'static>>;
type Ca = CertifiedIssuer<'static, KeyPair>;

struct Pki {
    roots: [Ca; 2],
    intermediate: Ca,
    /// The first intermediate's name and key, certified by the second root.
    crossed: CertificateDer<'static>,
    /// Below the intermediate.
    lower: Ca,
}

impl Pki {
    fn new() -> Self {
        let roots = ["root 1", "root 2"].map(|name| {
            CertifiedIssuer::self_signed(ca(name), KeyPair::generate().unwrap()).unwrap()
        });
        let key = KeyPair::generate().unwrap();
        let crossed = ca("intermediate").signed_by(&key, &roots[1]).unwrap().der().clone();
        let intermediate = CertifiedIssuer::signed_by(ca("intermediate"), key, &roots[0]).unwrap();
        let lower =
            CertifiedIssuer::signed_by(ca("lower"), KeyPair::generate().unwrap(), &intermediate)
                .unwrap();
        Self { roots, intermediate, crossed, lower }
    }

    fn domain(&self) -> TrustDomain {
        let bundle = self.roots.each_ref().map(|root| root.der().clone());
        TrustDomain::new(&bundle, ChainLimits { certificates: 8, bytes: 32_768 }, true).unwrap()
    }

    /// A client that nobody has seen.
    fn client(&self, name: &str) -> Chain {
        vec![issue(name, &self.intermediate), self.intermediate.der().clone()]
    }

    /// Chains of every kind, with their names.
    fn chains(&self) -> Vec<(&'static str, Chain)> {
        let good = self.client("good");
        let lower = vec![
            issue("two CAs up", &self.lower),
            self.lower.der().clone(),
            self.intermediate.der().clone(),
        ];
        let forged = self.forged();
        let [client, intermediate] = [good[0].clone(), good[1].clone()];
        vec![
            ("good", good.clone()),
            ("another", self.client("another")),
            ("below two intermediates", lower.clone()),
            (
                "below two, in another order",
                vec![lower[0].clone(), lower[2].clone(), lower[1].clone()],
            ),
            ("directly below the root", vec![issue("direct", &self.roots[0])]),
            ("wrong order", vec![intermediate.clone(), client.clone()]),
            ("without its intermediate", vec![client.clone()]),
            (
                "extra certificates",
                vec![
                    client.clone(),
                    forged.der().clone(),
                    self.lower.der().clone(),
                    issue("extra", &self.lower),
                    intermediate.clone(),
                ],
            ),
            ("cross-signed", vec![client.clone(), self.crossed.clone()]),
            (
                "cross-signed, both",
                vec![client.clone(), self.crossed.clone(), intermediate.clone()],
            ),
            ("forged", vec![issue("forged", &forged), forged.der().clone()]),
            (
                "forged, with the real one",
                vec![issue("forged", &forged), forged.der().clone(), intermediate.clone()],
            ),
            ("forged, under the real one", vec![issue("forged", &forged), intermediate.clone()]),
            ("the forged one above a real client", vec![client.clone(), forged.der().clone()]),
            (
                "the intermediate's signature tampered with",
                vec![client.clone(), tampered(&intermediate, SIGNATURE)],
            ),
            (
                "the intermediate's name tampered with",
                vec![client.clone(), tampered(&intermediate, SERIAL)],
            ),
            (
                "the client's signature tampered with",
                vec![tampered(&client, SIGNATURE), intermediate.clone()],
            ),
            ("the client tampered with", vec![tampered(&client, SERIAL), intermediate.clone()]),
            (
                "expired intermediate",
                self.below(|params| params.not_after = date_time_ymd(2021, 1, 1)),
            ),
            ("intermediate that is no CA", self.below(|params| params.is_ca = IsCa::ExplicitNoCa)),
            ("expired client", {
                let mut params = end_entity("expired");
                params.not_after = date_time_ymd(2021, 1, 1);
                vec![sign(&params, &self.intermediate), intermediate]
            }),
        ]
    }

    /// A CA of the intermediate's and the root's names, and of a stranger's keys.
    fn forged(&self) -> Ca {
        let stranger =
            CertifiedIssuer::self_signed(ca("root 1"), KeyPair::generate().unwrap()).unwrap();
        CertifiedIssuer::signed_by(ca("intermediate"), KeyPair::generate().unwrap(), &stranger)
            .unwrap()
    }

    /// A client below an intermediate that differs from the real one, which has the same key.
    fn below(&self, change: impl FnOnce(&mut CertificateParams)) -> Chain {
        let mut params = ca("intermediate");
        change(&mut params);
        let certificate = params.signed_by(self.intermediate.key(), &self.roots[0]).unwrap();
        vec![issue("below", &self.intermediate), certificate.der().clone()]
    }
}

#[test]
fn no_verdict_changes() {
    let pki = Pki::new();
    let chains = pki.chains();
    let warm = pki.domain();
    // Twice, so that every chain comes after every other.
    for (name, chain) in chains.iter().chain(&chains) {
        let plain = outcome(pki.domain().verify_by(&ALL, chain, NOW));
        assert_eq!(outcome(pki.domain().verify(chain, NOW)), plain, "{name}: nothing remembered");
        assert_eq!(outcome(warm.verify(chain, NOW)), plain, "{name}: others remembered");
    }
    let let_in: Vec<_> = chains
        .iter()
        .filter(|(_, chain)| warm.verify(chain, NOW).is_ok())
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        let_in,
        [
            "good",
            "another",
            "below two intermediates",
            "below two, in another order",
            "directly below the root",
            "extra certificates",
            "cross-signed",
            "cross-signed, both",
        ]
    );
}

#[test]
fn what_is_remembered_still_expires() {
    let pki = Pki::new();
    let domain = pki.domain();
    let chain = pki.client("client");
    assert!(domain.verify(&chain, NOW).is_ok());
    let later = UnixTime::since_unix_epoch(Duration::from_secs(4_102_444_800)); // 2100
    assert_eq!(
        outcome(domain.verify(&chain, later)),
        outcome(domain.verify_by(&ALL, &chain, later))
    );
    assert!(domain.verify(&chain, later).is_err());
}

#[test]
fn the_second_client_of_an_intermediate_costs_one_signature() {
    let pki = Pki::new();
    let memo = SignatureMemo::default();
    let domain = pki.domain();
    assert_eq!(signatures(&domain, &memo, &pki.client("first")), 2);
    assert_eq!(signatures(&domain, &memo, &pki.client("second")), 1);
    let lower = |name| {
        vec![issue(name, &pki.lower), pki.lower.der().clone(), pki.intermediate.der().clone()]
    };
    assert_eq!(signatures(&domain, &memo, &lower("third")), 2);
    assert_eq!(signatures(&domain, &memo, &lower("fourth")), 1);
}

#[test]
fn a_chain_seen_before_still_costs_the_clients_own_signature() {
    let pki = Pki::new();
    let memo = SignatureMemo::default();
    let (domain, chain) = (pki.domain(), pki.client("client"));
    assert_eq!(signatures(&domain, &memo, &chain), 2);
    assert_eq!(signatures(&domain, &memo, &chain), 1);
}

#[test]
fn clients_are_not_remembered() {
    let pki = Pki::new();
    let domain = pki.domain();
    for number in 0..2 * ENTRIES {
        let name = number.to_string();
        let chain = match number % 2 {
            0 => pki.client(&name),
            _ => vec![issue(&name, &pki.roots[0])],
        };
        assert!(domain.verify(&chain, NOW).is_ok());
    }
    assert_eq!(domain.memo.len(), 1, "the intermediate's alone");
}

#[test]
fn a_stranger_leaves_nothing_behind() {
    let pki = Pki::new();
    let domain = pki.domain();
    let forged = pki.forged();
    // Everything about it holds, but for the anchor's key.
    let lower =
        CertifiedIssuer::signed_by(ca("lower"), KeyPair::generate().unwrap(), &forged).unwrap();
    let chain = vec![issue("forged", &lower), lower.der().clone(), forged.der().clone()];
    assert!(domain.verify(&chain, NOW).is_err());
    // A client's key issues certificates under the client's name.
    let key = KeyPair::generate().unwrap();
    let client = end_entity("client").signed_by(&key, &pki.intermediate).unwrap().der().clone();
    let below = ca("below a client")
        .signed_by(&KeyPair::generate().unwrap(), &Issuer::new(end_entity("client"), key))
        .unwrap();
    let chain = vec![below.der().clone(), client, pki.intermediate.der().clone()];
    assert!(domain.verify(&chain, NOW).is_err());
    assert_eq!(domain.memo.len(), 0);
}

#[test]
fn failures_are_not_remembered() {
    let pki = Pki::new();
    let memo = SignatureMemo::default();
    let domain = pki.domain();
    let mut chain = pki.client("client");
    chain[1] = tampered(&chain[1], SIGNATURE);
    assert_eq!(signatures(&domain, &memo, &chain), 1);
    assert_eq!(signatures(&domain, &memo, &chain), 1);
    assert_eq!(memo.len(), 0);
}

#[test]
fn what_is_signed_is_told_from_any_other_message() {
    let pki = Pki::new();
    let der = issue("client", &pki.intermediate);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let signed = parsed.tbs_certificate.as_ref();
    assert!(is_signed_part(&der, signed));
    assert!(!is_signed_part(&der, &signed[1..]));
    assert!(!is_signed_part(pki.intermediate.der(), signed));
    for length in 0..signed.len() {
        assert!(!is_signed_part(&der[..length], signed));
    }
    // Lengths of 128 and of 127 bytes are written differently.
    assert!(is_signed_part(&[0x30, 0x81, 0x03, 0x30, 0x01, 0x07], &[0x30, 0x01, 0x07]));
    assert!(is_signed_part(&[0x30, 0x03, 0x30, 0x01, 0x07], &[0x30, 0x01, 0x07]));
    assert!(!is_signed_part(&[0x30, 0xff], &[0x30]));
}

#[test]
fn it_holds_what_was_remembered_last_and_never_more_than_its_bound() {
    let memo = SignatureMemo::default();
    for number in 0..20 * ENTRIES as u64 {
        let digest = spread(number);
        assert!(!memo.holds(&digest));
        memo.remember(&digest);
        assert!(memo.holds(&digest));
    }
    assert_eq!(memo.len(), ENTRIES);
}

#[test]
fn a_slot_that_is_being_written_holds_nothing_and_is_left_alone() {
    let slot = Slot::default();
    let (old, new) = (spread(1), spread(2));
    assert!(!slot.holds(&[0; 4]), "an empty slot has words too");
    slot.write(&old);
    // Another thread has begun to write.
    slot.version.fetch_add(1, Ordering::Relaxed);
    assert!(!slot.holds(&old));
    slot.write(&new);
    slot.version.fetch_add(1, Ordering::Relaxed);
    assert!(slot.holds(&old) && !slot.holds(&new));
    // Half of one digest and half of another are neither.
    slot.words[3].store(new[3], Ordering::Relaxed);
    assert!(!slot.holds(&old) && !slot.holds(&new));
}

#[test]
fn every_part_of_a_signature_matters() {
    let memo = SignatureMemo::default();
    let of = |algorithm: &'static dyn SignatureVerificationAlgorithm, parts: [&[u8]; 3]| {
        Remembering { algorithm, memo: &memo, end_entity: &[] }.digest(parts[0], parts[1], parts[2])
    };
    let digests = [
        of(ALL[0], [b"key", b"message", b"signature"]),
        of(ALL[1], [b"key", b"message", b"signature"]),
        of(ALL[3], [b"key", b"message", b"signature"]),
        of(ALL[0], [b"Key", b"message", b"signature"]),
        of(ALL[0], [b"key", b"Message", b"signature"]),
        of(ALL[0], [b"key", b"message", b"Signature"]),
        of(ALL[0], [b"keym", b"essage", b"signature"]),
        of(ALL[0], [b"key", b"messages", b"ignature"]),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
}

impl SignatureMemo {
    fn len(&self) -> usize {
        let sets = self.sets.get().map_or(&[][..], |sets| sets);
        sets.iter().flatten().filter(|slot| !slot.is_empty()).count()
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

/// How many signatures the verification of `chain` takes with `memo`.
fn signatures(domain: &TrustDomain, memo: &SignatureMemo, chain: &Chain) -> usize {
    let count = AtomicUsize::new(0);
    let counting = ALL.map(|algorithm| Counting { algorithm, count: &count });
    let algorithms = memo.before(counting.each_ref().map(|counting| counting as _), &chain[0]);
    let _ = domain.verify_by(&algorithms.each_ref().map(|algorithm| algorithm as _), chain, NOW);
    count.load(Ordering::Relaxed)
}

/// Everything that a verdict says.
fn outcome(result: Result<Arc<VerifiedChain>, ChainError>) -> String {
    format!("{result:?}")
}

/// Distinct digests whose bits are spread as a hash's are.
fn spread(number: u64) -> Digest {
    let hash = digest::digest(&digest::SHA256, &number.to_be_bytes());
    let (words, _) = hash.as_ref().as_chunks();
    std::array::from_fn(|index| u64::from_ne_bytes(words[index]))
}

/// Bytes before a certificate's end.
const SIGNATURE: usize = 8;
/// Byte of a certificate within its serial number, behind the heads and the version.
const SERIAL: usize = 0;

fn tampered(certificate: &CertificateDer<'_>, place: usize) -> CertificateDer<'static> {
    let mut der = certificate.to_vec();
    let at = match place {
        SERIAL => 16,
        before_the_end => der.len() - before_the_end,
    };
    der[at] ^= 1;
    der.into()
}

fn issue(name: &str, issuer: &Ca) -> CertificateDer<'static> {
    sign(&end_entity(name), issuer)
}

fn sign(params: &CertificateParams, issuer: &Ca) -> CertificateDer<'static> {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn end_entity(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(vec![1, 2, 3, 4]));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}
