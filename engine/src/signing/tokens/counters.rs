//! What is counted of each token: written by the dispatcher alone, read by whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::breaker::Standing;
use crate::telemetry::{TOKEN_BUCKETS_US, TOKEN_RESULTS, TokenFact};

/// What came of giving an operation to a token, in the order of [`TOKEN_RESULTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Signed,
    Failed,
    Lost,
    KeyMissing,
    Busy,
    TimedOut,
    WrongSignature,
}

/// The counters of one token. They outlive the station: a reload that opens the token anew goes on counting.
#[derive(Debug, Default)]
pub(super) struct TokenCounters {
    is_up: AtomicBool,
    sessions_open: AtomicU64,
    sessions_busy: AtomicU64,
    sessions_most: AtomicU64,
    waiting: AtomicU64,
    in_flight: AtomicU64,
    breaker: AtomicU64,
    results: [AtomicU64; TOKEN_RESULTS.len()],
    late: AtomicU64,
    hedges: AtomicU64,
    verified: AtomicU64,
    came_up: AtomicU64,
    duration_buckets: [AtomicU64; TOKEN_BUCKETS_US.len() + 1],
    duration_sum_us: AtomicU64,
}

/// How a station stands, or all that serve under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gauges {
    pub(super) is_up: bool,
    pub(super) sessions_open: usize,
    pub(super) sessions_busy: usize,
    pub(super) sessions_most: usize,
    pub(super) waiting: usize,
    pub(super) in_flight: usize,
    pub(super) breaker: Option<Standing>,
}

impl Gauges {
    /// A token that a reload opens anew is there twice until the old station has let go: both count.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            is_up: self.is_up || other.is_up,
            sessions_open: self.sessions_open + other.sessions_open,
            sessions_busy: self.sessions_busy + other.sessions_busy,
            sessions_most: self.sessions_most + other.sessions_most,
            waiting: self.waiting + other.waiting,
            in_flight: self.in_flight + other.in_flight,
            breaker: self.breaker.max(other.breaker),
        }
    }
}

impl TokenCounters {
    pub(super) fn came_up(&self) {
        self.came_up.fetch_add(1, Ordering::Relaxed);
    }

    /// How it stands now.
    pub(super) fn show(&self, now: &Gauges) {
        let store = |gauge: &AtomicU64, count: usize| gauge.store(count as u64, Ordering::Relaxed);
        self.is_up.store(now.is_up, Ordering::Relaxed);
        store(&self.sessions_open, now.sessions_open);
        store(&self.sessions_busy, now.sessions_busy);
        store(&self.sessions_most, now.sessions_most);
        store(&self.waiting, now.waiting);
        store(&self.in_flight, now.in_flight);
        self.breaker.store(now.breaker.map_or(0, |standing| standing as u64), Ordering::Relaxed);
    }

    pub(super) fn result(&self, verdict: Verdict) {
        self.results[verdict as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// An answer that nobody waited for any more.
    pub(super) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    /// An operation was given to this token although another had it.
    pub(super) fn hedged(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// A signature was verified before it was sent.
    pub(super) fn verified(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = TOKEN_BUCKETS_US.partition_point(|bound| *bound < micros);
        self.duration_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.duration_sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn fact(&self, token: &str) -> TokenFact {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TokenFact {
            token: token.to_owned(),
            is_up: self.is_up.load(Ordering::Relaxed),
            sessions_open: read(&self.sessions_open),
            sessions_busy: read(&self.sessions_busy),
            sessions_most: read(&self.sessions_most),
            waiting: read(&self.waiting),
            in_flight: read(&self.in_flight),
            breaker: read(&self.breaker),
            results: self.results.each_ref().map(read),
            late: read(&self.late),
            hedges: read(&self.hedges),
            verified: read(&self.verified),
            came_up: read(&self.came_up),
            duration_buckets: self.duration_buckets.each_ref().map(read),
            duration_sum_us: read(&self.duration_sum_us),
        }
    }
}

/// The counters of every token that is configured, by the token's URI.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tokens: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    counters: Arc<TokenCounters>,
    /// It is served. A token that a reload tries in vain is never told of.
    is_shown: bool,
}

impl Ledger {
    /// Those of one token, from before if it was there before.
    pub(super) fn of(&self, token: &str) -> Arc<TokenCounters> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&tokens.entry(token.to_owned()).or_default().counters)
    }

    /// It is told of from now on.
    pub(super) fn show(&self, token: &str) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(token.to_owned()).or_default().is_shown = true;
    }

    /// Those of tokens that are not among `kept` are forgotten: a series of a token that is gone for good
    /// would say for ever that it is down.
    pub(super) fn keep(&self, kept: &[&str]) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|token, _| kept.contains(&token.as_str()));
    }

    pub(super) fn facts(&self) -> Vec<TokenFact> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = tokens.iter().filter(|(_, entry)| entry.is_shown);
        shown.map(|(token, entry)| entry.counters.fact(token)).collect()
    }
}
