//! NSS' softoken, behind p11-kit's proxy: another implementation with other habits.

use countersign_hsm::{KeyKind, MacKind, Uri};
use countersign_tests::token::SoftToken;

use crate::check::{imported_keys_sign, makes_keys_that_sign};
use crate::own_process::{Given, with_token};

#[track_caller]
fn nss(test: &str, body: impl FnOnce(&Given)) {
    with_token(test, SoftToken::nss, body);
}

#[test]
fn p256_keys_sign() {
    nss("nss::p256_keys_sign", |given| makes_keys_that_sign(given, KeyKind::EcP256));
}

#[test]
fn p384_keys_sign() {
    nss("nss::p384_keys_sign", |given| makes_keys_that_sign(given, KeyKind::EcP384));
}

#[test]
fn p521_keys_sign() {
    nss("nss::p521_keys_sign", |given| makes_keys_that_sign(given, KeyKind::EcP521));
}

#[test]
fn rsa_keys_sign() {
    nss("nss::rsa_keys_sign", |given| makes_keys_that_sign(given, KeyKind::Rsa { bits: 2048 }));
}

#[test]
fn imported_keys_are_those_of_their_certificates() {
    imported_keys_sign(
        "nss::imported_keys_are_those_of_their_certificates",
        SoftToken::nss,
        &[&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256],
    );
}

#[test]
fn a_kind_of_key_that_the_token_lacks_is_refused_by_name() {
    nss("nss::a_kind_of_key_that_the_token_lacks_is_refused_by_name", |given| {
        let session = given.session();
        let has_it =
            given.token().mechanisms().expect("asked").iter().any(|one| one.name == "CKM_EDDSA");
        if !has_it {
            let error =
                session.generate_key_pair(KeyKind::Ed25519, "k", &[1]).expect_err("unknown");
            assert_eq!(error.function(), "C_GenerateKeyPair", "{error}");
        }
    });
}

#[test]
fn a_mac_key_gives_the_same_code_in_every_session() {
    nss("nss::a_mac_key_gives_the_same_code_in_every_session", |given| {
        let session = given.session();
        let key = session.generate_mac_key("tickets", &[9]).expect("made");
        assert_eq!(key.kind(), MacKind::HmacSha256);
        let code = session.mac(&key, b"epoch 1").expect("a code");
        let other = given.token().open().expect("another session");
        let found = other.mac_key(&given.uri().with_object("tickets", &[])).expect("found");
        assert_eq!(other.mac(&found, b"epoch 1").expect("a code"), code);
        assert_ne!(other.mac(&found, b"epoch 2").expect("a code"), code);
    });
}

#[test]
fn tokens_are_found_by_what_tells_them_apart() {
    nss("nss::tokens_are_found_by_what_tells_them_apart", |given| {
        let tokens = given.module.tokens().expect("listed");
        assert!(tokens.len() >= 2, "{tokens:?}");
        let error = given
            .module
            .token(&Uri::parse("pkcs11:model=NSS%203").expect("a URI"))
            .expect_err("two");
        assert!(error.to_string().contains("slot-id="), "{error}");
        for token in tokens {
            let uri =
                Uri::parse(&format!("pkcs11:slot-id={}", token.info().slot_id)).expect("a URI");
            assert_eq!(given.module.token(&uri).expect("found").info().label, token.info().label);
        }
    });
}
