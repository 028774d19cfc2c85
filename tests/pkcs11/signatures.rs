//! What is signed, and what can be read.

use std::thread;

use aws_lc_rs::{cmac, hmac};
use countersign_tests::test_token::TestToken;
use cryptoki::context::Function;
use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use rcgen::PublicKeyData as _;
use tempfile::TempDir;

use crate::caller::{
    Caller, Keys, MESSAGE, OneKey, SigningKey, assert_refused, key, keys, sha256, ways,
};

fn of<'a>(keys: &'a Keys, label: &str) -> &'a SigningKey {
    [&keys.p256, &keys.p384, &keys.rsa, &keys.ed25519]
        .into_iter()
        .find(|key| key.label == label)
        .expect("a key with this label")
}

#[test]
fn every_kind_of_key_signs_with_and_without_hashing_in_the_token() {
    let keys = Keys::new();
    let token = keys.on_token();
    let caller = Caller::new(&token);
    let session = caller.session();
    for (label, mechanism, data, algorithm) in ways() {
        let signature = session.sign(&mechanism, key(&session, label), &data).expect(label);
        assert!(of(&keys, label).verifies(algorithm, &signature), "{mechanism:?}");
    }
    assert_eq!(token.counters().signatures, ways().len() as u64);
}

#[test]
fn cheap_signatures_hold_like_others() {
    let one = OneKey::new();
    one.token.change_token(|token| token.cheap = true);
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    for _ in 0..100 {
        one.assert_signs(&session, handle);
    }
}

#[test]
fn what_comes_in_parts_is_signed_as_a_whole() {
    let keys = Keys::new();
    let token = keys.on_token();
    let caller = Caller::new(&token);
    let session = caller.session();
    let (_, mechanism, message, algorithm) = ways().remove(1);
    let handle = key(&session, "p256");
    session.sign_init(&mechanism, handle).expect("a beginning");
    for part in message.chunks(5) {
        session.sign_update(part).expect("a part");
    }
    let signature = session.sign_final().expect("a signature");
    assert!(keys.p256.verifies(algorithm, &signature));
    session.sign_init(&Mechanism::Ecdsa, handle).expect("a beginning");
    assert_refused(session.sign_update(&message), Function::SignUpdate, RvError::DataLenRange);
}

#[test]
fn macs_are_those_of_the_standards() {
    let folder = TempDir::new().expect("a folder");
    let token = TestToken::new(folder.path())
        .with_secret("tickets", &[7; 32])
        .with_aes_key("other tickets", &[9; 16]);
    let caller = Caller::new(&token);
    let session = caller.session();
    let mac = session.sign(&Mechanism::Sha256Hmac, key(&session, "tickets"), MESSAGE);
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), MESSAGE);
    assert_eq!(mac.expect("a MAC"), expected.as_ref());
    let mac = session.sign(&Mechanism::AesCMac, key(&session, "other tickets"), MESSAGE);
    let expected = cmac::Key::new(cmac::AES_128, &[9; 16]).expect("a key");
    assert_eq!(mac.expect("a MAC"), cmac::sign(&expected, MESSAGE).expect("a MAC").as_ref());
    let counters = token.counters();
    assert_eq!((counters.macs, counters.signatures), (2, 0));
}

#[test]
fn sessions_sign_at_the_same_time() {
    let one = OneKey::new();
    one.token.change_token(|token| token.latency_us = 20_000);
    let caller = Caller::new(&one.token);
    let sessions: Vec<_> = (0..64).map(|_| caller.session()).collect();
    let handle = key(&sessions[0], "server");
    thread::scope(|scope| {
        for session in sessions {
            let one = &one;
            scope.spawn(move || one.assert_signs(&session, handle));
        }
    });
    let counters = one.token.counters();
    assert_eq!((counters.signatures, counters.logins, counters.sessions_most), (64, 1, 64));
    assert!(counters.signing_most > 1, "{counters:?}");
    assert_eq!(counters.sessions_open, 0, "what was dropped is closed");
}

#[test]
fn public_keys_can_be_read_and_secrets_cannot() {
    let keys = Keys::new();
    let token = keys.on_token();
    let caller = Caller::new(&token);
    let session = caller.session();
    let public_key = |handle| {
        let read = session.get_attributes(handle, &[AttributeType::PublicKeyInfo]);
        read.expect("attributes").pop()
    };
    for label in ["p256", "p384", "rsa", "ed25519"] {
        let spki = of(&keys, label).pair.subject_public_key_info();
        let handle = key(&session, label);
        assert_eq!(public_key(handle), Some(Attribute::PublicKeyInfo(spki)), "{label}");
        let secret = session.get_attribute_info(handle, &[AttributeType::Value]).expect(label);
        assert_eq!(format!("{secret:?}"), "[Sensitive]");
    }
    token.change_token(|token| token.keys.iter_mut().for_each(|key| key.public_key_info = false));
    assert_eq!(public_key(key(&session, "p256")), None);
}

#[test]
fn without_a_login_only_public_keys_are_found() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.open().expect("a session");
    assert!(keys(&session, "server").is_empty());
    let public = [Attribute::Class(ObjectClass::PUBLIC_KEY)];
    assert_eq!(session.find_objects(&public).expect("a search").len(), 1);
    one.token.change_token(|token| token.keys[0].public_object = false);
    assert!(session.find_objects(&public).expect("a search").is_empty());
}

#[test]
fn a_token_has_the_mechanisms_that_it_was_given() {
    let one = OneKey::new();
    one.token.change_token(|token| token.mechanisms = vec!["CKM_ECDSA_SHA256".into()]);
    let caller = Caller::new(&one.token);
    let listed = caller.module.get_mechanism_list(caller.slot).expect("a list");
    assert_eq!(listed, [MechanismType::ECDSA_SHA256]);
    let session = caller.session();
    let handle = key(&session, "server");
    assert_refused(one.sign(&session, handle), Function::SignInit, RvError::MechanismInvalid);
    session.sign(&Mechanism::EcdsaSha256, handle, MESSAGE).expect("a signature");
}

#[test]
fn a_key_does_not_sign_with_the_mechanism_of_another_kind() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    let signed = session.sign(&Mechanism::RsaPkcs, handle, sha256(MESSAGE).as_ref());
    assert_refused(signed, Function::SignInit, RvError::KeyTypeInconsistent);
}

#[test]
fn two_copies_of_the_module_are_two_modules() {
    let (one, other) = (OneKey::new(), OneKey::new());
    let (one_caller, other_caller) = (Caller::new(&one.token), Caller::new(&other.token));
    let (one_session, other_session) = (one_caller.session(), other_caller.session());
    one.assert_signs(&one_session, key(&one_session, "server"));
    other.assert_signs(&other_session, key(&other_session, "server"));
    assert_eq!((one.token.counters().signatures, other.token.counters().signatures), (1, 1));
}

#[test]
fn one_module_has_several_tokens() {
    let one = OneKey::new();
    let token = one.token.with_token("spare").with_key("server", &one.key.file);
    let caller = Caller::new(&token);
    let slots = caller.module.get_slots_with_token().expect("slots");
    let labels: Vec<_> = slots
        .iter()
        .map(|slot| caller.module.get_token_info(*slot).expect("a token").label().to_owned())
        .collect();
    assert_eq!(labels, ["edge", "spare"]);
}
