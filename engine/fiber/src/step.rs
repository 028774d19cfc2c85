//! One handshake step on a stack of its own.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::stacks::{PooledStack, Stacks};

/// What a suspended step is continued with.
///
/// Large answers box what they carry: it crosses the switch by reference, but is moved at both ends.
pub trait Answer: 'static {
    /// The answer for a step whose connection is gone: it must make the step end with an error.
    fn abandoned() -> Self;
}

/// How far a step has come.
pub enum Progress<Q: 'static, A: Answer, T: 'static> {
    /// It ran to its end; its stack is back in the pool.
    Finished(Result<T, Panicked>),
    /// It waits for the answer to a request.
    Suspended(Fiber<Q, A, T>, Q),
}

/// A step panicked; the panic message, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a handshake step panicked: {0}")]
pub struct Panicked(pub String);

/// All stacks of the pool are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no free stack for a handshake step")]
pub struct NoStack;

/// [`suspend`] was called where no step with these types runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no handshake step runs here that could be suspended")]
pub struct NotSuspendable;

/// A suspended step. Dropping it resumes the step with [`Answer::abandoned`] until it has ended.
pub struct Fiber<Q: 'static, A: Answer, T: 'static> {
    coroutine: Option<StepCoroutine<Q, A, T>>,
}

// Results travel boxed: corosensei asserts that what passes a switch by value is small.
type Outcome<T> = Box<Result<T, Panicked>>;
type StepCoroutine<Q, A, T> = Coroutine<Option<A>, Box<Q>, Outcome<T>, PooledStack>;

/// A step that asks again and again after it was abandoned is a bug of ours; this many times are
/// borne before the process is ended rather than a stack leaked silently.
const ABANDONED_SUSPENSIONS_MAX: usize = 64;

/// Runs `step` on a stack of the pool until it ends or suspends for the first time.
///
/// # Errors
/// [`NoStack`] if all stacks are taken; `step` was then dropped without running.
pub fn start<Q, A, T>(
    stacks: &Stacks,
    step: impl FnOnce() -> T + 'static,
) -> Result<Progress<Q, A, T>, NoStack>
where
    Q: 'static,
    A: Answer,
    T: 'static,
{
    let stack = stacks.take().ok_or(NoStack)?;
    // Boxed for the same reason as the outcome.
    let step: Box<dyn FnOnce() -> T> = Box::new(step);
    let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<Option<A>, Box<Q>>, _| {
        let here = Current::of::<Q, A>(yielder);
        CURRENT.set(Some(here));
        let outcome = catch_unwind(AssertUnwindSafe(step)).map_err(|panic| describe(&*panic));
        Box::new(outcome)
    });
    Ok(Fiber { coroutine: Some(coroutine) }.advance(None))
}

/// Hands `request` out of the running step and waits, on the step's own stack, for the answer.
///
/// The caller must hold no borrow, lock or span that code outside the step may need meanwhile.
///
/// # Errors
/// [`NotSuspendable`] where no step runs whose request and answer types are `Q` and `A`.
pub fn suspend<Q: 'static, A: Answer>(request: Q) -> Result<A, NotSuspendable> {
    let here = CURRENT.get().ok_or(NotSuspendable)?;
    if here.types != TypeId::of::<(Q, A)>() {
        return Err(NotSuspendable);
    }
    let yielder = here.yielder.cast::<Yielder<Option<A>, Box<Q>>>();
    // SAFETY: `CURRENT` is set only by code that runs on a fiber, to the yielder that lives on that
    // fiber's stack for as long as the step runs, and `Fiber::advance` restores the previous value
    // before anything outside the fiber runs again: whoever reads it here runs on that very stack.
    // The type was checked against the `TypeId` stored with the pointer.
    let yielder = unsafe { &*yielder };
    let answer = yielder.suspend(Box::new(request));
    // Other steps have run meanwhile; the slot is ours again from here on.
    CURRENT.set(Some(here));
    Ok(answer.unwrap_or_else(A::abandoned))
}

impl<Q: 'static, A: Answer, T: 'static> Fiber<Q, A, T> {
    /// Continues the step with the answer to its request.
    #[must_use]
    pub fn resume(self, answer: A) -> Progress<Q, A, T> {
        self.advance(Some(answer))
    }

    fn advance(mut self, answer: Option<A>) -> Progress<Q, A, T> {
        let coroutine = self.coroutine.as_mut().expect("a fiber holds its step until it has ended");
        match switch_to(coroutine, answer) {
            CoroutineResult::Yield(request) => Progress::Suspended(self, *request),
            CoroutineResult::Return(outcome) => {
                self.coroutine = None;
                Progress::Finished(*outcome)
            }
        }
    }
}

impl<Q: 'static, A: Answer, T: 'static> Drop for Fiber<Q, A, T> {
    fn drop(&mut self) {
        let Some(coroutine) = self.coroutine.as_mut() else { return };
        for _ in 0..ABANDONED_SUSPENSIONS_MAX {
            if let CoroutineResult::Return(_) = switch_to(coroutine, Some(A::abandoned())) {
                return;
            }
        }
        panic!("a handshake step does not end after it was abandoned");
    }
}

impl<Q: 'static, A: Answer, T: 'static> fmt::Debug for Fiber<Q, A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fiber")
    }
}

/// The step that runs on this thread now: the way from deep inside rustls back to its fiber.
#[derive(Clone, Copy)]
struct Current {
    yielder: *const (),
    types: TypeId,
}

impl Current {
    fn of<Q: 'static, A: Answer>(yielder: &Yielder<Option<A>, Box<Q>>) -> Self {
        Self { yielder: std::ptr::from_ref(yielder).cast(), types: TypeId::of::<(Q, A)>() }
    }
}

thread_local! {
    // Not worker state: it says which stack this thread stands on, and is empty outside a switch.
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

fn switch_to<Q: 'static, A: Answer, T: 'static>(
    coroutine: &mut StepCoroutine<Q, A, T>,
    answer: Option<A>,
) -> CoroutineResult<Box<Q>, Outcome<T>> {
    let before = CURRENT.take();
    let result = coroutine.resume(answer);
    CURRENT.set(before);
    result
}

fn describe(panic: &(dyn Any + Send)) -> Panicked {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned());
    Panicked(text)
}
