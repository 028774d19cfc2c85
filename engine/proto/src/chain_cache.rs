//! The chains that a worker has verified, so that a client that comes again costs no signature but its
//! own.
//!
//! * **Only what holds is kept.** A failure is found anew each time.
//! * **A hit is no verdict.** What is remembered is that the signatures are right and where the path
//!   leads. Time is looked at here on every hit, policy by the connection.
//! * **The key is everything that the verdict depends on**: the trust domain, by its contents, and every
//!   certificate that the client sent, in order. A reload that changes the anchors finds nothing.
//! * **A crowd that comes once does not push out those who come again.** Eviction is S3-FIFO (Yang et
//!   al., SOSP 2023): a chain begins in a short queue and gets into the long one by being asked for
//!   again, or by coming back soon after it was dropped.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::tls::{ChainKey, VerifiedChain};

/// Bounds of a worker's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainCacheLimits {
    /// Chains; none are kept if it is 0.
    pub chains: usize,
    /// Bytes that they take, estimated.
    pub bytes: usize,
}

impl Default for ChainCacheLimits {
    fn default() -> Self {
        Self { chains: 16_384, bytes: 64 * 1024 * 1024 }
    }
}

/// What a worker's cache has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainCacheFacts {
    /// Chains that were asked for and found.
    pub hits: u64,
    /// Chains that were asked for and not found, or found to be out of their validity.
    pub misses: u64,
    /// Chains that were dropped to make room.
    pub evictions: u64,
    /// Chains held now.
    pub chains: usize,
    /// Bytes that they take, estimated.
    pub bytes: usize,
}

/// A tenth of the cache is for chains that were not asked for again yet.
const PROBATION_SHARE: usize = 10;

/// How often a chain in the long queue is passed over, at most, for having been asked for.
const CREDIT_MAX: u8 = 3;

/// How many chains one eviction passes over, at most: the worker has other things to do.
const PASSES_MAX: usize = 256;

/// What an entry takes beside what its chain points to: its places in the map, in a queue and among
/// the dropped.
const ENTRY_BYTES: usize = 256;

#[derive(Default)]
pub(crate) struct ChainCache {
    limits: ChainCacheLimits,
    entries: HashMap<ChainKey, Entry>,
    probation: Queue,
    main: Queue,
    dropped: Dropped,
    facts: ChainCacheFacts,
    entered: u64,
}

struct Entry {
    chain: Arc<VerifiedChain>,
    bytes: usize,
    credit: u8,
    /// Tells it from an earlier entry of its key, whose place may still be in a queue.
    entered: u64,
}

type Queue = VecDeque<(ChainKey, u64)>;

/// The keys dropped last, each by a few of its bytes: whoever is taken for another only gets a better
/// place.
#[derive(Default)]
struct Dropped {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl ChainCache {
    pub(crate) fn new(limits: ChainCacheLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The chain of `key`, if it is known and within its validity at `now` (seconds since the epoch).
    pub(crate) fn get(&mut self, key: &ChainKey, now: i64) -> Option<Arc<VerifiedChain>> {
        let found = self.entries.get_mut(key).filter(|entry| {
            let evidence = entry.chain.evidence();
            (evidence.not_before()..=evidence.not_after()).contains(&now)
        });
        match found {
            Some(entry) => {
                entry.credit = CREDIT_MAX.min(entry.credit + 1);
                self.facts.hits += 1;
                Some(Arc::clone(&entry.chain))
            }
            None => {
                self.facts.misses += 1;
                None
            }
        }
    }

    /// Keeps a chain that was just verified, in the place of others if need be.
    pub(crate) fn insert(&mut self, key: ChainKey, chain: Arc<VerifiedChain>) {
        let bytes = ENTRY_BYTES + chain.bytes();
        if self.limits.chains == 0 || bytes > self.limits.bytes {
            return;
        }
        self.remove(&key);
        while self.entries.len() >= self.limits.chains
            || self.facts.bytes + bytes > self.limits.bytes
        {
            self.evict();
        }
        self.entered += 1;
        let place = (key, self.entered);
        if self.dropped.take(&key) {
            self.main.push_back(place);
        } else {
            self.probation.push_back(place);
        }
        self.facts.bytes += bytes;
        self.entries.insert(key, Entry { chain, bytes, credit: 0, entered: self.entered });
        self.facts.chains = self.entries.len();
    }

    pub(crate) fn facts(&self) -> ChainCacheFacts {
        self.facts
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { limits: self.limits, facts: self.facts, ..Self::default() };
        (self.facts.chains, self.facts.bytes) = (0, 0);
    }

    fn remove(&mut self, key: &ChainKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.facts.bytes -= entry.bytes;
            self.facts.chains = self.entries.len();
        }
    }

    /// Drops one chain. There is one.
    fn evict(&mut self) {
        self.facts.evictions += 1;
        for pass in 0.. {
            let on_probation =
                self.probation.len() > self.entries.len() / PROBATION_SHARE || self.main.is_empty();
            let queue = if on_probation { &mut self.probation } else { &mut self.main };
            let Some(place) = queue.pop_front() else { return };
            // The place of a chain that was entered again since.
            let current = |entry: &&mut Entry| entry.entered == place.1;
            let Some(entry) = self.entries.get_mut(&place.0).filter(current) else { continue };
            if entry.credit > 0 && pass < PASSES_MAX {
                entry.credit = if on_probation { 0 } else { entry.credit - 1 };
                self.main.push_back(place);
                continue;
            }
            self.remove(&place.0);
            if on_probation {
                self.dropped.note(&place.0, self.limits.chains);
            }
            return;
        }
    }
}

impl Dropped {
    fn note(&mut self, key: &ChainKey, most: usize) {
        if self.known.insert(key.short()) {
            self.order.push_back(key.short());
        }
        if self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn take(&mut self, key: &ChainKey) -> bool {
        // Its place in the order stays, and is dropped in its turn.
        self.known.remove(&key.short())
    }
}

#[cfg(test)]
mod tests;
