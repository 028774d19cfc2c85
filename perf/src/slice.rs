//! A slice: a second or less of one load on one system, made into a sample or dropped with a reason.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::cell::{BUSY, Key, Measured, RATE, Sample};
use crate::experiment::Experiment;
use crate::floor::conversation::SCRIPT;
use crate::floor::cryptography::{Operations, operations};
use crate::interrupt;
use crate::load::{Call, Generator, Report};
use crate::pki::Pki;
use crate::problem::{Problem, Result};
use crate::process;
use crate::rounds::Contestant;
use crate::server::Server;

/// Of handshakes that offered a session, so many must have been resumed.
const RESUMED_MIN: f64 = 0.99;
/// Clients that come again and again.
pub(crate) const SEEN_CLIENTS: usize = 16;
/// Connections at a time where each client has to come with a ticket.
const RESUMED_CONNECTIONS: usize = 16;
/// What the ramp is longer there.
const RESUMED_RAMP: Duration = Duration::from_millis(300);
/// Of its own saturation, for latency.
pub(crate) const LATENCY_LOAD: f64 = 0.7;
/// A percentile is told if so many observations lie above it.
pub(crate) const OBSERVATIONS_ABOVE: f64 = 5.0;

/// A slice of latency takes no longer.
const LATENCY_MAX: Duration = Duration::from_secs(5);

/// What all slices of a run share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) generator: Generator,
    pub(crate) pki: Rc<Pki>,
    pub(crate) ramp: Duration,
    pub(crate) slice: Duration,
    /// Connections at a time, for each worker of the server.
    pub(crate) connections: usize,
    /// A server that used less of its CPUs was not what limited.
    pub(crate) busy_min: f64,
    /// Whether clients have CPUs of their own, also where keys lie in tokens.
    pub(crate) has_own_client_cpus: bool,
}

/// A load on one server.
pub(crate) struct LoadSlice {
    pub(crate) key: Key,
    pub(crate) tools: Rc<Tools>,
    pub(crate) server: Rc<RefCell<Server>>,
    /// Latency: handshakes per second.
    pub(crate) rate: Option<f64>,
    /// The rate that was last seen, handshakes or GB a second: how much a slice needs made ahead.
    last_rate: f64,
}

impl LoadSlice {
    pub(crate) fn new(key: Key, tools: &Rc<Tools>, server: &Rc<RefCell<Server>>) -> LoadSlice {
        // More than any system has shown on one core; known better after the first slice.
        let of_a_core = if key.experiment.is_bulk() { 2.0 } else { 6000.0 };
        let last_rate = of_a_core * key.workers as f64;
        let (tools, server) = (Rc::clone(tools), Rc::clone(server));
        LoadSlice { key, tools, server, rate: None, last_rate }
    }

    fn call(&self) -> Call {
        let tools = &self.tools;
        let connections = match self.key.experiment {
            Experiment::BulkUpload | Experiment::BulkDownload => 1,
            Experiment::Resumed => RESUMED_CONNECTIONS.min(tools.connections),
            _ => tools.connections,
        } * self.key.workers;
        let call = |mode, duration| Call::new(mode, tools.ramp, duration);
        let tls = |call: Call, clients| call.tls(&tools.pki, self.key.variant, clients);
        match self.key.experiment {
            Experiment::FullUnseen => {
                let time = tools.ramp + tools.slice;
                let pool = (self.last_rate * time.as_secs_f64() * 1.5) as usize + 2 * connections;
                tls(call("handshake", tools.slice), pool).with("--unseen", 100)
            }
            Experiment::FullSeen | Experiment::Scaling => {
                tls(call("handshake", tools.slice), SEEN_CLIENTS).with("--seen", SEEN_CLIENTS)
            }
            Experiment::Resumed => {
                // A ticket is used once: a client must have its next before its turn comes again, and all
                // must have had their first, by a full handshake, when the ramp is over.
                let clients = 3 * RESUMED_CONNECTIONS * self.key.workers;
                let ramp = tools.ramp + RESUMED_RAMP;
                let call = Call::new("handshake", ramp, tools.slice);
                tls(call, clients).with("--seen", clients).with("--resume", 100)
            }
            Experiment::Request => {
                tls(call("request", tools.slice), SEEN_CLIENTS).with("--requests", 0)
            }
            Experiment::Latency => {
                // Percentiles need observations: a second at least, and more where handshakes are rare.
                let rate = self.rate.unwrap_or(1.0).max(1.0);
                let needed = Duration::from_secs_f64(OBSERVATIONS_ABOVE * 110.0 / rate);
                let duration = needed.clamp(Duration::from_secs(1), LATENCY_MAX);
                tls(call("handshake", duration), SEEN_CLIENTS)
                    .with("--seen", SEEN_CLIENTS)
                    .with("--rate", format!("{rate:.0}"))
            }
            // Sealing while it sends, the client would be the limit.
            Experiment::BulkUpload => tls(call("upload", tools.slice), 1)
                .flag("--discard")
                .with("--seal-ahead", self.seal_ahead()),
            Experiment::BulkDownload => tls(call("download", tools.slice), 1).flag("--discard"),
            Experiment::TcpConversation => {
                let script: Vec<String> = SCRIPT.iter().map(ToString::to_string).collect();
                call("tcp", tools.slice).with("--script", script.join(","))
            }
            Experiment::IdleMemory
            | Experiment::Cryptography
            | Experiment::Token2Ms
            | Experiment::Token2MsLatency
            | Experiment::Token10Ms
            | Experiment::Token10MsLatency
            | Experiment::TokenVerify
            | Experiment::TokenHang
            | Experiment::Agreement => unreachable!("measured by slices of other kinds"),
        }
        .with("--connections", connections)
    }

    /// MiB for each of a bulk slice's connections: half as much again as the slice before has moved.
    fn seal_ahead(&self) -> u64 {
        let time = (self.tools.ramp + self.tools.slice).as_secs_f64();
        let bytes = self.last_rate / self.key.workers as f64 * 1e9 * time * 1.5;
        256 + (bytes / f64::from(1 << 20)) as u64
    }

    fn take(&mut self, report: &Report) -> Result<Measured> {
        let experiment = self.key.experiment;
        let seconds = report.must("/seconds")?;
        let server_seconds = report.must("/cpu/server_seconds")?;
        let count = match experiment {
            Experiment::Request | Experiment::TcpConversation => {
                report.must("/requests/completed")?
            }
            Experiment::BulkUpload => report.must("/bytes/sent")? / 1e9,
            Experiment::BulkDownload => report.must("/bytes/received")? / 1e9,
            _ => report.must("/handshakes/full")? + report.must("/handshakes/resumed")?,
        };
        if count <= 0.0 {
            return Ok(Measured::Dropped("nothing was completed in the slice".to_owned()));
        }
        let busy = server_seconds / seconds / self.key.workers as f64;
        self.last_rate = count / seconds;
        let mut details = BTreeMap::from([(RATE, count / seconds), (BUSY, busy)]);
        if let Some(problem) = self.check_resumption(report)? {
            return Ok(problem);
        }
        if experiment.needs_saturation() && busy < experiment.busy_min(self.tools.busy_min) {
            let words = format!(
                "the server was only {:.0}% busy: the client was the limit, or others had its core",
                busy * 100.0
            );
            return Ok(Measured::Dropped(words));
        }
        let cost = match experiment {
            Experiment::Latency => match percentiles(report, &mut details)? {
                Some(p99) => p99,
                None => return Ok(Measured::Dropped("too few handshakes for p99".to_owned())),
            },
            _ if experiment.is_bulk() => {
                details.insert("gb_per_cpu_second", count / server_seconds);
                server_seconds * 1e3 / count
            }
            _ => server_seconds * 1e6 / count,
        };
        Ok(Measured::Sample(Sample { cost, details }))
    }

    /// What makes the slice worth nothing: resumed where full ones are measured, or the other way round.
    fn check_resumption(&self, report: &Report) -> Result<Option<Measured>> {
        if self.key.experiment != Experiment::Resumed {
            let resumed = report.number("/handshakes/resumed").unwrap_or_default();
            let words = || format!("{resumed:.0} handshakes were resumed that nobody offered");
            return Ok((resumed > 0.0).then(|| Measured::Dropped(words())));
        }
        let resumed = report.must("/handshakes/resumed")?;
        let all = resumed + report.must("/handshakes/full")?;
        let offered = report.must("/handshakes/resumption_offered")?;
        if resumed >= RESUMED_MIN * all {
            return Ok(None);
        }
        let tickets = self.server.borrow().tickets;
        if resumed == 0.0 && tickets == Some(0) {
            let words = format!("does not resume: it sends no tickets ({all:.0} full handshakes)");
            return Ok(Some(Measured::Never(words)));
        }
        Ok(Some(Measured::Dropped(format!(
            "not resumed: {resumed:.0} of {all:.0} handshakes, {offered:.0} offered a session"
        ))))
    }
}

/// The percentiles of handshakes' latency that stand on enough of them, into `details`; the 99th.
pub(crate) fn percentiles(
    report: &Report,
    details: &mut BTreeMap<&'static str, f64>,
) -> Result<Option<f64>> {
    let of = |name: &str| report.must(&format!("/latency_us/handshake/{name}"));
    let count = of("count")?;
    for (name, json, share_above) in [
        ("p50_us", "p50", 0.5),
        ("p90_us", "p90", 0.1),
        ("p99_us", "p99", 0.01),
        ("p99_9_us", "p99_9", 0.001),
    ] {
        if count * share_above >= OBSERVATIONS_ABOVE {
            details.insert(name, of(json)?);
        }
    }
    Ok(details.get("p99_us").copied())
}

impl Contestant for LoadSlice {
    fn key(&self) -> &Key {
        &self.key
    }

    fn slice(&mut self) -> Result<Measured> {
        let (address, id) = {
            let server = self.server.borrow();
            server.trim_log();
            let address = match (self.key.experiment, server.second) {
                (Experiment::BulkDownload, Some(source)) => source,
                _ => server.address,
            };
            (address, server.id())
        };
        let report = self.tools.generator.run(&self.call(), address, id);
        interrupt::look()?;
        if let Err(problem) = self.server.borrow_mut().alive() {
            return Ok(Measured::Never(problem.to_string()));
        }
        match report {
            Ok(report) => self.take(&report),
            Err(problem) => {
                // Perhaps it ran out of certificates: more of them next time.
                self.last_rate *= 2.0;
                Ok(Measured::Dropped(problem.to_string()))
            }
        }
    }
}

/// The cryptographic floor, on the server's core.
pub(crate) struct CryptographySlice {
    pub(crate) key: Key,
    pub(crate) operations: Rc<Operations>,
    pub(crate) cpus: Vec<usize>,
    /// For each operation.
    pub(crate) time: Duration,
}

impl Contestant for CryptographySlice {
    fn key(&self) -> &Key {
        &self.key
    }

    fn slice(&mut self) -> Result<Measured> {
        let operations_made = &*self.operations;
        let time = self.time;
        let details = process::pinned(&self.cpus, || operations_made.measure(time))??;
        let cost = sum(&details, Experiment::FullUnseen, self.key.variant);
        let cost = cost.ok_or_else(|| Problem::new("the floor of full handshakes has no sum"))?;
        Ok(Measured::Sample(Sample { cost, details }))
    }
}

/// The floor of an experiment out of measured operations; `None` where there is none.
pub(crate) fn sum(
    details: &BTreeMap<&'static str, f64>,
    experiment: Experiment,
    variant: crate::experiment::Variant,
) -> Option<f64> {
    let operations = operations(experiment, variant);
    let parts = operations.iter().map(|(name, times)| Some(details.get(name)? * times));
    parts.sum::<Option<f64>>().filter(|sum| *sum > 0.0)
}
