//! Sessions, logins, tokens and keys that go.

use countersign_tests::test_token::PIN;
use cryptoki::context::Function;
use cryptoki::error::RvError;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::caller::{Caller, OneKey, assert_refused, key, keys, login};

#[test]
fn invalid_sessions_are_dead_and_new_ones_want_a_login() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let dead = [caller.session(), caller.session()];
    let handle = key(&dead[0], "server");
    one.token.end_sessions();
    for session in &dead {
        let signed = one.sign(session, handle);
        assert_refused(signed, Function::SignInit, RvError::SessionHandleInvalid);
    }
    assert_eq!(one.token.counters().sessions_open, 0);
    let session = caller.open().expect("a session");
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::UserNotLoggedIn);
    login(&session, PIN).expect("a login");
    one.assert_signs(&session, handle);
}

#[test]
fn a_lost_login_leaves_the_sessions() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    one.token.end_login();
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::UserNotLoggedIn);
    login(&session, PIN).expect("a login");
    one.assert_signs(&session, handle);
    assert_eq!(one.token.counters().logins, 2);
}

#[test]
fn a_token_that_went_and_came_back_knows_no_session_login_or_handle() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    one.token.remove(true);
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::DeviceRemoved);
    assert_refused(caller.open(), Function::OpenSession, RvError::TokenNotPresent);
    assert!(caller.module.get_slots_with_token().expect("slots").is_empty());
    assert_eq!(caller.module.get_all_slots().expect("slots").len(), 1);
    one.token.remove(false);
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::SessionHandleInvalid);
    let session = caller.session();
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::KeyHandleInvalid);
    one.assert_signs(&session, key(&session, "server"));
}

#[test]
fn a_key_that_was_deleted_is_not_found_and_its_handle_is_good_for_nothing() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    one.token.delete("server", true);
    assert!(keys(&session, "server").is_empty());
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::KeyHandleInvalid);
    one.token.delete("server", false);
    let new = key(&session, "server");
    assert_ne!(new, handle);
    one.assert_signs(&session, new);
}

#[test]
fn handles_outlast_a_change_of_other_settings() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    one.token.change_token(|token| token.jitter_us = 1);
    one.assert_signs(&session, handle);
}

#[test]
fn several_keys_of_one_name_are_several() {
    let one = OneKey::new();
    let file = one.key.file.clone();
    let token = one.token.with_key("server", &file);
    token.change_token(|token| token.keys[1].id = token.keys[0].id.clone());
    let caller = Caller::new(&token);
    let found = keys(&caller.session(), "server");
    assert_eq!(found.len(), 2);
    assert_ne!(found[0], found[1]);
}

#[test]
fn more_sessions_than_the_token_has_are_refused() {
    let one = OneKey::new();
    one.token.change_token(|token| token.max_sessions = 2);
    let caller = Caller::new(&one.token);
    let sessions = [caller.session(), caller.session()];
    assert_refused(caller.open(), Function::OpenSession, RvError::SessionCount);
    drop(sessions);
    drop(caller.session());
    assert_eq!(one.token.counters().sessions_most, 2);
}

#[test]
fn each_signature_wants_a_login_where_the_key_says_so() {
    let one = OneKey::new();
    one.token.change_token(|token| token.keys[0].always_authenticate = true);
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    assert_refused(one.sign(&session, handle), Function::Sign, RvError::UserNotLoggedIn);
    let pin = AuthPin::new(PIN.into());
    let early = session.login(UserType::ContextSpecific, Some(&pin));
    assert_refused(early, Function::Login, RvError::OperationNotInitialized);
    session.sign_init(&cryptoki::mechanism::Mechanism::EcdsaSha256, handle).expect("a beginning");
    session.login(UserType::ContextSpecific, Some(&pin)).expect("a login");
    session.sign_update(b"m").expect("a part");
    session.sign_final().expect("a signature");
    assert_refused(one.sign(&session, handle), Function::Sign, RvError::UserNotLoggedIn);
    let counters = one.token.counters();
    assert_eq!((counters.logins, counters.context_logins, counters.signatures), (1, 1, 1));
}

#[test]
fn after_an_end_everything_is_begun_anew() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    drop(session);
    caller.module.clone().finalize().expect("an end");
    assert_refused(caller.open(), Function::OpenSession, RvError::CryptokiNotInitialized);
    let caller = Caller::new(&one.token);
    let session = caller.session();
    assert_ne!(key(&session, "server"), handle);
    let counters = one.token.counters();
    assert_eq!((counters.initializes, counters.finalizes, counters.logins), (2, 1, 2));
}
