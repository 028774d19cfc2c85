//! Whether the load generator's latencies agree with those of h2load, on the same work against one nginx.

mod case;
mod h2load;
mod slice;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

pub(crate) use self::case::{CASES, Case};
pub(crate) use self::h2load::H2load;
pub(crate) use self::slice::{
    BEGUN_LATE, PERCENTILES, STOLEN_FROM_CLIENT, STOLEN_FROM_SERVER, Which,
};
use self::slice::{Bench, GeneratorSlice};
use crate::cell::Cell;
use crate::floor::cryptography::Operations;
use crate::host;
use crate::load::Generator;
use crate::problem::{During, Result};
use crate::process::raise_open_files;
use crate::random::Random;
use crate::rounds::{Contestant, Progress, Rounds};
use crate::server::Server;
use crate::statistics::{self, Estimate};
use crate::system::Program;

/// All of so many pairs lie on one side by chance in 3 of 100 cases, of one pair fewer in 6: fewer do not tell
/// which generator is later.
pub(crate) const PAIRS_MIN: usize = 6;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) rounds: usize,
    /// The steady phase.
    pub(crate) slice: Duration,
    /// The load generator's; h2load's is [`case::OPENING`].
    pub(crate) ramp: Duration,
    pub(crate) seed: u64,
    pub(crate) server_cpu: usize,
    pub(crate) client_cpu: usize,
    pub(crate) nginx: Program,
    pub(crate) h2load: H2load,
    pub(crate) loadgen: PathBuf,
    /// Of the results; without one there are no files.
    pub(crate) name: Option<String>,
    pub(crate) results: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) cases: Vec<Pair>,
    /// P-256 verifications between slices, in µs.
    pub(crate) calibrations: Vec<f64>,
    pub(crate) host: Value,
    pub(crate) begun: OffsetDateTime,
    pub(crate) seconds: f64,
}

/// Both generators on one case.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) case: &'static Case,
    pub(crate) loadgen: Cell,
    pub(crate) h2load: Cell,
}

/// What the ratios of the pairs say, the load generator's latency over h2load's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    NotToldApart,
    LoadgenLater,
    H2loadLater,
    TooFewPairs,
}

impl Verdict {
    pub(crate) fn of(ratio: &Estimate) -> Verdict {
        if ratio.count < PAIRS_MIN {
            Verdict::TooFewPairs
        } else if ratio.low > 1.0 {
            Verdict::LoadgenLater
        } else if ratio.high < 1.0 {
            Verdict::H2loadLater
        } else {
            Verdict::NotToldApart
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Verdict::NotToldApart => "not told apart",
            Verdict::LoadgenLater => "loadgen is later",
            Verdict::H2loadLater => "h2load is later",
            Verdict::TooFewPairs => "too few pairs to say",
        }
    }
}

impl Pair {
    /// The load generator's over h2load's, round by round; `None` where no round has both.
    pub(crate) fn ratio(&self, detail: &str, seed: u64) -> Option<Estimate> {
        let of = |cell: &Cell| -> Vec<Option<f64>> {
            let rounds = cell.rounds.iter();
            rounds.map(|sample| sample.as_ref()?.details.get(detail).copied()).collect()
        };
        statistics::ratio(&of(&self.loadgen), &of(&self.h2load), seed)
    }
}

/// Starts nginx, runs the cases one after the other and the generators in turns, ends nginx.
pub(crate) fn conduct(asked: &Agreement) -> Result<Findings> {
    let begun = OffsetDateTime::now_utc();
    let host = host::facts();
    let open_files = raise_open_files();
    let directory = tempfile::Builder::new().prefix("countersign-perf-").tempdir();
    let directory = directory.during("cannot make a temporary folder")?;
    let cpus = vec![asked.server_cpu];
    let server = Server::start_plain_nginx(&asked.nginx, directory.path(), open_files, &cpus);
    let bench = Rc::new(Bench {
        server: server.during("nginx")?.into(),
        generator: Generator {
            name: "loadgen",
            program: asked.loadgen.clone(),
            cpus: vec![asked.client_cpu],
            directory: directory.path().to_owned(),
        },
        h2load: asked.h2load.clone(),
        ramp: asked.ramp,
        slice: asked.slice,
        server_cpu: asked.server_cpu,
    });
    let mut rounds = Rounds {
        random: Random::new(asked.seed),
        operations: Rc::new(Operations::new()?),
        cpus,
        calibrations: Vec::new(),
        progress: Progress::new(),
    };
    rounds.progress.expected = asked.cases.len() * Which::BOTH.len() * (asked.rounds + 1);
    let mut cases = Vec::new();
    for &case in &asked.cases {
        cases.push(both(case, &bench, &mut rounds, asked.rounds)?);
    }
    let seconds = (OffsetDateTime::now_utc() - begun).as_seconds_f64();
    Ok(Findings { cases, calibrations: rounds.calibrations, host, begun, seconds })
}

fn both(case: &'static Case, bench: &Rc<Bench>, rounds: &mut Rounds, count: usize) -> Result<Pair> {
    let mut contestants: Vec<Box<dyn Contestant>> = Vec::new();
    for which in Which::BOTH {
        contestants.push(Box::new(GeneratorSlice::new(case, which, bench)));
    }
    let cells = rounds.run(&mut contestants, count, true)?;
    let [loadgen, h2load] = cells.try_into().expect("a cell for each contestant");
    Ok(Pair { case, loadgen, h2load })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_later_is_said_only_where_the_interval_leaves_equality_out() {
        let of = |low, high, count| Verdict::of(&Estimate { median: 1.0, low, high, count });
        assert_eq!(of(1.001, 1.4, 9), Verdict::LoadgenLater);
        assert_eq!(of(0.7, 0.999, 9), Verdict::H2loadLater);
        assert_eq!(of(0.9, 1.1, 9), Verdict::NotToldApart);
        assert_eq!(of(1.0, 1.4, 9), Verdict::NotToldApart);
        assert_eq!(of(0.7, 1.0, 9), Verdict::NotToldApart);
        assert_eq!(of(2.0, 2.0, PAIRS_MIN - 1), Verdict::TooFewPairs);
        assert_eq!(of(2.0, 2.0, PAIRS_MIN), Verdict::LoadgenLater);
    }
}
