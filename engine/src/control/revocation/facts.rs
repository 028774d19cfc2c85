//! Which feeds there are, and what the admin endpoint is told.

use std::sync::Arc;

use countersign_proto::revocation::{Lookups, RevocationFeed};

use super::library::Library;
use crate::telemetry::{ListFact, RevocationFacts};

/// Lists that have series of their own in the metrics: those that run out first.
const LISTS_SHOWN: usize = 100;

/// The feeds that workers have.
#[derive(Default)]
pub(super) struct Subscriptions {
    feeds: Vec<Subscription>,
    /// Found through feeds that are gone.
    past: Lookups,
    facts: RevocationFacts,
}

struct Subscription {
    domain: u64,
    worker: usize,
    feed: Arc<RevocationFeed>,
}

impl Subscriptions {
    pub(super) fn add(&mut self, domain: u64, worker: usize, feed: Arc<RevocationFeed>) {
        self.forget_dropped();
        self.feeds.push(Subscription { domain, worker, feed });
    }

    /// The feeds of a domain on a worker.
    pub(super) fn of(&self, domain: u64, worker: usize) -> Vec<Arc<RevocationFeed>> {
        let of = self.feeds.iter().filter(|of| of.domain == domain && of.worker == worker);
        of.map(|of| Arc::clone(&of.feed)).collect()
    }

    /// Has a domain any feed?
    pub(super) fn has(&mut self, domain: u64) -> bool {
        self.forget_dropped();
        self.feeds.iter().any(|of| of.domain == domain)
    }

    /// A feed whose listener is gone is this one's alone. Its counts stay.
    fn forget_dropped(&mut self) {
        let past = &mut self.past;
        self.feeds.retain(|of| {
            let is_used = Arc::strong_count(&of.feed) > 1;
            if !is_used {
                add(past, &of.feed.lookups());
            }
            is_used
        });
    }

    /// The lists of now.
    pub(super) fn note(&mut self, library: &Library, generation: u64) {
        let mut lists: Vec<_> = library
            .all()
            .map(|sourced| ListFact {
                source: sourced.source.to_string(),
                issuer: sourced.list.issuer_text(),
                is_delta: sourced.list.base().is_some(),
                entries: sourced.list.entries() as u64,
                this_update: sourced.list.this_update(),
                next_update: sourced.list.next_update(),
            })
            .collect();
        self.facts.lists = lists.len() as u64;
        self.facts.entries = lists.iter().map(|list| list.entries).sum();
        self.facts.memory_bytes =
            library.all().map(|sourced| sourced.list.memory_bytes() as u64).sum();
        lists.sort_by(|a, b| (a.next_update, &a.source).cmp(&(b.next_update, &b.source)));
        lists.truncate(LISTS_SHOWN);
        self.facts.shown = lists;
        self.facts.failures = library.failures;
        self.facts.generation = generation;
    }

    pub(super) fn facts(&self) -> RevocationFacts {
        let mut facts = self.facts.clone();
        facts.lookups = self.past;
        self.feeds.iter().for_each(|of| add(&mut facts.lookups, &of.feed.lookups()));
        facts
    }
}

fn add(sum: &mut Lookups, more: &Lookups) {
    for (sum, more) in sum.live.iter_mut().zip(more.live) {
        *sum += more;
    }
    for (sum, more) in sum.shadow.iter_mut().zip(more.shadow) {
        *sum += more;
    }
}
