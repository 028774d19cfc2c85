//! The seam, proven through real sockets: handshakes of one worker that are suspended while others go
//! on, and every way in which one that is suspended can end.

mod support;

use std::time::Duration;

use countersign_proto::{Handoff, Limits, Reason, WorkKind};
use rustls::AlertDescription;

use support::client::{Handshake, Leave};
use support::engine::{Setup, TestEngine, only, patient};
use support::signer::Manner;
use support::{PATIENCE, wait_until};

const KINDS: [WorkKind; 4] =
    [WorkKind::Sign, WorkKind::VerifyChain, WorkKind::VerifyPossession, WorkKind::Agree];

/// A timeout that is meant to be reached.
const SHORT: Duration = Duration::from_millis(50);

/// Every kind of work with every way through a handshake.
fn every_case() -> impl Iterator<Item = (WorkKind, Handshake)> + Clone {
    KINDS.into_iter().flat_map(|kind| Handshake::ALL.map(|handshake| (kind, handshake)))
}

/// The alert with which a handshake ends whose work was not done. Once a TLS 1.3 handshake is
/// encrypted only rustls can send an alert, and for a verification that could not be done it chooses
/// handshake_failure.
fn alert_for(kind: WorkKind, handshake: Handshake) -> AlertDescription {
    match (kind, handshake) {
        (WorkKind::Sign | WorkKind::Agree, _) | (_, Handshake::Tls12) => {
            AlertDescription::InternalError
        }
        (WorkKind::VerifyChain | WorkKind::VerifyPossession | WorkKind::AskStatus, _) => {
            AlertDescription::HandshakeFailure
        }
    }
}

#[test]
fn others_complete_while_one_handshake_is_suspended() {
    let engine = TestEngine::start(Setup::default());
    for (kind, handshake) in every_case() {
        let (suspended, ticket) = engine.suspend(kind, handshake);
        for other in Handshake::ALL {
            engine.client(other).ask();
        }
        engine.wait_for_suspended(1);
        engine.signer.release(ticket, Manner::Perform);
        suspended.ask();
    }
    engine.end();
}

#[test]
fn many_suspended_handshakes_complete_in_any_order() {
    const COUNT: usize = 48;
    let engine = TestEngine::start(Setup { lanes: COUNT + 4, ..Setup::default() });
    let cases = every_case().cycle().take(COUNT);
    let mut suspended: Vec<_> =
        cases.map(|(kind, handshake)| engine.suspend(kind, handshake)).collect();
    engine.wait_for_suspended(COUNT as u64);
    // A shuffle: 29 and 48 have no common divisor.
    suspended.sort_by_key(|(_, ticket)| (ticket * 29 + 7) % COUNT);
    for (done, (client, ticket)) in suspended.into_iter().enumerate() {
        engine.signer.release(ticket, Manner::Perform);
        client.ask();
        engine.wait_for_suspended((COUNT - done - 1) as u64);
    }
    engine.end();
}

#[test]
fn suspended_handshakes_that_are_all_released_at_once_complete() {
    const COUNT: usize = 36;
    let engine = TestEngine::start(Setup { lanes: COUNT, ..Setup::default() });
    let cases = every_case().cycle().take(COUNT);
    let suspended: Vec<_> =
        cases.map(|(kind, handshake)| engine.suspend(kind, handshake)).collect();
    for (_, ticket) in suspended.iter().rev() {
        engine.signer.release(*ticket, Manner::Perform);
    }
    for (client, _) in suspended {
        client.ask();
    }
    engine.end();
}

#[test]
fn work_that_fails_ends_the_handshake_with_an_alert_and_the_end_of_the_stream() {
    let engine = TestEngine::start(Setup::default());
    for (kind, handshake) in every_case() {
        engine.signer.once(kind, Manner::Fail);
        let alert = engine.client(handshake).refusal();
        assert_eq!(alert, alert_for(kind, handshake), "{kind:?}, {handshake:?}");
    }
    let lines = engine.wait_for_refused_lines(Reason::SigningFailed, every_case().count());
    for line in lines {
        assert_eq!(line["detail"], "token removed", "{line}");
    }
    assert_eq!(engine.totals().established, 0, "a client was let in");
    engine.end();
}

#[test]
fn work_that_fails_after_a_suspension_ends_the_handshake_likewise() {
    let engine = TestEngine::start(Setup::default());
    for (kind, handshake) in every_case() {
        let (client, ticket) = engine.suspend(kind, handshake);
        engine.wait_for_suspended(1);
        engine.signer.release(ticket, Manner::Fail);
        assert_eq!(client.refusal(), alert_for(kind, handshake), "{kind:?}, {handshake:?}");
    }
    assert_eq!(engine.refusals(Reason::SigningFailed), every_case().count() as u64);
    assert_eq!(engine.totals().established, 0, "a client was let in");
    engine.end();
}

#[test]
fn an_answer_to_another_kind_of_work_lets_nobody_in() {
    let engine = TestEngine::start(Setup::default());
    for (kind, handshake) in every_case() {
        engine.signer.once(kind, Manner::Mistake);
        let alert = engine.client(handshake).refusal();
        assert_eq!(alert, alert_for(kind, handshake), "{kind:?}, {handshake:?}");
    }
    engine.wait_for_refused_lines(Reason::Internal, every_case().count());
    assert_eq!(engine.totals().established, 0, "a client was let in");
    engine.end();
}

#[test]
fn work_that_is_never_answered_ends_at_its_deadline() {
    for kind in KINDS {
        let limits = vec![Limits { operation_timeout: SHORT, ..patient() }];
        let handoff = only(kind);
        let engine = TestEngine::start(Setup { handoff, limits, ..Setup::default() });
        for handshake in Handshake::ALL {
            engine.signer.once(kind, Manner::Forget);
            let alert = engine.client(handshake).refusal();
            assert_eq!(alert, alert_for(kind, handshake), "{kind:?}, {handshake:?}");
        }
        engine.wait_for_refused_lines(Reason::OperationTimeout, Handshake::ALL.len());
        assert_eq!(engine.totals().established, 0, "a client was let in");
        engine.end();
    }
}

#[test]
fn an_answer_that_comes_too_late_reaches_nobody() {
    let short = Limits { operation_timeout: SHORT, ..patient() };
    let limits = vec![short, patient()];
    let engine = TestEngine::start(Setup { limits, ..Setup::default() });
    for (kind, handshake) in every_case() {
        // While the connection still says goodbye...
        let (client, ticket) = engine.suspend(kind, handshake);
        wait_until("the deadline has passed", || engine.totals().stacks_suspended == 0);
        engine.signer.release(ticket, Manner::Perform);
        engine.client_of(1, handshake).ask();
        client.refusal();

        // ...and when another has its place in the table, with an operation of the same number.
        let (client, late) = engine.suspend(kind, handshake);
        client.refusal();
        engine.wait_for_silence();
        let (heir, ticket) = engine.suspend_of(1, kind, handshake);
        engine.signer.release(late, Manner::Fail);
        engine.client_of(1, handshake).ask();
        engine.wait_for_suspended(1);
        engine.signer.release(ticket, Manner::Perform);
        heir.ask();
    }
    engine.end();
}

/// So few that the first stack that stays behind is missed.
fn few_stacks() -> Limits {
    Limits { signing_suspensions: 2, lookup_suspensions: 1, ..patient() }
}

/// Every case twice: clients that leave by FIN and by RST.
fn every_departure() -> impl Iterator<Item = (WorkKind, Handshake, Leave)> {
    every_case().flat_map(|(kind, handshake)| Leave::ALL.map(|leave| (kind, handshake, leave)))
}

#[test]
fn a_client_that_leaves_while_suspended_is_released_with_the_answer() {
    let engine = TestEngine::start(Setup { limits: vec![few_stacks()], ..Setup::default() });
    for (kind, handshake, leave) in every_departure() {
        for manner in [Manner::Perform, Manner::Fail] {
            let (client, ticket) = engine.suspend(kind, handshake);
            engine.wait_for_suspended(1);
            client.leave(leave);
            engine.signer.release(ticket, manner);
            engine.wait_for_silence();
        }
    }
    engine.client(Handshake::Tls13).ask();
    engine.end();
}

#[test]
fn a_client_that_leaves_while_suspended_is_released_at_the_operations_deadline() {
    let short = Limits { operation_timeout: SHORT, ..few_stacks() };
    let limits = vec![short, patient()];
    let engine = TestEngine::start(Setup { lanes: 32, limits, ..Setup::default() });
    for (kind, handshake, leave) in every_departure() {
        let (client, _) = engine.suspend(kind, handshake);
        client.leave(leave);
        engine.wait_for_silence();
    }
    let count = every_departure().count();
    assert!(engine.refusals(Reason::OperationTimeout) >= count as u64);
    engine.client_of(1, Handshake::Tls13).ask();
    engine.end();
}

#[test]
fn a_client_that_leaves_while_suspended_is_released_at_the_handshakes_deadline() {
    let short = Limits { handshake_timeout: 2 * SHORT, ..few_stacks() };
    let limits = vec![short, patient()];
    let engine = TestEngine::start(Setup { lanes: 32, limits, ..Setup::default() });
    for (kind, handshake, leave) in every_departure() {
        let (client, _) = engine.suspend(kind, handshake);
        client.leave(leave);
        engine.wait_for_silence();
    }
    let count = every_departure().count();
    assert!(engine.refusals(Reason::HandshakeTimeout) >= count as u64);
    engine.client_of(1, Handshake::Tls13).ask();
    engine.end();
}

#[test]
fn beyond_the_budget_a_handshake_is_shed_at_once_and_the_others_go_on() {
    let limits = vec![Limits { signing_suspensions: 4, ..patient() }];
    let handoff = only(WorkKind::Sign);
    let engine = TestEngine::start(Setup { handoff, limits, ..Setup::default() });
    // Beyond its signature, and not yet done.
    let mut in_progress = engine.client(Handshake::Tls13);
    assert!(in_progress.run_until(|tls| tls.protocol_version().is_some()));
    let suspended: Vec<_> = Handshake::ALL
        .into_iter()
        .cycle()
        .take(4)
        .map(|handshake| engine.suspend(WorkKind::Sign, handshake))
        .collect();
    for handshake in Handshake::ALL {
        assert_eq!(engine.client(handshake).refusal(), AlertDescription::InternalError);
    }
    engine.wait_for_refused_lines(Reason::SuspensionsExhausted, Handshake::ALL.len());
    engine.wait_for_suspended(4);
    in_progress.ask();
    for (client, ticket) in suspended {
        engine.signer.release(ticket, Manner::Perform);
        client.ask();
        // A place has become free.
        engine.client(Handshake::Tls13).ask();
    }
    engine.end();
}

#[test]
fn look_ups_and_key_operations_have_budgets_of_their_own() {
    let limits = Limits { signing_suspensions: 3, lookup_suspensions: 2, ..patient() };
    let handoff = Handoff { sign: true, verify_chain: true, ..Handoff::default() };
    let engine = TestEngine::start(Setup { handoff, limits: vec![limits], ..Setup::default() });
    let suspend = |kind, count: usize| -> Vec<_> {
        let handshakes = Handshake::ALL.into_iter().cycle().take(count);
        handshakes.map(|handshake| engine.suspend(kind, handshake)).collect()
    };
    let looking_up = suspend(WorkKind::VerifyChain, 2);
    for handshake in Handshake::ALL {
        let alert = engine.client(handshake).refusal();
        assert_eq!(alert, alert_for(WorkKind::VerifyChain, handshake), "{handshake:?}");
    }
    // Every place of the other budget is still free.
    let signing = suspend(WorkKind::Sign, 3);
    engine.wait_for_suspended(5);
    for handshake in Handshake::ALL {
        assert_eq!(engine.client(handshake).refusal(), AlertDescription::InternalError);
    }
    engine.wait_for_refused_lines(Reason::SuspensionsExhausted, 2 * Handshake::ALL.len());
    for (client, ticket) in looking_up.into_iter().chain(signing) {
        engine.signer.release(ticket, Manner::Perform);
        client.ask();
    }
    engine.end();
}

#[test]
fn a_lane_that_panics_refuses_one_client_and_works_on() {
    let engine = TestEngine::start(Setup { lanes: 1, ..Setup::default() });
    for (kind, handshake) in every_case() {
        engine.signer.once(kind, Manner::Panic);
        let alert = engine.client(handshake).refusal();
        assert_eq!(alert, alert_for(kind, handshake), "{kind:?}, {handshake:?}");
    }
    engine.wait_for_refused_lines(Reason::SigningFailed, every_case().count());
    engine.client(Handshake::Tls13).ask();
    engine.end();
}

#[test]
fn a_full_queue_refuses_a_client_and_no_other() {
    let handoff = only(WorkKind::Sign);
    let engine = TestEngine::start(Setup { handoff, lanes: 1, depth: 1, ..Setup::default() });
    for handshake in Handshake::ALL {
        let (in_lane, ticket) = engine.suspend(WorkKind::Sign, handshake);
        let mut queued = engine.client(handshake);
        assert!(queued.run_until(|_| engine.totals().stacks_suspended == 2));
        assert_eq!(engine.client(handshake).refusal(), AlertDescription::InternalError);
        engine.signer.release(ticket, Manner::Perform);
        in_lane.ask();
        queued.ask();
    }
    engine.wait_for_refused_lines(Reason::SuspensionsExhausted, Handshake::ALL.len());
    engine.end();
}

#[test]
fn a_stop_waits_for_answers() {
    let mut engine = TestEngine::start(Setup { lanes: 16, ..Setup::default() });
    let suspended: Vec<_> =
        every_case().map(|(kind, handshake)| engine.suspend(kind, handshake)).collect();
    engine.begin_stop(PATIENCE);
    // The worker is told in this order: the stop, then the answers.
    for (client, ticket) in suspended {
        engine.signer.release(ticket, Manner::Perform);
        client.ask();
    }
    let stopped = engine.join();
    assert!(stopped.clean);
    assert_eq!(stopped.totals.established, every_case().count() as u64);
}

#[test]
fn a_stop_does_not_wait_for_ever_for_answers() {
    let mut engine = TestEngine::start(Setup { lanes: 16, ..Setup::default() });
    let _suspended: Vec<_> =
        every_case().map(|(kind, handshake)| engine.suspend(kind, handshake)).collect();
    engine.begin_stop(SHORT);
    // The lanes still hold the work: the end of the engine does not depend on them.
    let stopped = engine.join();
    assert!(!stopped.clean);
    let cut = stopped.totals.refused.iter().find(|(reason, _)| *reason == Reason::Stopped);
    assert_eq!(cut.map(|(_, count)| *count), Some(every_case().count() as u64));
}
