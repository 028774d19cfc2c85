//! The arguments of `agree`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::beside;
use crate::agreement::{Agreement, CASES, Case, H2load};
use crate::problem::{During, Result};
use crate::rounds::say;
use crate::study;
use crate::system::{self, Kind, System, Tweaks};

#[derive(Debug, Args)]
pub(super) struct AgreeArguments {
    /// Cases [default: all]: closed, rate_2000, rate_10000.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_case)]
    only: Vec<&'static Case>,
    /// Rounds, of one pair of slices each; fewer than 6 do not tell which is later.
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: usize,
    /// The steady phase of a slice, in ms.
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(200..=60_000))]
    slice: u64,
    /// The load generator's before it, in ms; h2load's takes 1,300.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    ramp: u64,
    /// What decides which generator comes first, and the resamples.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The CPU of nginx [default: the first that we may use].
    #[arg(long, value_name = "CPU")]
    server_cpu: Option<usize>,
    /// The CPU of both generators, one [default: the next].
    #[arg(long = "client-cpus", value_name = "CPU")]
    client_cpu: Option<usize>,
    /// nginx [default: as it is installed].
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// h2load [default: as it is installed].
    #[arg(long, value_name = "FILE")]
    h2load: Option<PathBuf>,
    /// The load generator [default: beside this program].
    #[arg(long, value_name = "FILE")]
    loadgen: Option<PathBuf>,
    /// Name of the results; without one there is only the table on standard output.
    #[arg(long)]
    name: Option<String>,
    /// Where results go.
    #[arg(long, value_name = "DIR", default_value = "perf/results")]
    results: PathBuf,
}

fn parse_case(name: &str) -> std::result::Result<&'static Case, String> {
    Case::parse(name).map_err(|problem| problem.to_string())
}

impl AgreeArguments {
    pub(super) fn agreement(self) -> Result<Agreement> {
        let nginx = self.nginx.map_or_else(|| system::find(Kind::Nginx), Ok);
        let nginx = System::new("nginx", Kind::Nginx, nginx, Tweaks::default()).program;
        let available = study::available_cpus()?;
        let server_cpu = self.server_cpu.unwrap_or(available[0]);
        let other = available.into_iter().find(|cpu| *cpu != server_cpu);
        let client_cpu = self.client_cpu.or(other).unwrap_or(server_cpu);
        if client_cpu == server_cpu {
            say("warning: one CPU for nginx and the generators: they wait for each other", false);
        }
        Ok(Agreement {
            cases: if self.only.is_empty() { CASES.iter().collect() } else { self.only },
            rounds: self.rounds.max(1),
            slice: Duration::from_millis(self.slice),
            ramp: Duration::from_millis(self.ramp),
            seed: self.seed,
            server_cpu,
            client_cpu,
            nginx: nginx.during("nginx")?,
            h2load: H2load::find(self.h2load)?,
            loadgen: beside(self.loadgen, "countersign-loadgen")?,
            name: self.name,
            results: self.results,
        })
    }
}
