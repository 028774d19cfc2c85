//! Slices on a key in software, while other clients of the same worker want a key in a token that may hang.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::rate::{P50, WORKER_BUSY};
use super::{Beside, TokenFolder};
use crate::cell::{Key, Measured, RATE, Sample};
use crate::check::{self, Question};
use crate::experiment::TokenTraits;
use crate::interrupt;
use crate::load::{Call, Generator, Report, Running};
use crate::problem::{During, Problem, Result};
use crate::rounds::Contestant;
use crate::server::Server;
use crate::slice::{SEEN_CLIENTS, Tools, percentiles};
use crate::threads::{Roles, Snapshot};

/// Names of details: handshakes with the token's key, per second.
pub(crate) const TOKEN_DONE: &str = "token_handshakes_per_second";
pub(crate) const TOKEN_FAILED: &str = "token_failures_per_second";

/// The token that hangs, while it is well.
pub(crate) const TOKEN: TokenTraits =
    TokenTraits { latency: Duration::from_millis(2), sessions: 64 };
/// Long enough for what happens when a token hangs: the first operations are given up after two seconds, and
/// from then on the token is known to be away.
const STEADY: Duration = Duration::from_secs(4);
const RAMP: Duration = Duration::from_millis(500);
/// The others are at work when the measured ones begin.
const OTHERS_AHEAD: Duration = Duration::from_millis(700);
/// The others' ramp, and a time that none of their runs has: they are ended.
const OTHERS_RAMP: Duration = Duration::from_millis(200);
const OTHERS_TIME: Duration = Duration::from_secs(120);
/// More at a time than an engine's worker suspends.
const OTHERS_CONNECTIONS: usize = 1000;
/// A token that was mended serves again within this.
const MENDED_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A load on an identity with a key in software, and what goes on beside it.
pub(crate) struct HangSlice {
    pub(crate) key: Key,
    pub(crate) tools: Rc<Tools>,
    pub(crate) server: Rc<RefCell<Server>>,
    pub(crate) token: Rc<RefCell<TokenFolder>>,
    pub(crate) beside: Beside,
    /// The load generator of the clients that want the token's key.
    pub(crate) others: Rc<Generator>,
    /// Handshakes per second with either key.
    pub(crate) rate: f64,
}

/// What one slice saw.
struct Seen {
    report: Report,
    others: Option<Report>,
    worker_share: f64,
}

impl HangSlice {
    fn call(&self, ramp: Duration, duration: Duration, connections: usize) -> Call {
        Call::new("handshake", ramp, duration)
            .tls(&self.tools.pki, self.key.variant, SEEN_CLIENTS)
            .with("--seen", SEEN_CLIENTS)
            .at_rate(self.rate, self.tools.has_own_client_cpus)
            .with("--connections", connections)
    }

    fn measure(&self) -> Result<Seen> {
        let (address, of_token, id) = {
            let mut server = self.server.borrow_mut();
            server.trim_log();
            server.alive()?;
            let of_token = server.second.ok_or_else(|| Problem::new("it has one listener"))?;
            (server.address, of_token, server.id())
        };
        self.wait_for_token(of_token)?;
        self.server.borrow().keep_aside()?;
        let others = match self.beside {
            Beside::Nobody => None,
            Beside::Well | Beside::Hangs => Some(self.start_others(of_token, id)?),
        };
        let before = Snapshot::take(id, Roles::ByName);
        if self.beside == Beside::Hangs {
            self.token.borrow_mut().hang()?;
        }
        let call = self.call(RAMP, STEADY, 4 * self.tools.connections);
        let report = self.tools.generator.run(&call, address, id);
        let after = Snapshot::take(id, Roles::ByName);
        let others = others.map(Running::end);
        // Also where something failed: the next slice wants it well.
        self.token.borrow().mend()?;
        let others = others.transpose()?;
        let worker_share = after.since(&before).map_or(0.0, |shares| shares.workers);
        Ok(Seen { report: report?, others, worker_share })
    }

    /// Until a client with a certificate is served with the token's key.
    fn wait_for_token(&self, address: SocketAddr) -> Result<()> {
        let begun = Instant::now();
        loop {
            let Err(problem) =
                check::check(address, &self.tools.pki, self.key.variant, Question::Http)
            else {
                return Ok(());
            };
            self.server.borrow_mut().alive()?;
            if begun.elapsed() > MENDED_WITHIN {
                return Err(problem).during("the token did not come back");
            }
            interrupt::sleep(BETWEEN_LOOKS)?;
        }
    }

    /// They begin while the token is well, so that what they meet later is no failure to start.
    fn start_others(&self, address: SocketAddr, server: u32) -> Result<Running> {
        let call = self
            .call(OTHERS_RAMP, OTHERS_TIME, OTHERS_CONNECTIONS)
            .with("--max-errors", u32::MAX)
            .with("--give-up", format!("{}s", OTHERS_TIME.as_secs()));
        let mut others = self.others.start(&call, address, server)?;
        interrupt::sleep(OTHERS_AHEAD)?;
        if !others.is_running() {
            let words = others.end()?.failures().unwrap_or_default();
            return Err(Problem::new(format!("the clients of the token's key ended: {words}")));
        }
        Ok(others)
    }

    fn take(&self, seen: &Seen) -> Result<Measured> {
        let report = &seen.report;
        let seconds = report.must("/seconds")?;
        let server = report.must("/cpu/server_seconds")?;
        let count = report.must("/handshakes/full")?;
        let mut details = BTreeMap::from([
            (RATE, count / seconds),
            (WORKER_BUSY, server * seen.worker_share / seconds),
        ]);
        if let Some(others) = &seen.others {
            let failed = others.must("/handshakes/failed")?;
            let time = others.must("/seconds")?;
            details.insert(TOKEN_DONE, others.must("/handshakes/full")? / time);
            details.insert(TOKEN_FAILED, failed / time);
            if self.beside == Beside::Well && failed > 0.0 {
                let words = others.failures().unwrap_or_default();
                return Ok(Measured::Dropped(format!("the token was well, and yet: {words}")));
            }
        }
        Ok(match percentiles(report, &mut details)?.filter(|_| details.contains_key(P50)) {
            Some(cost) => Measured::Sample(Sample { cost, details }),
            None => Measured::Dropped("too few handshakes for p99".to_owned()),
        })
    }
}

impl Contestant for HangSlice {
    fn key(&self) -> &Key {
        &self.key
    }

    fn slice(&mut self) -> Result<Measured> {
        let measured = self.measure().and_then(|seen| self.take(&seen));
        interrupt::look()?;
        if let Err(problem) = self.server.borrow_mut().alive() {
            return Ok(Measured::Never(problem.to_string()));
        }
        Ok(measured.unwrap_or_else(|problem| Measured::Dropped(problem.to_string())))
    }
}
