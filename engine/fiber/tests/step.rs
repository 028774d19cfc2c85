//! Steps suspend, resume, interleave, die and panic without leaving a stack behind.

use std::cell::Cell;
use std::rc::Rc;

use countersign_fiber::{Answer, NoStack, NotSuspendable, Progress, Stacks, start, suspend};

#[derive(Debug, PartialEq)]
enum Reply {
    Value(u64),
    Abandoned,
}

impl Answer for Reply {
    fn abandoned() -> Self {
        Self::Abandoned
    }
}

fn ask(question: u64) -> Reply {
    suspend::<u64, Reply>(question).unwrap()
}

/// Stands for a library that knows nothing of fibers and calls back from deep inside.
fn deep(levels: u32, question: u64) -> Reply {
    let ballast = [levels as u8; 1024];
    let reply = if levels == 0 { ask(question) } else { deep(levels - 1, question) };
    assert!(std::hint::black_box(&ballast).iter().all(|byte| *byte == levels as u8));
    reply
}

#[test]
fn a_step_that_asks_nothing_ends_at_once() {
    let stacks = Stacks::new(1, 1).unwrap();
    let Ok(Progress::Finished(result)) = start::<u64, Reply, _>(&stacks, || 7) else {
        panic!("it did not finish")
    };
    assert_eq!(result, Ok(7));
    assert_eq!(stacks.in_use(), 0);
}

#[test]
fn interleaved_steps_each_get_their_own_answers() {
    let stacks = Stacks::new(32, 1).unwrap();
    let mut waiting = Vec::new();
    for number in 0..32_u64 {
        let step = move || {
            (0..10).map(|round| (deep(20, number * 100 + round), round)).collect::<Vec<_>>()
        };
        let Ok(Progress::Suspended(fiber, request)) = start::<u64, Reply, _>(&stacks, step) else {
            panic!("it did not suspend")
        };
        waiting.push((number, fiber, request));
    }
    assert_eq!(stacks.in_use(), 32);
    let mut finished = 0;
    // Answered in an order that is not the order of asking.
    while let Some((number, fiber, request)) = waiting.pop() {
        match fiber.resume(Reply::Value(request + 1)) {
            Progress::Suspended(fiber, request) => {
                assert_eq!(request / 100, number);
                waiting.insert(waiting.len() / 2, (number, fiber, request));
            }
            Progress::Finished(replies) => {
                for (reply, round) in replies.unwrap() {
                    assert_eq!(reply, Reply::Value(number * 100 + round + 1));
                }
                finished += 1;
            }
        }
    }
    assert_eq!((finished, stacks.in_use()), (32, 0));
}

#[test]
fn an_abandoned_step_runs_to_its_end_and_drops_what_it_holds() {
    struct Held(Rc<Cell<bool>>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let stacks = Stacks::new(1, 1).unwrap();
    let dropped = Rc::new(Cell::new(false));
    let held = Held(Rc::clone(&dropped));
    let seen = Rc::new(Cell::new(0));
    let seen_inside = Rc::clone(&seen);
    let step = move || {
        let _held = held;
        for question in 0..3 {
            if ask(question) == Reply::Abandoned {
                seen_inside.set(seen_inside.get() + 1);
            }
        }
    };
    let Ok(Progress::Suspended(fiber, 0)) = start::<u64, Reply, _>(&stacks, step) else {
        panic!("it did not suspend")
    };
    drop(fiber);
    assert_eq!((seen.get(), dropped.get(), stacks.in_use()), (3, true, 0));
}

#[test]
fn a_panic_ends_its_step_only() {
    let stacks = Stacks::new(2, 1).unwrap();
    let Ok(Progress::Suspended(other, 1)) = start::<u64, Reply, _>(&stacks, || ask(1)) else {
        panic!("it did not suspend")
    };
    let step = || {
        ask(2);
        assert_eq!(1, 2, "told so");
    };
    let Ok(Progress::Suspended(fiber, 2)) = start::<u64, Reply, _>(&stacks, step) else {
        panic!("it did not suspend")
    };
    let Progress::Finished(Err(panicked)) = fiber.resume(Reply::Value(0)) else {
        panic!("the panic was lost")
    };
    assert!(panicked.to_string().contains("told so"), "{panicked}");
    let Progress::Finished(Ok(reply)) = other.resume(Reply::Value(5)) else {
        panic!("the other step was hurt")
    };
    assert_eq!((reply, stacks.in_use()), (Reply::Value(5), 0));
}

#[test]
fn without_a_free_stack_a_step_is_refused_and_does_not_run() {
    let stacks = Stacks::new(1, 1).unwrap();
    let Ok(Progress::Suspended(_first, _)) = start::<u64, Reply, _>(&stacks, || ask(1)) else {
        panic!("it did not suspend")
    };
    let ran = Rc::new(Cell::new(false));
    let ran_inside = Rc::clone(&ran);
    let refused = start::<u64, Reply, _>(&stacks, move || ran_inside.set(true));
    assert!(matches!(refused, Err(NoStack)));
    assert!(!ran.get());
}

#[test]
fn outside_a_step_or_with_other_types_nothing_suspends() {
    assert_eq!(suspend::<u64, Reply>(1), Err(NotSuspendable));
    let stacks = Stacks::new(1, 1).unwrap();
    let Ok(Progress::Finished(result)) =
        start::<u64, Reply, _>(&stacks, || suspend::<String, Reply>(String::new()))
    else {
        panic!("it did not finish")
    };
    assert_eq!(result, Ok(Err(NotSuspendable)));
    assert_eq!(suspend::<u64, Reply>(1), Err(NotSuspendable));
}

#[test]
fn results_larger_than_a_kibibyte_pass() {
    let stacks = Stacks::new(1, 1).unwrap();
    let large = [7_u8; 8192];
    let step = move || {
        let _ = ask(1);
        large
    };
    let Ok(Progress::Suspended(fiber, _)) = start::<u64, Reply, _>(&stacks, step) else {
        panic!("it did not suspend")
    };
    let Progress::Finished(Ok(result)) = fiber.resume(Reply::Value(1)) else {
        panic!("it did not finish")
    };
    assert_eq!(result, large);
}
