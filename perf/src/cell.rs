//! What comes out of the rounds: for each experiment, variant and system its samples, or words.

use std::collections::BTreeMap;

use crate::experiment::{Experiment, Variant};

/// Which cell of the tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) experiment: Experiment,
    pub(crate) variant: Variant,
    /// Workers of the server, each on a CPU of its own.
    pub(crate) workers: usize,
    /// [`crate::system::System::id`], or the name of a floor.
    pub(crate) system: String,
}

/// One good slice.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// In [`Experiment::cost_unit`]; lower is better.
    pub(crate) cost: f64,
    /// What else was seen, by name with its unit.
    pub(crate) details: BTreeMap<&'static str, f64>,
}

/// Handshakes, requests or conversations per second.
pub(crate) const RATE: &str = "per_second";
/// Share of its CPUs that the server used.
pub(crate) const BUSY: &str = "server_busy";

/// What a slice gave.
#[derive(Clone, Debug)]
pub(crate) enum Measured {
    Sample(Sample),
    /// This slice says nothing, and why.
    Dropped(String),
    /// This system cannot do it, and why.
    Never(String),
}

/// All slices of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) key: Key,
    /// One for each round, `None` where there is no good one.
    pub(crate) rounds: Vec<Option<Sample>>,
    /// Why slices were dropped.
    pub(crate) dropped: Vec<String>,
    /// Why there is no number.
    pub(crate) words: Option<String>,
}

impl Cell {
    pub(crate) fn new(key: Key) -> Cell {
        Cell { key, rounds: Vec::new(), dropped: Vec::new(), words: None }
    }

    /// A cell that says why it has no number.
    pub(crate) fn without_number(key: Key, words: impl Into<String>) -> Cell {
        Cell { words: Some(words.into()), ..Cell::new(key) }
    }

    /// The costs round by round.
    pub(crate) fn costs(&self) -> Vec<Option<f64>> {
        self.rounds.iter().map(|sample| Some(sample.as_ref()?.cost)).collect()
    }

    /// One detail of all samples that have it.
    pub(crate) fn detail(&self, name: &str) -> Vec<f64> {
        let samples = self.rounds.iter().flatten();
        samples.filter_map(|sample| sample.details.get(name).copied()).collect()
    }

    /// Why there is no number: in the end, if no slice was good, there are always words.
    pub(crate) fn reason(&self) -> Option<String> {
        if let Some(words) = &self.words {
            return Some(words.clone());
        }
        if self.rounds.iter().any(Option::is_some) {
            return None;
        }
        let last = self.dropped.last().map_or("no slice was run", String::as_str);
        Some(format!("no good slice of {}: {last}", self.dropped.len()))
    }
}
