//! The one patience of the wire tests, and waiting for a condition within it.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it broken. Far beyond what a loaded machine needs:
/// reaching it is a failure, never a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` until it answers, at most [`PATIENCE`] long.
///
/// # Panics
///
/// When the time is over, naming `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
