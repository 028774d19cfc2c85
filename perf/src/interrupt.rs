//! Ctrl-C: everything that waits looks here, and what was started is ended on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::problem::{During, Problem, Result};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on INT, TERM and HUP are asked for rather than obeyed; the second one ends the process.
pub(crate) fn listen() -> Result<()> {
    let requested = Arc::clone(REQUESTED.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&requested))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&requested)))
            .during("cannot listen to signals")?;
    }
    Ok(())
}

/// Whether the end was asked for.
pub(crate) fn requested() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.load(Ordering::Relaxed))
}

/// An error if the end was asked for.
pub(crate) fn look() -> Result<()> {
    if requested() { Err(Problem::new("interrupted")) } else { Ok(()) }
}

/// Sleeps, unless the end is asked for.
pub(crate) fn sleep(duration: Duration) -> Result<()> {
    let until = Instant::now() + duration;
    loop {
        look()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(20)));
    }
}
