//! `countersign hsm` as a process, with SoftHSM2.

use std::fs;
use std::process::{Command, Output};

use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::engine::program;
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::token::{PIN, SoftToken};
use serde_json::Value;

/// A token with the server's key of a PKI.
struct Safe {
    token: SoftToken,
    pki: Pki,
}

impl Safe {
    fn new() -> Self {
        let safe = Self { token: SoftToken::softhsm("edge"), pki: Pki::new(KeyKind::EcdsaP256) };
        let pem = fs::read_to_string(&safe.pki.server.key_file).expect("the server's key");
        safe.token.import(&pem, "server", &[1]);
        safe
    }

    fn key_uri(&self) -> String {
        self.token.key_uri("server")
    }

    /// The token without a key and without its PIN.
    fn token_uri(&self) -> String {
        format!("pkcs11:token=edge?module-path={}", self.token.module().display())
    }

    fn pin_source(&self) -> String {
        format!("file:{}", self.token.pin_file().display())
    }

    fn hsm(&self, words: &[&str]) -> Command {
        let mut command = self.token.command(program());
        command.arg("hsm").args(words);
        command
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Ended {
        ended(self.hsm(words).output().expect("the program under test"))
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn ended(output: Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ended = Ended {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    };
    for said in [&ended.stdout, &ended.stderr] {
        assert!(!said.contains(PIN) && !said.contains("panicked"), "{ended:?}");
    }
    ended
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

#[track_caller]
fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn a_list_shows_private_keys_to_who_logs_in_with_the_uri_to_configure() {
    let safe = Safe::new();
    let public = safe.run(&["list", &safe.token_uri()]);
    assert_eq!(public.code, Some(0), "{public:?}");
    has(&public.stdout, &["token 'edge'", "ECDSA (TLS 1.3, 1.2)", "HMAC-SHA-256", "--pin-source"]);
    assert!(!public.stdout.contains("private key"), "{public:?}");

    let source = safe.pin_source();
    let all = safe.run(&["list", "--pin-source", &source, &safe.token_uri()]);
    has(
        &all.stdout,
        &["private key, EC P-256, stays in the token", ";object=server;type=private;id=%01?"],
    );
    let listed = json(&safe.run(&["list", "--json", "--pin-source", &source, &safe.token_uri()]));
    let token = &listed["modules"][0]["tokens"][0];
    assert_eq!((&token["label"], &token["logged_in"]), (&"edge".into(), &true.into()), "{listed}");
    let keys = token["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["class"] == "private").expect("the private key");
    assert_eq!(key["schemes"], serde_json::json!(["ecdsa_secp256r1_sha256"]));

    // What is to be pasted is what works.
    let uri = key["uri"].as_str().expect("a URI");
    let certificate = safe.pki.server.chain_file.display().to_string();
    let checked = safe.run(&["check", "--key", uri, "--certificate", &certificate]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    has(
        &checked.stdout,
        &["signs ecdsa_secp256r1_sha256", "enough for TLS 1.3", "enough for TLS 1.2"],
    );
}

#[test]
fn a_pin_comes_from_a_variable_or_a_file_and_is_given_to_one_token_only() {
    let safe = Safe::new();
    let uri = safe.token_uri();
    let output = safe
        .hsm(&["list", "--pin-source", "env:TOKEN_PIN", &uri])
        .env("TOKEN_PIN", PIN)
        .output()
        .expect("the program under test");
    has(&ended(output).stdout, &["private key"]);

    safe.token.add_token("other");
    let module = safe.token.module().display().to_string();
    let several = safe.run(&["list", "--module", &module, "--pin-source", &safe.pin_source()]);
    has(&several.stdout, &["not logged in: a PIN is given to one token only", "token 'other'"]);
    assert!(!several.stdout.contains("private key"), "{several:?}");

    let refused = safe.run(&["list", "--pin-source", PIN, &uri]);
    assert_eq!(refused.code, Some(1), "a PIN is no source of one: {refused:?}");
    let refused = safe.run(&["list", &format!("{uri}&pin-value={PIN}")]);
    assert_eq!(refused.code, Some(1), "nor does a URI hold one: {refused:?}");
}

#[test]
fn a_key_of_another_certificate_is_told_with_both_hashes() {
    let safe = Safe::new();
    let other = Pki::new(KeyKind::EcdsaP256);
    let certificate = other.server.chain_file.display().to_string();
    let checked = safe.run(&["check", "--key", &safe.key_uri(), "--certificate", &certificate]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let wrong =
        checked.stdout.lines().find(|line| line.contains("WRONG: ")).expect("what is wrong");
    let hashes = wrong.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    assert_eq!(hashes.count(), 2, "{wrong}");

    let missing = safe.key_uri().replace("object=server", "object=nowhere");
    let checked = safe.run(&["check", "--key", &missing, "--certificate", &certificate]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    has(&checked.stdout, &["WRONG: ", "nowhere"]);
}

#[test]
fn the_keys_of_a_configuration_are_checked_where_they_are() {
    let safe = Safe::new();
    safe.token.pkcs11_tool(&[
        "--keygen",
        "--key-type",
        "GENERIC:32",
        "--label",
        "tickets",
        "--id",
        "02",
        "--sensitive",
    ]);
    let configuration = |label: &str| {
        let identity = IdentitySection::of(&safe.pki).set("key", safe.token.key_uri(label));
        let derive = safe.token.key_uri("tickets").replace("type=private", "type=secret-key");
        Configuration::new()
            .set("ticket_keys.derive", derive)
            .listener(ListenerSection::new("door", own_address()).identity(identity))
    };
    let file = ConfigurationFile::new(&safe.pki, &configuration("server"));
    let path = file.path().display().to_string();
    let right = safe.run(&["check", "--config", &path]);
    assert_eq!(right.code, Some(0), "{right:?}");
    has(
        &right.stdout,
        &["belongs to ", "enough for TLS 1.3", "derives ticket keys with HMAC-SHA-256"],
    );

    file.rewrite(&configuration("nowhere"));
    let wrong = safe.run(&["check", "--config", &path]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    has(&wrong.stdout, &["WRONG: ", "derives ticket keys"]);
}

#[test]
fn a_sweep_finds_the_knee_and_draws_it() {
    let safe = Safe::new();
    let uri = safe.key_uri();
    let plot = safe.token.pin_file().with_file_name("plot.svg");
    let drawn = plot.display().to_string();
    let sweep = ["bench", "--seconds", "1", "--sessions", "1,2"];
    let told = safe.run(&[&sweep[..], &["--plot", &drawn, &uri]].concat());
    assert_eq!(told.code, Some(0), "{told:?}");
    has(&told.stdout, &["signatures/s", "The knee: ", "max_sessions = "]);
    has(&fs::read_to_string(plot).expect("a plot"), &["<svg ", "signatures/s", "knee: ", "</svg>"]);

    let measured = json(&safe.run(&[&sweep[..], &["--json", &uri]].concat()));
    let steps = measured["steps"].as_array().expect("steps");
    let sessions: Vec<_> = steps.iter().map(|step| step["sessions"].as_u64()).collect();
    assert_eq!(sessions, [Some(1), Some(2)]);
    assert!(sessions.contains(&measured["max_sessions"].as_u64()), "{measured}");
    for step in steps {
        assert!(step["signatures"].as_u64() >= step["sessions"].as_u64(), "{step}");
        assert!(step["p50_us"].as_f64() <= step["p99_us"].as_f64(), "{step}");
    }
}
