use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls_pki_types::UnixTime;

use super::*;
use crate::tls::{ChainLimits, TrustDomain};

/// 2025-06-15
const NOW: i64 = 1_750_000_000;

fn chain() -> Arc<VerifiedChain> {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "root");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "alice");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.not_before = date_time_ymd(2025, 1, 1);
    client.not_after = date_time_ymd(2026, 1, 1);
    let client = client.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    let limits = ChainLimits { certificates: 8, bytes: 32_768 };
    let domain = TrustDomain::new(&[root.der().clone()], limits, true).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW as u64));
    domain.verify(&[client.der().clone()], now).unwrap()
}

fn key(number: u64) -> ChainKey {
    ChainKey::numbered(number)
}

fn cache_of(chains: usize) -> ChainCache {
    ChainCache::new(ChainCacheLimits { chains, ..ChainCacheLimits::default() })
}

/// As a connection does it.
fn ask(cache: &mut ChainCache, number: u64, chain: &Arc<VerifiedChain>) -> bool {
    let known = cache.get(&key(number), NOW).is_some();
    if !known {
        cache.insert(key(number), Arc::clone(chain));
    }
    known
}

#[test]
fn what_was_verified_is_known_the_next_time() {
    let (mut cache, chain) = (cache_of(10), chain());
    assert!(!ask(&mut cache, 1, &chain));
    assert!(ask(&mut cache, 1, &chain));
    assert!(!ask(&mut cache, 2, &chain));
    let facts = cache.facts();
    assert_eq!((facts.hits, facts.misses, facts.evictions, facts.chains), (1, 2, 0, 2));
    assert_eq!(facts.bytes, 2 * (ENTRY_BYTES + chain.bytes()));
}

#[test]
fn a_chain_out_of_its_validity_is_not_known() {
    let (mut cache, chain) = (cache_of(10), chain());
    cache.insert(key(1), Arc::clone(&chain));
    let evidence = chain.evidence();
    for (now, known) in [
        (evidence.not_before() - 1, false),
        (evidence.not_before(), true),
        (evidence.not_after(), true),
        (evidence.not_after() + 1, false),
        // The clock was set back: it holds again.
        (NOW, true),
    ] {
        assert_eq!(cache.get(&key(1), now).is_some(), known, "{now}");
    }
}

#[test]
fn neither_bound_is_passed_whatever_comes() {
    let chain = chain();
    let each = ENTRY_BYTES + chain.bytes();
    for limits in [
        ChainCacheLimits { chains: 7, bytes: usize::MAX },
        ChainCacheLimits { chains: 1, bytes: usize::MAX },
        ChainCacheLimits { chains: 1_000, bytes: 5 * each + 1 },
        ChainCacheLimits { chains: 1_000, bytes: each - 1 },
        ChainCacheLimits { chains: 0, bytes: usize::MAX },
    ] {
        let mut cache = ChainCache::new(limits);
        let mut random = 1_u64;
        for _ in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ask(&mut cache, random >> 60, &chain);
            let facts = cache.facts();
            assert!(facts.chains <= limits.chains && facts.bytes <= limits.bytes, "{limits:?}");
            assert_eq!(facts.bytes, facts.chains * each);
            assert_eq!(facts.chains, cache.entries.len());
            let places = cache.probation.len() + cache.main.len();
            assert!(places <= 3 * limits.chains.max(1) + 16, "{places} places, {limits:?}");
            assert!(cache.dropped.order.len() <= limits.chains.max(1));
            assert!(cache.dropped.known.len() <= cache.dropped.order.len());
        }
    }
}

#[test]
fn a_crowd_that_comes_once_does_not_push_out_those_who_come_again() {
    let (mut cache, chain) = (cache_of(100), chain());
    for _ in 0..3 {
        for regular in 0..80 {
            ask(&mut cache, regular, &chain);
        }
    }
    for stranger in 1_000..11_000 {
        ask(&mut cache, stranger, &chain);
    }
    let still_known = (0..80).filter(|number| cache.get(&key(*number), NOW).is_some()).count();
    assert_eq!(still_known, 80);
}

#[test]
fn who_comes_back_soon_after_being_dropped_stays() {
    let (mut cache, chain) = (cache_of(100), chain());
    for stranger in 1_000..1_150 {
        ask(&mut cache, stranger, &chain);
    }
    // Dropped by those that followed, and back.
    assert!(!ask(&mut cache, 1_000, &chain));
    for stranger in 2_000..2_100 {
        ask(&mut cache, stranger, &chain);
    }
    assert!(ask(&mut cache, 1_000, &chain));
}

#[test]
fn old_regulars_make_room_for_new_ones() {
    let (mut cache, chain) = (cache_of(100), chain());
    for generation in 0..5_u64 {
        for _ in 0..20 {
            for regular in 0..90 {
                ask(&mut cache, generation * 1_000 + regular, &chain);
            }
        }
        let known = (0..90)
            .filter(|regular| cache.get(&key(generation * 1_000 + regular), NOW).is_some())
            .count();
        assert!(known >= 85, "{known} of generation {generation}");
    }
}

#[test]
fn what_is_forgotten_is_not_known_and_takes_no_room() {
    let (mut cache, chain) = (cache_of(10), chain());
    ask(&mut cache, 1, &chain);
    cache.clear();
    assert_eq!((cache.facts().chains, cache.facts().bytes), (0, 0));
    assert!(!ask(&mut cache, 1, &chain));
    assert!(ask(&mut cache, 1, &chain));
}
