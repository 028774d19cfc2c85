//! What is revoked stays outside, and the CRLs say so.

use std::fs;

use countersign_tests::tool::OPENSSL;
use serde_json::Value;

use super::estate::{Estate, has};

#[test]
fn what_is_revoked_is_refused_by_verify_and_by_openssl() {
    let estate = Estate::new();
    for name in ["alice", "bob"] {
        estate.does(&["issue", "client", name]);
    }
    has(
        &estate.does(&["revoke", "alice", "--reason", "keyCompromise"]),
        &["Revoked (keyCompromise)", "number 2"],
    );

    let ended = estate.run(&["verify", "pki/clients/alice.pem"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    has(&ended.stdout, &["refused", "it was revoked at", "keyCompromise"]);
    let ended = estate.run(&["verify", "--json", "pki/clients/alice.pem"]);
    let verdict: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    assert_eq!(verdict["accepted"], false);
    assert_eq!(verdict["certificate"]["revoked"]["reason"], "keyCompromise");
    assert_eq!(verdict["problems"].as_array().map(Vec::len), Some(1), "{verdict}");

    let (holds, said) = estate.openssl_verifies("clients/alice.pem", "sslclient");
    assert!(!holds && said.contains("certificate revoked"), "{said}");
    assert!(estate.openssl_verifies("clients/bob.pem", "sslclient").0);
    has(&estate.refuses(&["renew", "alice"]), &["is revoked"]);
    let revoked = estate.list(&["--revoked"]);
    assert!(revoked.len() == 1 && revoked[0]["names"]["cn"] == "alice", "{revoked:?}");
    assert_eq!(estate.list(&["--expired"]), Vec::<Value>::new());

    // Once more changes nothing but the CRL; and alice can come back with a new certificate.
    has(
        &estate.does(&["revoke", "alice", "--reason", "superseded"]),
        &["Revoked already", "(keyCompromise)", "number 3"],
    );
    estate.does(&["issue", "client", "alice"]);
    assert!(estate.openssl_verifies("clients/alice.pem", "sslclient").0);
}

#[test]
fn a_name_revokes_all_its_certificates_and_a_serial_number_one() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice"]);
    estate.does(&["renew", "alice"]);
    estate.does(&["issue", "client", "bob"]);
    estate.does(&["renew", "bob"]);
    estate.does(&["revoke", "alice"]);
    let bob = estate.list(&[]).into_iter().find(|one| one["names"]["cn"] == "bob").expect("bob");
    // As openssl writes it.
    estate.does(&["revoke", &bob["serial"].as_str().expect("a serial number").to_uppercase()]);
    let states: Vec<(Value, Value)> = estate
        .list(&[])
        .into_iter()
        .map(|one| (one["names"]["cn"].clone(), one["state"].clone()))
        .collect();
    let of = |name: &str, state: &str| {
        states.iter().filter(|(cn, known)| cn == name && known == state).count()
    };
    assert_eq!((of("alice", "revoked"), of("bob", "revoked"), of("bob", "valid")), (2, 1, 1));

    estate.does(&["issue", "server", "bob"]);
    has(&estate.refuses(&["revoke", "bob"]), &["a client", "a server", "serial number"]);
    has(&estate.refuses(&["revoke", "pki/root.pem"]), &["take it out of client_ca"]);
}

#[test]
fn a_revoked_intermediate_takes_everything_below_it_along() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice"]);
    estate.does(&["revoke", "pki/intermediate.pem", "--reason", "cACompromise"]);
    let ended = estate.run(&["verify", "pki/clients/alice.pem"]);
    has(&ended.stdout, &["refused", "intermediate", "cACompromise"]);
    assert!(!estate.openssl_verifies("clients/alice.pem", "sslclient").0);
    has(&estate.refuses(&["issue", "client", "bob"]), &["the intermediate is revoked"]);
}

#[test]
fn crls_count_upwards_and_keep_their_lifetime() {
    let estate = Estate::new();
    estate.does(&["crl", "--lifetime", "30d", "--der"]);
    estate.does(&["issue", "client", "alice"]);
    // In DER too from now on, and 30 days again.
    estate.does(&["revoke", "alice", "--reason", "privilegeWithdrawn"]);
    let crl = estate.path("intermediate.crl");
    let said = OPENSSL.run(&["crl", "-inform", "DER", "-noout", "-text", "-in", &crl]).said;
    has(
        &said,
        &[
            "Privilege Withdrawn",
            "X509v3 Authority Key Identifier",
            "X509v3 CRL Number: \n                3",
        ],
    );
    let root = estate.path("root.crl");
    has(
        &OPENSSL.run(&["crl", "-inform", "DER", "-noout", "-text", "-in", &root]).said,
        &["No Revoked Certificates"],
    );
    for (file, issuer) in [("root.crl", "root.pem"), ("intermediate.crl", "intermediate.pem")] {
        let (file, issuer) = (estate.path(file), estate.path(issuer));
        let checked =
            OPENSSL.run(&["crl", "-inform", "DER", "-noout", "-CAfile", &issuer, "-in", &file]);
        has(&checked.said, &["verify OK"]);
    }
    let records: Vec<Value> = estate
        .read("index.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let last = records.last().expect("a record");
    assert_eq!((&last["record"], &last["number"]), (&"crl".into(), &3.into()));
}

#[test]
fn a_crl_that_was_left_behind_is_noticed() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice"]);
    estate.does(&["issue", "client", "bob"]);
    let (old_crl, old_index) = (estate.read("crl.pem"), estate.read("index.jsonl"));
    estate.does(&["revoke", "alice"]);
    let (new_crl, new_index) = (estate.read("crl.pem"), estate.read("index.jsonl"));

    fs::write(estate.file("crl.pem"), old_crl).expect("a file");
    has(
        &estate.does(&["verify", "pki/clients/bob.pem"]),
        &["accepted", "warning", "not the newest"],
    );
    has(&estate.run(&["verify", "pki/clients/alice.pem"]).stdout, &["refused"]);
    fs::write(estate.file("crl.pem"), new_crl).expect("a file");
    fs::write(estate.file("index.jsonl"), old_index).expect("a file");
    has(&estate.run(&["verify", "pki/clients/alice.pem"]).stdout, &["refused", "old backup"]);
    fs::write(estate.file("index.jsonl"), new_index).expect("a file");
    fs::remove_file(estate.file("crl.pem")).expect("a file");
    has(&estate.does(&["verify", "pki/clients/bob.pem"]), &["cannot be read", "pki crl"]);
    estate.does(&["crl"]);
    assert!(!estate.does(&["verify", "pki/clients/bob.pem"]).contains("warning"));
}
