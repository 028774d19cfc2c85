//! A circuit breaker: a token that fails again and again is left alone for a while, then asked one thing.

use std::time::{Duration, Instant};

/// So many failures in a row open it.
const IN_A_ROW: u32 = 5;

/// Of the last so many results, more than half failures open it too.
const WINDOW: u32 = 64;

/// How long it stays open: at first, and at most. Each probe that fails doubles it.
const OPEN_FIRST: Duration = Duration::from_secs(1);
const OPEN_MOST: Duration = Duration::from_secs(30);

/// May the token be asked?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    Yes,
    /// This one operation will tell.
    Probe,
    /// A probe is under way.
    Wait,
    No,
}

/// How it stands, in the order of the metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Closed,
    HalfOpen,
    Open,
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    in_a_row: u32,
    /// The last results, a failure a one.
    results: u64,
    counted: u32,
    /// How long it is open next.
    open_for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { is_probed: bool },
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, in_a_row: 0, results: 0, counted: 0, open_for: OPEN_FIRST }
    }
}

impl Breaker {
    /// Whether the token may be asked now; what that means for the state is said by [`Self::asked`].
    pub(super) fn permit(&self, now: Instant) -> Permit {
        match self.state {
            State::Closed => Permit::Yes,
            State::Open { until } if until > now => Permit::No,
            State::Open { .. } | State::HalfOpen { is_probed: false } => Permit::Probe,
            State::HalfOpen { is_probed: true } => Permit::Wait,
        }
    }

    /// It is asked. Gives whether this is the probe.
    pub(super) fn asked(&mut self, now: Instant) -> bool {
        let is_probe = self.permit(now) == Permit::Probe;
        if is_probe {
            self.state = State::HalfOpen { is_probed: true };
        }
        is_probe
    }

    /// An operation succeeded. Gives whether that has closed it.
    pub(super) fn succeeded(&mut self, is_probe: bool) -> bool {
        self.in_a_row = 0;
        self.note(false);
        let closes = is_probe && self.state != State::Closed;
        if closes {
            *self = Self::default();
        }
        closes
    }

    /// An operation failed. Gives whether that has opened it.
    pub(super) fn failed(&mut self, now: Instant, is_probe: bool) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.note(true);
        let is_bad = self.in_a_row >= IN_A_ROW || self.is_mostly_failing();
        match self.state {
            State::Closed if is_bad => self.open(now),
            State::HalfOpen { .. } if is_probe => self.open(now),
            _ => return false,
        }
        true
    }

    /// The token cannot be trusted: no matter how well it did before. Gives whether that has opened it: what was under
    /// way with it when it was opened is no news.
    pub(super) fn trip(&mut self, now: Instant) -> bool {
        self.in_a_row = IN_A_ROW;
        let is_open = matches!(self.state, State::Open { until } if until > now);
        if !is_open {
            self.open(now);
        }
        !is_open
    }

    /// What came to nothing was a probe, and said nothing about the token.
    pub(super) fn probe_was_void(&mut self) {
        if self.state == (State::HalfOpen { is_probed: true }) {
            self.state = State::HalfOpen { is_probed: false };
        }
    }

    /// The token has come back: if it was left alone, it is probed now and not later.
    pub(super) fn came_back(&mut self) {
        if self.state != State::Closed {
            self.state = State::HalfOpen { is_probed: false };
        }
    }

    /// Until when it is open, if it is.
    pub(super) fn open_until(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::HalfOpen { .. } => Standing::HalfOpen,
            State::Open { .. } => Standing::Open,
        }
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.open_for };
        self.open_for = OPEN_MOST.min(self.open_for * 2);
    }

    fn note(&mut self, is_failure: bool) {
        self.results = self.results << 1 | u64::from(is_failure);
        self.counted = WINDOW.min(self.counted + 1);
    }

    fn is_mostly_failing(&self) -> bool {
        self.counted == WINDOW && self.results.count_ones() > WINDOW / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_probe() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 1..IN_A_ROW {
            assert!(!breaker.failed(now, false));
        }
        assert!(!breaker.succeeded(false), "a success in between");
        for _ in 1..IN_A_ROW {
            assert!(!breaker.failed(now, false));
        }
        assert!(breaker.failed(now, false));
        assert_eq!(breaker.permit(now), Permit::No);
        let later = now + OPEN_FIRST;
        assert_eq!(breaker.permit(later), Permit::Probe);
        assert!(breaker.asked(later));
        assert_eq!(breaker.permit(later), Permit::Wait);
        assert!(!breaker.asked(later), "one probe at a time");
        assert!(!breaker.succeeded(false), "an answer from before says nothing");
        assert!(breaker.succeeded(true));
        assert_eq!(breaker.permit(later), Permit::Yes);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.trip(now);
        let mut expected = OPEN_FIRST;
        for _ in 0..8 {
            assert_eq!(breaker.permit(now + expected - Duration::from_nanos(1)), Permit::No);
            now += expected;
            assert!(breaker.asked(now));
            assert!(breaker.failed(now, true));
            expected = OPEN_MOST.min(expected * 2);
        }
        assert_eq!(expected, OPEN_MOST);
    }

    #[test]
    fn what_goes_wrong_together_opens_it_once() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        assert!(breaker.trip(now));
        for _ in 0..10 {
            assert!(!breaker.trip(now));
        }
        let later = now + OPEN_FIRST;
        assert_eq!(breaker.permit(later), Permit::Probe);
        assert!(breaker.asked(later));
        assert!(breaker.trip(later), "the probe");
        assert_eq!(breaker.open_until(), Some(later + 2 * OPEN_FIRST));
    }

    #[test]
    fn a_token_that_mostly_fails_is_left_alone_too() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let mut opened = 0;
        for number in 0..WINDOW * 2 {
            if number % 3 == 0 {
                breaker.succeeded(false);
            } else {
                opened += u32::from(breaker.failed(now, false));
            }
        }
        assert_eq!(opened, 1);
    }

    #[test]
    fn a_token_that_comes_back_is_probed_at_once() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.trip(now);
        breaker.came_back();
        assert!(breaker.asked(now));
        breaker.probe_was_void();
        assert_eq!(breaker.permit(now), Permit::Probe);
    }
}
