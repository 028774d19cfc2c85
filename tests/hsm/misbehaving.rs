//! The test module: tokens that hash by themselves, encode oddly, forget, lock and fail.

use std::fs;

use countersign_hsm::{
    Error, KeyKind, MacKind, Module, Pin, PrivateKey, Remedy, Scheme, Session, Uri,
};
use countersign_tests::test_token::{Action, Fault, PIN, TestToken};
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm};
use tempfile::TempDir;

use crate::check::{signs, verifies};

/// A token with one key, `server`. It is told what to do by a file beside it, so that no process of its own is needed.
struct Faulty {
    _folder: TempDir,
    token: TestToken,
    spki: Vec<u8>,
}

fn pin() -> Pin {
    Pin::new(PIN.as_bytes()).expect("a PIN")
}

impl Faulty {
    fn with(algorithm: &'static SignatureAlgorithm) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let file = folder.path().join("server.pem");
        fs::write(&file, key.serialize_pem()).expect("the key's file");
        let token = TestToken::new(folder.path()).with_key("server", &file);
        Self { _folder: folder, token, spki: key.subject_public_key_info() }
    }

    fn uri(&self) -> Uri {
        Uri::parse(&self.token.uri("server")).expect("a URI")
    }

    fn open(&self) -> Session {
        let module = Module::load(&self.token.module()).expect("the module");
        module.token(&self.uri()).expect("the token").open().expect("a session")
    }

    fn session(&self) -> Session {
        let session = self.open();
        session.login(&pin()).expect("logged in");
        session
    }

    fn key(&self, session: &Session) -> PrivateKey {
        session.private_key(&self.uri(), Some(&self.spki)).expect("the key")
    }

    /// What signing returns after `fault`, which is then taken away.
    fn sign_with(&self, fault: Fault) -> Result<Vec<u8>, Error> {
        let session = self.session();
        let key = self.key(&session);
        self.token.fault(fault);
        let result = session.sign(&key, key.schemes()[0], b"message", None);
        self.token.mend();
        result
    }
}

#[test]
fn a_token_that_only_hashes_inside_signs() {
    for (algorithm, kept) in
        [(&rcgen::PKCS_ECDSA_P256_SHA256, "CKM_ECDSA_SHA"), (&rcgen::PKCS_RSA_SHA256, "CKM_SHA")]
    {
        let faulty = Faulty::with(algorithm);
        faulty.token.change_token(|token| token.mechanisms.retain(|name| name.starts_with(kept)));
        let session = faulty.session();
        let key = faulty.key(&session);
        signs(&session, &key, &faulty.spki, key.kind().schemes());
    }
}

#[test]
fn a_token_that_lists_a_mechanism_and_refuses_it_is_asked_to_hash_and_not_asked_twice() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let session = faulty.session();
    let key = faulty.key(&session);
    faulty.token.fault(Fault::code("C_SignInit", "CKR_MECHANISM_INVALID").times(1));
    for _ in 0..3 {
        let signature =
            session.sign(&key, Scheme::EcdsaP256Sha256, b"message", None).expect("signed");
        assert!(verifies(Scheme::EcdsaP256Sha256, &faulty.spki, b"message", &signature));
    }
}

#[test]
fn a_token_without_a_mechanism_is_refused_with_the_names_of_those_that_would_do() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    faulty.token.change_token(|token| token.mechanisms.retain(|name| name.contains("RSA")));
    let session = faulty.session();
    let error = session.private_key(&faulty.uri(), None).expect_err("cannot sign");
    assert!(error.to_string().contains("CKM_ECDSA, CKM_ECDSA_SHA256"), "{error}");
    assert_eq!(error.remedy(), Remedy::Fatal);
}

#[test]
fn short_and_padded_signatures_are_sent_as_tls_wants_them() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        for action in [Action::ShortSignature, Action::PaddedSignature] {
            let faulty = Faulty::with(algorithm);
            let shown = format!("{action:?}");
            let signature = faulty.sign_with(Fault::new("C_Sign", action)).expect("signed");
            let scheme = faulty.key(&faulty.session()).schemes()[0];
            assert!(verifies(scheme, &faulty.spki, b"message", &signature), "{shown}");
        }
    }
}

#[test]
fn keys_that_want_the_pin_each_time_get_it_before_each_signature() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ED25519]
    {
        let faulty = Faulty::with(algorithm);
        faulty.token.change_token(|token| token.keys[0].always_authenticate = true);
        let session = faulty.session();
        let key = faulty.key(&session);
        assert!(key.always_authenticate());
        for scheme in key.schemes() {
            for _ in 0..3 {
                let signature =
                    session.sign(&key, scheme, b"message", Some(&pin())).expect("signed");
                assert!(verifies(scheme, &faulty.spki, b"message", &signature), "{scheme}");
            }
        }
        let wrong = Pin::new(b"wrong").expect("a PIN");
        let error =
            session.sign(&key, key.schemes()[0], b"message", Some(&wrong)).expect_err("wrong");
        assert_eq!((error.function(), error.code()), ("C_Login", Some("CKR_PIN_INCORRECT")));
        // The next would count as one more try.
        let error =
            session.sign(&key, key.schemes()[0], b"message", Some(&wrong)).expect_err("not tried");
        assert!(error.to_string().contains("CKF_USER_PIN_COUNT_LOW"), "{error}");
    }
}

#[test]
fn codes_come_back_by_name_with_what_may_help() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    for (function, code, remedy) in [
        ("C_Sign", "CKR_DEVICE_ERROR", Remedy::Reopen),
        ("C_Sign", "CKR_HOST_MEMORY", Remedy::Retry),
        ("C_Sign", "CKR_FUNCTION_FAILED", Remedy::Retry),
        ("C_SignInit", "CKR_USER_NOT_LOGGED_IN", Remedy::Relogin),
        ("C_SignInit", "CKR_KEY_HANDLE_INVALID", Remedy::Reopen),
    ] {
        let session = faulty.session();
        let key = faulty.key(&session);
        faulty.token.fault(Fault::code(function, code).times(1));
        let sign = || session.sign(&key, Scheme::EcdsaP256Sha256, b"message", None);
        let error = sign().expect_err(code);
        assert_eq!(
            (error.function(), error.code(), error.remedy()),
            (function, Some(code), remedy),
            "{error}"
        );
        if remedy == Remedy::Retry {
            sign().expect("the same session can be asked again");
        }
    }
}

#[test]
fn lost_sessions_logins_and_tokens_are_told_apart() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let session = faulty.session();
    let key = faulty.key(&session);
    let sign = |session: &Session| session.sign(&key, Scheme::EcdsaP256Sha256, b"m", None);
    sign(&session).expect("signs");
    faulty.token.end_login();
    let error = sign(&session).expect_err("no login");
    assert!(matches!(error.remedy(), Remedy::Relogin | Remedy::Reopen), "{error}");
    session.login(&pin()).expect("logged in again");
    faulty.token.end_sessions();
    let error = sign(&session).expect_err("no session");
    assert_eq!(error.remedy(), Remedy::Reopen, "{error}");
    faulty.token.remove(true);
    let module = Module::load(&faulty.token.module()).expect("the module");
    let error = module.token(&faulty.uri()).expect_err("no token");
    assert_eq!(error.remedy(), Remedy::Reopen, "{error}");
    faulty.token.remove(false);
    let session = faulty.session();
    let key = faulty.key(&session);
    session.sign(&key, Scheme::EcdsaP256Sha256, b"m", None).expect("signs again");
}

#[test]
fn no_pin_is_tried_where_the_token_counts_wrong_ones() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let session = faulty.open();
    let wrong = Pin::new(b"wrong").expect("a PIN");
    assert_eq!(session.login(&wrong).expect_err("wrong").code(), Some("CKR_PIN_INCORRECT"));
    for pin in [&wrong, &pin()] {
        for _ in 0..5 {
            let error = session.login(pin).expect_err("not tried");
            assert_eq!(error.code(), None, "{error}");
        }
    }
    let info = session.token().current_info().expect("told");
    assert!(info.pin_count_low && !info.pin_final_try && !info.pin_locked, "{info:?}");
}

#[test]
fn a_public_key_that_is_not_told_is_left_to_a_signature() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P384_SHA384);
    faulty.token.change_token(|token| {
        token.keys[0].public_object = false;
        token.keys[0].public_key_info = false;
    });
    let session = faulty.session();
    let key =
        session.private_key(&faulty.uri(), Some(&[0x30, 0])).expect("nothing to compare with");
    assert_eq!((key.spki(), key.kind()), (None, KeyKind::EcP384));
    let signature = session.sign(&key, Scheme::EcdsaP384Sha384, b"m", None).expect("signed");
    assert!(verifies(Scheme::EcdsaP384Sha384, &faulty.spki, b"m", &signature));

    faulty.token.change_token(|token| token.keys[0].public_object = true);
    let session = faulty.session();
    assert_eq!(
        faulty.key(&session).spki(),
        Some(&faulty.spki[..]),
        "by the object with the same id"
    );
}

#[test]
fn sessions_run_out_with_a_word_about_it() {
    let faulty = Faulty::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    faulty.token.change_token(|token| token.max_sessions = 2);
    let _sessions = [faulty.open(), faulty.open()];
    let module = Module::load(&faulty.token.module()).expect("the module");
    let token = module.token(&faulty.uri()).expect("the token");
    assert_eq!(token.info().max_sessions, Some(2));
    let error = token.open().expect_err("none left");
    assert_eq!(
        error.to_string(),
        "C_OpenSession: CKR_SESSION_COUNT: the token has no more sessions; lower max_sessions or close other applications"
    );
}

#[test]
fn codes_of_message_authentication_have_their_length() {
    let folder = tempfile::tempdir().expect("a folder");
    let token =
        TestToken::new(folder.path()).with_secret("hmac", &[1; 32]).with_aes_key("cmac", &[2; 16]);
    let module = Module::load(&token.module()).expect("the module");
    for (name, kind) in [("hmac", MacKind::HmacSha256), ("cmac", MacKind::AesCmac)] {
        let uri = Uri::parse(&token.uri(name)).expect("a URI");
        let session = module.token(&uri).expect("the token").open().expect("a session");
        session.login(&pin()).expect("logged in");
        let key = session.mac_key(&uri).expect("found");
        assert_eq!(key.kind(), kind);
        assert_eq!(session.mac(&key, b"epoch").expect("a code").len(), kind.bytes());
    }
}
