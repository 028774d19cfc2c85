//! Other people's clients complete mutual handshakes, TLS 1.3 and 1.2, with each kind of server key, and
//! exchange data both ways.

use countersign_tests::backend::Backend;
use countersign_tests::client::Version;
use countersign_tests::engine::Launch;
use countersign_tests::http::names;
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::tool::{CURL, GNUTLS_CLI, OPENSSL, PYTHON, client_script};
use serde_json::Value;

use crate::s_client;

#[test]
fn openssl_and_an_ecdsa_server_key() {
    through_an_echo(KeyKind::EcdsaP256, openssl);
}

#[test]
fn openssl_and_an_rsa_server_key() {
    through_an_echo(KeyKind::Rsa2048, openssl);
}

#[test]
fn openssl_and_an_ed25519_server_key() {
    through_an_echo(KeyKind::Ed25519, openssl);
}

#[test]
fn gnutls_and_an_ecdsa_server_key() {
    through_an_echo(KeyKind::EcdsaP256, gnutls);
}

#[test]
fn gnutls_and_an_rsa_server_key() {
    through_an_echo(KeyKind::Rsa2048, gnutls);
}

#[test]
fn gnutls_and_an_ed25519_server_key() {
    through_an_echo(KeyKind::Ed25519, gnutls);
}

#[test]
fn python_and_an_ecdsa_server_key() {
    through_an_echo(KeyKind::EcdsaP256, python);
}

#[test]
fn python_and_an_rsa_server_key() {
    through_an_echo(KeyKind::Rsa2048, python);
}

#[test]
fn python_and_an_ed25519_server_key() {
    through_an_echo(KeyKind::Ed25519, python);
}

#[test]
fn curl_and_an_ecdsa_server_key() {
    asks_whoami(KeyKind::EcdsaP256);
}

#[test]
fn curl_and_an_rsa_server_key() {
    asks_whoami(KeyKind::Rsa2048);
}

#[test]
fn curl_and_an_ed25519_server_key() {
    asks_whoami(KeyKind::Ed25519);
}

/// Runs `exchange` in both versions against an echoing backend; it gets the engine's port.
fn through_an_echo(server_key: KeyKind, exchange: fn(&Pki, u16, Version)) {
    let pki = Pki::new(server_key);
    let backend = Backend::echo();
    let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
    for version in Version::ALL {
        exchange(&pki, engine.address.port(), version);
    }
    engine.wait_until_idle();
    let records = engine.connection_records(2);
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(records.iter().all(|record| record["result"] == "allowed"), "{records:?}");
    assert_eq!(backend.seen().connections(), 2);
}

fn openssl(pki: &Pki, port: u16, version: Version) {
    let mut client = OPENSSL.start(&s_client::arguments(pki, port, Some(&pki.alice), version));
    client.wait_for_output("Verify return code: 0 (ok)");
    client.input("greetings from openssl\n");
    client.wait_for_output("greetings from openssl");
    let finished = client.finish();
    assert!(finished.status.success(), "{finished:?}");
    assert!(
        finished.said.contains(&format!("New, {}", s_client::version_name(version))),
        "{finished:?}"
    );
}

fn gnutls(pki: &Pki, port: u16, version: Version) {
    let priority = match version {
        Version::Tls12 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
        Version::Tls13 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
    };
    let mut client = GNUTLS_CLI.start(&[
        "--port",
        &port.to_string(),
        "--x509cafile",
        &pki.server_root_file.display().to_string(),
        "--x509certfile",
        &pki.alice.chain_file.display().to_string(),
        "--x509keyfile",
        &pki.alice.key_file.display().to_string(),
        "--priority",
        priority,
        "--verify-hostname",
        SERVER_NAME,
        "--sni-hostname",
        SERVER_NAME,
        "127.0.0.1",
    ]);
    client.wait_for_output("Handshake was completed");
    client.input("greetings from gnutls\n");
    client.wait_for_output("greetings from gnutls");
    let finished = client.finish();
    assert!(finished.status.success(), "{finished:?}");
    let description = match version {
        Version::Tls12 => "Description: (TLS1.2",
        Version::Tls13 => "Description: (TLS1.3",
    };
    assert!(finished.said.contains(description), "{finished:?}");
}

fn python(pki: &Pki, port: u16, version: Version) {
    let report = python_report(pki, port, version, &["--bytes", "300000"]);
    assert_eq!(report["version"], s_client::version_name(version));
    assert_eq!(report["sent_sha256"], report["received_sha256"], "{report}");
}

/// Runs the Python client with `further` arguments and gives its report.
pub(crate) fn python_report(pki: &Pki, port: u16, version: Version, further: &[&str]) -> Value {
    let version = match version {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    };
    let mut arguments = vec![client_script("python_ssl.py").display().to_string()];
    arguments.extend(["--port".into(), port.to_string(), "--version".into(), version.into()]);
    arguments.extend(["--ca".into(), pki.server_root_file.display().to_string()]);
    arguments.extend(["--certificate".into(), pki.alice.chain_file.display().to_string()]);
    arguments.extend(["--key".into(), pki.alice.key_file.display().to_string()]);
    arguments.extend(further.iter().map(|&argument| argument.to_owned()));
    let finished = PYTHON.run(&arguments);
    assert!(finished.status.success(), "{finished:?}");
    serde_json::from_str(&finished.said)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {}", finished.said))
}

fn asks_whoami(server_key: KeyKind) {
    let pki = Pki::new(server_key);
    let engine = Launch::new(&pki).start();
    let port = engine.address.port();
    for version in ["1.3", "1.2"] {
        let finished = CURL.run(&[
            "--silent",
            "--show-error",
            "--fail",
            "--noproxy",
            "*",
            "--max-time",
            "60",
            &format!("--tlsv{version}"),
            "--tls-max",
            version,
            "--cacert",
            &pki.server_root_file.display().to_string(),
            "--cert",
            &pki.alice.chain_file.display().to_string(),
            "--key",
            &pki.alice.key_file.display().to_string(),
            "--resolve",
            &format!("{SERVER_NAME}:{port}:127.0.0.1"),
            &format!("https://{SERVER_NAME}:{port}/"),
        ]);
        assert!(finished.status.success(), "{finished:?}\n{}", engine.log().tail());
        let answer: Value = serde_json::from_str(&finished.said)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
        assert!(names(&answer, "alice"), "no client called alice in {answer}");
    }
    engine.wait_until_idle();
}
