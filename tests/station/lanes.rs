//! How many sessions there are, and what waits for them.

use std::time::Duration;

use countersign::signing::station::{Event, LaneLimits, RefusalReason, StationSpec};
use countersign_tests::test_token::Fault;

use crate::desk::{BOTH, Desk, Token};

#[test]
fn lanes_are_added_while_operations_wait_up_to_the_most() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| token.latency_us = 20_000);
        let desk = token.open(token.spec(isolation));
        let operations = desk.submit_many(200);
        desk.wait("all lanes are open", |event| match event {
            Event::Lanes { open: 8, .. } => Some(()),
            _ => None,
        });
        assert!(desk.answers(&operations).iter().all(Result::is_ok));
        let counters = token.token.counters();
        assert_eq!((counters.sessions_most, counters.logins), (8, 1), "{isolation:?}");
    }
}

#[test]
fn a_token_that_tells_its_limit_is_not_asked_for_more() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| (token.latency_us, token.max_sessions) = (5_000, 3));
        let desk = Desk::open(token.spec(isolation)).expect("the token is there");
        let info = desk.wait_up();
        desk.key(token.key_spec()).expect("the key is there");
        assert_eq!((info.lanes, info.max_sessions), (3, Some(3)));
        let operations = desk.submit_many(100);
        assert!(desk.answers(&operations).iter().all(Result::is_ok));
        assert_eq!(token.token.counters().sessions_most, 3, "{isolation:?}");
    }
}

#[test]
fn sessions_that_others_have_taken_lower_the_ceiling_and_that_is_said() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| token.latency_us = 5_000);
        token.token.fault(Fault::code("C_OpenSession", "CKR_SESSION_COUNT").after(3));
        let desk = token.open(token.spec(isolation));
        let operations = desk.submit_many(100);
        let notice = desk.wait_notice("CKR_SESSION_COUNT");
        assert!(notice.contains("no more than 3 sessions"), "{notice}");
        assert!(desk.answers(&operations).iter().all(Result::is_ok));
    }
}

#[test]
fn a_full_queue_takes_no_more_and_what_it_took_is_answered() {
    for isolation in BOTH {
        let token = Token::new();
        token.token.change_token(|token| token.latency_us = 50_000);
        let lanes = LaneLimits { least: 1, most: 1 };
        let desk = token.open(StationSpec { queue: 4, lanes, ..token.spec(isolation) });
        let taken: Vec<_> = (0..20).filter_map(|_| desk.submit(b"message")).collect();
        assert!((4..=6).contains(&taken.len()), "{isolation:?}: {} taken", taken.len());
        assert!(desk.answers(&taken).iter().all(Result::is_ok));
    }
}

#[test]
fn an_operation_that_waited_past_its_deadline_is_not_begun() {
    const COUNT: usize = 8;
    for isolation in BOTH {
        let token = Token::new();
        // Fast enough for one operation, and too slow for the whole queue.
        token.token.change_token(|token| token.latency_us = 600_000);
        let lanes = LaneLimits { least: 1, most: 1 };
        let deadline = Duration::from_secs(2);
        let desk = token.open(StationSpec { lanes, deadline, ..token.spec(isolation) });
        let operations = desk.submit_many(COUNT);
        let answers = desk.answers(&operations);
        let signed = answers.iter().filter(|answer| answer.is_ok()).count();
        let busy = answers.iter().flat_map(|answer| answer.as_ref().err());
        let busy = busy.filter(|refusal| refusal.reason == RefusalReason::Busy).count();
        assert!(signed >= 1 && busy >= 1, "{isolation:?}: {answers:?}");
        let made = token.token.counters().signatures as usize;
        assert!(made <= COUNT - busy, "{isolation:?}: {made} made, {busy} were too late");
    }
}
