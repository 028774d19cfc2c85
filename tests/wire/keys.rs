//! Every kind of key the engine takes, in every PEM form it comes in, and every kind a client may have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_tests::client::{Client, Version, config};
use countersign_tests::engine::Launch;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{ClientProfile, KeyKind, Pki};
use countersign_tests::tool::OPENSSL;

#[test]
fn an_ecdsa_p256_server_key_in_pkcs8_and_sec1() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    serves_with_key(&pki, &pki.server.key_file, "-----BEGIN PRIVATE KEY-----");
    serves_with_key(&pki, &traditional(&pki), "-----BEGIN EC PRIVATE KEY-----");
}

#[test]
fn an_ecdsa_p384_server_key_in_pkcs8_and_sec1() {
    let pki = Pki::new(KeyKind::EcdsaP384);
    serves_with_key(&pki, &pki.server.key_file, "-----BEGIN PRIVATE KEY-----");
    serves_with_key(&pki, &traditional(&pki), "-----BEGIN EC PRIVATE KEY-----");
}

#[test]
fn an_rsa_server_key_in_pkcs8_and_pkcs1() {
    let pki = Pki::new(KeyKind::Rsa2048);
    serves_with_key(&pki, &pki.server.key_file, "-----BEGIN PRIVATE KEY-----");
    serves_with_key(&pki, &traditional(&pki), "-----BEGIN RSA PRIVATE KEY-----");
}

#[test]
fn an_ed25519_server_key_in_pkcs8() {
    let pki = Pki::new(KeyKind::Ed25519);
    serves_with_key(&pki, &pki.server.key_file, "-----BEGIN PRIVATE KEY-----");
}

#[test]
fn every_kind_of_client_key() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for key in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let identity = pki.issue(&ClientProfile { key, ..ClientProfile::good("bob") });
        for version in Version::ALL {
            let config = Arc::new(config(&pki, Some(&identity), version));
            let mut client = Client::established(engine.address, &config);
            let answer = whoami(&mut client);
            assert!(names(&answer, "bob"), "{key:?}, {version:?}: {answer}");
        }
    }
    engine.wait_until_idle();
}

#[track_caller]
fn serves_with_key(pki: &Pki, key_file: &Path, first_line: &str) {
    let pem = std::fs::read_to_string(key_file).expect("the key file");
    assert!(pem.starts_with(first_line), "{} does not start with {first_line}", key_file.display());
    let engine = Launch::new(pki).key(key_file).start();
    for version in Version::ALL {
        let config = Arc::new(config(pki, Some(&pki.alice), version));
        let mut client = Client::established(engine.address, &config);
        assert!(names(&whoami(&mut client), "alice"));
    }
}

/// The server key as it was written before PKCS#8: SEC1 (RFC 5915) or PKCS#1 (RFC 8017).
fn traditional(pki: &Pki) -> PathBuf {
    let converted = pki.directory().join("traditional.key");
    let (from, to) = (pki.server.key_file.display().to_string(), converted.display().to_string());
    let finished = OPENSSL.run(&["pkey", "-in", &from, "-traditional", "-out", &to]);
    assert!(finished.status.success(), "{finished:?}");
    converted
}
