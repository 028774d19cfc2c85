//! What happened: counts and histograms of one runtime, merged when the run is over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use crate::failure::Failure;

/// Latencies are nanoseconds, kept to three significant digits.
const DIGITS: u8 = 3;

/// Longer runs lose the series of their later seconds, nothing else.
const SECONDS_MAX: usize = 100_000;

/// Figures of the steady phase, except where it says otherwise.
pub(crate) struct Tally {
    /// TCP connections made, in the whole run.
    pub(crate) opened: u64,
    /// Connections open when the run ended (kept connections only).
    pub(crate) alive: u64,
    pub(crate) full: u64,
    pub(crate) resumed: u64,
    pub(crate) offered: u64,
    pub(crate) handshakes_failed: u64,
    pub(crate) requests: u64,
    pub(crate) requests_failed: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// Floods that were answered.
    pub(crate) answered: u64,
    /// Open loop: what was due in the whole run, and what no slot was free for until its end.
    pub(crate) due: u64,
    pub(crate) left_waiting: u64,
    /// Open loop: from when something was due to when it was begun.
    pub(crate) begun_late: Histogram<u64>,
    /// In the whole run.
    pub(crate) errors: BTreeMap<Cow<'static, str>, Errors>,
    pub(crate) negotiated: Vec<(Negotiated, u64)>,
    pub(crate) connect: Histogram<u64>,
    pub(crate) handshake: Histogram<u64>,
    pub(crate) request: Histogram<u64>,
    /// Of the whole run, by seconds since its start.
    pub(crate) series: Vec<Second>,
}

/// Errors of one kind.
pub(crate) struct Errors {
    pub(crate) count: u64,
    /// The words of the first.
    pub(crate) example: String,
}

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) suite: Option<CipherSuite>,
    pub(crate) group: Option<NamedGroup>,
}

/// One second of the run.
#[derive(Default)]
pub(crate) struct Second {
    pub(crate) handshakes: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    /// For `--hdr-log`: latencies of what the mode is about.
    pub(crate) latency: Option<Box<Histogram<u64>>>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            opened: 0,
            alive: 0,
            full: 0,
            resumed: 0,
            offered: 0,
            handshakes_failed: 0,
            requests: 0,
            requests_failed: 0,
            sent_bytes: 0,
            received_bytes: 0,
            answered: 0,
            due: 0,
            left_waiting: 0,
            begun_late: histogram(),
            errors: BTreeMap::new(),
            negotiated: Vec::new(),
            connect: histogram(),
            handshake: histogram(),
            request: histogram(),
            series: Vec::new(),
        }
    }
}

impl Tally {
    /// The figures of a second of the run.
    pub(crate) fn second(&mut self, since_start: Duration) -> &mut Second {
        let number = (since_start.as_secs() as usize).min(SECONDS_MAX);
        if self.series.len() <= number {
            self.series.resize_with(number + 1, Second::default);
        }
        &mut self.series[number]
    }

    /// Counts an error.
    pub(crate) fn count_error(&mut self, failure: Failure) {
        let Failure { kind, words } = failure;
        let errors = self.errors.entry(kind).or_insert(Errors { count: 0, example: words });
        errors.count += 1;
    }

    /// Counts what handshakes agreed on: as a rule all on the same.
    pub(crate) fn count_negotiated(&mut self, negotiated: Negotiated, more: u64) {
        match self.negotiated.iter_mut().find(|(known, _)| *known == negotiated) {
            Some((_, count)) => *count += more,
            None => self.negotiated.push((negotiated, more)),
        }
    }

    /// All errors of the run.
    pub(crate) fn errors_total(&self) -> u64 {
        self.errors.values().map(|errors| errors.count).sum()
    }

    /// Adds what another runtime counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.opened += other.opened;
        self.alive += other.alive;
        self.full += other.full;
        self.resumed += other.resumed;
        self.offered += other.offered;
        self.handshakes_failed += other.handshakes_failed;
        self.requests += other.requests;
        self.requests_failed += other.requests_failed;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.answered += other.answered;
        self.due += other.due;
        self.left_waiting += other.left_waiting;
        for (kind, errors) in other.errors {
            let merged =
                self.errors.entry(kind).or_insert(Errors { count: 0, example: errors.example });
            merged.count += errors.count;
        }
        for (negotiated, count) in other.negotiated {
            self.count_negotiated(negotiated, count);
        }
        add(&mut self.begun_late, &other.begun_late);
        add(&mut self.connect, &other.connect);
        add(&mut self.handshake, &other.handshake);
        add(&mut self.request, &other.request);
        for (number, second) in other.series.into_iter().enumerate() {
            let merged = self.second(Duration::from_secs(number as u64));
            merged.handshakes += second.handshakes;
            merged.requests += second.requests;
            merged.bytes += second.bytes;
            merged.errors += second.errors;
            match (&mut merged.latency, second.latency) {
                (Some(merged), Some(latency)) => add(merged, &latency),
                (none @ None, latency) => *none = latency,
                (Some(_), None) => {}
            }
        }
    }
}

impl Second {
    /// Records a latency for `--hdr-log`.
    pub(crate) fn record(&mut self, latency: Duration) {
        record(self.latency.get_or_insert_with(|| Box::new(histogram())), latency);
    }
}

/// Records a latency.
pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    histogram.record(nanoseconds.clamp(1, u64::MAX >> 1)).expect("a histogram that grows");
}

fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new(DIGITS).expect("three digits are allowed");
    histogram.auto(true);
    histogram
}

fn add(histogram: &mut Histogram<u64>, other: &Histogram<u64>) {
    histogram.add(other).expect("a histogram that grows takes any other");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_everything_up() {
        let mut all = Tally::default();
        for part in 1..=2 {
            let mut tally = Tally { full: part, opened: 10 * part, ..Tally::default() };
            tally.count_error(Failure::new("reset", format!("part {part}")));
            record(&mut tally.handshake, Duration::from_millis(part));
            tally.second(Duration::from_secs(part)).handshakes = part;
            tally.second(Duration::from_secs(part)).record(Duration::from_millis(1));
            all.merge(tally);
        }
        assert_eq!((all.full, all.opened, all.errors_total()), (3, 30, 2));
        assert_eq!(all.errors["reset"].example, "part 1");
        assert_eq!(all.handshake.len(), 2);
        let handshakes: Vec<u64> = all.series.iter().map(|second| second.handshakes).collect();
        assert_eq!(handshakes, [0, 1, 2]);
    }
}
