//! Logging in without locking the token.

use countersign_hsm::{KeyKind, Pin, Remedy};
use countersign_tests::token::PIN;

use crate::own_process::{Given, pin};
use crate::softhsm::softhsm;

fn wrong() -> Pin {
    Pin::new(b"wrong-pin").expect("a PIN")
}

#[test]
fn a_wrong_pin_is_tried_once_and_then_no_pin_until_a_human_logged_in() {
    softhsm(
        "softhsm_login::a_wrong_pin_is_tried_once_and_then_no_pin_until_a_human_logged_in",
        |given| {
            let session = given.token().open().expect("a session");
            let error = session.login(&wrong()).expect_err("wrong");
            assert_eq!((error.function(), error.code()), ("C_Login", Some("CKR_PIN_INCORRECT")));
            assert_eq!(error.remedy(), Remedy::Fatal);
            assert!(!format!("{error} {error:?}").contains("wrong-pin"), "{error:?}");
            assert!(given.token().info().pin_count_low);

            // Even the right one is not tried: who tried the wrong one, and how often?
            let error = session.login(&pin()).expect_err("not tried");
            assert_eq!((error.code(), error.remedy()), (None, Remedy::Fatal));
            assert!(error.to_string().contains("log in once by hand"), "{error}");
            assert!(!error.to_string().contains(PIN), "{error}");

            by_hand(given);
            session.login(&pin()).expect("after a login by hand");
        },
    );
}

/// As a human would, with the tool of the token.
fn by_hand(given: &Given) {
    given.pkcs11_tool(&["--list-objects"]);
}

#[test]
fn a_second_login_is_no_error_and_tries_no_pin() {
    softhsm("softhsm_login::a_second_login_is_no_error_and_tries_no_pin", |given| {
        let first = given.session();
        let second = given.token().open().expect("a session");
        second.login(&pin()).expect("logged in already");
        drop(first);
        second.keys().expect("the login holds while a session is open");
    });
}

#[test]
fn without_a_login_private_keys_are_not_seen() {
    softhsm("softhsm_login::without_a_login_private_keys_are_not_seen", |given| {
        {
            let session = given.session();
            session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect("made");
        }
        // With its last session the login has gone.
        let session = given.token().open().expect("a session");
        let error = session
            .private_key(&given.uri().with_object("server", &[]), None)
            .expect_err("not seen");
        assert!(error.to_string().contains("none at all that this login sees"), "{error}");
        let writable = given.token().open_writable().expect("a session");
        let error =
            writable.generate_key_pair(KeyKind::EcP256, "other", &[2]).expect_err("not logged in");
        assert_eq!(
            (error.code(), error.remedy()),
            (Some("CKR_USER_NOT_LOGGED_IN"), Remedy::Relogin)
        );
    });
}

#[test]
fn a_read_only_session_makes_no_keys() {
    softhsm("softhsm_login::a_read_only_session_makes_no_keys", |given| {
        let session = given.token().open().expect("a session");
        session.login(&pin()).expect("logged in");
        let error =
            session.generate_key_pair(KeyKind::EcP256, "server", &[1]).expect_err("read-only");
        assert_eq!(error.code(), Some("CKR_SESSION_READ_ONLY"), "{error}");
    });
}
