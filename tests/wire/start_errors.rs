//! An engine that cannot do its work says which file and what is wrong, and does not start.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use countersign_tests::engine::Launch;
use countersign_tests::pki::{KeyKind, Pki};

#[test]
fn a_missing_key_file() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let missing = pki.directory().join("nowhere.key");
    fails_and_names(&Launch::new(&pki).key(&missing), &[&name(&missing)]);
}

#[test]
fn a_missing_certificate_file() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let missing = pki.directory().join("nowhere.pem");
    fails_and_names(&Launch::new(&pki).certificate(&missing), &[&name(&missing)]);
}

#[test]
fn a_key_of_another_certificate() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let other = pki.unrelated_server_key_file();
    let both = [&name(&other), &name(&pki.server.chain_file), "does not match"];
    fails_and_names(&Launch::new(&pki).key(&other), &both);
}

#[test]
fn a_key_file_that_holds_no_key() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let certificate = pki.server.chain_file.clone();
    fails_and_names(&Launch::new(&pki).key(&certificate), &[&name(&certificate)]);
}

#[test]
fn a_certificate_file_that_is_not_pem() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let file = pki.directory().join("noise.pem");
    fs::write(&file, [0xff, 0, 0x30, 0x82].repeat(100)).expect("a file");
    fails_and_names(&Launch::new(&pki).certificate(&file), &[&name(&file)]);
}

#[test]
fn a_client_ca_that_is_not_there() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let missing = pki.directory().join("no-ca.pem");
    fails_and_names(&Launch::new(&pki).client_ca(&missing), &[&name(&missing)]);
}

#[test]
fn a_client_ca_that_cannot_be_read() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    // A folder: unreadable as a file for everybody, root too.
    let folder = pki.directory().join("ca.d");
    fs::create_dir(&folder).expect("a folder");
    fails_and_names(&Launch::new(&pki).client_ca(&folder), &[&name(&folder)]);
}

#[test]
fn a_client_ca_without_a_certificate() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let file = pki.directory().join("empty-ca.pem");
    fs::write(&file, "no certificate here\n").expect("a file");
    fails_and_names(&Launch::new(&pki).client_ca(&file), &[&name(&file)]);
}

#[test]
fn no_rule_that_allows_anybody() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    fails_and_names(&Launch::new(&pki).rules(&[]), &["--allow"]);
    fails_and_names(&Launch::new(&pki).rules(&["--deny", "cn=mallory"]), &["--allow"]);
}

#[test]
fn a_rule_that_is_none() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    fails_and_names(&Launch::new(&pki).rules(&["--allow", "number=1"]), &["number=1"]);
    let rule = "cn=a && lifetime<=24";
    fails_and_names(&Launch::new(&pki).rules(&["--allow", rule]), &[rule, "term 2", "24h"]);
}

#[test]
fn a_port_that_is_taken() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("its address").to_string();
    fails_and_names(&Launch::new(&pki).listen(&address), &[&address]);
}

#[test]
fn an_upstream_that_makes_no_sense() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    fails_and_names(&Launch::new(&pki).upstream("builtin:nothing"), &["builtin:nothing"]);
}

#[track_caller]
fn fails_and_names(launch: &Launch, words: &[&str]) {
    let failure = launch.start_in_vain();
    assert!(
        failure.status.code().is_some_and(|code| code != 0),
        "an error code, not a signal: {failure:?}"
    );
    assert!(!failure.stderr.contains("panicked"), "{failure:?}");
    for word in words {
        assert!(failure.stderr.contains(word), "no {word:?} in {failure:?}");
    }
}

fn name(file: &Path) -> String {
    file.display().to_string()
}
