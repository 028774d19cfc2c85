//! The worker's loop: the only one.

use super::shard::Shard;
use super::{WorkerEnd, WorkerError};

/// Serves until told to stop and everything has ended.
pub(super) fn run(mut shard: Shard) -> Result<WorkerEnd, WorkerError> {
    loop {
        shard.read_inbox();
        shard.fire_timers();
        shard.reconsider();
        shard.arm_accepts();
        shard.publish_gauges();
        if let Some(end) = shard.end() {
            return Ok(end);
        }
        let patience = shard.time_to_next_timer();
        shard.ring.submit_and_wait(patience).map_err(WorkerError::Wait)?;
        shard.read_clock();
        while let Some(event) = shard.ring.next_event() {
            shard.dispatch(event);
        }
    }
}
