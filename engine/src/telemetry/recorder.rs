//! A worker's hand into telemetry: it never blocks and never formats.

use std::sync::Arc;

use countersign_proto::{Blame, Comparison, Consequence, Event, Report, ShadowReport};
use crossbeam::queue::ArrayQueue;

use super::counters::{Counters, Gauges, Limit};
use super::log::{Entry, Notice};

/// Entries that a worker may be ahead of the log's writer.
pub(super) const QUEUE_ENTRIES: usize = 8_192;

/// Which connections get a line in the log. Every one is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoggedConnections {
    /// Every one, at its end.
    #[default]
    All,
    /// Those that were refused, those whose client would not have been let in any more, those that ended
    /// through a fault other than the client's, and those that a shadow policy would have decided otherwise.
    Problems,
}

/// What one worker records with. Each worker has counters and a queue of its own.
pub struct Recorder {
    pub(super) counters: Arc<Counters>,
    pub(super) queue: Arc<ArrayQueue<Entry>>,
    pub(super) connections: LoggedConnections,
}

impl Recorder {
    /// A connection was accepted.
    pub fn accepted(&self) {
        self.counters.accepted();
    }

    /// A connection is over and its slots are free.
    pub fn released(&self) {
        self.counters.released();
    }

    /// Something happened to a connection.
    pub fn event(&self, event: Event) {
        match event {
            Event::Established { handshake, resumed } => {
                self.counters.established(handshake, resumed);
            }
            Event::Ticket(event) => self.counters.ticket(event),
            Event::Refused(reason) => self.counters.refused(reason),
            Event::Shadow(comparison) => self.counters.shadow(comparison),
            Event::Withdrawn(withdrawn) => {
                self.counters.withdrawn(withdrawn.reason, withdrawn.consequence);
                // Of one that is closed the line about its end tells.
                if withdrawn.consequence != Consequence::Close {
                    self.push(Entry::Withdrawn(withdrawn));
                }
            }
            Event::Ended(report) => {
                let traffic = report.client_traffic;
                self.counters.client_bytes(traffic.received, traffic.sent);
                if report.allowed {
                    self.counters.ended(report.reason);
                }
                if self.connections == LoggedConnections::All || is_problem(&report) {
                    self.push(Entry::Connection(report));
                }
            }
        }
    }

    /// An open connection was asked whether its client would still be let in.
    pub fn reconsidered(&self) {
        self.counters.reconsidered();
    }

    /// A limit began to hold back connections.
    pub fn limit_reached(&self, limit: Limit) {
        self.counters.limit_reached(limit);
    }

    /// Something the operator should know.
    pub fn notice(&self, notice: Notice) {
        self.push(Entry::Notice(notice));
    }

    /// What the worker has now.
    pub fn gauges(&self, gauges: &Gauges) {
        self.counters.set(gauges);
    }

    fn push(&self, entry: Entry) {
        if self.queue.push(entry).is_err() {
            self.counters.log_line_dropped();
        }
    }
}

fn is_problem(report: &Report) -> bool {
    let differs = |shadow: &ShadowReport| shadow.comparison != Comparison::Agrees;
    !report.allowed
        || report.reason.is_some_and(|reason| reason.blame() != Blame::Peer)
        || report.shadow.as_ref().is_some_and(differs)
        || report.withdrawn.is_some()
}
