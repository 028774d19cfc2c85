//! Randomness for rustls from a pool for each thread.
//!
//! Every draw from aws-lc takes two process-wide locks; a worker draws a pool at a time instead.

use std::cell::RefCell;

use rustls::crypto::{GetRandomFailed, SecureRandom};
use zeroize::Zeroize;

const POOL_BYTES: usize = 4_096;

/// The source that every worker gives to rustls; the pool behind it belongs to the calling thread.
pub static WORKER_RANDOM: WorkerRandom = WorkerRandom;

/// See [`WORKER_RANDOM`].
#[derive(Debug)]
pub struct WorkerRandom;

/// Fills the calling thread's pool, and has aws-lc seed this thread's generator: the first draw of a
/// thread gathers entropy for tens of milliseconds, which no client should wait for.
///
/// # Errors
/// If there is no randomness.
pub fn prepare_thread() -> Result<(), GetRandomFailed> {
    WORKER_RANDOM.fill(&mut [0; 1])
}

thread_local! {
    // Not worker state: bytes have no history, and a step that is suspended holds none of them.
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

impl SecureRandom for WorkerRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        POOL.with_borrow_mut(|pool| pool.fill(out))
    }
}

impl Pool {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        if out.len() > POOL_BYTES - self.used {
            if out.len() > POOL_BYTES {
                return aws_lc_rs::rand::fill(out).map_err(|_| GetRandomFailed);
            }
            aws_lc_rs::rand::fill(&mut self.bytes).map_err(|_| GetRandomFailed)?;
            self.used = 0;
        }
        let given = &mut self.bytes[self.used..self.used + out.len()];
        out.copy_from_slice(given);
        // What was given out once must never be found here, nor given out again.
        given.zeroize();
        self.used += out.len();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_draw_repeats_or_is_left_at_zero() {
        let mut seen = std::collections::HashSet::new();
        for length in [32; 1_000] {
            let mut bytes = vec![0; length];
            WORKER_RANDOM.fill(&mut bytes).unwrap();
            assert!(bytes.iter().any(|byte| *byte != 0));
            assert!(seen.insert(bytes));
        }
    }

    #[test]
    fn draws_larger_than_the_pool_are_filled_whole() {
        let mut bytes = vec![0; 3 * POOL_BYTES];
        WORKER_RANDOM.fill(&mut bytes).unwrap();
        assert!(bytes.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }

    #[test]
    fn what_was_drawn_is_wiped() {
        let mut pool = Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES };
        pool.fill(&mut [0; 100]).unwrap();
        assert_eq!(pool.bytes[..100], [0; 100]);
        assert!(pool.bytes[100..200].iter().any(|byte| *byte != 0));
    }
}
