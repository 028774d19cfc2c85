//! SoftHSM2: the token that everybody tries first.

use aws_lc_rs::hmac;
use countersign_hsm::{KeyClass, KeyKind, MacKind, Remedy, Scheme, Uri};
use countersign_tests::token::SoftToken;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

use crate::check::{imported_keys_sign, makes_keys_that_sign, signs, verifies};
use crate::own_process::{Given, pin, with_token};

#[track_caller]
pub(crate) fn softhsm(test: &str, body: impl FnOnce(&Given)) {
    with_token(test, || SoftToken::softhsm("edge"), body);
}

#[test]
fn p256_keys_sign() {
    softhsm("softhsm::p256_keys_sign", |given| makes_keys_that_sign(given, KeyKind::EcP256));
}

#[test]
fn p384_keys_sign() {
    softhsm("softhsm::p384_keys_sign", |given| makes_keys_that_sign(given, KeyKind::EcP384));
}

#[test]
fn p521_keys_sign() {
    softhsm("softhsm::p521_keys_sign", |given| makes_keys_that_sign(given, KeyKind::EcP521));
}

#[test]
fn rsa_keys_sign() {
    softhsm("softhsm::rsa_keys_sign", |given| {
        makes_keys_that_sign(given, KeyKind::Rsa { bits: 2048 });
    });
}

#[test]
fn ed25519_keys_sign() {
    softhsm("softhsm::ed25519_keys_sign", |given| makes_keys_that_sign(given, KeyKind::Ed25519));
}

#[test]
fn imported_keys_are_those_of_their_certificates() {
    imported_keys_sign(
        "softhsm::imported_keys_are_those_of_their_certificates",
        || SoftToken::softhsm("edge"),
        &[
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_RSA_SHA256,
            &rcgen::PKCS_ED25519,
        ],
    );
}

#[test]
fn the_public_key_comes_from_a_certificate_where_there_is_no_public_key() {
    softhsm(
        "softhsm::the_public_key_comes_from_a_certificate_where_there_is_no_public_key",
        |given| {
            let session = given.session();
            let made = session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made");
            let spki = made.spki().expect("told").to_vec();
            given.pkcs11_tool(&["--delete-object", "--type", "pubkey", "--id", "01"]);
            let untold =
                session.private_key(made.uri(), Some(&spki)).expect("a signature has to prove it");
            assert_eq!(untold.spki(), None);
            assert_eq!(untold.kind(), KeyKind::EcP256);
            signs(&session, &untold, &spki, &[Scheme::EcdsaP256Sha256]);

            // Of another key, so that it is seen to be read.
            let key = KeyPair::generate().expect("a key");
            let certificate =
                CertificateParams::default().self_signed(&key).expect("a certificate");
            let file = given.file("certificate.der", certificate.der());
            given.pkcs11_tool(&["--write-object", &file, "--type", "cert", "--id", "01"]);
            let found = session.private_key(made.uri(), None).expect("found");
            assert_eq!(found.spki(), Some(&key.subject_public_key_info()[..]));
        },
    );
}

#[test]
fn several_keys_of_one_name_are_listed_or_told_apart_by_the_certificate() {
    softhsm(
        "softhsm::several_keys_of_one_name_are_listed_or_told_apart_by_the_certificate",
        |given| {
            let session = given.session();
            let old = session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made");
            let new = session.generate_key_pair(KeyKind::EcP256, "server", &[2]).expect("made");
            let uri = given.uri().with_object("server", &[]);
            let error = session.private_key(&uri, None).expect_err("which?");
            let text = error.to_string();
            assert!(
                text.contains("id=%01")
                    && text.contains("id=%02")
                    && error.remedy() == Remedy::Fatal,
                "{text}"
            );
            for key in [old, new] {
                let found = session.private_key(&uri, key.spki()).expect("told apart");
                assert_eq!(found.uri(), key.uri());
            }
            session.private_key(&uri, Some(&[0x30, 0])).expect_err("neither");
        },
    );
}

#[test]
fn what_is_listed_can_be_pasted() {
    softhsm("softhsm::what_is_listed_can_be_pasted", |given| {
        let session = given.session();
        session
            .generate_key_pair(KeyKind::Rsa { bits: 2048 }, "rsa; key", &[0, 0xff])
            .expect("made");
        session.generate_mac_key("tickets", &[3]).expect("made");
        let keys = session.keys().expect("listed");
        let of = |class| keys.iter().find(|key| key.class == class).expect("listed");
        let private = of(KeyClass::Private);
        assert_eq!(private.kind, Some(KeyKind::Rsa { bits: 2048 }));
        assert_eq!(private.description, "RSA 2048");
        assert_eq!(
            (private.sensitive, private.extractable, private.sign),
            (Some(true), Some(false), Some(true))
        );
        assert_eq!(private.always_authenticate, Some(false));
        let pasted = Uri::parse(&private.uri.to_string()).expect("a URI");
        session.private_key(&pasted, None).expect("found by what was pasted");
        let secret = of(KeyClass::Secret);
        assert_eq!(secret.description, "generic secret 256");
        assert_eq!((secret.sensitive, secret.extractable), (Some(true), Some(false)));
        assert_eq!(of(KeyClass::Public).class, KeyClass::Public);
        let error = session.private_key(&secret.uri, None).expect_err("not a private key");
        assert!(error.to_string().contains("type=private"), "{error}");

        let stranger = given.token().open().expect("another session");
        assert!(!stranger.keys().expect("listed").is_empty(), "the login is the application's");
    });
}

#[test]
fn hmac_and_cmac_are_those_of_others() {
    softhsm("softhsm::hmac_and_cmac_are_those_of_others", |given| {
        // Not sensitive, so that its value can be read and used elsewhere.
        for (label, id, kind) in [("hmac", "01", "GENERIC:32"), ("cmac", "02", "AES:32")] {
            let arguments =
                ["--key-type", kind, "--label", label, "--id", id, "--extractable", "--usage-sign"];
            given.pkcs11_tool(&[&["--keygen"][..], &arguments].concat());
        }
        let value = |id| {
            let file = given.file("value", b"");
            given.pkcs11_tool(&[
                "--read-object",
                "--type",
                "secrkey",
                "--id",
                id,
                "--output-file",
                &file,
            ]);
            std::fs::read(file).expect("the key's value")
        };
        let session = given.session();
        let key = session.mac_key(&given.uri().with_object("hmac", &[])).expect("found");
        assert_eq!(key.kind(), MacKind::HmacSha256);
        let code = session.mac(&key, b"epoch").expect("a code");
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &value("01")), b"epoch");
        assert_eq!(&code[..], expected.as_ref());

        let key = session.mac_key(&given.uri().with_object("cmac", &[])).expect("found");
        assert_eq!(key.kind(), MacKind::AesCmac);
        let code = session.mac(&key, b"epoch").expect("a code");
        let hexkey: String = value("02").iter().map(|byte| format!("{byte:02x}")).collect();
        let input = given.file("message", b"epoch");
        let arguments = [
            "mac",
            "-cipher",
            "AES-256-CBC",
            "-macopt",
            &format!("hexkey:{hexkey}"),
            "-in",
            &input,
            "CMAC",
        ];
        let output =
            std::process::Command::new("openssl").args(arguments).output().expect("openssl");
        let text: String = code.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), text);
    });
}

#[test]
fn a_deleted_key_asks_for_reopening() {
    softhsm("softhsm::a_deleted_key_asks_for_reopening", |given| {
        let session = given.session();
        let key = session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made");
        session.sign(&key, Scheme::EcdsaP256Sha256, b"m", None).expect("signs");
        given.pkcs11_tool(&["--delete-object", "--type", "privkey", "--id", "01"]);
        let error = session.sign(&key, Scheme::EcdsaP256Sha256, b"m", None).expect_err("deleted");
        assert_eq!(error.remedy(), Remedy::Reopen, "{error}");
        let error = session.private_key(key.uri(), None).expect_err("deleted");
        assert!(
            error.remedy() == Remedy::Fatal && error.to_string().contains("none at all"),
            "{error}"
        );
    });
}

#[test]
fn a_key_and_a_session_of_different_tokens_do_not_mix() {
    let make = || {
        let token = SoftToken::softhsm("edge");
        token.add_token("other");
        token
    };
    with_token("softhsm::a_key_and_a_session_of_different_tokens_do_not_mix", make, |given| {
        let session = given.session();
        let key = session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made");
        let other =
            given.module.token(&Uri::parse("pkcs11:token=other").expect("a URI")).expect("there");
        let elsewhere = other.open().expect("a session");
        let error =
            elsewhere.sign(&key, Scheme::EcdsaP256Sha256, b"m", None).expect_err("another token");
        assert!(error.to_string().contains("token=other"), "{error}");
        let error = given
            .module
            .token(&Uri::parse("pkcs11:token=none").expect("a URI"))
            .expect_err("no token");
        assert!(
            error.to_string().contains("token=edge") && error.to_string().contains("token=other"),
            "{error}"
        );
        let all =
            given.module.token(&Uri::parse("pkcs11:").expect("a URI")).expect_err("two tokens");
        assert_eq!(all.remedy(), Remedy::Fatal, "{all}");
    });
}

#[test]
fn what_was_found_before_a_new_initialization_is_refused_after_it() {
    softhsm("softhsm::what_was_found_before_a_new_initialization_is_refused_after_it", |given| {
        let token = given.token();
        let key = {
            let session = given.session();
            session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made")
        };
        given.module.reinitialize().expect("initialized again");
        let error = token.open().expect_err("a token of before");
        assert_eq!(error.remedy(), Remedy::Reopen, "{error}");
        let session = given.session();
        let error =
            session.sign(&key, Scheme::EcdsaP256Sha256, b"m", None).expect_err("a key of before");
        assert_eq!(error.remedy(), Remedy::Reopen, "{error}");
        let found = session.private_key(key.uri(), key.spki()).expect("found again");
        let signature =
            session.sign(&found, Scheme::EcdsaP256Sha256, b"m", None).expect("signs again");
        assert!(verifies(Scheme::EcdsaP256Sha256, found.spki().expect("told"), b"m", &signature));
    });
}

#[test]
fn a_key_that_wants_the_pin_each_time_is_given_it() {
    softhsm("softhsm::a_key_that_wants_the_pin_each_time_is_given_it", |given| {
        for (kind, id) in [("rsa:2048", "01"), ("EC:prime256v1", "02")] {
            given.pkcs11_tool(&[
                "--keypairgen",
                "--key-type",
                kind,
                "--label",
                kind,
                "--id",
                id,
                "--always-auth",
            ]);
        }
        let session = given.session();
        for id in [1, 2] {
            let uri = given.uri().with_object("", &[id]);
            let key = session.private_key(&uri, None).expect("found");
            assert!(key.always_authenticate());
            let spki = key.spki().expect("told").to_vec();
            for scheme in key.schemes() {
                for _ in 0..3 {
                    let signature =
                        session.sign(&key, scheme, b"message", Some(&pin())).expect("signed");
                    assert!(verifies(scheme, &spki, b"message", &signature), "{scheme}");
                }
                let error = session.sign(&key, scheme, b"message", None).expect_err("no PIN");
                assert!(error.to_string().contains("wants the PIN for each signature"), "{error}");
            }
        }
    });
}

#[test]
fn a_module_is_one_however_often_it_is_loaded() {
    softhsm("softhsm::a_module_is_one_however_often_it_is_loaded", |given| {
        let session = given.session();
        let again = countersign_hsm::Module::load(given.module.path()).expect("loaded");
        let token = again.token(&given.uri()).expect("the token");
        let key = session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made");
        let other = token.open().expect("a session that is logged in already");
        other.sign(&key, Scheme::EcdsaP256Sha256, b"m", None).expect("one module, one login");
        let info = again.info().expect("told");
        assert_eq!(info.manufacturer, "SoftHSM");
        let wrong = Uri::parse("pkcs11:token=edge;library-manufacturer=other").expect("a URI");
        assert!(
            again
                .token(&wrong)
                .expect_err("another module is meant")
                .to_string()
                .contains("'SoftHSM'")
        );
    });
}
