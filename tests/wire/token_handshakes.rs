//! Keys in tokens serve real clients: each kind, both versions, also after a HelloRetryRequest.

use std::sync::Arc;

use countersign_tests::client::{Version, config, config_with};
use countersign_tests::configuration::own_address;
use countersign_tests::http::names;
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::test_token::TestToken;
use countersign_tests::token::SoftToken;
use countersign_tests::tool::{CURL, OPENSSL};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};

use crate::configured::{Configured, ask_whoami, tls};
use crate::s_client;
use crate::tokens::{put, seeing, serving, softhsm_with};

const SIGNED: &str = "countersign_token_operations_total";

#[test]
fn a_p256_key_in_softhsm() {
    serves(KeyKind::EcdsaP256, softhsm_with);
}

#[test]
fn a_p384_key_in_softhsm() {
    serves(KeyKind::EcdsaP384, softhsm_with);
}

#[test]
fn an_rsa_key_in_softhsm() {
    serves(KeyKind::Rsa2048, softhsm_with);
}

#[test]
fn an_ed25519_key_in_softhsm() {
    serves(KeyKind::Ed25519, softhsm_with);
}

#[test]
fn a_p256_key_in_nss() {
    serves(KeyKind::EcdsaP256, nss_with);
}

#[test]
fn a_p384_key_in_nss() {
    serves(KeyKind::EcdsaP384, nss_with);
}

#[test]
fn an_rsa_key_in_nss() {
    serves(KeyKind::Rsa2048, nss_with);
}

fn nss_with(identity: &countersign_tests::pki::Identity) -> SoftToken {
    let token = SoftToken::nss();
    put(&token, identity, "server", 1);
    token
}

#[track_caller]
fn serves(kind: KeyKind, token: fn(&countersign_tests::pki::Identity) -> SoftToken) {
    let pki = Pki::new(kind);
    let token = token(&pki.server);
    let address = own_address();
    let configuration = serving(&pki, address, &token.key_uri("server"));
    let configured = Configured::start_under(&pki, configuration, seeing(&token));
    for version in Version::ALL {
        openssl(&pki, address, version);
        curl(&pki, address, version);
        let plain = Arc::new(config(&pki, Some(&pki.alice), version));
        let answer = ask_whoami(SERVER_NAME, address, &plain).expect("let in");
        assert!(names(&answer, "alice"), "{answer}");
    }
    // Its only share is of a group that the engine does not have.
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::SECP256R1MLKEM768, kx_group::X25519];
    let retried = Arc::new(config_with(provider, &pki, Some(&pki.alice), Version::Tls13));
    let answer = ask_whoami(SERVER_NAME, address, &retried).expect("let in");
    assert!(names(&answer, "alice"), "{answer}");
    configured.engine.wait_until_idle();
    let metrics = configured.metrics();
    let all = metrics.nonzero(SIGNED);
    assert!(all.len() == 1, "only signatures: {all:?}");
    assert_eq!(metrics.nonzero("countersign_handshakes_refused_total"), []);
    assert_eq!(configured.engine.terminate().code, Some(0));
}

#[test]
fn a_key_that_wants_the_pin_for_each_signature_is_given_it() {
    for kind in [KeyKind::EcdsaP256, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let pki = Pki::new(kind);
        for isolation in ["process", "thread"] {
            let token = TestToken::new(&pki.directory().join(isolation));
            let token = token.with_key("server", &pki.server.key_file);
            token.change_token(|token| token.keys[0].always_authenticate = true);
            let address = own_address();
            let configuration = serving(&pki, address, &token.uri("server"));
            let configured = Configured::start(&pki, configuration.tokens("isolation", isolation));
            for version in Version::ALL {
                openssl(&pki, address, version);
                let plain = tls(&pki, Some(&pki.alice), version);
                let answer = ask_whoami(SERVER_NAME, address, &plain).expect("let in");
                assert!(names(&answer, "alice"), "{answer}");
            }
            let logins = token.counters().context_logins;
            assert!(logins >= 4, "one for each signature: {logins}");
            assert_eq!(configured.metrics().nonzero("countersign_handshakes_refused_total"), []);
        }
    }
}

fn openssl(pki: &Pki, address: std::net::SocketAddr, version: Version) {
    let name = Some(SERVER_NAME);
    let arguments = s_client::arguments_to(pki, address, name, Some(&pki.alice), version);
    let mut client = OPENSSL.start(&arguments);
    client.wait_for_output("Verify return code: 0 (ok)");
    client.input("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.wait_for_output("\"common_name\": \"alice\"");
    let finished = client.finish();
    assert!(finished.said.contains(s_client::version_name(version)), "{finished:?}");
}

fn curl(pki: &Pki, address: std::net::SocketAddr, version: Version) {
    let version = match version {
        Version::Tls12 => ["--tlsv1.2", "--tls-max", "1.2"],
        Version::Tls13 => ["--tlsv1.3", "--tls-max", "1.3"],
    };
    let mut arguments = vec!["--silent".to_owned(), "--show-error".to_owned()];
    arguments.extend(version.map(str::to_owned));
    let port = address.port();
    for (name, value) in [
        ("--connect-to", format!("{SERVER_NAME}:{port}:{}:{port}", address.ip())),
        ("--cacert", pki.server_root_file.display().to_string()),
        ("--cert", pki.alice.chain_file.display().to_string()),
        ("--key", pki.alice.key_file.display().to_string()),
    ] {
        arguments.extend([name.to_owned(), value]);
    }
    arguments.push(format!("https://{SERVER_NAME}:{port}/"));
    let finished = CURL.run(&arguments);
    assert!(finished.status.success() && finished.said.contains("alice"), "{finished:?}");
}
