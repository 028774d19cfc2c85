//! Chains that a worker has verified before: a signature less, and not one question less.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{ClientProfile, KeyKind, Pki};
use rustls::{AlertDescription, ClientConfig};
use serde_json::{Value, json};

use crate::configured::{Configured, showing, tls};

const LOOKUPS: &str = "countersign_chain_cache_lookups_total";

/// A listener at which everybody of the PKI is let in, served by one worker.
fn everybody(pki: &Pki, address: SocketAddr) -> (Configured, Configuration) {
    let listener = ListenerSection::of("door", address, pki);
    let configuration = Configuration::new().set("workers", 1).listener(listener);
    (Configured::start(pki, configuration.clone()), configuration)
}

fn lookups(configured: &Configured) -> (u64, u64) {
    let metrics = configured.metrics();
    let count = |result| metrics.count(LOOKUPS, &[("result", result)]);
    (count("hit"), count("miss"))
}

/// Connects, is let in, and gives the connection's line in the log.
fn let_in(
    configured: &Configured,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    name: &str,
) -> Value {
    let mut client = Client::established(address, tls);
    assert!(names(&whoami(&mut client), name));
    client.close_notify();
    assert_eq!(client.ending().1, Ending::CloseNotify);
    let own = client.address();
    drop(client);
    configured.engine.connection_record(own)
}

/// Connects, is refused, and gives how, with the connection's line in the log.
fn kept_out(
    configured: &Configured,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
) -> (Ending, Value) {
    let mut client = Client::connect(address, tls);
    let ending = match client.handshake() {
        Ok(()) => client.ending().1,
        Err(ending) => ending,
    };
    let own = client.address();
    // Nobody waits for it to read its alert any more.
    drop(client);
    (ending, configured.engine.connection_record(own))
}

#[test]
fn a_client_that_comes_again_is_known_by_its_chain_in_either_version() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let (configured, _) = everybody(&pki, address);
    let bob = pki.client("bob");
    let mut expected = (0, 0);
    for (identity, name) in [(&pki.alice, "alice"), (&bob, "bob")] {
        for (visit, version) in
            [Version::Tls13, Version::Tls13, Version::Tls12, Version::Tls12].into_iter().enumerate()
        {
            let config = tls(&pki, Some(identity), version);
            let line = let_in(&configured, address, &config, name);
            let known = visit > 0;
            assert_eq!(line["chain"], if known { "cached" } else { "verified" }, "{line}");
            assert_eq!(line["rule"], "allow any-verified");
            assert_eq!(line["schema"], 1);
            let anchor = line["trust_anchor"].as_str().unwrap_or_default();
            assert_eq!(anchor.len(), 64, "{line}");
            if known {
                expected.0 += 1;
            } else {
                expected.1 += 1;
            }
            assert_eq!(lookups(&configured), expected);
        }
    }
    let metrics = configured.metrics();
    assert_eq!(metrics.count("countersign_chain_cache_entries", &[]), 2);
    assert!(metrics.count("countersign_chain_cache_bytes", &[]) > 1_000);
    assert_eq!(metrics.count("countersign_chain_cache_evictions_total", &[]), 0);
}

#[test]
fn every_kind_of_client_key_proves_itself_on_a_known_chain() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let (configured, _) = everybody(&pki, address);
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let name = format!("{kind:?}");
        let client = pki.issue(&ClientProfile { key: kind, ..ClientProfile::good(&name) });
        for (known, version) in
            [(false, Version::Tls13), (true, Version::Tls13), (true, Version::Tls12)]
        {
            let config = tls(&pki, Some(&client), version);
            let line = let_in(&configured, address, &config, &name);
            assert_eq!(line["chain"] == "cached", known, "{kind:?}: {line}");
        }
    }
}

/// Whoever has seen a chain on the wire can present it. It is the key that counts.
#[test]
fn a_known_chain_without_its_key_is_refused() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let (configured, _) = everybody(&pki, address);
    let_in(&configured, address, &tls(&pki, Some(&pki.alice), Version::Tls13), "alice");
    let other = pki.client("other");
    for version in Version::ALL {
        let config = showing(&pki, &pki.alice.chain, &other, version);
        let (ending, line) = kept_out(&configured, address, &config);
        assert_eq!(ending, Ending::refused_with(AlertDescription::DecryptError));
        assert_eq!(line["reason"], "possession_not_proven", "{line}");
        assert_eq!(line["chain"], "cached");
    }
}

#[test]
fn what_is_refused_is_never_known() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let (configured, _) = everybody(&pki, address);
    let strangers = [
        (pki.client_of_another_ca(), "unknown_issuer"),
        (pki.expired_client(), "client_certificate_expired"),
        (pki.client_not_yet_valid(), "client_certificate_not_yet_valid"),
        (pki.client_with_server_purpose(), "client_certificate_purpose"),
    ];
    for (identity, reason) in &strangers {
        for _ in 0..3 {
            let config = tls(&pki, Some(identity), Version::Tls13);
            let (_, line) = kept_out(&configured, address, &config);
            assert_eq!((&line["reason"], &line["chain"]), (&json!(reason), &Value::Null));
        }
    }
    assert_eq!(lookups(&configured), (0, 3 * strangers.len() as u64));
    assert_eq!(configured.metrics().count("countersign_chain_cache_entries", &[]), 0);
}

#[test]
fn rules_are_asked_of_a_known_chain_and_a_change_of_anchors_forgets_it() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = || ListenerSection::of("door", address, &pki);
    let (configured, configuration) = everybody(&pki, address);
    let config = tls(&pki, Some(&pki.alice), Version::Tls13);
    let refused = |reason: &str| {
        let line = kept_out(&configured, address, &config).1;
        assert_eq!(line["reason"], reason, "{line}");
        line
    };
    let_in(&configured, address, &config, "alice");

    let with = |listener| Configuration::new().set("workers", 1).listener(listener);
    configured.reload(with(listener().set("deny", ["cn=alice"])));
    assert_eq!(refused("denied_by_rule")["chain"], "cached");

    let elsewhere = ListenerSection::new("door", address)
        .set("upstream", "builtin:whoami")
        .set("allow", ["any-verified"])
        .identity(IdentitySection::new(&pki.server, &pki.stranger_root_file));
    configured.reload(with(elsewhere));
    assert_eq!(refused("unknown_issuer")["chain"], Value::Null);

    // The same anchors as at first are the same trust domain, whatever was in between.
    configured.reload(configuration);
    assert_eq!(let_in(&configured, address, &config, "alice")["chain"], "cached");
}

#[test]
fn the_bounds_of_the_configuration_hold() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let bob = pki.client("bob");
    for (key, value, entries, evictions) in
        [("cached_chains", 1, 1, 1), ("cached_chains", 0, 0, 0), ("cached_chain_bytes", 100, 0, 0)]
    {
        let address = own_address();
        let listener = ListenerSection::of("door", address, &pki);
        let configuration =
            Configuration::new().set("workers", 1).set(key, value).listener(listener);
        let configured = Configured::start(&pki, configuration);
        for (identity, name) in [(&pki.alice, "alice"), (&bob, "bob")] {
            let_in(&configured, address, &tls(&pki, Some(identity), Version::Tls13), name);
        }
        let metrics = configured.metrics();
        let gauge = |name| metrics.count(name, &[]);
        assert_eq!(gauge("countersign_chain_cache_entries"), entries, "{key} = {value}");
        assert_eq!(gauge("countersign_chain_cache_evictions_total"), evictions, "{key} = {value}");
    }
}
