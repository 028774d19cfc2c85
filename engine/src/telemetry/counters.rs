//! Counters of one worker: written by it alone, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign_proto::Reason;
use serde_json::{Value, json};

/// The counters of one worker, on cache lines of their own.
#[repr(align(128))]
pub struct Counters {
    accepted: AtomicU64,
    released: AtomicU64,
    established: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    log_lines_dropped: AtomicU64,
    client_bytes_received: AtomicU64,
    client_bytes_sent: AtomicU64,
    connections_open: AtomicU64,
    stacks_suspended: AtomicU64,
    drains: AtomicU64,
    slots_free: AtomicU64,
    operations_in_flight: AtomicU64,
}

/// What a worker has now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Connections whose sockets are not released yet.
    pub connections_open: usize,
    /// Handshakes that wait for an operation.
    pub stacks_suspended: usize,
    /// Refused clients that read their alert.
    pub drains: usize,
    /// Slots of the direct descriptor table that are free.
    pub slots_free: usize,
    /// Operations that the ring has.
    pub operations_in_flight: usize,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            accepted: AtomicU64::default(),
            released: AtomicU64::default(),
            established: AtomicU64::default(),
            refused: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            log_lines_dropped: AtomicU64::default(),
            client_bytes_received: AtomicU64::default(),
            client_bytes_sent: AtomicU64::default(),
            connections_open: AtomicU64::default(),
            stacks_suspended: AtomicU64::default(),
            drains: AtomicU64::default(),
            slots_free: AtomicU64::default(),
            operations_in_flight: AtomicU64::default(),
        }
    }

    pub(super) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(super) fn released(&self) {
        add(&self.released, 1);
    }

    pub(super) fn established(&self) {
        add(&self.established, 1);
    }

    pub(super) fn refused(&self, reason: Reason) {
        add(&self.refused[reason as usize], 1);
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
        store(&self.connections_open, gauges.connections_open);
        store(&self.stacks_suspended, gauges.stacks_suspended);
        store(&self.drains, gauges.drains);
        store(&self.slots_free, gauges.slots_free);
        store(&self.operations_in_flight, gauges.operations_in_flight);
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
    /// Refusals by reason.
    pub refused: Vec<(Reason, u64)>,
    /// Log lines that did not fit into the queue.
    pub log_lines_dropped: u64,
    /// Wire bytes from clients, of connections that are over.
    pub client_bytes_received: u64,
    /// Wire bytes to clients, of connections that are over.
    pub client_bytes_sent: u64,
    /// Connections now.
    pub connections_open: u64,
    /// Handshakes suspended now.
    pub stacks_suspended: u64,
    /// Refused clients drained now.
    pub drains: u64,
    /// Free slots of all tables.
    pub slots_free: u64,
    /// Operations in all rings.
    pub operations_in_flight: u64,
}

impl Totals {
    pub(super) fn of<'a>(counters: impl Iterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        let mut refused = [0_u64; Reason::ALL.len()];
        for counters in counters {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            totals.accepted += read(&counters.accepted);
            totals.released += read(&counters.released);
            totals.established += read(&counters.established);
            totals.log_lines_dropped += read(&counters.log_lines_dropped);
            totals.client_bytes_received += read(&counters.client_bytes_received);
            totals.client_bytes_sent += read(&counters.client_bytes_sent);
            totals.connections_open += read(&counters.connections_open);
            totals.stacks_suspended += read(&counters.stacks_suspended);
            totals.drains += read(&counters.drains);
            totals.slots_free += read(&counters.slots_free);
            totals.operations_in_flight += read(&counters.operations_in_flight);
            for (sum, counter) in refused.iter_mut().zip(&counters.refused) {
                *sum += read(counter);
            }
        }
        totals.refused = Reason::ALL
            .iter()
            .map(|reason| (*reason, refused[*reason as usize]))
            .filter(|(_, count)| *count > 0)
            .collect();
        totals
    }

    /// As fields of a log line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let refused: serde_json::Map<_, _> = self
            .refused
            .iter()
            .map(|(reason, count)| (reason.label().to_owned(), json!(count)))
            .collect();
        json!({
            "accepted": self.accepted,
            "released": self.released,
            "established": self.established,
            "refused": refused,
            "connections_open": self.connections_open,
            "stacks_suspended": self.stacks_suspended,
            "drains": self.drains,
            "slots_free": self.slots_free,
            "operations_in_flight": self.operations_in_flight,
            "client_bytes_received": self.client_bytes_received,
            "client_bytes_sent": self.client_bytes_sent,
            "log_lines_dropped": self.log_lines_dropped,
        })
    }
}
