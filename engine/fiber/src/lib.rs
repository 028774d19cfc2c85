//! Suspend and resume one handshake step.
//!
//! rustls calls its signer, verifier and key agreement synchronously. To let such a call wait for a
//! token, a network answer or a batch without holding up the worker, each handshake step runs on a
//! small pooled stack of its own: [`start`] runs it, [`suspend`] inside it hands a request out, and
//! [`Fiber::resume`] continues it with the answer.
//!
//! Invariants, written as absences:
//!
//! * No stack outlives its use: a [`Fiber`] that is dropped while suspended is resumed with
//!   [`Answer::abandoned`] until its step has run to its end. Nothing is unwound from outside.
//! * No unwinding crosses a stack switch: a panic in a step is caught on its own stack and comes
//!   out as [`Panicked`].
//! * No stack without a guard below it, no stack beyond the pool's size.
//! * Nothing here knows TLS, sockets, time or threads; a pool and its fibers stay on one thread.

mod stacks;
mod step;

pub use stacks::{GuardKind, STACK_BYTES, StackError, Stacks};
pub use step::{Answer, Fiber, NoStack, NotSuspendable, Panicked, Progress, start, suspend};
