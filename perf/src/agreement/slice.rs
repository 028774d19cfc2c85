//! A slice of one generator on one case.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::case::Case;
use super::h2load::H2load;
use crate::cell::{Key, Measured, RATE, Sample};
use crate::experiment::{Experiment, Variant};
use crate::host::CpuTime;
use crate::interrupt;
use crate::load::Generator;
use crate::problem::Result;
use crate::rounds::Contestant;
use crate::server::Server;
use crate::slice::OBSERVATIONS_ABOVE;
use crate::statistics::quantile;

/// A percentile: its name, that of its detail, and the share of the requests that are quicker.
pub(crate) const PERCENTILES: [(&str, &str, f64); 3] =
    [("p50", "p50_us", 0.5), ("p90", "p90_us", 0.9), ("p99", "p99_us", 0.99)];
/// How late the load generator itself was: the name in its report, and that of the detail.
pub(crate) const BEGUN_LATE: [(&str, &str); 2] =
    [("p50", "begun_late_p50_us"), ("p99", "begun_late_p99_us")];
/// Shares of a CPU's time in the slice that the hypervisor took.
pub(crate) const STOLEN_FROM_CLIENT: &str = "stolen_from_client";
pub(crate) const STOLEN_FROM_SERVER: &str = "stolen_from_server";

/// Which generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Loadgen,
    H2load,
}

impl Which {
    pub(crate) const BOTH: [Which; 2] = [Which::Loadgen, Which::H2load];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Loadgen => "loadgen",
            Which::H2load => "h2load",
        }
    }
}

/// What all slices share.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) server: RefCell<Server>,
    /// Both generators run on its CPU, in its folder.
    pub(super) generator: Generator,
    pub(super) h2load: H2load,
    pub(super) ramp: Duration,
    pub(super) slice: Duration,
    pub(super) server_cpu: usize,
}

/// One generator on one case.
pub(super) struct GeneratorSlice {
    key: Key,
    case: &'static Case,
    which: Which,
    bench: Rc<Bench>,
}

impl GeneratorSlice {
    pub(super) fn new(case: &'static Case, which: Which, bench: &Rc<Bench>) -> GeneratorSlice {
        let system = format!("{} {}", case.name, which.name());
        let key =
            Key { experiment: Experiment::Agreement, variant: Variant::Base, workers: 1, system };
        GeneratorSlice { key, case, which, bench: Rc::clone(bench) }
    }

    fn run(&self) -> Result<Details> {
        let bench = &*self.bench;
        let (address, id) = {
            let server = bench.server.borrow();
            (server.address, server.id())
        };
        let mut details = Details::new();
        match self.which {
            Which::Loadgen => {
                let call = self.case.loadgen_call(bench.ramp, bench.slice);
                let report = bench.generator.run(&call, address, id)?;
                let count = report.must("/requests/completed")?;
                details.insert(RATE, count / report.must("/seconds")?);
                for (name, detail, share) in PERCENTILES {
                    if stands(count, share) {
                        details
                            .insert(detail, report.must(&format!("/latency_us/request/{name}"))?);
                    }
                }
                for (name, detail) in BEGUN_LATE {
                    // A closed loop has none.
                    let late = report.number(&format!("/latency_us/begun_late/{name}"));
                    details.extend(late.map(|late| (detail, late)));
                }
            }
            Which::H2load => {
                let generator = &bench.generator;
                let (cpus, directory) = (&generator.cpus, &generator.directory);
                let took = bench.h2load.run(self.case, bench.slice, address, cpus, directory)?;
                let window = Case::h2load_window(bench.slice);
                let seconds = (window.end - window.start).as_secs_f64();
                details.insert(RATE, took.len() as f64 / seconds);
                for (_, detail, share) in PERCENTILES {
                    let found = quantile(&took, share).filter(|_| stands(took.len() as f64, share));
                    details.extend(found.map(|found| (detail, found)));
                }
            }
        }
        Ok(details)
    }
}

type Details = BTreeMap<&'static str, f64>;

/// Whether enough of `count` requests are slower than the percentile of this share.
fn stands(count: f64, share: f64) -> bool {
    count * (1.0 - share) >= OBSERVATIONS_ABOVE
}

impl Contestant for GeneratorSlice {
    fn key(&self) -> &Key {
        &self.key
    }

    fn slice(&mut self) -> Result<Measured> {
        let cpus = [
            (STOLEN_FROM_CLIENT, self.bench.generator.cpus[0]),
            (STOLEN_FROM_SERVER, self.bench.server_cpu),
        ];
        let before = cpus.map(|(_, cpu)| CpuTime::now(cpu));
        let found = self.run();
        interrupt::look()?;
        if let Err(problem) = self.bench.server.borrow_mut().alive() {
            return Ok(Measured::Never(problem.to_string()));
        }
        let mut details = match found {
            Ok(details) => details,
            Err(problem) => return Ok(Measured::Dropped(problem.to_string())),
        };
        for ((detail, cpu), before) in cpus.into_iter().zip(before) {
            let now = CpuTime::now(cpu).zip(before);
            let stolen = now.and_then(|(now, before)| now.stolen_since(before));
            details.extend(stolen.map(|share| (detail, share)));
        }
        let [(_, median, _), ..] = PERCENTILES;
        Ok(match details.get(median) {
            Some(&cost) => Measured::Sample(Sample { cost, details }),
            None => Measured::Dropped("too few requests for a median".to_owned()),
        })
    }
}
