//! What the tests of the engine in process stand on.
//!
//! Every wait here is for an event and has a bound that only a failure reaches ([`PATIENCE`]); a test
//! that cannot go on panics, and the panic says what was waited for.

pub(crate) mod client;
pub(crate) mod engine;
pub(crate) mod pki;
pub(crate) mod signer;

use std::time::{Duration, Instant};

/// Longer than anything here takes, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
