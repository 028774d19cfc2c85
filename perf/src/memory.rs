//! Memory of idle connections: a fresh server, its memory before and after so many clients stay.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::cell::{Key, Measured, Sample};
use crate::interrupt;
use crate::load::Call;
use crate::problem::{Problem, Result};
use crate::rounds::Contestant;
use crate::server::{Place, Server};
use crate::slice::Tools;
use crate::system::System;

/// How many were open when memory was read, and still at the end.
pub(crate) const HELD: &str = "connections_held";
/// The server without connections, after its first handshakes.
pub(crate) const BASE_MIB: &str = "server_mib_before";

/// Connections of the warm-up, ended before memory is read for the first time.
const WARM_UP: usize = 64;
/// Everything that is freed late is freed by then.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the clients stay after all have come.
const HOLD: Duration = Duration::from_secs(4);
/// The slowest system needs half a minute for 10,000.
const OPEN_WITHIN: Duration = Duration::from_secs(180);
/// What the load generator says when all are there.
const ALL_THERE: &str = "holding ";

/// One measurement of one system.
pub(crate) struct MemorySlice<'a> {
    pub(crate) key: Key,
    pub(crate) tools: Rc<Tools>,
    pub(crate) system: &'a System,
    pub(crate) place: &'a Place<'a>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) connections: usize,
}

impl Contestant for MemorySlice<'_> {
    fn key(&self) -> &Key {
        &self.key
    }

    fn slice(&mut self) -> Result<Measured> {
        let measured = self.measure();
        interrupt::look()?;
        Ok(measured.unwrap_or_else(|problem| Measured::Dropped(problem.to_string())))
    }
}

impl MemorySlice<'_> {
    fn measure(&self) -> Result<Measured> {
        let mut server =
            Server::start(self.system, self.place, self.key.variant, None, &self.cpus)?;
        let generator = &self.tools.generator;
        let short = Duration::from_millis(300);
        let warm_up = self.call(short, WARM_UP, WARM_UP).with("--requests", 1);
        generator.run(&warm_up, server.address, server.id())?;
        interrupt::sleep(SETTLE)?;
        let before = server.memory_bytes()?;

        let call = self.call(HOLD, self.connections, 16).flag("--hold");
        let mut load = generator.start(&call, server.address, server.id())?;
        let mut waited = Duration::ZERO;
        while !load.has_said(ALL_THERE) {
            if !load.is_running() || waited > OPEN_WITHIN {
                load.finish()?;
                let words = format!("{} connections did not come to be open", self.connections);
                return Err(Problem::new(words));
            }
            let step = Duration::from_millis(50);
            interrupt::sleep(step)?;
            waited += step;
        }
        interrupt::sleep(SETTLE)?;
        let after = server.memory_bytes()?;
        server.alive()?;
        let report = load.finish()?;
        let held = report.must("/connections/alive_at_end")?;
        if held <= 0.0 {
            return Err(Problem::new("no connection was alive at the end"));
        }
        let mib = before as f64 / 1024.0 / 1024.0;
        let details = BTreeMap::from([(HELD, held), (BASE_MIB, mib)]);
        let cost = (after as f64 - before as f64) / 1024.0 / held;
        Ok(Measured::Sample(Sample { cost, details }))
    }

    /// With one request on each connection, so that what a first request allocates is there.
    fn call(&self, duration: Duration, connections: usize, clients: usize) -> Call {
        Call::new("request", Duration::ZERO, duration)
            .tls(&self.tools.pki, self.key.variant, clients)
            .with("--connections", connections)
    }
}
