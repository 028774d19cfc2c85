//! The figures of a run, for people and for programs.

mod hdr_log;
mod json;
mod plot;
mod summary;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use hdrhistogram::Histogram;

use crate::plan::Plan;
use crate::run::Outcome;

/// Writes everything that was asked for. Words if something cannot be written.
pub(crate) fn write(plan: &Plan, outcome: &Outcome) -> Result<(), String> {
    let json = json::of(plan, outcome);
    let to_stdout = plan.arguments.json.as_deref() == Some(Path::new("-"));
    let text = if to_stdout { format!("{json:#}\n") } else { summary::of(plan, outcome) };
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| format!("standard output takes no figures: {error}"))?;
    if let Some(file) = plan.arguments.json.as_deref().filter(|_| !to_stdout) {
        put(file, format!("{json:#}\n").as_bytes())?;
    }
    if let Some(file) = &plan.arguments.hdr_log {
        put(file, &hdr_log::of(outcome).map_err(|error| format!("{}: {error}", file.display()))?)?;
    }
    if let Some(file) = &plan.arguments.plot {
        put(file, plot::of(plan, outcome).as_bytes())?;
    }
    Ok(())
}

fn put(file: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
}

/// Microseconds at a quantile from 0 to 1.
fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
