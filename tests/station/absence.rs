//! Stations that are opened while their token is not there, and wait for it.

use countersign::signing::station::{Absence, RefusalReason, StationSpec};
use countersign_hsm::Remedy;
use rcgen::{KeyPair, PublicKeyData as _};

use crate::desk::{BOTH, Desk, Token, no_module, pin};

#[test]
fn a_station_without_a_token_is_down_and_signs_once_it_comes() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.remove(true);
        let (desk, absent) = Desk::start(token.spec(isolation), Absence::Awaited).expect("waits");
        assert_eq!(absent.expect("the token is not there").remedy, Remedy::Reopen);
        desk.station.expect_key(token.key_spec()).expect("a key of usual length");
        let (problem, remedy) = desk.wait_down();
        assert!(problem.contains("token=edge") && remedy == Remedy::Reopen, "{problem}");
        assert_eq!(desk.submit(b"early"), None, "nothing is taken");
        token.token.remove(false);
        desk.wait_up();
        let signature = desk.sign(b"message").expect("a signature");
        token.assert_signed(b"message", &signature);
        assert_eq!(token.token.counters().logins, 1, "{isolation:?}");
        desk.assert_all_answered_once();
    }
}

#[test]
fn a_token_that_is_there_is_not_absent() {
    for isolation in BOTH {
        let token = Token::new();
        let (desk, absent) = Desk::start(token.spec(isolation), Absence::Awaited).expect("there");
        assert_eq!(absent, None);
        desk.key(token.key_spec()).expect("the key is there");
        desk.sign(b"message").expect("a signature");
    }
}

#[test]
fn what_needs_a_human_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    for isolation in BOTH {
        let token = Token::new();
        let no_such = StationSpec { module: no_module(&folder), ..token.spec(isolation) };
        let wrong_pin = StationSpec { pin: Some(pin("4711-wrong")), ..token.spec(isolation) };
        for spec in [no_such, wrong_pin] {
            let error = Desk::start(spec, Absence::Awaited).err().expect("no station");
            assert_eq!(error.remedy, Remedy::Fatal, "{isolation:?}: {error}");
        }
    }
}

#[test]
fn a_pin_that_is_refused_when_the_token_comes_ends_the_attempts() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.remove(true);
        let spec = StationSpec { pin: Some(pin("4711-wrong")), ..token.spec(isolation) };
        let (desk, _) = Desk::start(spec, Absence::Awaited).expect("waits");
        let (_, remedy) = desk.wait_down();
        assert_eq!(remedy, Remedy::Reopen);
        token.token.remove(false);
        let (problem, remedy) = desk.wait_down();
        assert!(problem.contains("CKR_PIN_INCORRECT") && remedy == Remedy::Fatal, "{problem}");
        // As if it were a loss: it stays where it is, and no further station may try that PIN.
        token.token.remove(true);
        token.token.remove(false);
        let spec = StationSpec { pin: Some(pin("4711-wrong")), ..token.spec(isolation) };
        Desk::start(spec, Absence::Awaited).err().expect("the PIN was refused before");
        assert_eq!(token.token.counters().failed_logins, 1, "{isolation:?}");
    }
}

#[test]
fn an_expected_key_that_turns_out_to_be_another_signs_nothing() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.remove(true);
        let (desk, _) = Desk::start(token.spec(isolation), Absence::Awaited).expect("waits");
        let mut other = token.key_spec();
        other.spki = KeyPair::generate().expect("a key").subject_public_key_info();
        desk.station.expect_key(other).expect("a key of usual length");
        token.token.remove(false);
        desk.wait_up();
        let refusal = desk.sign(b"message").expect_err("the key is another");
        assert_eq!(refusal.reason, RefusalReason::Key, "{isolation:?}: {refusal:?}");
        assert_eq!(token.token.counters().signatures, 0);
    }
}
