//! A shadow policy: told and counted, never enforced.

use countersign_tests::client::{Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::pki::{Identity, KeyKind, Pki, SERVER_NAME};
use rustls::AlertDescription;
use serde_json::{Value, json};

use crate::configured::{Configured, ask_whoami, tls};

const DECISIONS: &str = "countersign_shadow_decisions_total";

#[test]
fn a_shadow_is_told_and_counted_and_decides_nothing() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki)
        .set("allow", ["cn=alice", "cn=bob"])
        .set("deny", "cn=bob")
        .set("shadow_allow", ["cn=alice", "cn=bob && lifetime>1d"])
        .set("shadow_deny", "dns=alice.*.example");
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let (bob, carol) = (pki.client("bob"), pki.client("carol"));
    let denied = Ending::refused_with(AlertDescription::AccessDenied);
    for version in Version::ALL {
        let ask = |identity: &Identity| {
            ask_whoami(SERVER_NAME, address, &tls(&pki, Some(identity), version))
        };
        assert_eq!(ask(&pki.alice).expect("alice")["rule"], "allow cn=alice");
        assert_eq!(ask(&bob), Err(denied.clone()));
        assert_eq!(ask(&carol), Err(denied.clone()));
    }
    configured.engine.wait_until_idle();
    let records = configured.engine.connection_records(6);
    for (name, result, rule, shadow) in [
        (
            "alice",
            "allowed",
            json!("allow cn=alice"),
            json!({ "result": "refused", "rule": "deny dns=alice.*.example", "differs": true }),
        ),
        (
            "bob",
            "refused",
            json!("deny cn=bob"),
            json!({ "result": "allowed", "rule": "allow cn=bob && lifetime>1d", "differs": true }),
        ),
        (
            "carol",
            "refused",
            Value::Null,
            json!({ "result": "refused", "rule": null, "differs": false }),
        ),
    ] {
        let of = |record: &&Value| record["identity"]["common_name"] == name;
        let records: Vec<_> = records.iter().filter(of).collect();
        assert_eq!(records.len(), 2, "{records:?}");
        for record in records {
            assert_eq!(record["result"], result, "{record}");
            assert_eq!((&record["rule"], &record["shadow"]), (&rule, &shadow), "{record}");
        }
    }
    let metrics = configured.metrics();
    for result in ["agrees", "would_allow", "would_refuse"] {
        assert_eq!(metrics.count(DECISIONS, &[("result", result)]), 2, "{result}");
    }
}

#[test]
fn without_a_shadow_nothing_is_said_of_it() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let of = |listener: ListenerSection| Configuration::new().listener(listener);
    let listener = ListenerSection::of("door", address, &pki);
    let configured = Configured::start(&pki, of(listener.clone()));
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    ask_whoami(SERVER_NAME, address, &alice).expect("alice");
    configured.engine.wait_until_idle();
    assert!(configured.engine.connection_records(1)[0]["shadow"].is_null());
    assert!(configured.metrics().nonzero(DECISIONS).is_empty());
    // A reload brings one: the rest of it is as the live rules are.
    configured.reload(of(listener.set("shadow_deny", "lifetime>1d")));
    ask_whoami(SERVER_NAME, address, &alice).expect("alice, all the same");
    configured.engine.wait_until_idle();
    let records = configured.engine.connection_records(2);
    assert_eq!(records[1]["shadow"]["rule"], "deny lifetime>1d", "{records:?}");
    let would_refuse = [("result", "would_refuse")];
    assert_eq!(configured.metrics().count(DECISIONS, &would_refuse), 1);
}

#[test]
fn an_anonymous_client_is_shown_to_the_shadow_too() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::new("door", address)
        .set("allow", ["anonymous", "any-verified"])
        .set("shadow_allow", "any-verified")
        .identity(IdentitySection::of(&pki).set("client_auth", "optional"));
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    for version in Version::ALL {
        let answer = ask_whoami(SERVER_NAME, address, &tls(&pki, None, version));
        assert_eq!(answer.expect("an anonymous client")["rule"], "allow anonymous");
    }
    configured.engine.wait_until_idle();
    let expected = json!({ "result": "refused", "rule": null, "differs": true });
    for record in configured.engine.connection_records(2) {
        assert_eq!(record["shadow"], expected, "{record}");
    }
}

#[test]
fn a_log_of_problems_has_those_that_the_shadow_decides_otherwise() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki).set("shadow_deny", "cn=bob");
    let configuration = Configuration::new().set("log_connections", "problems").listener(listener);
    let configured = Configured::start(&pki, configuration);
    for identity in [&pki.alice, &pki.client("bob")] {
        let config = tls(&pki, Some(identity), Version::Tls13);
        ask_whoami(SERVER_NAME, address, &config).expect("a client let in");
    }
    configured.engine.wait_until_idle();
    let records = configured.engine.connection_records(1);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["shadow"]["rule"], "deny cn=bob");
}
