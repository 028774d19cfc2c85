//! Counters of one worker: written by it alone, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_proto::{ChainCacheFacts, Comparison, Consequence, Declined, Reason, TicketEvent};
use serde_json::{Value, json};

/// The counters of one worker, on cache lines of their own.
#[repr(align(128))]
pub struct Counters {
    accepted: AtomicU64,
    released: AtomicU64,
    established: AtomicU64,
    resumed: AtomicU64,
    tickets_issued: AtomicU64,
    tickets_offered: AtomicU64,
    tickets_declined: [AtomicU64; Declined::ALL.len()],
    refused: [AtomicU64; Reason::ALL.len()],
    shadow: [AtomicU64; Comparison::ALL.len()],
    ended_cleanly: AtomicU64,
    ended: [AtomicU64; Reason::ALL.len()],
    reconsidered: AtomicU64,
    withdrawn: [AtomicU64; Reason::ALL.len()],
    kept: [AtomicU64; Reason::ALL.len()],
    limits_reached: [AtomicU64; LIMITS.len()],
    log_lines_dropped: AtomicU64,
    client_bytes_received: AtomicU64,
    client_bytes_sent: AtomicU64,
    handshake_seconds: Histogram,
    generation: AtomicU64,
    connections_open: AtomicU64,
    handshakes: AtomicU64,
    stacks_suspended: AtomicU64,
    drains: AtomicU64,
    chain_cache: ChainCacheCounters,
    ocsp_answers_used: AtomicU64,
    ocsp_answers: AtomicU64,
    slots_free: AtomicU64,
    operations_in_flight: AtomicU64,
    reconsiderations_outstanding: AtomicU64,
}

/// Of [`ChainCacheFacts`], in their order.
#[derive(Default)]
struct ChainCacheCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    chains: AtomicU64,
    bytes: AtomicU64,
}

/// A limit that holds back new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Limit {
    /// Connections of a worker.
    Connections,
    /// Handshakes under way on a worker.
    Handshakes,
    /// Connections of a listener.
    ListenerConnections,
}

/// Every [`Limit`] with its name in metrics, in the order of their numbers.
pub const LIMITS: [(Limit, &str); 3] = [
    (Limit::Connections, "max_connections"),
    (Limit::Handshakes, "max_handshakes"),
    (Limit::ListenerConnections, "listener_max_connections"),
];

/// What a worker has now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// The configuration that it serves.
    pub generation: u64,
    /// Handshakes under way.
    pub handshakes: usize,
    /// Connections whose sockets are not released yet.
    pub connections_open: usize,
    /// Handshakes that wait for an operation.
    pub stacks_suspended: usize,
    /// Refused clients that read their alert.
    pub drains: usize,
    /// What the cache of verified chains has done and holds.
    pub chain_cache: ChainCacheFacts,
    /// How often an OCSP answer was used again, and how many are remembered.
    pub ocsp_answers: (u64, usize),
    /// Slots of the direct descriptor table that are free.
    pub slots_free: usize,
    /// Operations that the ring has.
    pub operations_in_flight: usize,
    /// Places of the connection table that are still to be looked at since something was published.
    pub reconsiderations_outstanding: usize,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            accepted: AtomicU64::default(),
            released: AtomicU64::default(),
            established: AtomicU64::default(),
            resumed: AtomicU64::default(),
            tickets_issued: AtomicU64::default(),
            tickets_offered: AtomicU64::default(),
            tickets_declined: [const { AtomicU64::new(0) }; Declined::ALL.len()],
            refused: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            shadow: [const { AtomicU64::new(0) }; Comparison::ALL.len()],
            ended_cleanly: AtomicU64::default(),
            ended: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            reconsidered: AtomicU64::default(),
            withdrawn: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            kept: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            limits_reached: [const { AtomicU64::new(0) }; LIMITS.len()],
            log_lines_dropped: AtomicU64::default(),
            client_bytes_received: AtomicU64::default(),
            client_bytes_sent: AtomicU64::default(),
            handshake_seconds: Histogram::default(),
            generation: AtomicU64::default(),
            connections_open: AtomicU64::default(),
            handshakes: AtomicU64::default(),
            stacks_suspended: AtomicU64::default(),
            drains: AtomicU64::default(),
            chain_cache: ChainCacheCounters::default(),
            ocsp_answers_used: AtomicU64::default(),
            ocsp_answers: AtomicU64::default(),
            slots_free: AtomicU64::default(),
            operations_in_flight: AtomicU64::default(),
            reconsiderations_outstanding: AtomicU64::default(),
        }
    }

    pub(super) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(super) fn released(&self) {
        add(&self.released, 1);
    }

    pub(super) fn ticket(&self, event: TicketEvent) {
        match event {
            TicketEvent::Issued => add(&self.tickets_issued, 1),
            TicketEvent::Offered => add(&self.tickets_offered, 1),
            TicketEvent::Declined(declined) => add(&self.tickets_declined[declined as usize], 1),
        }
    }

    pub(super) fn established(&self, handshake: Duration, resumed: bool) {
        add(&self.established, 1);
        add(&self.resumed, u64::from(resumed));
        self.handshake_seconds.record(handshake);
    }

    pub(super) fn refused(&self, reason: Reason) {
        add(&self.refused[reason as usize], 1);
    }

    pub(super) fn shadow(&self, comparison: Comparison) {
        add(&self.shadow[comparison as usize], 1);
    }

    /// A connection whose client was let in is over.
    pub(super) fn ended(&self, reason: Option<Reason>) {
        match reason {
            None => add(&self.ended_cleanly, 1),
            Some(reason) => add(&self.ended[reason as usize], 1),
        }
    }

    pub(super) fn reconsidered(&self) {
        add(&self.reconsidered, 1);
    }

    /// The client of an open connection would not be let in any more.
    pub(super) fn withdrawn(&self, reason: Reason, consequence: Consequence) {
        add(&self.withdrawn[reason as usize], 1);
        if consequence == Consequence::Keep {
            add(&self.kept[reason as usize], 1);
        }
    }

    pub(super) fn limit_reached(&self, limit: Limit) {
        add(&self.limits_reached[limit as usize], 1);
    }

    pub(super) fn log_line_dropped(&self) {
        add(&self.log_lines_dropped, 1);
    }

    pub(super) fn client_bytes(&self, received: u64, sent: u64) {
        add(&self.client_bytes_received, received);
        add(&self.client_bytes_sent, sent);
    }

    pub(super) fn set(&self, gauges: &Gauges) {
        let store = |gauge: &AtomicU64, value: usize| gauge.store(value as u64, Ordering::Relaxed);
        self.generation.store(gauges.generation, Ordering::Relaxed);
        store(&self.connections_open, gauges.connections_open);
        store(&self.handshakes, gauges.handshakes);
        store(&self.stacks_suspended, gauges.stacks_suspended);
        store(&self.drains, gauges.drains);
        self.chain_cache.set(&gauges.chain_cache);
        self.ocsp_answers_used.store(gauges.ocsp_answers.0, Ordering::Relaxed);
        store(&self.ocsp_answers, gauges.ocsp_answers.1);
        store(&self.slots_free, gauges.slots_free);
        store(&self.operations_in_flight, gauges.operations_in_flight);
        store(&self.reconsiderations_outstanding, gauges.reconsiderations_outstanding);
    }
}

impl ChainCacheCounters {
    fn set(&self, facts: &ChainCacheFacts) {
        let ChainCacheFacts { hits, misses, evictions, chains, bytes } = *facts;
        for (counter, value) in [
            (&self.hits, hits),
            (&self.misses, misses),
            (&self.evictions, evictions),
            (&self.chains, chains as u64),
            (&self.bytes, bytes as u64),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
    }

    fn add_to(&self, sum: &mut ChainCacheFacts) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.hits += value(&self.hits);
        sum.misses += value(&self.misses);
        sum.evictions += value(&self.evictions);
        sum.chains += value(&self.chains) as usize;
        sum.bytes += value(&self.bytes) as usize;
    }
}

/// Upper bounds of the handshake histogram's buckets, in microseconds; one more bucket has no bound.
pub const HANDSHAKE_BUCKETS_US: [u64; 14] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000,
];

/// How long something took, one writer.
#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; HANDSHAKE_BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

/// How long something took, of all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Counts by bucket, not cumulated; the last one is without a bound.
    pub buckets: [u64; HANDSHAKE_BUCKETS_US.len() + 1],
    /// The sum, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = HANDSHAKE_BUCKETS_US.partition_point(|bound| *bound < micros);
        add(&self.buckets[bucket], 1);
        add(&self.sum_us, micros);
    }

    fn add_to(&self, distribution: &mut Distribution) {
        for (sum, bucket) in distribution.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        distribution.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

/// One writer: a plain load and store, no locked instruction.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// The counters of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections over, their sockets released.
    pub released: u64,
    /// Handshakes finished.
    pub established: u64,
    /// Those of them that a ticket carried.
    pub resumed: u64,
    /// Tickets that clients got.
    pub tickets_issued: u64,
    /// Tickets that clients offered.
    pub tickets_offered: u64,
    /// Those of them that did not resume, by the numbers of the reasons.
    pub tickets_declined: [u64; Declined::ALL.len()],
    /// Refusals by reason.
    pub refused: Vec<(Reason, u64)>,
    /// What shadow policies said, in the order of [`Comparison::ALL`].
    pub shadow: [u64; Comparison::ALL.len()],
    /// Connections of clients that were let in, over, both sides having ended them.
    pub ended_cleanly: u64,
    /// Connections of clients that were let in, over, by reason.
    pub ended: Vec<(Reason, u64)>,
    /// How often an open connection was asked whether its client would still be let in.
    pub reconsidered: u64,
    /// Open connections whose clients would not be, by reason.
    pub withdrawn: Vec<(Reason, u64)>,
    /// Those of them that lived on all the same, by reason.
    pub kept: Vec<(Reason, u64)>,
    /// How often each of [`LIMITS`] began to hold back connections.
    pub limits_reached: [u64; LIMITS.len()],
    /// Log lines that did not fit into the queue.
    pub log_lines_dropped: u64,
    /// Wire bytes from clients, of connections that are over.
    pub client_bytes_received: u64,
    /// Wire bytes to clients, of connections that are over.
    pub client_bytes_sent: u64,
    /// How long finished handshakes took.
    pub handshake_seconds: Distribution,
    /// The oldest configuration that a worker still serves.
    pub generation: u64,
    /// Connections now.
    pub connections_open: u64,
    /// Handshakes under way now.
    pub handshakes: u64,
    /// Handshakes suspended now.
    pub stacks_suspended: u64,
    /// Refused clients drained now.
    pub drains: u64,
    /// The caches of verified chains.
    pub chain_cache: ChainCacheFacts,
    /// How often workers have used an OCSP answer again.
    pub ocsp_answers_used: u64,
    /// OCSP answers that they remember.
    pub ocsp_answers: u64,
    /// Free slots of all tables.
    pub slots_free: u64,
    /// Operations in all rings.
    pub operations_in_flight: u64,
    /// Places of the connection tables that are still to be looked at.
    pub reconsiderations_outstanding: u64,
}

impl Totals {
    pub(super) fn of<'a>(counters: impl Iterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        let mut refused = [0_u64; Reason::ALL.len()];
        let mut ended = [0_u64; Reason::ALL.len()];
        let mut withdrawn = [0_u64; Reason::ALL.len()];
        let mut kept = [0_u64; Reason::ALL.len()];
        for counters in counters {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            totals.accepted += read(&counters.accepted);
            totals.released += read(&counters.released);
            totals.established += read(&counters.established);
            totals.resumed += read(&counters.resumed);
            totals.tickets_issued += read(&counters.tickets_issued);
            totals.tickets_offered += read(&counters.tickets_offered);
            for (sum, counter) in totals.tickets_declined.iter_mut().zip(&counters.tickets_declined)
            {
                *sum += read(counter);
            }
            totals.ended_cleanly += read(&counters.ended_cleanly);
            for (sum, counter) in ended.iter_mut().zip(&counters.ended) {
                *sum += read(counter);
            }
            for (sum, counter) in totals.shadow.iter_mut().zip(&counters.shadow) {
                *sum += read(counter);
            }
            totals.reconsidered += read(&counters.reconsidered);
            totals.reconsiderations_outstanding += read(&counters.reconsiderations_outstanding);
            for (sum, counter) in withdrawn.iter_mut().zip(&counters.withdrawn) {
                *sum += read(counter);
            }
            for (sum, counter) in kept.iter_mut().zip(&counters.kept) {
                *sum += read(counter);
            }
            for (sum, counter) in totals.limits_reached.iter_mut().zip(&counters.limits_reached) {
                *sum += read(counter);
            }
            totals.log_lines_dropped += read(&counters.log_lines_dropped);
            totals.client_bytes_received += read(&counters.client_bytes_received);
            totals.client_bytes_sent += read(&counters.client_bytes_sent);
            counters.handshake_seconds.add_to(&mut totals.handshake_seconds);
            let generation = read(&counters.generation);
            totals.generation = match totals.generation {
                0 => generation,
                oldest => oldest.min(generation),
            };
            totals.handshakes += read(&counters.handshakes);
            totals.connections_open += read(&counters.connections_open);
            totals.stacks_suspended += read(&counters.stacks_suspended);
            totals.drains += read(&counters.drains);
            counters.chain_cache.add_to(&mut totals.chain_cache);
            totals.ocsp_answers_used += read(&counters.ocsp_answers_used);
            totals.ocsp_answers += read(&counters.ocsp_answers);
            totals.slots_free += read(&counters.slots_free);
            totals.operations_in_flight += read(&counters.operations_in_flight);
            for (sum, counter) in refused.iter_mut().zip(&counters.refused) {
                *sum += read(counter);
            }
        }
        totals.refused = by_reason(&refused);
        totals.ended = by_reason(&ended);
        totals.withdrawn = by_reason(&withdrawn);
        totals.kept = by_reason(&kept);
        totals
    }

    /// As fields of a log line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let labelled = |counts: &[(Reason, u64)]| -> serde_json::Map<String, Value> {
            counts.iter().map(|(reason, count)| (reason.label().to_owned(), json!(count))).collect()
        };
        let declined: serde_json::Map<String, Value> = Declined::ALL
            .iter()
            .zip(self.tickets_declined)
            .filter(|(_, count)| *count > 0)
            .map(|(declined, count)| (declined.label().to_owned(), json!(count)))
            .collect();
        json!({
            "accepted": self.accepted,
            "released": self.released,
            "established": self.established,
            "resumed": self.resumed,
            "tickets_issued": self.tickets_issued,
            "tickets_offered": self.tickets_offered,
            "tickets_declined": declined,
            "refused": labelled(&self.refused),
            "ended_cleanly": self.ended_cleanly,
            "ended": labelled(&self.ended),
            "reconsidered": self.reconsidered,
            "withdrawn": labelled(&self.withdrawn),
            "kept": labelled(&self.kept),
            "generation": self.generation,
            "connections_open": self.connections_open,
            "handshakes": self.handshakes,
            "stacks_suspended": self.stacks_suspended,
            "drains": self.drains,
            "chain_cache_hits": self.chain_cache.hits,
            "chain_cache_misses": self.chain_cache.misses,
            "slots_free": self.slots_free,
            "operations_in_flight": self.operations_in_flight,
            "reconsiderations_outstanding": self.reconsiderations_outstanding,
            "client_bytes_received": self.client_bytes_received,
            "client_bytes_sent": self.client_bytes_sent,
            "log_lines_dropped": self.log_lines_dropped,
        })
    }
}

/// The reasons that happened at all.
fn by_reason(counts: &[u64; Reason::ALL.len()]) -> Vec<(Reason, u64)> {
    let counted = Reason::ALL.iter().map(|reason| (*reason, counts[*reason as usize]));
    counted.filter(|(_, count)| *count > 0).collect()
}
