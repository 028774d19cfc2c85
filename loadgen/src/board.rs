//! What runtimes and the thread that watches them tell each other while the run lasts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When which phase begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    pub(crate) steady: Instant,
    pub(crate) end: Instant,
}

impl Schedule {
    /// Whether what happens now is measured.
    pub(crate) fn is_steady(&self, now: Instant) -> bool {
        self.steady <= now && now < self.end
    }

    /// Time since the start.
    pub(crate) fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }
}

/// Counts of one runtime for the progress line, in the whole run. Each has one writer, which is why plain
/// loads and stores do; on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Live {
    pub(crate) handshakes: Count,
    pub(crate) requests: Count,
    pub(crate) bytes: Count,
    /// Floods that were answered, scripts that were played.
    pub(crate) others: Count,
    pub(crate) errors: Count,
    pub(crate) held: Count,
}

/// A number with one writer.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get() + more, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, less: u64) {
        self.0.store(self.get().saturating_sub(less), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Set once for all runtimes.
#[derive(Default)]
pub(crate) struct Signal {
    stop: AtomicBool,
    early: Mutex<Option<String>>,
}

impl Signal {
    /// Whether the run is over.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The run is over as it was meant to be.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The run ends before its time. The first reason stands.
    pub(crate) fn stop_early(&self, why: impl Into<String>) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if early.is_none() && !self.is_stopped() {
            *early = Some(why.into());
        }
        self.stop();
    }

    /// Why the run ended before its time, if it did.
    pub(crate) fn early(&self) -> Option<String> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
