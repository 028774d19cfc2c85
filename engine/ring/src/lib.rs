//! The ring: sockets over io_uring, for one worker thread.
//!
//! This is the only crate that holds the `unsafe` of io_uring. What it offers is safe: no misuse of
//! a [`Ring`], a [`Socket`], a [`Received`] or a [`Waker`] can make the kernel write where Rust does
//! not expect it.
//!
//! A worker opens its ring on its own thread, starts operations, submits and waits, and then asks
//! [`Ring::next_event`] until there is none. Nothing is called back, so nothing is re-entered. An
//! operation that was started always ends in exactly one event that carries its tag, except on a
//! socket that has been closed (see [`Ring::close`]).
//!
//! # Invariants
//!
//! 1. **Memory the kernel may touch is never freed under it.** It belongs to the in-flight entry of
//!    its operation (`user_data`) or to the provided buffers (`buffers`). An entry leaves the slab
//!    only when its completion has been read; a dropped ring whose operations did not all end leaks
//!    them.
//! 2. **A completion is believed only if its generation matches.** `user_data` is the index of an
//!    in-flight entry and its generation; any other completion is counted and never delivered.
//! 3. **A [`Socket`] names one connection, not a slot.** A slot's generation moves on when it is
//!    freed; an operation on a socket of an earlier generation is refused.
//! 4. **The slots of the direct descriptor table are handed out here**, never by the kernel. An
//!    accept is armed only with a slot reserved for it, so that no accepted connection is lost to a
//!    full table.
//! 5. **A slot is closed only when no operation is in flight on it**: a receive in flight would hold
//!    the file, and the peer would see no FIN.
//! 6. **A provided buffer is either the kernel's or a lease's.** [`Received`] is that lease; it cannot
//!    be copied, and it is good only for the ring that gave it.
//! 7. **An operation is never lost to a full queue.** What the submission queue has no room for waits
//!    in order; a completion queue that overflowed is drained from the kernel's own list.
//! 8. **A ring stays on the thread that opened it** (`IORING_SETUP_SINGLE_ISSUER`), and only that
//!    thread runs its deferred work (`IORING_SETUP_DEFER_TASKRUN`).
//!
//! ```compile_fail
//! fn is_send<T: Send>() {}
//! is_send::<countersign_ring::Ring>();
//! ```
//!
//! Linux 6.1 is the oldest kernel it runs on: `IORING_SETUP_DEFER_TASKRUN` came with it.

mod buffers;
mod closing;
mod completion;
mod files;
mod listener;
mod memory;
mod operation;
mod ring;
mod setup;
mod submission;
mod user_data;
mod waker;

pub use buffers::Received;
pub use closing::Close;
pub use completion::Event;
pub use files::{Full, Socket};
pub use listener::{ListenOptions, Listener};
pub use ring::{Counters, Ring};
pub use setup::{BufferPool, Features, Settings, SetupError, features};
pub use submission::{ConnectAddress, ConnectRefused};
pub use waker::Waker;
