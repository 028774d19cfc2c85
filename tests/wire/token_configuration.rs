//! What may be wrong with a key in a token: said at its place, before anything is served, by `check` as by `run`.

use std::fs;
use std::path::Path;

use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::test_token::TestToken;
use serde_json::{Value, json};

use crate::tokens::{seeing, serving, softhsm_with};

#[test]
fn a_certificate_of_another_key_is_refused_with_both_public_keys() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let other = Pki::new(KeyKind::EcdsaP256);
    let token = softhsm_with(&other.server);
    let file =
        ConfigurationFile::new(&pki, &serving(&pki, own_address(), &token.key_uri("server")));
    let file = file.under(seeing(&token));
    let (is_right, said) = file.check();
    assert!(!is_right && said.contains("listener.identity.key: "), "{said}");
    let hashes = said.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    let mut hashes: Vec<_> = hashes.collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 2, "{said}");
    let failure = file.start_in_vain();
    assert!(hashes.iter().all(|hash| failure.stderr.contains(hash)), "{}", failure.stderr);
}

#[test]
fn everything_that_is_wrong_with_tokens_is_said_at_once_and_at_its_place() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let token = softhsm_with(&pki.server);
    let uri = token.key_uri("server");
    let pin = pki.directory().join("open-pin");
    fs::write(&pin, "1234").expect("a PIN");
    let pin_file = token.pin_file().display().to_string();
    let wrong: [(&str, String); 4] = [
        ("no-key", uri.replace("object=server", "object=nobody")),
        ("no-token", uri.replace("token=edge", "token=nowhere")),
        ("open-pin", uri.replace(&pin_file, &pin.display().to_string())),
        ("no-pin", uri.replace(&pin_file, "/nonexistent/pin")),
    ];
    let mut configuration = serving(&pki, own_address(), &uri);
    for (name, uri) in &wrong {
        let identity = IdentitySection::of(&pki).set("key", uri.as_str());
        configuration =
            configuration.listener(ListenerSection::new(name, own_address()).identity(identity));
    }
    let file = ConfigurationFile::new(&pki, &configuration).under(seeing(&token));
    let (is_right, said) = file.check();
    assert!(!is_right, "{said}");
    let text = fs::read_to_string(file.path()).expect("the configuration");
    for (name, uri) in &wrong {
        let line = text.lines().position(|line| line.contains(uri.as_str())).expect("its line") + 1;
        let place = format!("{}:{line}:", file.path().display());
        let error = said.lines().find(|line| line.starts_with(&place));
        let error = error.unwrap_or_else(|| panic!("{name}: nothing at line {line}: {said}"));
        assert!(error.contains("listener.identity.key: "), "{error}");
    }
    assert!(said.contains("4 errors in the configuration"), "{said}");
}

#[test]
fn what_needs_no_token_is_found_without_one() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let module = "/nonexistent/module.so";
    for (key, expected) in [
        (json!("pkcs11:token=edge;object=server"), "it does not say which module"),
        (json!(format!("pkcs11:token=edge;object=server?module-path={module}")), module),
        (json!(["pkcs11:token=edge;object=a", "server.key"]), "a key in a file stands alone"),
        (json!([]), "it is empty"),
        (json!("pkcs11:token=edge;colour=red"), "'colour'"),
        (json!("pkcs11:token=edge;object=a?pin-source=|cat"), "'pin-source'"),
    ] {
        let said = refused(&pki, key.clone(), "");
        assert!(said.contains(expected), "{key}: {said}");
    }
    let existing = pki.server.chain_file.display();
    let said = refused(&pki, json!("pkcs11:token=edge"), &format!("module = \"{existing}\""));
    assert!(said.contains("it names no key"), "{said}");
    let twice = json!(["pkcs11:token=edge;object=a", "pkcs11:object=a;token=edge"]);
    let said = refused(&pki, twice, &format!("module = \"{existing}\""));
    assert!(said.contains("stands here already"), "{said}");
    let said = refused(
        &pki,
        json!("pkcs11:token=edge;object=a"),
        "max_sessions = 2\nlanes = 3\noperation_timeout = \"5s\"\nhedge_after = \"6s\"\nenvironment = [\"A=b\"]\npin_source = \"|cat\"",
    );
    for key in ["lanes", "operation_timeout", "hedge_after", "environment"] {
        assert!(said.contains(&format!("tokens.{key}: ")), "{key}: {said}");
    }
}

#[test]
fn a_pin_in_a_uri_is_not_repeated() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    for key in [
        "key = \"pkcs11:token=edge;object=a?pin-value=hunter2\"",
        "key = pkcs11:token=edge;object=a?pin-value=hunter2",
        "key = \"pkcs11:token=edge;object=a?pin-value=hunter2",
        "kex = \"pkcs11:token=edge;object=a?PIN-VALUE=hunter2\"",
        "key = \"pkcs11:token=edge;colour=red?pin-value=hunter2\"",
    ] {
        let text = serving(&pki, own_address(), "KEY").text().replace("key = \"KEY\"", key);
        assert!(text.contains("hunter2"), "{text}");
        let file = ConfigurationFile::new(&pki, &Configuration::new());
        file.rewrite_text(&text);
        let (is_right, said) = file.check();
        assert!(!is_right && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let token = TestToken::new(&pki.directory().join("token"));
    let token = token.with_key("server", &pki.server.key_file);
    token.write_pin_file("wrong-pin");
    let uri = token.uri("server");
    let software = ListenerSection::of("door", own_address(), &pki);
    let file = ConfigurationFile::new(&pki, &Configuration::new().listener(software));
    let engine = file.start();
    file.rewrite(&serving(&pki, own_address(), &uri));
    for reload in 0..5 {
        let errors = engine.reload_refused();
        assert!(errors.len() == 1 && errors[0].contains("listener.identity.key: "), "{errors:?}");
        assert!(!errors[0].contains("wrong-pin"), "{errors:?}");
        assert_eq!(errors[0].contains("CKR_PIN_INCORRECT"), reload == 0, "{errors:?}");
    }
    assert_eq!(token.counters().failed_logins, 1);
    // Another process remembers nothing, and asks the token first how many tries it has left.
    let (is_right, said) = file.check();
    assert!(!is_right && !said.contains("wrong-pin"), "{said}");
    assert_eq!(token.counters().failed_logins, 1, "{said}");
}

fn refused(pki: &Pki, key: Value, tokens: &str) -> String {
    let identity = IdentitySection::of(pki).set("key", key);
    let listener = ListenerSection::new("door", own_address()).identity(identity);
    let text = Configuration::new().listener(listener).text();
    let file = ConfigurationFile::new(pki, &Configuration::new());
    file.rewrite_text(&text.replacen(
        "\n[[listener]]",
        &format!("\n[tokens]\n{tokens}\n[[listener]]"),
        1,
    ));
    assert!(Path::new(file.path()).is_file());
    let (is_right, said) = file.check();
    assert!(!is_right, "{said}");
    said
}
