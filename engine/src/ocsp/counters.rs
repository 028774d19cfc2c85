//! What is counted of OCSP: written by its thread alone, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_proto::ocsp::{EnquiryFailure, Status};
use countersign_proto::{Outcome, WorkFailure};

use crate::telemetry::{OCSP_BUCKETS_MS, OCSP_RESULTS, OcspFacts};

#[derive(Default)]
pub(super) struct Counters {
    questions: [AtomicU64; OCSP_RESULTS.len()],
    shared_answers: AtomicU64,
    joined: AtomicU64,
    in_flight: AtomicU64,
    duration_buckets: [AtomicU64; OCSP_BUCKETS_MS.len() + 1],
    duration_sum_us: AtomicU64,
    staples_taken: AtomicU64,
    staples_failed: AtomicU64,
}

impl Counters {
    /// A question went out.
    pub(super) fn asked(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It came to this.
    pub(super) fn answered(&self, outcome: &Outcome, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let result = match outcome {
            Outcome::Status(Ok(answer)) => match answer.status {
                Status::Good => 0,
                Status::Revoked { .. } => 1,
                Status::Unknown => 2,
            },
            Outcome::Status(Err(EnquiryFailure::Invalid { .. })) => 4,
            Outcome::Failed(WorkFailure::Exhausted) => 5,
            _ => 3,
        };
        self.questions[result].fetch_add(1, Ordering::Relaxed);
        if matches!(outcome, Outcome::Status(Ok(_))) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let bucket = OCSP_BUCKETS_MS.partition_point(|bound| *bound * 1_000 < micros);
            self.duration_buckets[bucket].fetch_add(1, Ordering::Relaxed);
            self.duration_sum_us.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// A question was not put to a responder that is silent.
    pub(super) fn skipped(&self) {
        self.questions[6].fetch_add(1, Ordering::Relaxed);
    }

    /// The answer to another worker did.
    pub(super) fn shared(&self) {
        self.shared_answers.fetch_add(1, Ordering::Relaxed);
    }

    /// The same question was under way.
    pub(super) fn joined(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn staple(&self, is_taken: bool) {
        let counter = if is_taken { &self.staples_taken } else { &self.staples_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Without the staples.
    pub(super) fn facts(&self) -> OcspFacts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OcspFacts {
            questions: self.questions.each_ref().map(read),
            shared_answers: read(&self.shared_answers),
            joined: read(&self.joined),
            in_flight: read(&self.in_flight),
            duration_buckets: self.duration_buckets.each_ref().map(read),
            duration_sum_us: read(&self.duration_sum_us),
            staples_taken: read(&self.staples_taken),
            staples_failed: read(&self.staples_failed),
            staples: Vec::new(),
        }
    }
}
