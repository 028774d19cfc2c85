//! Tokens that fail, go away and come back, and the station with them.

use std::process::Command;

use countersign::signing::station::{Isolation, LaneLimits, RefusalReason, StationSpec};
use countersign_hsm::Remedy;
use countersign_tests::deadline::wait_for;
use countersign_tests::test_token::{Action, Fault};

use crate::desk::{BOTH, Desk, SHORT, Token, no_module};

#[test]
fn a_token_that_was_removed_and_is_back_signs_again() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        desk.sign(b"before").expect("a signature");
        token.token.remove(true);
        let refusal = desk.sign(b"while").expect_err("there is no token");
        assert_eq!(refusal.reason, RefusalReason::Lost, "{isolation:?}: {refusal:?}");
        let (_, remedy) = desk.wait_down();
        assert_eq!(remedy, Remedy::Reopen);
        assert_eq!(desk.submit(b"while"), None, "nothing is taken");
        token.token.remove(false);
        desk.wait_up();
        let signature = desk.sign(b"after").expect("a signature");
        token.assert_signed(b"after", &signature);
        desk.assert_all_answered_once();
    }
}

#[test]
fn sessions_that_are_invalid_are_opened_again_without_a_lost_operation() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        for _ in 0..5 {
            let operations = desk.submit_many(20);
            assert!(desk.answers(&operations).iter().all(Result::is_ok));
            token.token.end_sessions();
            let operations = desk.submit_many(20);
            let answers = desk.answers(&operations);
            assert!(answers.iter().all(Result::is_ok), "{isolation:?}: {answers:?}");
        }
        assert_eq!(token.token.counters().failed_logins, 0);
    }
}

#[test]
fn a_lost_login_is_made_good_once_for_all_sessions() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| token.latency_us = 2_000);
        let lanes = LaneLimits { least: 8, most: 8 };
        let desk = token.open(StationSpec { lanes, ..token.spec(isolation) });
        let operations = desk.submit_many(100);
        assert!(desk.answers(&operations).iter().all(Result::is_ok));
        assert_eq!(token.token.counters().logins, 1);
        token.token.end_login();
        let operations = desk.submit_many(100);
        let answers = desk.answers(&operations);
        assert!(answers.iter().all(Result::is_ok), "{isolation:?}: {answers:?}");
        assert_eq!(token.token.counters().logins, 2, "{isolation:?}");
    }
}

#[test]
fn what_the_token_fails_at_once_is_tried_again_and_not_for_ever() {
    for isolation in BOTH {
        for code in ["CKR_FUNCTION_FAILED", "CKR_HOST_MEMORY", "CKR_DEVICE_ERROR"] {
            let token = Token::new();
            let desk = token.open(token.spec(isolation));
            token.token.fault(Fault::code("C_Sign", code).times(1));
            desk.sign(b"message").expect(code);
            token.token.fault(Fault::code("C_Sign", code));
            let refusal = desk.sign(b"message").expect_err(code);
            assert_eq!(refusal.reason, RefusalReason::Lost, "{isolation:?}: {refusal:?}");
            assert!(refusal.problem.contains(code), "{refusal:?}");
            token.token.mend();
            let (signature, _) = desk.sign_until_it_works(b"mended");
            token.assert_signed(b"mended", &signature);
        }
    }
}

#[test]
fn one_session_that_hangs_is_given_up_and_the_others_go_on() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(StationSpec { deadline: SHORT, ..token.spec(isolation) });
        token.token.fault(Fault::new("C_Sign", Action::Hang).times(1));
        let refusal = desk.sign(b"hangs").expect_err("it hangs");
        assert_eq!(refusal.reason, RefusalReason::Lost, "{isolation:?}: {refusal:?}");
        let signature = desk.sign(b"others").expect("the others go on");
        token.assert_signed(b"others", &signature);
        desk.wait_notice("hung in the module");
        let counters = token.token.counters();
        assert_eq!((counters.hanging, counters.initializes), (1, 1), "{isolation:?}");
        token.token.mend();
        desk.sign(b"after").expect("a signature");
        desk.assert_all_answered_once();
    }
}

#[test]
fn a_token_that_hangs_altogether_is_left_behind() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(StationSpec { deadline: SHORT, ..token.spec(isolation) });
        desk.sign(b"before").expect("a signature");
        let before = token.child();
        token.token.fault(Fault::new("C_Sign", Action::Hang));
        for operation in desk.submit_many(16) {
            let refusal = desk.answer(operation).expect_err("all of it hangs");
            assert!(
                matches!(refusal.reason, RefusalReason::Lost | RefusalReason::Busy),
                "{refusal:?}"
            );
        }
        let (problem, _) = desk.wait_down();
        assert!(problem.contains("hang"), "{problem}");
        token.token.mend();
        desk.wait_up();
        let (signature, _) = desk.sign_until_it_works(b"after");
        token.assert_signed(b"after", &signature);
        let is_new = token.child() != before;
        assert_eq!(is_new, isolation == Isolation::Process, "a process that hangs is ended");
    }
}

#[test]
fn a_killed_process_is_started_again_and_what_it_had_is_answered_once() {
    let token = Token::new();
    token.token.change_token(|token| token.latency_us = 20_000);
    let desk = token.open(token.spec(Isolation::Process));
    for _ in 0..3 {
        let operations = desk.submit_many(60);
        token.token.wait_for("signatures under way", |counters| counters.signing > 0);
        let before = token.child();
        kill("KILL", before);
        let answers = desk.answers(&operations);
        let lost = answers.iter().flat_map(|answer| answer.as_ref().err());
        let reasons: Vec<_> = lost.map(|refusal| refusal.reason).collect();
        assert!(!reasons.is_empty() && reasons.iter().all(|reason| *reason == RefusalReason::Lost));
        let (problem, remedy) = desk.wait_down();
        assert!(problem.contains("signal: 9"), "{problem}");
        assert_eq!(remedy, Remedy::Reopen);
        desk.wait_up();
        // Its keys are known to it, without anybody's doing.
        let signature = desk.sign(b"after").expect("a signature");
        token.assert_signed(b"after", &signature);
        assert_ne!(token.child(), before);
        desk.assert_all_answered_once();
    }
}

#[test]
fn a_module_that_crashes_while_it_signs_costs_its_process_and_no_more() {
    for action in [Action::Abort, Action::Segv] {
        let token = Token::new();
        let desk = token.open(token.spec(Isolation::Process));
        token.token.fault(Fault::new("C_Sign", action).times(1));
        let refusal = desk.sign(b"crash").expect_err("it crashes");
        assert_eq!(refusal.reason, RefusalReason::Lost);
        desk.wait_up();
        let signature = desk.sign(b"after").expect("a signature");
        token.assert_signed(b"after", &signature);
    }
}

#[test]
fn a_module_that_crashes_at_its_start_is_no_station() {
    let token = Token::new();
    token.token.fault_of_module(Fault::new("C_Initialize", Action::Abort));
    let error = Desk::open(token.spec(Isolation::Process)).err().expect("it crashes");
    assert!(error.problem.contains("signal: 6"), "{error}");
    assert_eq!(token.token.processes().len(), 1, "it is tried once");
}

#[test]
fn what_is_no_module_is_named() {
    for isolation in BOTH {
        let token = Token::new();
        let folder = tempfile::tempdir().expect("a folder");
        for module in [no_module(&folder), "/nowhere/module.so".into()] {
            let spec = StationSpec { module: module.clone(), ..token.spec(isolation) };
            let error = Desk::open(spec).err().expect("no module");
            assert!(error.problem.contains(&module.display().to_string()), "{error}");
        }
    }
}

#[test]
fn a_token_that_is_not_there_at_the_start_is_an_error_that_says_what_is() {
    for isolation in BOTH {
        let token = Token::new();
        let other = countersign_hsm::Uri::parse("pkcs11:token=nobody").expect("a URI");
        let error = Desk::open(StationSpec { token: other, ..token.spec(isolation) }).err();
        let problem = error.expect("no such token").problem;
        assert!(problem.contains("nobody") && problem.contains("token=edge"), "{problem}");
    }
}

#[test]
fn a_module_that_fails_when_it_starts_again_is_tried_until_it_does_not() {
    for isolation in BOTH {
        let token = Token::new();
        let desk = token.open(token.spec(isolation));
        token.token.fault_of_module(Fault::code("C_Initialize", "CKR_GENERAL_ERROR").times(2));
        token.token.remove(true);
        desk.sign(b"while").expect_err("there is no token");
        desk.wait_down();
        token.token.remove(false);
        desk.wait_up();
        desk.sign(b"after").expect("a signature");
    }
}

#[test]
fn a_closed_station_leaves_no_process() {
    let token = Token::new();
    let desk = token.open(token.spec(Isolation::Process));
    let child = token.child();
    drop(desk);
    wait_for("the child's end", || (!is_there(child)).then_some(()));
    assert_eq!(token.token.counters().sessions_open, 0);
}

#[test]
fn signals_that_a_service_gets_do_not_end_the_child_before_the_engine() {
    let token = Token::new();
    let desk = token.open(token.spec(Isolation::Process));
    let child = token.child();
    for signal in ["TERM", "INT", "HUP", "USR1"] {
        kill(signal, child);
        desk.sign(b"message").expect("a signature");
    }
    assert_eq!(token.child(), child);
}

fn is_there(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Sends a signal to a process that a station of this test has started.
fn kill(signal: &str, pid: i32) {
    let arguments = [format!("-{signal}"), pid.to_string()];
    let status = Command::new("kill").args(arguments).status().expect("kill");
    assert!(status.success(), "the process is there");
}
