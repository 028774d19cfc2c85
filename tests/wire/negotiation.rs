//! What is agreed on: groups, suites, and the second ClientHello where the first has no share the engine can use.

use std::fs;
use std::sync::Arc;

use countersign_tests::client::{Client, Version, config, config_with};
use countersign_tests::engine::{Engine, Launch};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::tool::OPENSSL;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{HandshakeKind, NamedGroup};

use crate::s_client;

#[test]
fn every_group_in_both_versions() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for version in Version::ALL {
        for group in [
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ] {
            assert_eq!(
                negotiate(&engine, &pki, version, vec![group]),
                (group.name(), HandshakeKind::Full)
            );
        }
    }
}

#[test]
fn the_post_quantum_hybrid_group() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    let agreed = negotiate(&engine, &pki, Version::Tls13, groups);
    assert_eq!(agreed, (NamedGroup::X25519MLKEM768, HandshakeKind::Full));
}

#[test]
fn a_hello_retry_request_where_the_only_share_is_of_an_unknown_group() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    // The engine has no SECP256R1MLKEM768; the client offers X25519 without a share.
    let groups = vec![aws_lc_rs::kx_group::SECP256R1MLKEM768, aws_lc_rs::kx_group::X25519];
    let agreed = negotiate(&engine, &pki, Version::Tls13, groups);
    assert_eq!(agreed, (NamedGroup::X25519, HandshakeKind::FullWithHelloRetryRequest));
}

#[test]
fn openssl_follows_a_hello_retry_request() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let mut arguments =
        s_client::arguments(&pki, engine.address.port(), Some(&pki.alice), Version::Tls13);
    arguments.extend(["-groups", "P-521:X25519", "-msg", "-crlf"].map(str::to_owned));
    let mut client = OPENSSL.start(&arguments);
    client.wait_for_output("Verify return code: 0 (ok)");
    client.input("GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n");
    let finished = client.outlast();
    assert!(finished.said.contains("Server Temp Key: X25519"), "{finished:?}");
    let hellos = finished
        .said
        .lines()
        .filter(|line| line.starts_with(">>>") && line.ends_with("ClientHello"));
    assert_eq!(hellos.count(), 2, "{finished:?}");
}

#[test]
fn the_engine_prefers_aes_128_gcm_whatever_the_client_prefers() {
    // Where the CPU has no AES instructions, ChaCha20 may rightly come first.
    let has_aes = fs::read_to_string("/proc/cpuinfo").is_ok_and(|cpu| {
        cpu.lines()
            .any(|line| line.starts_with("flags") && line.split(' ').any(|flag| flag == "aes"))
    });
    let (expected_tls13, expected_tls12) = if has_aes {
        ("TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")
    } else {
        ("TLS_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305")
    };
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    let offers = [
        (
            Version::Tls13,
            "-ciphersuites",
            "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
            expected_tls13,
        ),
        (
            Version::Tls12,
            "-cipher",
            "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
            expected_tls12,
        ),
    ];
    for (version, option, offered, expected) in offers {
        let mut arguments =
            s_client::arguments(&pki, engine.address.port(), Some(&pki.alice), version);
        arguments.extend([option, offered].map(str::to_owned));
        let client = OPENSSL.start(&arguments);
        client.wait_for_output("Verify return code: 0 (ok)");
        let finished = client.finish();
        assert!(finished.said.contains(&format!("Cipher is {expected}")), "{finished:?}");
    }
}

/// What was agreed on with a client that has `groups` alone, and sends a share of the first.
#[track_caller]
fn negotiate(
    engine: &Engine,
    pki: &Pki,
    version: Version,
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> (NamedGroup, HandshakeKind) {
    let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    let config = Arc::new(config_with(provider, pki, Some(&pki.alice), version));
    let mut client = Client::established(engine.address, &config);
    assert!(names(&whoami(&mut client), "alice"));
    let group = client.tls().negotiated_key_exchange_group().expect("a group").name();
    (group, client.tls().handshake_kind().expect("a finished handshake"))
}

#[test]
fn the_default_client_of_rustls_gets_through() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    for version in Version::ALL {
        let mut client =
            Client::established(engine.address, &Arc::new(config(&pki, Some(&pki.alice), version)));
        assert!(names(&whoami(&mut client), "alice"));
        // It sends a share of X25519 and offers X25519MLKEM768 without one: the engine may take either.
        let kind = client.tls().handshake_kind();
        assert!(
            matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)),
            "{kind:?}"
        );
    }
}
