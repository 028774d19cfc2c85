//! What the operator sees: counters of each worker, and log lines. The only place that formats.

mod counters;
mod line;
mod log;
mod prometheus;
mod recorder;

pub use counters::{Counters, Distribution, Gauges, HANDSHAKE_BUCKETS_US, LIMITS, Limit, Totals};
pub use log::{Log, LogReader, LogWriter, Notice};
pub use prometheus::{
    Certificate, Facts, ListFact, OCSP_BUCKETS_MS, OCSP_RESULTS, OcspFacts, RevocationFacts,
    StapleFact, TOKEN_BUCKETS_US, TOKEN_RESULTS, TokenFact, render,
};
pub use recorder::{LoggedConnections, Recorder};
