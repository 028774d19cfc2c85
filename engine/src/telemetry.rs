//! What the operator sees: counters of each worker, and log lines. The only place that formats.

mod counters;
mod line;
mod log;
mod recorder;

pub use counters::{Counters, Gauges, Totals};
pub use log::{Log, Notice};
pub use recorder::Recorder;
