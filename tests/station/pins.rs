//! PINs: tried once, kept out of everything, changed.

use countersign::signing::station::{Absence, Event, Isolation, LaneLimits, StationSpec};
use countersign_hsm::{Remedy, Uri};
use countersign_tests::test_token::{Action, Fault, PIN};

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

/// The same token by another name: a station of its own.
fn by_serial(token: &Token, isolation: Isolation) -> StationSpec {
    let serial = &token.token.settings().tokens[0].serial;
    let uri = Uri::parse(&format!("pkcs11:serial={serial}")).expect("a URI");
    StationSpec { token: uri, ..token.spec(isolation) }
}

/// Nothing on the token tells of a wrong PIN, and the wrong one takes long enough for everybody to try it.
fn make_slow_and_silent(token: &Token) {
    token.token.change_token(|token| token.tells_wrong_pins = false);
    token.token.fault(Fault::new("C_Login", Action::Delay(200)));
}

#[test]
fn two_names_of_a_token_that_comes_do_not_both_try_a_wrong_pin() {
    for one in BOTH {
        for other in BOTH {
            let token = Token::new();
            token.token.remove(true);
            make_slow_and_silent(&token);
            let wrong = |spec| StationSpec { pin: Some(pin("4711-wrong")), ..spec };
            let specs = [token.spec(one), by_serial(&token, other)].map(wrong);
            let desks = specs.map(|spec| Desk::start(spec, Absence::Awaited).expect("waits").0);
            for desk in &desks {
                assert_eq!(desk.wait_down().1, Remedy::Reopen);
            }
            token.token.remove(false);
            for desk in &desks {
                let problem = desk.wait_final();
                assert!(problem.contains("the PIN is wrong"), "{problem}");
            }
            assert_eq!(token.token.counters().failed_logins, 1, "{one:?}, {other:?}");
        }
    }
}

#[test]
fn two_names_of_a_token_do_not_both_try_a_pin_that_was_changed() {
    for one in BOTH {
        for other in BOTH {
            let token = Token::new();
            let desks = [token.spec(one), by_serial(&token, other)].map(|spec| token.open(spec));
            make_slow_and_silent(&token);
            token.token.change_token(|token| {
                token.pin = "another-5678".to_owned();
                token.login_lost += 1;
            });
            let asked: Vec<_> =
                desks.iter().filter_map(|desk| Some((desk, desk.submit(b"message")?))).collect();
            assert_eq!(asked.len(), desks.len(), "both take it");
            for (desk, operation) in asked {
                desk.answer(operation).expect_err("nobody is logged in");
                let problem = desk.wait_final();
                assert!(problem.contains("pin-source"), "{problem}");
            }
            assert_eq!(token.token.counters().failed_logins, 1, "{one:?}, {other:?}");
        }
    }
}

#[test]
fn a_right_pin_opens_a_token_by_two_names_at_once() {
    for one in BOTH {
        for other in BOTH {
            let token = Token::new();
            token.token.remove(true);
            token.token.fault(Fault::new("C_Login", Action::Delay(50)));
            let specs = [token.spec(one), by_serial(&token, other)];
            let desks = specs.map(|spec| Desk::start(spec, Absence::Awaited).expect("waits").0);
            for desk in &desks {
                desk.station.expect_key(token.key_spec()).expect("a key of usual length");
            }
            token.token.remove(false);
            for desk in &desks {
                desk.wait_up();
                desk.sign(b"message").expect("a signature");
            }
        }
    }
}

#[test]
fn lanes_do_not_all_try_a_pin_that_a_key_wants_each_time() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| {
            token.keys[0].always_authenticate = true;
            token.latency_us = 20_000;
        });
        let lanes = LaneLimits { least: 8, most: 8 };
        let desk = token.open(StationSpec { lanes, ..token.spec(isolation) });
        let busy = desk.submit_many(64);
        desk.wait("all lanes are open", |event| match event {
            Event::Lanes { open: 8, .. } => Some(()),
            _ => None,
        });
        assert!(desk.answers(&busy).iter().all(Result::is_ok));
        make_slow_and_silent(&token);
        token.token.change_token(|token| token.pin = "another-5678".to_owned());
        let operations: Vec<_> = (0..16).filter_map(|_| desk.submit(b"message")).collect();
        assert!(desk.answers(&operations).iter().all(Result::is_err));
        let problem = desk.wait_final();
        assert!(problem.contains("the PIN was changed on the token"), "{problem}");
        assert_eq!(token.token.counters().failed_logins, 1, "{isolation:?}");
    }
}
