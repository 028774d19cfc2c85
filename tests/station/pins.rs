//! PINs: tried once, kept out of everything, changed.

use countersign::signing::station::StationSpec;
use countersign_hsm::Remedy;
use countersign_tests::test_token::PIN;

use crate::desk::{BOTH, Desk, Token, pin};

#[test]
fn a_wrong_pin_is_tried_once_however_often_it_is_configured() {
    for isolation in BOTH {
        let token = Token::new();
        for _ in 0..3 {
            let spec = StationSpec { pin: Some(pin("4711-wrong")), ..token.spec(isolation) };
            let error = Desk::open(spec).err().expect("the PIN is wrong");
            assert_eq!(error.remedy, Remedy::Fatal);
            assert!(error.problem.contains("pin-source"), "{error}");
            assert!(!error.problem.contains("4711"), "{error}");
        }
        // Nor by a station of the other kind.
        for other in BOTH {
            let spec = StationSpec { pin: Some(pin("4711-wrong")), ..token.spec(other) };
            Desk::open(spec).err().expect("the PIN is wrong");
        }
        assert_eq!(token.token.counters().failed_logins, 1, "{isolation:?}");
        let error = Desk::open(token.spec(isolation)).err();
        // This token warns after one wrong PIN, and nobody logs in then but a human.
        assert!(error.is_none_or(|error| error.remedy == Remedy::Fatal));
        assert_eq!(token.token.counters().failed_logins, 1, "{isolation:?}");
    }
}

#[test]
fn a_pin_that_was_changed_on_the_token_is_tried_once_and_the_operator_is_told() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        let busy = desk.submit_many(16);
        assert!(desk.answers(&busy).iter().all(Result::is_ok));
        token.token.change_token(|token| {
            token.pin = "another-5678".to_owned();
            token.login_lost += 1;
        });
        // All lanes find out, and one of them tries the PIN.
        let operations: Vec<_> = (0..16).filter_map(|_| desk.submit(b"message")).collect();
        assert!(desk.answers(&operations).iter().all(Result::is_err));
        let (problem, remedy) = desk.wait_down();
        assert_eq!(remedy, Remedy::Fatal);
        assert!(problem.contains("the PIN was changed on the token"), "{problem}");
        assert!(problem.contains("put the new PIN where pin-source says and reload"), "{problem}");
        assert!(!problem.contains(PIN), "{problem}");
        assert_eq!(desk.submit(b"message"), None, "nothing is taken");
        assert_eq!(token.token.counters().failed_logins, 1, "{isolation:?}");
        // The old one again, as a reload would: not even tried.
        let error = Desk::open(token.spec(isolation)).err().expect("the PIN is wrong now");
        assert_eq!(error.remedy, Remedy::Fatal);
        assert_eq!(token.token.counters().failed_logins, 1, "{isolation:?}");
    }
}

#[test]
fn a_token_without_the_pin_it_wants_says_so_at_its_keys() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = Desk::open(StationSpec { pin: None, ..token.spec(isolation) });
        // Some tokens sign without a login; this one hides its keys.
        let desk = desk.expect("the token is there");
        desk.key(token.key_spec()).expect_err("the key is private");
        assert_eq!(token.token.counters().failed_logins, 0);
    }
}
