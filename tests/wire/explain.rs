//! `countersign explain` says beforehand what the engine then does.

use std::path::Path;
use std::process::Command;

use countersign_tests::client::{Client, Version};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::engine::program;
use countersign_tests::pki::{Identity, KeyKind, Pki, SERVER_NAME};
use serde_json::Value;

use crate::configured::tls;

/// What it printed, and whether it said yes.
struct Said {
    allowed: bool,
    out: String,
    error: String,
}

fn explain(file: &ConfigurationFile, client: &Path, more: &[&str]) -> Said {
    let output = Command::new(program())
        .arg("explain")
        .arg("--config")
        .arg(file.path())
        .args(more)
        .arg(client)
        .output()
        .expect("countersign runs");
    Said {
        allowed: output.status.success(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        error: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn account(file: &ConfigurationFile, client: &Path, more: &[&str]) -> Value {
    let said = explain(file, client, &[more, &["--json"]].concat());
    let account: Value = serde_json::from_str(&said.out).expect("one JSON object");
    assert_eq!(said.allowed, account["verdict"] == "allowed", "{account}");
    account
}

/// The reason that the engine gives for refusing it; null if it lets it in.
fn engine_says(pki: &Pki, file: &ConfigurationFile, identity: &Identity) -> (Value, Value) {
    let engine = file.start();
    let config = tls(pki, Some(identity), Version::Tls13);
    let mut client = Client::connect_to(SERVER_NAME, engine.address, &config);
    if client.handshake().is_ok() {
        client.close_notify();
        let _ = client.ending();
    }
    let own = client.address();
    drop(client);
    let line = engine.connection_record(own);
    let reason = if line["result"] == "allowed" { Value::Null } else { line["reason"].clone() };
    (reason, line["rule"].clone())
}

#[test]
fn the_engine_does_what_explain_says() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let listener = ListenerSection::of("door", own_address(), &pki)
        .set("allow", ["cn=alice", "cn=mallory"])
        .set("deny", ["cn=mall*"]);
    let file = ConfigurationFile::new(&pki, &Configuration::new().listener(listener));
    for (identity, reason) in [
        (pki.issue(&countersign_tests::pki::ClientProfile::good("alice")), None),
        (pki.client("mallory"), Some("denied_by_rule")),
        (pki.client("nobody"), Some("denied_by_rule")),
        (pki.client_of_another_ca(), Some("unknown_issuer")),
        (pki.expired_client(), Some("client_certificate_expired")),
        (pki.client_not_yet_valid(), Some("client_certificate_not_yet_valid")),
        (pki.client_with_server_purpose(), Some("client_certificate_purpose")),
        (pki.client_without_intermediate(), Some("unknown_issuer")),
    ] {
        let account = account(&file, &identity.chain_file, &["--sni", SERVER_NAME]);
        let name = &identity.common_name;
        assert_eq!(account["reason"].as_str(), reason, "{name}: {account}");
        let (engine_reason, engine_rule) = engine_says(&pki, &file, &identity);
        assert_eq!(account["reason"], engine_reason, "{name}");
        assert_eq!(account["rule"], engine_rule, "{name}");
    }
}

#[test]
fn people_are_told_the_path_each_check_and_the_verdict() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let listener = ListenerSection::of("door", own_address(), &pki).set("deny", ["cn=bob"]);
    let file = ConfigurationFile::new(&pki, &Configuration::new().listener(listener));
    let alice = explain(&file, &pki.alice.chain_file, &[]);
    assert!(alice.allowed, "{}", alice.error);
    for words in ["CN=alice", "(trust anchor)", "ok     policy", "verdict      allowed"] {
        assert!(alice.out.contains(words), "'{words}' in:\n{}", alice.out);
    }
    let bob = explain(&file, &pki.client("bob").chain_file, &[]);
    assert!(!bob.allowed);
    for words in ["FAILS  policy", "deny cn=bob", "refused: denied_by_rule", "access_denied"] {
        assert!(bob.out.contains(words), "'{words}' in:\n{}", bob.out);
    }
}

#[test]
fn that_a_responder_would_be_asked_is_said() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    // Nobody listens there.
    let identity =
        IdentitySection::of(&pki).set("ocsp", "on").set("ocsp_responder", "http://127.0.0.1:1/");
    let listener = ListenerSection::new("door", own_address()).identity(identity);
    let file = ConfigurationFile::new(&pki, &Configuration::new().listener(listener));
    let account = account(&file, &pki.alice.chain_file, &[]);
    let checks = account["checks"].as_array().expect("checks");
    let ocsp = checks.iter().find(|check| check["check"] == "ocsp").expect("that of OCSP");
    assert_eq!(ocsp["result"], "not_asked", "{account}");
    assert_eq!(account["verdict"], "allowed");
}

#[test]
fn the_server_name_chooses_as_it_does_in_a_handshake() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let other = pki.server_for(&["other.example"], 2040);
    let strangers = IdentitySection::new(&other, &pki.stranger_root_file).names(["other.example"]);
    let listener = ListenerSection::new("door", own_address())
        .set("strict_sni", true)
        .identity(IdentitySection::of(&pki).names([SERVER_NAME]))
        .identity(strangers);
    let file = ConfigurationFile::new(&pki, &Configuration::new().listener(listener));
    let verdict = |more: &[&str]| {
        let account = account(&file, &pki.alice.chain_file, more);
        (account["identity"].clone(), account["reason"].clone())
    };
    assert_eq!(verdict(&["--sni", SERVER_NAME]), (1.into(), Value::Null));
    assert_eq!(verdict(&["--sni", "OTHER.example"]), (2.into(), "unknown_issuer".into()));
    assert_eq!(verdict(&["--sni", "nobody.example"]), (Value::Null, "unknown_server_name".into()));
    assert_eq!(verdict(&[]), (Value::Null, "unknown_server_name".into()));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let file = ConfigurationFile::new(
        &pki,
        &Configuration::new()
            .listener(ListenerSection::of("door", own_address(), &pki))
            .listener(ListenerSection::of("gate", own_address(), &pki)),
    );
    let alice = &pki.alice.chain_file;
    for (client, more, words) in [
        (alice.as_path(), &[][..], "say which by --listener: door, gate"),
        (alice, &["--listener", "window"], "no listener is named `window`; there are: door, gate"),
        (&pki.alice.key_file, &["--listener", "door"], "has no certificate in it"),
        (Path::new("/nowhere/client.pem"), &["--listener", "door"], "cannot be read"),
    ] {
        let said = explain(&file, client, more);
        assert!(!said.allowed && said.error.contains(words), "'{words}' in: {}", said.error);
        assert_eq!(said.out, "");
    }
    let account = account(&file, alice, &["--listener", "gate"]);
    assert_eq!((&account["listener"], &account["verdict"]), (&"gate".into(), &"allowed".into()));
}
