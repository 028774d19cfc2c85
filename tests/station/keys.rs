//! Keys: found, compared with their certificates, gone and back; signatures and MACs.

use countersign::signing::station::{Isolation, KeySpec, RefusalReason};
use countersign_hsm::{Remedy, Scheme, Uri};
use countersign_tests::test_token::TestToken;
use rcgen::{KeyPair, PublicKeyData as _};

use crate::desk::{BOTH, Desk, KEY, SCHEME, Token};

#[test]
fn a_key_signs_and_tells_what_it_can() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = Desk::open(token.spec(isolation)).expect("the token is there");
        let info = desk.wait_up();
        assert_eq!((info.label.as_str(), info.lanes), ("edge", 8));
        let facts = desk.key(token.key_spec()).expect("the key is there");
        assert_eq!(facts.schemes, [SCHEME]);
        assert_eq!(facts.spki, Some(token.spki()));
        let operations = desk.submit_many(100);
        for answer in desk.answers(&operations) {
            token.assert_signed(b"message", &answer.expect("a signature"));
        }
        desk.assert_all_answered_once();
        assert_eq!(token.token.counters().logins, 1, "{isolation:?}: one login for all sessions");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_hashes() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        let other = KeyPair::generate().expect("a key");
        let spki = other.subject_public_key_info();
        let problem = desk.key(KeySpec { id: 2, spki: spki.clone(), ..token.key_spec() });
        let problem = problem.expect_err("another key").problem;
        for spki in [spki, token.spki()] {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
            let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(problem.contains(&hash), "{hash} in: {problem}");
        }
        // What was there before is as good as it was.
        desk.sign(b"message").expect("a signature");
    }
}

#[test]
fn a_token_that_does_not_tell_a_public_key_proves_by_a_signature_that_it_is_the_one() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| {
            for key in &mut token.keys {
                (key.public_object, key.public_key_info) = (false, false);
            }
        });
        let desk = Desk::open(token.spec(isolation)).expect("the token is there");
        let facts = desk.key(token.key_spec()).expect("the key is there");
        assert_eq!(facts.spki, None);
        let other = KeyPair::generate().expect("a key").subject_public_key_info();
        let wrong = desk.key(KeySpec { id: 2, spki: other, ..token.key_spec() });
        let problem = wrong.expect_err("another key").problem;
        assert!(problem.contains("does not belong to the certificate"), "{problem}");
        desk.sign(b"message").expect("a signature");
    }
}

#[test]
fn a_key_that_is_not_there_is_said_to_be_missing_and_named() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        let uri = Uri::parse("pkcs11:token=edge;object=nobody").expect("a URI");
        let error = desk.key(KeySpec { id: 2, uri, ..token.key_spec() }).expect_err("no such key");
        assert_eq!(error.remedy, Remedy::Fatal);
        assert!(error.problem.contains("nobody"), "{error}");
        // And it is not in use then.
        let operation = desk.station.submit(7_000, 2, SCHEME, b"message");
        operation.expect("the queue has room");
        assert_eq!(desk.answer(7_000).expect_err("no key").reason, RefusalReason::Key);
    }
}

#[test]
fn a_deleted_key_refuses_its_own_operations_and_comes_back() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        token.token.delete("server", true);
        let refusal = desk.sign(b"message").expect_err("the key is gone");
        assert_eq!(refusal.reason, RefusalReason::Key, "{isolation:?}: {refusal:?}");
        token.token.delete("server", false);
        let signature = desk.sign(b"message").expect("the key is back");
        token.assert_signed(b"message", &signature);
    }
}

#[test]
fn a_forgotten_key_signs_no_more() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        desk.station.forget(KEY);
        let refusal = desk.sign(b"message").expect_err("it is not in use");
        assert_eq!(refusal.reason, RefusalReason::Key);
    }
}

#[test]
fn a_scheme_that_the_key_cannot_sign_is_refused_and_nothing_else() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        desk.station.submit(7_000, KEY, Scheme::Ed25519, b"message").expect("room");
        let refusal = desk.answer(7_000).expect_err("a P-256 key");
        assert_eq!(refusal.reason, RefusalReason::Failed);
        desk.sign(b"message").expect("a signature");
    }
}

#[test]
fn a_message_beyond_the_bound_is_not_taken() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        let longest = vec![7; countersign::signing::station::MESSAGE_BYTES_MAX];
        let signature = desk.sign(&longest).expect("a signature");
        token.assert_signed(&longest, &signature);
        assert_eq!(desk.submit(&[&longest[..], b"1"].concat()), None);
    }
}

#[test]
fn a_secret_key_derives_the_same_in_every_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = TestToken::new(folder.path()).with_secret("tickets", &[7; 32]);
    token.change_token(|token| token.serial = "derive".to_owned());
    let uri = Uri::parse(&token.uri("tickets")).expect("a URI");
    let derived = BOTH.map(|isolation: Isolation| {
        let like = Token::new();
        let spec = like.spec(isolation);
        let spec = countersign::signing::station::StationSpec { module: token.module(), ..spec };
        let desk = Desk::open(spec).expect("the token is there");
        desk.station.derive(&uri, b"epoch 1").expect("a MAC")
    });
    assert_eq!(derived[0], derived[1]);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    assert_eq!(derived[0].as_slice(), aws_lc_rs::hmac::sign(&key, b"epoch 1").as_ref());
}
