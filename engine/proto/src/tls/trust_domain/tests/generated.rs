//! No cache and no search before webpki changes a verdict, on chains that nobody would think of.
//!
//! Each scene has anchors and CAs of few names and fewer keys, so that names are shared, keys change hands
//! and CAs certify each other. Its chains are made of a real path, mostly, on which something may be
//! wrong, among certificates that do not belong there. `COUNTERSIGN_CHAINS=10000 cargo test` (read when
//! this is compiled) takes more scenes, `COUNTERSIGN_SEED=7` others; a failure names the seed of its scene.

use std::cell::RefCell;

use rcgen::{
    CustomExtension, GeneralSubtree, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256, SanType,
};

use super::*;
use crate::chain_cache::{ChainCache, ChainCacheLimits};

const SCENES: u64 = 150;
const CHAINS_OF_A_SCENE: usize = 6;

type Verdict = Result<Evidence, ChainError>;

type Way = fn(&Scene, &[Der], UnixTime) -> Verdict;

/// Ways to the same verdict.
const WAYS: [(&str, Way); 3] = [
    ("nothing remembered", |scene, chain, now| verdict(&domain(&scene.anchors), chain, now)),
    ("others remembered", |scene, chain, now| verdict(&scene.warm, chain, now)),
    ("known to the worker", |scene, chain, now| {
        // As a connection asks, twice: what is let in the second time is known.
        let _ = scene.known(chain, now);
        scene.known(chain, now)
    }),
];

fn verdict(domain: &TrustDomain, chain: &[Der], now: UnixTime) -> Verdict {
    domain.verify(chain, now).map(|verified| verified.evidence().as_ref().clone())
}

#[test]
fn no_way_to_a_verdict_changes_it() {
    let number = |text: Option<&str>, otherwise| {
        text.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let scenes = number(option_env!("COUNTERSIGN_CHAINS"), SCENES);
    let first = number(option_env!("COUNTERSIGN_SEED"), 1);
    let keys = Keys::new();
    let mut tally = Tally::default();
    for seed in first..first + scenes {
        Scene::new(seed, &keys).compare(&mut tally);
    }
    // Or the comparison would say little.
    assert!(tally.allowed * 5 > tally.all && tally.refused * 6 > tally.all, "{tally:?}");
    assert!(
        tally.ambiguous * 5 > tally.all && tally.ambiguous_allowed * 20 > tally.all,
        "{tally:?}"
    );
    assert!(tally.reasons >= 15, "{tally:?}");
    assert!(tally.lost * 100 < tally.all, "{tally:?}");
}

#[derive(Debug, Default)]
struct Tally {
    all: usize,
    allowed: usize,
    refused: usize,
    /// Where names are not unique.
    ambiguous: usize,
    ambiguous_allowed: usize,
    /// Real chains that we give up, [`ChainError::TooManyForged`].
    lost: usize,
    /// Different errors, by their text up to the first digit.
    reasons: usize,
    texts: std::collections::BTreeSet<String>,
}

/// Keys of all kinds, and the random numbers that a scene is made of.
struct Keys(Vec<Key>);

impl Keys {
    fn new() -> Self {
        let mut keys: Vec<_> = (0..4).map(|_| p256()).collect();
        keys.extend([&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].map(key_of));
        keys.push(key_of(&PKCS_RSA_SHA256));
        Self(keys)
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ word >> 31) % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

struct Scene {
    seed: u64,
    anchors: Vec<Der>,
    warm: TrustDomain,
    cache: RefCell<ChainCache>,
    chains: Vec<Vec<Der>>,
}

impl Scene {
    fn new(seed: u64, keys: &Keys) -> Self {
        let mut random = Random(seed);
        let entity = |random: &mut Random, names: &[&str]| {
            let key = *random.pick(&keys.0);
            Ca { key, ..Ca::new(random.pick::<&str>(names)) }
        };
        let mut roots: Vec<_> =
            (0..1 + random.below(2)).map(|_| entity(&mut random, &["R", "R", "S", "A"])).collect();
        let mut anchors = Vec::new();
        for root in &mut roots {
            if random.one_in(6) {
                spoil(&mut root.params, &mut random);
            }
            anchors.push(root.self_signed());
            if random.one_in(5) {
                // The same name and key, in date.
                anchors.push(Ca { key: root.key, ..Ca::new(&name(root)) }.self_signed());
            }
        }
        random.shuffle(&mut anchors);
        let cas: Vec<_> = (0..2 + random.below(4))
            .map(|_| entity(&mut random, &["A", "A", "B", "B", "C", "R"]))
            .collect();
        let chains =
            (0..CHAINS_OF_A_SCENE).map(|_| chain(&roots, &cas, &anchors, &mut random)).collect();
        let cache = RefCell::new(ChainCache::new(ChainCacheLimits::default()));
        Self { seed, warm: domain(&anchors), cache, anchors, chains }
    }

    fn known(&self, chain: &[Der], now: UnixTime) -> Verdict {
        let key = self.warm.chain_key(&chain[0], &chain[1..]);
        let seconds = i64::try_from(now.as_secs()).expect("a time");
        let mut cache = self.cache.borrow_mut();
        if let Some(known) = cache.get(&key, seconds) {
            return Ok(known.evidence().as_ref().clone());
        }
        let verified = self.warm.verify(chain, now)?;
        cache.insert(key, Arc::clone(&verified));
        Ok(verified.evidence().as_ref().clone())
    }

    fn compare(&self, tally: &mut Tally) {
        let year = Duration::from_secs(365 * 86_400);
        let times = [0, 30, 60].map(|years| {
            UnixTime::since_unix_epoch(Duration::from_secs(NOW.as_secs()) + years * year)
        });
        // Twice, so that each chain comes after each other one.
        for (chain, now) in self.chains.iter().chain(&self.chains).zip(times.iter().cycle()) {
            let plain = domain(&self.anchors).verify_plainly(chain, *now);
            let end_entity = Certificate::read(&chain[0]).unwrap();
            let presented = Presented::new(&end_entity, &chain[1..]);
            let is_unambiguous = presented.is_unambiguous();
            let is_whole = presented.certificates().len() == chain.len() - 1;
            let mut verdicts = WAYS.map(|(_, way)| way(self, chain, *now)).into_iter();
            let first = verdicts.next().unwrap();
            for (index, other) in verdicts.enumerate() {
                assert_eq!(other, first, "seed {}: {}", self.seed, WAYS[index + 1].0);
            }
            tally.count(&plain, is_unambiguous);
            if is_exhausted(&plain) {
                continue;
            }
            let is_like_plain =
                is_unambiguous && is_whole && first != Err(ChainError::TooManyForged);
            if is_like_plain && presented.names_any(&self.warm.authorities) {
                assert_eq!(first, plain, "seed {}: webpki alone", self.seed);
            }
            // The only way in which a real chain is lost: behind more wrong signatures than we pay for.
            if first == Err(ChainError::TooManyForged) && plain.is_ok() {
                tally.lost += 1;
                continue;
            }
            assert_eq!(first.ok(), plain.ok(), "seed {}: webpki alone", self.seed);
        }
    }
}

impl Tally {
    fn count(&mut self, verdict: &Verdict, is_unambiguous: bool) {
        self.all += 1;
        self.allowed += usize::from(verdict.is_ok());
        self.refused += usize::from(verdict.is_err());
        self.ambiguous += usize::from(!is_unambiguous);
        self.ambiguous_allowed += usize::from(!is_unambiguous && verdict.is_ok());
        if let Err(error) = verdict {
            let text = error.to_string();
            let end = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
            self.texts.insert(text[..end].to_owned());
        }
        self.reasons = self.texts.len();
    }
}

/// webpki gives up where ours goes on.
fn is_exhausted(verdict: &Verdict) -> bool {
    use webpki::Error as E;
    matches!(
        verdict,
        Err(ChainError::Path(
            E::MaximumSignatureChecksExceeded
                | E::MaximumPathBuildCallsExceeded
                | E::MaximumNameConstraintComparisonsExceeded
        ))
    )
}

fn name(ca: &Ca) -> String {
    match ca.params.distinguished_name.get(&DnType::CommonName) {
        Some(rcgen::DnValue::Utf8String(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

/// An end entity, and what its client sends with it.
fn chain(roots: &[Ca], cas: &[Ca], anchors: &[Der], random: &mut Random) -> Vec<Der> {
    let everybody: Vec<&Ca> = roots.iter().chain(cas).collect();
    let mut sent = Vec::new();
    // A way that leads up to a root.
    let mut issuer: &Ca = random.pick(roots);
    for _ in 0..random.below(4) {
        let ca = random.pick(cas);
        sent.push(certify(ca, issuer, 10, random));
        if random.one_in(4) {
            // Another certificate of the same, by the same or by somebody else.
            let other = if random.one_in(2) { issuer } else { random.pick(&everybody) };
            sent.push(certify(ca, other, 3, random));
        }
        issuer = ca;
    }
    let mut params = named("client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if random.one_in(2) {
        let name = *random.pick(&["a.good.example", "b.bad.example"]);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
    }
    if random.one_in(8) {
        spoil(&mut params, random);
    }
    let end_entity = damage(issuer.sign(&params, p256()), 20, random);
    // What does not belong there.
    for _ in 0..random.below(5) {
        let noise = match random.below(6) {
            0 => random.pick(anchors).clone(),
            1 => end_entity.clone(),
            2 => vec![0x30, 3, 2, 1, 1].into(),
            3 if !sent.is_empty() => random.pick(&sent).clone(),
            4 => Ca::new(&name(random.pick::<&Ca>(&everybody))).self_signed(),
            _ => {
                let (subject, issuer) = (*random.pick(&everybody), *random.pick(&everybody));
                certify(subject, issuer, 3, random)
            }
        };
        sent.push(noise);
    }
    random.shuffle(&mut sent);
    if random.one_in(12) && !sent.is_empty() {
        sent.pop();
    }
    sent.truncate(15);
    sent.insert(0, end_entity);
    sent
}

/// A CA certificate in which something is wrong once in so many times.
fn certify(subject: &Ca, issuer: &Ca, wrong_one_in: usize, random: &mut Random) -> Der {
    let mut params = subject.params.clone();
    params.use_authority_key_identifier_extension = random.one_in(2);
    if random.one_in(wrong_one_in) {
        spoil(&mut params, random);
    }
    damage(issuer.sign(&params, subject.key), 4 * wrong_one_in, random)
}

fn spoil(params: &mut CertificateParams, random: &mut Random) {
    use ExtendedKeyUsagePurpose as Purpose;
    let extension = |content: &[u8], is_critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], content.to_vec());
        extension.set_criticality(is_critical);
        vec![extension]
    };
    match random.below(13) {
        0 => params.not_after = date_time_ymd(2021, 1, 1),
        1 => params.not_before = date_time_ymd(2040, 1, 1),
        2 => params.not_after = date_time_ymd(2050, 1, 1),
        3 => params.is_ca = IsCa::NoCa,
        4 => params.is_ca = IsCa::ExplicitNoCa,
        5 => params.is_ca = path_len(random.below(3) as u8),
        6 => params.key_usages = vec![KeyUsagePurpose::CrlSign],
        7 => {
            params.key_usages =
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        }
        8 => {
            let purposes = [Purpose::ClientAuth, Purpose::ServerAuth, Purpose::Any];
            params.extended_key_usages = vec![random.pick(&purposes).clone()];
        }
        9 => params.custom_extensions = extension(&[5, 0], random.one_in(2)),
        10 => {
            let (good, bad) = ("good.example".to_owned(), "bad.example".to_owned());
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(good)],
                excluded_subtrees: vec![GeneralSubtree::DnsName(bad)],
            });
        }
        11 => {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DirectoryName(
                    rcgen::DistinguishedName::new(),
                )],
                excluded_subtrees: vec![],
            });
        }
        _ => params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]),
    }
}

/// sha256WithRSAEncryption (RFC 8017 appendix A.2.4).
const SHA256_WITH_RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];

/// Once in so many times a certificate with a flipped bit, or one that says that it was signed with SHA-1.
fn damage(der: Der, one_in: usize, random: &mut Random) -> Der {
    if !random.one_in(one_in) {
        return der;
    }
    let mut damaged = der.to_vec();
    let places: Vec<_> = damaged
        .windows(SHA256_WITH_RSA.len())
        .enumerate()
        .filter_map(|(place, window)| (window == SHA256_WITH_RSA).then_some(place))
        .collect();
    if places.is_empty() || random.one_in(2) {
        // The serial number, the signature, or anywhere at all.
        let length = damaged.len();
        let place = [16, length - 8, random.below(length)][random.below(3)];
        damaged[place] ^= 1 << random.below(8);
        // What comes first must be readable, or there is nothing to compare.
        return if Certificate::read(&damaged).is_ok() { damaged.into() } else { der };
    }
    for place in places {
        damaged[place + SHA256_WITH_RSA.len() - 1] = 5;
    }
    damaged.into()
}
