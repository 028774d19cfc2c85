//! `countersign-perf`: the engine beside its peers on the same work, on one machine.
//!
//! How it measures, and why so, stands in perf/README.md. The way of a run:
//!
//! ```text
//! cli -> study (which experiments) -> servers started and checked -> rounds of slices, interleaved
//!     -> cells -> statistics (ratios, intervals) -> report (JSON, Markdown, SVG)
//! ```
//!
//! **Invariants.** A number in a report was measured in that run; a cell without one says why in words.
//! A handshake that failed is an error and never a sample. Every process started here is ended here, and
//! ends with its parent if that is killed.
#![forbid(unsafe_code)]

mod agreement;
mod awake;
mod cell;
mod check;
mod cli;
mod experiment;
mod floor;
mod host;
mod interrupt;
mod load;
mod memory;
mod pki;
mod problem;
mod process;
mod random;
mod report;
mod rounds;
mod server;
mod serving;
mod slice;
mod statistics;
mod study;
mod system;
mod threads;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
