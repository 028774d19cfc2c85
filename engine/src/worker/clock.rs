//! The worker's clocks, read once a turn of the loop.

use std::time::{Duration, Instant, SystemTime};

use countersign_proto::{Moment, Now};
use rustls_pki_types::UnixTime;

/// Monotonic time counted from the worker's start, and `CLOCK_REALTIME`.
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    pub(super) fn now(&self) -> Now {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // A clock before 1970 makes every certificate not yet valid: nobody gets in.
        let unix =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { moment: Moment::from_nanos(nanos), unix: UnixTime::since_unix_epoch(unix) }
    }

    /// The moment of another clock's instant; the origin for what lies before it.
    pub(super) fn moment(&self, instant: Instant) -> Moment {
        Moment::from_nanos(0) + instant.saturating_duration_since(self.origin)
    }
}
