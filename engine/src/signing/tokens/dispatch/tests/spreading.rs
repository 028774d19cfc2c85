//! Which token gets what, and when a second one gets it too.

use std::time::Duration;

use countersign_hsm::{Remedy, Scheme};
use countersign_proto::{TokenKeyId, WorkFailure};

use super::world::{DEADLINE, QUEUE, World};
use crate::config::VerifyOwn;
use crate::signing::station::RefusalReason;

#[test]
fn whoever_has_least_to_do_is_asked() {
    let mut world = World::of(3);
    for _ in 0..9 {
        world.ask();
    }
    for station in 0..3 {
        assert_eq!(world.given(station).len(), 3);
    }
    world.sign(1);
    let before = world.given(1);
    world.ask();
    assert_eq!(world.given(1).len(), before.len() + 1);
}

#[test]
fn one_after_another_they_all_have_their_turn() {
    let mut world = World::of(3);
    for _ in 0..30 {
        world.ask();
        let busy = (0..3).find(|station| !world.given(*station).is_empty());
        world.sign(busy.expect("one of them has it"));
    }
    for station in 0..3 {
        assert_eq!(world.count(station, "signed"), 10);
    }
}

#[test]
fn an_operation_is_answered_with_its_signature() {
    let mut world = World::of(1);
    let asked = world.ask();
    assert_eq!(world.is_signed(asked), None);
    world.sign(0);
    assert_eq!(world.is_signed(asked), Some(true));
    assert_eq!((world.count(0, "signed"), world.fact(0).in_flight), (1, 0));
}

#[test]
fn a_key_that_nobody_has_signs_nothing() {
    let mut world = World::of(1);
    world.dispatch.remove_key(TokenKeyId(1));
    let asked = world.ask();
    assert!(matches!(world.failure(asked), WorkFailure::Failed(_)));
}

#[test]
fn a_slow_token_is_helped_by_another_and_the_first_answer_counts() {
    let mut world = World::of(2);
    world.rules(Some(Duration::from_millis(20)), VerifyOwn::Sampled);
    let asked = world.ask();
    let slow = u64::from(world.given(0).is_empty());
    world.pass(Duration::from_millis(19));
    assert!(world.given(1 - slow).is_empty(), "it is not slow yet");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.given(1 - slow).len(), 1);
    world.sign(1 - slow);
    assert_eq!(world.is_signed(asked), Some(true));
    world.sign(slow);
    assert_eq!((world.fact(1 - slow).hedges, world.fact(slow).late), (1, 1));
    assert_eq!((world.fact(0).in_flight, world.fact(1).in_flight), (0, 0));
}

#[test]
fn hedges_are_a_bounded_share() {
    let mut world = World::of(2);
    world.rules(Some(Duration::from_millis(20)), VerifyOwn::Sampled);
    for _ in 0..500 {
        world.ask();
    }
    world.pass(Duration::from_millis(20));
    let hedges = world.fact(0).hedges + world.fact(1).hedges;
    assert!((50..=64).contains(&hedges), "{hedges}");
}

#[test]
fn without_a_word_of_the_operator_twice_the_usual_time_is_slow() {
    is_slow_between(Duration::from_millis(10), [15, 30].map(Duration::from_millis));
}

#[test]
fn half_of_the_time_that_there_is_is_slow_however_long_a_signature_usually_takes() {
    let half = DEADLINE / 2;
    is_slow_between(DEADLINE * 9 / 20, [half - Duration::from_millis(1), half]);
}

/// Where a signature usually takes so long, another token is asked after the one time and not before the other.
#[track_caller]
fn is_slow_between(usual: Duration, [not_yet, by_then]: [Duration; 2]) {
    let mut world = World::of(2);
    for _ in 0..200 {
        let asked = world.ask();
        world.pass(usual);
        for station in 0..2 {
            while !world.given(station).is_empty() {
                world.sign(station);
            }
        }
        assert_eq!(world.is_signed(asked), Some(true));
    }
    let hedges = |world: &World| world.fact(0).hedges + world.fact(1).hedges;
    let before = hedges(&world);
    world.ask();
    world.pass(not_yet);
    assert_eq!(hedges(&world), before);
    world.pass(by_then - not_yet);
    assert_eq!(hedges(&world), before + 1);
}

#[test]
fn a_full_queue_is_refused_at_once_and_another_token_is_tried_first() {
    let mut world = World::of(2);
    // Full by what they were given, and say so.
    for _ in 0..2 * QUEUE {
        world.ask();
    }
    world.fill(0, true);
    let taken = world.ask();
    assert_eq!(world.is_signed(taken), None);
    assert_eq!(world.given(1).len(), QUEUE + 1);
    world.fill(1, true);
    let shed = world.ask();
    assert!(matches!(world.failure(shed), WorkFailure::Busy(_)));
    assert!(world.count(0, "busy") >= 1 && world.count(1, "busy") >= 1);
}

#[test]
fn what_is_verified() {
    let mut world = World::of(1);
    let serve = |world: &mut World, count: usize| {
        let before = world.fact(0).verified;
        for _ in 0..count {
            world.ask();
            world.sign(0);
        }
        world.fact(0).verified - before
    };
    assert_eq!(serve(&mut world, 100), 100, "the first hundred");
    assert_eq!(serve(&mut world, 640), 10, "one of 64");
    world.ask();
    world.refuse(0, RefusalReason::Failed);
    assert_eq!(serve(&mut world, 100), 100, "a hundred after an error");
    world.lose(0);
    world.up(0);
    assert_eq!(serve(&mut world, 164), 101, "a hundred after it came back");
    world.rules(None, VerifyOwn::Always);
    assert_eq!(serve(&mut world, 100), 100);
    world.rules(None, VerifyOwn::Sampled);
    let before = world.fact(0).verified;
    for _ in 0..4 {
        let asked = world.ask_for(Scheme::RsaPssSha256);
        world.sign(0);
        assert_eq!(world.is_signed(asked), Some(false), "this is no RSA signature");
        world.pass(Duration::from_secs(60));
    }
    assert_eq!(world.fact(0).verified, before + 4, "RSA: each");
}

#[test]
fn a_token_that_is_not_configured_any_more_finishes_what_it_has() {
    let mut world = World::of(2);
    world.ask();
    let busy = u64::from(world.given(0).is_empty());
    world.dispatch.release(busy);
    world.dispatch.release(1 - busy);
    world.sign(busy);
    assert_eq!(world.is_signed(1), Some(true));
    let asked = world.ask();
    assert!(matches!(world.failure(asked), WorkFailure::Unavailable(_)), "both are gone");
    world.down(busy, Remedy::Fatal);
    world.pass(DEADLINE);
}
