//! Tokens that fail, go, come back, lie, or say nothing.

use std::time::Duration;

use countersign_hsm::Remedy;
use countersign_proto::WorkFailure;

use super::world::{DEADLINE, World};
use crate::config::VerifyOwn;
use crate::signing::station::RefusalReason;

const OPEN: u64 = 2;

#[test]
fn what_one_token_refuses_another_is_asked() {
    for reason in [RefusalReason::Failed, RefusalReason::Key, RefusalReason::Busy] {
        let mut world = World::of(2);
        let asked = world.ask();
        let first = u64::from(world.given(0).is_empty());
        world.refuse(first, reason);
        assert!(world.given(first).is_empty(), "{reason:?}: it would refuse again");
        world.sign(1 - first);
        assert_eq!(world.is_signed(asked), Some(true), "{reason:?}");
    }
}

#[test]
fn where_nobody_else_has_the_key_the_reason_is_told() {
    let mut world = World::of(1);
    let asked = world.ask();
    world.refuse(0, RefusalReason::Failed);
    assert_eq!(world.failure(asked), WorkFailure::Failed("0: Failed".to_owned()));
    let asked = world.ask();
    world.refuse(0, RefusalReason::Busy);
    assert_eq!(world.failure(asked), WorkFailure::Busy("0: Busy".to_owned()));
}

#[test]
fn what_was_lost_is_repeated_where_it_was_lost_once_that_is_back() {
    let mut world = World::of(1);
    let asked: Vec<_> = (0..64).map(|_| world.ask()).collect();
    world.lose(0);
    world.pass(Duration::from_millis(300));
    let late = world.ask();
    assert!(world.given(0).is_empty());
    world.up(0);
    while !world.given(0).is_empty() {
        world.sign(0);
    }
    for number in asked.into_iter().chain([late]) {
        assert_eq!(world.is_signed(number), Some(true), "operation {number}");
    }
    assert_eq!(world.fact(0).breaker, 0, "it went once");
}

#[test]
fn what_does_not_come_back_in_time_is_unavailable() {
    let mut world = World::of(1);
    let lost = world.ask();
    world.lose(0);
    let patient = world.ask();
    world.pass(Duration::from_millis(1_100));
    let refused = world.ask();
    assert!(matches!(world.failure(refused), WorkFailure::Unavailable(_)), "at once by then");
    assert_eq!((world.is_signed(lost), world.is_signed(patient)), (None, None));
    world.pass(DEADLINE);
    for number in [lost, patient] {
        assert!(matches!(world.failure(number), WorkFailure::Unavailable(_)));
    }
}

#[test]
fn nobody_waits_for_a_token_that_needs_a_human() {
    let mut world = World::of(1);
    world.ask();
    world.lose(0);
    let waits = world.ask();
    assert_eq!(world.is_signed(waits), None);
    world.down(0, Remedy::Fatal);
    let refused = world.ask();
    for number in [1, waits, refused] {
        match world.failure(number) {
            WorkFailure::Unavailable(problem) => assert!(problem.starts_with("0: "), "{problem}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn while_one_token_is_gone_another_signs() {
    let mut world = World::of(2);
    for _ in 0..8 {
        world.ask();
    }
    world.lose(0);
    assert_eq!(world.given(1).len(), 8);
    while !world.given(1).is_empty() {
        world.sign(1);
    }
    for number in 1..=8 {
        assert_eq!(world.is_signed(number), Some(true));
    }
}

#[test]
fn a_token_that_says_nothing_is_left_alone_and_probed() {
    let mut world = World::of(1);
    let asked: Vec<_> = (0..5).map(|_| world.ask()).collect();
    world.pass(DEADLINE);
    for number in asked {
        assert_eq!(world.failure(number), WorkFailure::TimedOut);
    }
    assert_eq!((world.count(0, "timed_out"), world.fact(0).breaker), (5, OPEN));
    let refused = world.ask();
    assert!(matches!(world.failure(refused), WorkFailure::Unavailable(_)));
    // What comes too late changes nothing.
    for _ in 0..5 {
        world.sign(0);
    }
    assert_eq!((world.fact(0).late, world.fact(0).breaker), (5, OPEN));
    world.pass(Duration::from_secs(1));
    let (probe, second) = (world.ask(), world.ask());
    assert_eq!(world.given(0).len(), 1, "one at a time");
    world.sign(0);
    assert_eq!(world.is_signed(probe), Some(true));
    world.sign(0);
    assert_eq!((world.is_signed(second), world.fact(0).breaker), (Some(true), 0));
}

#[test]
fn a_wrong_signature_is_never_sent() {
    let mut world = World::of(2);
    let asked = world.ask();
    let wrong = u64::from(world.given(0).is_empty());
    world.answer(wrong, Ok(vec![7; 64]));
    assert_eq!((world.count(wrong, "wrong_signature"), world.fact(wrong).breaker), (1, OPEN));
    world.sign(1 - wrong);
    assert_eq!(world.is_signed(asked), Some(true));
    for _ in 0..6 {
        world.ask();
    }
    assert!(world.given(wrong).is_empty(), "it is left alone at once");
}

#[test]
fn where_nobody_else_has_the_key_a_wrong_signature_is_the_reason() {
    let mut world = World::of(1);
    let asked = world.ask();
    world.answer(0, Ok(vec![7; 64]));
    assert!(matches!(world.failure(asked), WorkFailure::WrongSignature(_)));
}

#[test]
fn an_operation_that_kills_tokens_ends() {
    let mut world = World::of(2);
    let asked = world.ask();
    for _ in 0..10 {
        for station in 0..2 {
            if !world.given(station).is_empty() {
                world.lose(station);
                world.up(station);
            }
        }
    }
    assert!(matches!(world.failure(asked), WorkFailure::Unavailable(_)));
    let lost = world.count(0, "lost") + world.count(1, "lost");
    assert_eq!(lost, 4);
}

#[test]
fn a_station_that_went_a_moment_ago_is_no_full_queue() {
    let mut world = World::of(1);
    // It refuses, and has not said yet that it is gone.
    world.fill(0, true);
    let asked = world.ask();
    assert_eq!(world.is_signed(asked), None);
    world.down(0, Remedy::Reopen);
    world.fill(0, false);
    world.up(0);
    world.sign(0);
    assert_eq!(world.is_signed(asked), Some(true));
}

#[test]
fn a_hedge_that_fails_changes_nothing() {
    let mut world = World::of(2);
    world.rules(Some(Duration::from_millis(20)), VerifyOwn::Sampled);
    let asked = world.ask();
    let slow = u64::from(world.given(0).is_empty());
    world.pass(Duration::from_millis(20));
    world.refuse(1 - slow, RefusalReason::Failed);
    assert_eq!(world.is_signed(asked), None);
    world.sign(slow);
    assert_eq!(world.is_signed(asked), Some(true));
}
