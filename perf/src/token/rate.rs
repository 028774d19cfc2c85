//! Slices with a key in a token, or in software beside it: as many handshakes as go, or at a set rate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::KeyPlace;
use crate::awake::Awake;
use crate::cell::{BUSY, Key, Measured, RATE, Sample};
use crate::experiment::Experiment;
use crate::interrupt;
use crate::load::{Call, Report};
use crate::problem::{Problem, Result};
use crate::rounds::Contestant;
use crate::server::Server;
use crate::slice::{SEEN_CLIENTS, Tools, percentiles};
use crate::system::Kind;
use crate::threads::{Roles, Shares, Snapshot};

/// Names of details: µs of CPU a handshake, by whose it was.
pub(crate) const WORKER_US: &str = "worker_us";
pub(crate) const OTHERS_US: &str = "other_threads_us";
pub(crate) const CHILDREN_US: &str = "child_processes_us";
/// The three together.
pub(crate) const EVERYTHING_US: &str = "everything_us";
/// Share of its CPU that the worker used.
pub(crate) const WORKER_BUSY: &str = "worker_busy";
/// Share of the clients' CPUs that the clients used.
pub(crate) const CLIENTS_BUSY: &str = "clients_busy";
/// Share of their CPUs that the engine's other threads and the token's process used.
pub(crate) const LANES_BUSY: &str = "lanes_busy";
pub(crate) const P50: &str = "p50_us";
pub(crate) const P99: &str = "p99_us";
/// Median of how late the load generator itself began what was due; it is part of the latency.
const BEGUN_LATE: &str = "begun_late_p50_us";

/// Handshakes that wait for a token are many at a time, the more the longer they wait: in units of the run's
/// connections, for each ms of the token. They come in waves, and the worker must have something to do between two.
const CONNECTIONS_PER_MS: usize = 2;
/// A worker that blocks does one after the other: more clients only wait longer, and end in bunches.
const BLOCKED_CONNECTIONS: usize = 16;
/// Every client has had a token's answer by then, and the lanes are as many as the load wants.
const RAMP_LEAST: Duration = Duration::from_millis(500);
/// A median and a 99th percentile want observations: the slices get longer for them, up to so many times.
const OBSERVATIONS: f64 = 550.0;
const LONGER_MAX: u32 = 5;
/// Of those that were due, so many may have found no free slot.
const LEFT_WAITING_MAX: f64 = 0.01;

/// A load on one server, whose key lies in `place`.
pub(crate) struct RateSlice {
    pub(crate) key: Key,
    pub(crate) tools: Rc<Tools>,
    pub(crate) server: Rc<RefCell<Server>>,
    pub(crate) place: KeyPlace,
    pub(crate) kind: Kind,
    /// Handshakes per second, of clients seen before; `None` is as many as go, of clients never seen before.
    pub(crate) rate: Option<f64>,
    /// The rate that was last seen: how many certificates a slice needs.
    pub(crate) last_rate: f64,
    /// CPUs of the engine's other threads and of the token's process.
    pub(crate) lane_cpus: usize,
    /// CPUs that are kept awake meanwhile; none where the machine is measured as it is.
    pub(crate) awake_cpus: Vec<usize>,
}

impl RateSlice {
    fn roles(&self) -> Roles {
        match self.kind {
            Kind::Countersign => Roles::ByName,
            _ => Roles::AllWorkers,
        }
    }

    fn call(&self) -> Call {
        let tools = &self.tools;
        let connections = match (self.kind, self.rate) {
            (Kind::Countersign, _) | (_, Some(_)) => {
                let token = self.key.experiment.token();
                let ms = token.map_or(1, |token| token.latency.as_millis() as usize);
                CONNECTIONS_PER_MS * ms * tools.connections
            }
            (_, None) => BLOCKED_CONNECTIONS.min(tools.connections),
        };
        let duration = match self.rate {
            Some(rate) => {
                let needed = Duration::from_secs_f64(OBSERVATIONS / rate.max(1.0));
                needed.clamp(tools.slice, LONGER_MAX * tools.slice)
            }
            None => tools.slice,
        };
        let ramp = tools.ramp.max(RAMP_LEAST);
        let call = Call::new("handshake", ramp, duration).with("--connections", connections);
        let tls = |call: Call, clients| call.tls(&tools.pki, self.key.variant, clients);
        match self.rate {
            Some(rate) => tls(call, SEEN_CLIENTS)
                .with("--seen", SEEN_CLIENTS)
                .at_rate(rate, tools.has_own_client_cpus),
            // The clients may share their CPU with the lanes: what the server does for them stays the same.
            None => {
                let pool = self.last_rate * (ramp + duration).as_secs_f64() * 1.5;
                tls(call, pool as usize + 2 * connections)
                    .with("--unseen", 100)
                    .flag("--reuse-key-share")
            }
        }
    }

    fn take(&mut self, report: &Report, shares: Shares) -> Result<Measured> {
        let resumed = report.must("/handshakes/resumed")?;
        if resumed > 0.0 {
            let words = format!("{resumed:.0} handshakes were resumed that nobody offered");
            return Ok(Measured::Dropped(words));
        }
        let count = report.must("/handshakes/full")?;
        if count <= 0.0 {
            return Ok(Measured::Dropped("nothing was completed in the slice".to_owned()));
        }
        let seconds = report.must("/seconds")?;
        self.last_rate = count / seconds;
        let mut details = self.cpu(report, shares, (count, seconds))?;
        details.insert(RATE, count / seconds);
        percentiles(report, &mut details)?;
        if self.rate.is_some() {
            return at_a_rate(report, details);
        }
        let busy = details[WORKER_BUSY];
        // What all are compared with must be what its worker can do. With a token something else may be the
        // limit: that is what is measured, and the report says what it was.
        if self.place == KeyPlace::Software && busy < self.tools.busy_min {
            let words = format!(
                "the worker was only {:.0}% busy: the client was the limit, or others had its core",
                busy * 100.0
            );
            return Ok(Measured::Dropped(words));
        }
        let cost = match self.key.experiment {
            Experiment::TokenVerify => details[EVERYTHING_US],
            _ => seconds * 1e6 / count,
        };
        Ok(Measured::Sample(Sample { cost, details }))
    }

    /// The server's CPU time by whose it was, and how busy everybody's CPUs were. The load generator counts the
    /// server's in the steady phase, and shares are those of its whole run: a handshake in the ramp is no other.
    fn cpu(
        &self,
        report: &Report,
        shares: Shares,
        (count, seconds): (f64, f64),
    ) -> Result<BTreeMap<&'static str, f64>> {
        let server = report.must("/cpu/server_seconds")?;
        let us = |share: f64| server * share * 1e6 / count;
        let clients = self.tools.generator.cpus.len() as f64;
        let lanes = server * (shares.others + shares.children);
        Ok(BTreeMap::from([
            (WORKER_US, us(shares.workers)),
            (OTHERS_US, us(shares.others)),
            (CHILDREN_US, us(shares.children)),
            (EVERYTHING_US, us(1.0)),
            (WORKER_BUSY, server * shares.workers / seconds),
            (CLIENTS_BUSY, report.must("/cpu/client_seconds")? / seconds / clients),
            (LANES_BUSY, lanes / seconds / self.lane_cpus.max(1) as f64),
            (BUSY, server / seconds),
        ]))
    }
}

/// A sample by its median.
fn at_a_rate(report: &Report, mut details: BTreeMap<&'static str, f64>) -> Result<Measured> {
    details.extend(report.number("/latency_us/begun_late/p50").map(|late| (BEGUN_LATE, late)));
    let (due, waiting) = (report.must("/open_loop/due")?, report.must("/open_loop/left_waiting")?);
    if waiting > LEFT_WAITING_MAX * due {
        let words = format!("{waiting:.0} of {due:.0} handshakes found no free slot");
        return Ok(Measured::Dropped(words));
    }
    Ok(match details.get(P50).copied() {
        Some(cost) => Measured::Sample(Sample { cost, details }),
        None => Measured::Dropped("too few handshakes for a median".to_owned()),
    })
}

impl Contestant for RateSlice {
    fn key(&self) -> &Key {
        &self.key
    }

    fn slice(&mut self) -> Result<Measured> {
        let (address, id) = {
            let mut server = self.server.borrow_mut();
            server.trim_log();
            // A process that was started again is not where it was.
            if let Err(problem) = server.alive().and_then(|()| server.keep_aside()) {
                return Ok(Measured::Never(problem.to_string()));
            }
            (server.address, server.id())
        };
        let awake = match Awake::start(&self.awake_cpus, &self.tools.generator.directory) {
            Ok(awake) => awake,
            Err(problem) => {
                interrupt::look()?;
                return Ok(Measured::Dropped(problem.to_string()));
            }
        };
        let before = Snapshot::take(id, self.roles());
        let report = self.tools.generator.run(&self.call(), address, id);
        let shares = Snapshot::take(id, self.roles()).since(&before);
        let kept = awake.end();
        interrupt::look()?;
        if let Err(problem) = self.server.borrow_mut().alive() {
            return Ok(Measured::Never(problem.to_string()));
        }
        let unknown = || Problem::new("the server's threads used no CPU time");
        if let Err(problem) = kept {
            return Ok(Measured::Dropped(problem.to_string()));
        }
        match report.and_then(|report| Ok((report, shares.ok_or_else(unknown)?))) {
            Ok((report, shares)) => self.take(&report, shares),
            Err(problem) => {
                // Perhaps it ran out of certificates: more of them next time.
                self.last_rate *= 2.0;
                Ok(Measured::Dropped(problem.to_string()))
            }
        }
    }
}
