//! `countersign pki` with its CAs' keys in a token.

use std::fs;
use std::process::Command;

use countersign_tests::engine::program;
use countersign_tests::token::{PIN, SoftToken};
use countersign_tests::tool::OPENSSL;
use serde_json::Value;
use tempfile::TempDir;

struct Estate {
    token: SoftToken,
    folder: TempDir,
}

impl Estate {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { token: SoftToken::softhsm("ca"), folder }
    }

    /// The token, perhaps with a key in it.
    fn uri(&self, key: &str) -> String {
        format!(
            "pkcs11:token=ca{key}?module-path={}&pin-source=file:{}",
            self.token.module().display(),
            self.token.pin_file().display()
        )
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join("pki").join(name).display().to_string()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.token.command(program());
        command.arg("pki").args(words).current_dir(self.folder.path());
        command
    }

    fn run(&self, words: &[&str]) -> (bool, String, String) {
        let output = self.command(words).output().expect("the program under test");
        let [said, problem] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        assert!(!said.contains(PIN) && !problem.contains(PIN), "{words:?}: {said}{problem}");
        (output.status.success(), said, problem)
    }

    #[track_caller]
    fn does(&self, words: &[&str]) -> String {
        let (is_done, said, problem) = self.run(words);
        assert!(is_done && problem.is_empty(), "{words:?}: {problem}");
        said
    }

    #[track_caller]
    fn refuses(&self, words: &[&str]) -> String {
        let (is_done, said, problem) = self.run(words);
        assert!(
            !is_done && said.is_empty() && !problem.contains("panicked"),
            "{words:?}: {said}{problem}"
        );
        problem
    }

    fn founded(&self) -> Value {
        let index = fs::read_to_string(self.path("index.jsonl")).expect("the index");
        assert!(!index.contains(PIN), "{index}");
        serde_json::from_str(index.lines().next().expect("a line")).expect("a record")
    }

    #[track_caller]
    fn openssl_verifies(&self, name: &str) {
        let (chain, root, crl) = (self.path(name), self.path("root.pem"), self.path("crl.pem"));
        let finished = OPENSSL.run(&[
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CAfile",
            &root,
            "-CRLfile",
            &crl,
            "-untrusted",
            &chain,
            &chain,
        ]);
        assert!(finished.status.success(), "{finished:?}");
    }
}

#[test]
fn a_token_makes_the_keys_of_both_cas_and_everything_is_signed_in_it() {
    let estate = Estate::new();
    let said = estate.does(&["init", "--name", "Example", "--key", &estate.uri("")]);
    assert_eq!(said.matches("made in its token").count(), 2, "{said}");
    for file in ["root.key", "intermediate.key"] {
        assert!(fs::metadata(estate.path(file)).is_err(), "{file} would be a secret on disk");
    }
    let founded = estate.founded();
    for (field, label) in
        [("root_key", "Example%20root"), ("intermediate_key", "Example%20intermediate")]
    {
        let place = founded[field].as_str().expect("a place");
        assert!(place.contains(label) && place.contains("pin-source=file:"), "{place}");
    }
    estate.does(&["issue", "server", "localhost"]);
    estate.openssl_verifies("servers/localhost.pem");
    estate.does(&["renew", "localhost"]);
    estate.does(&["issue", "client", "alice"]);
    estate.does(&["revoke", "alice"]);
    estate.does(&["crl", "--lifetime", "14d"]);
    estate.openssl_verifies("servers/localhost.pem");
    let (accepted, said, _) = estate.run(&["verify", "pki/clients/alice.pem"]);
    assert!(!accepted && said.contains("revoked"), "{said}");
    estate.does(&["verify", "pki/servers/localhost.pem"]);
    let keys = estate.token.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert_eq!(keys.matches("never extractable").count(), 2, "{keys}");
}

#[test]
fn the_intermediate_alone_may_be_in_the_token_and_keys_that_are_there_are_used() {
    let estate = Estate::new();
    let issuing = estate.uri(";object=issuing");
    let said = estate.does(&["init", "--key-type", "p384", "--key", &issuing]);
    assert_eq!(said.matches("made in its token").count(), 1, "{said}");
    assert!(fs::metadata(estate.path("root.key")).is_ok(), "the root's key is a file");
    estate.does(&["issue", "client", "alice"]);
    estate.openssl_verifies("clients/alice.pem");

    // Another PKI with the same key: nothing is made.
    let said = estate.does(&[
        "init",
        "--directory",
        "second",
        "--key",
        &issuing,
        "--root-key",
        &estate.uri(";object=top"),
    ]);
    assert!(said.contains("found in its token") && said.contains("made in its token"), "{said}");
    estate.does(&["issue", "client", "bob", "--directory", "second"]);
}

#[test]
fn rsa_keys_and_a_pin_from_a_variable_do_as_well() {
    let estate = Estate::new();
    let uri = format!(
        "pkcs11:token=ca?module-path={}&pin-source=env:CA_PIN",
        estate.token.module().display()
    );
    let with_pin = |words: &[&str]| {
        let output = estate.command(words).env("CA_PIN", PIN).output().expect("the program");
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    with_pin(&["init", "--key-type", "rsa2048", "--key", &uri]);
    with_pin(&["issue", "client", "alice"]);
    estate.openssl_verifies("clients/alice.pem");
    let problem = estate.refuses(&["issue", "client", "bob"]);
    assert!(problem.contains("env:CA_PIN") && problem.contains("not set"), "{problem}");
}

#[test]
fn what_cannot_be_had_from_the_token_is_told_and_leaves_nothing_behind() {
    let estate = Estate::new();
    let module = estate.token.module().display().to_string();
    for (uri, words) in [
        ("pkcs11:token=ca".to_owned(), "module-path"),
        (format!("pkcs11:token=nowhere?module-path={module}"), "no token is pkcs11:token=nowhere"),
        (format!("pkcs11:token=ca?module-path={module}"), "pin-source="),
        (format!("pkcs11:token=ca?module-path={module}&pin-value=1234"), "pin-value"),
    ] {
        let problem = estate.refuses(&["init", "--key", &uri]);
        assert!(problem.contains(words), "{uri}: {problem}");
        assert!(!problem.contains("1234"), "{problem}");
        assert!(fs::metadata(estate.path("")).is_err(), "{uri}: nothing is left behind");
    }
    estate.does(&["init", "--key", &estate.uri(";object=issuing")]);
    estate.token.pkcs11_tool(&["--delete-object", "--type", "privkey", "--label", "issuing"]);
    let problem = estate.refuses(&["issue", "client", "alice"]);
    assert!(problem.contains("issuing"), "{problem}");
    assert!(fs::metadata(estate.path("clients")).is_err(), "nothing was issued");
}
