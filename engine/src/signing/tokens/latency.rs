//! How long a token takes: a running estimate of what 95 of 100 signatures stay below.

use std::time::Duration;

/// An estimate that moves with what it is told, and keeps nothing. Each time that a duration is above the
/// estimate it grows by 19 steps, else it shrinks by one: it rests where one of 20 is above.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Percentile95 {
    micros: f64,
    seen: u32,
}

/// A step, as a part of the estimate.
const STEP: f64 = 0.002;

/// From so few nothing follows.
const FEW: u32 = 32;

impl Percentile95 {
    pub(super) fn note(&mut self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        self.seen = self.seen.saturating_add(1);
        if self.seen <= FEW {
            self.micros = self.micros.max(micros);
            return;
        }
        let step = (self.micros * STEP).max(1.0);
        self.micros += if micros > self.micros { 19.0 * step } else { -step };
        self.micros = self.micros.max(1.0);
    }

    /// `None` while too little is known.
    pub(super) fn get(&self) -> Option<Duration> {
        (self.seen >= FEW).then(|| Duration::from_secs_f64(self.micros / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_near_and_follows() {
        let mut estimate = Percentile95::default();
        assert_eq!(estimate.get(), None);
        // 1 to 100, in an order that is not theirs.
        let spread = |number: u64| Duration::from_micros(10 * (number * 37 % 100 + 1));
        for number in 0..20_000 {
            estimate.note(spread(number));
        }
        let near = estimate.get().expect("enough was seen").as_micros();
        assert!((900..=1_000).contains(&near), "{near}");
        for number in 0..20_000 {
            estimate.note(spread(number) * 10);
        }
        let near = estimate.get().expect("enough was seen").as_micros();
        assert!((9_000..=10_000).contains(&near), "{near}");
    }
}
