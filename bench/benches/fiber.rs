//! A handshake step on a stack of its own, and its suspension.

use countersign_fiber::{Answer, Fiber, Progress, Stacks, start, suspend};
use criterion::Criterion;

/// What a step is continued with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Home,
}

impl Answer for Go {
    fn abandoned() -> Self {
        Self::Home
    }
}

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "fiber/",
        "with a call, about a nanosecond, and with the operations that a step is suspended for: floor/public_key/",
    );
    let stacks = Stacks::new(8, 1).expect("stacks");
    let mut group = criterion.benchmark_group("fiber");
    group.bench_function("step_without_suspension", |bencher| {
        bencher.iter(|| match start::<(), Go, u32>(&stacks, || 7) {
            Ok(Progress::Finished(Ok(seven))) => seven,
            _ => panic!("a step that does not suspend ends"),
        });
    });
    group.bench_function("resume_and_suspend", |bencher| {
        let mut fiber = Some(endless(&stacks));
        bencher.iter(|| {
            let suspended = fiber.take().expect("put back below").resume(Go::On);
            fiber = Some(again(suspended));
        });
    });
    group.finish();
}

/// A step that suspends for as long as it is told to go on.
fn endless(stacks: &Stacks) -> Fiber<(), Go, ()> {
    let step = || while suspend::<(), Go>(()) == Ok(Go::On) {};
    again(start(stacks, step).expect("a stack"))
}

fn again(progress: Progress<(), Go, ()>) -> Fiber<(), Go, ()> {
    match progress {
        Progress::Suspended(fiber, ()) => fiber,
        Progress::Finished(_) => panic!("it goes on for as long as it is told to"),
    }
}
