//! Randomness for rustls from a pool for each thread: every draw from aws-lc takes process-wide locks,
//! and two runtimes must not wait for each other.

use std::cell::RefCell;

use rustls::crypto::{GetRandomFailed, SecureRandom};

const POOL_BYTES: usize = 4_096;

/// The source that rustls is given.
pub(super) static POOLED: Pooled = Pooled;

/// See [`POOLED`].
#[derive(Debug)]
pub(super) struct Pooled;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

impl SecureRandom for Pooled {
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
        given.fill(0);
        self.used += out.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_draw_repeats() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let mut bytes = [0; 32];
            POOLED.fill(&mut bytes).unwrap();
            assert!(seen.insert(bytes));
        }
    }
}
