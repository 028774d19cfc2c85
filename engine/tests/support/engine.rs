//! An engine of one worker in this process, with the test signer behind it.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::config::{Config, IdentityConfig, ListenerConfig, TlsConfig, TokenRules};
use countersign::control::{Engine, Stopped};
use countersign::signing::Lanes;
use countersign::telemetry::Totals;
use countersign_proto::{
    Announce, ChainCacheLimits, ClientAuth, Handoff, Limits, Reason, Resumption, Rule,
    UpstreamAddress, Withdrawal, Work, WorkKind,
};
use serde_json::Value;

use super::client::{Client, Handshake};
use super::pki::PKI;
use super::signer::{Manner, Signer, Ticket};
use super::{PATIENCE, wait_until};

/// What an engine is started with.
pub(crate) struct Setup {
    /// What leaves a step.
    pub(crate) handoff: Handoff,
    /// Threads that do it.
    pub(crate) lanes: usize,
    /// Jobs that wait for a lane.
    pub(crate) depth: usize,
    /// One listener for each; the first one's count for the worker.
    pub(crate) limits: Vec<Limits>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { handoff: Handoff::ALL, lanes: 8, depth: 64, limits: vec![patient()] }
    }
}

/// Limits whose timeouts no test reaches.
pub(crate) fn patient() -> Limits {
    Limits {
        handshake_timeout: 10 * PATIENCE,
        operation_timeout: 10 * PATIENCE,
        drain_timeout: 2 * PATIENCE,
        ..Limits::default()
    }
}

/// Only work of this kind leaves a step.
pub(crate) fn only(kind: WorkKind) -> Handoff {
    Handoff {
        sign: kind == WorkKind::Sign,
        verify_chain: kind == WorkKind::VerifyChain,
        verify_possession: kind == WorkKind::VerifyPossession,
        agree: kind == WorkKind::Agree,
    }
}

/// A running engine. Dropped, it stops at once and gives every lane back.
pub(crate) struct TestEngine {
    pub(crate) signer: Arc<Signer>,
    engine: Option<Engine>,
    log: LogLines,
}

impl TestEngine {
    pub(crate) fn start(setup: Setup) -> Self {
        let signer = Arc::new(Signer::default());
        let perform = {
            let signer = Arc::clone(&signer);
            Arc::new(move |work: Box<Work>| signer.perform(*work))
        };
        let lanes =
            Lanes::start(setup.handoff, setup.lanes, setup.depth, perform).expect("threads");
        let config = Config {
            listeners: setup.limits.into_iter().map(listener).collect(),
            workers: 1,
            cpus: Vec::new(),
            max_connections: Some(256),
            // Nobody is known: every step is there to be suspended.
            chain_cache: ChainCacheLimits { chains: 0, bytes: 0 },
            max_handshakes: 256,
            log_connections: countersign::telemetry::LoggedConnections::All,
            drain_timeout: PATIENCE,
            ticket_keys: None,
            ticket_key_lifetime: PATIENCE,
            tokens: TokenRules::default(),
            admin: None,
            warnings: Vec::new(),
        };
        let log = LogLines::default();
        // As in the program, only the engine holds the lanes.
        let engine = Engine::start(config, Arc::new(lanes), Box::new(log.clone()));
        Self { signer, engine: Some(engine.expect("an engine")), log }
    }

    /// A client of the first listener that has sent its ClientHello.
    pub(crate) fn client(&self, handshake: Handshake) -> Client {
        self.client_of(0, handshake)
    }

    /// A client of any listener.
    pub(crate) fn client_of(&self, listener: usize, handshake: Handshake) -> Client {
        Client::connect(self.engine().addresses()[listener], handshake)
    }

    /// A client whose handshake is suspended at work of this kind, which is held.
    pub(crate) fn suspend(&self, kind: WorkKind, handshake: Handshake) -> (Client, Ticket) {
        self.suspend_of(0, kind, handshake)
    }

    /// A client of any listener. One that is refused before it comes so far, as short timeouts on a
    /// busy machine do, is replaced by another.
    pub(crate) fn suspend_of(
        &self,
        listener: usize,
        kind: WorkKind,
        handshake: Handshake,
    ) -> (Client, Ticket) {
        let ticket = self.signer.arrivals();
        self.signer.once(kind, Manner::Hold);
        loop {
            let mut client = self.client_of(listener, handshake);
            if client.run_until(|_| self.signer.arrivals() > ticket) {
                return (client, ticket);
            }
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        self.engine().totals()
    }

    /// How often connections were refused for this reason.
    pub(crate) fn refusals(&self, reason: Reason) -> u64 {
        let refused = self.totals().refused;
        refused.iter().find(|(of, _)| *of == reason).map_or(0, |(_, count)| *count)
    }

    /// Waits until so many handshakes are suspended.
    pub(crate) fn wait_for_suspended(&self, count: u64) {
        wait_until(&format!("{count} handshakes are suspended"), || {
            self.totals().stacks_suspended == count
        });
    }

    /// Waits until nothing is left of any connection.
    pub(crate) fn wait_for_silence(&self) {
        wait_until("every connection is released", || {
            let totals = self.totals();
            totals.connections_open == 0
                && totals.stacks_suspended == 0
                && totals.drains == 0
                && totals.accepted == totals.released
        });
    }

    /// Waits for `count` lines of refused connections with this reason, and gives them.
    pub(crate) fn wait_for_refused_lines(&self, reason: Reason, count: usize) -> Vec<Value> {
        let lines = || -> Vec<Value> {
            let is_meant = |line: &Value| {
                line["event"] == "connection"
                    && line["result"] == "refused"
                    && line["reason"] == reason.label()
            };
            self.log.lines().into_iter().filter(is_meant).collect()
        };
        wait_until(&format!("{count} connections are logged as {}", reason.label()), || {
            lines().len() >= count
        });
        lines()
    }

    /// Begins to stop.
    pub(crate) fn begin_stop(&self, patience: Duration) {
        self.engine().begin_stop(patience);
    }

    /// Waits for the end of a stop. The lanes keep what they hold.
    pub(crate) fn join(&mut self) -> Stopped {
        wait_until("the engine has stopped", || self.engine().is_over());
        let stopped = self.engine.take().expect("an engine that runs").join();
        assert!(stopped.failure.is_none(), "{:?}", stopped.failure);
        assert_nothing_left(&stopped.totals);
        stopped
    }

    /// Every connection has ended: the engine stops cleanly, and nothing is left.
    pub(crate) fn end(mut self) {
        self.wait_for_silence();
        self.begin_stop(PATIENCE);
        assert!(self.join().clean, "connections were cut off");
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine that runs")
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        self.signer.close();
    }
}

fn assert_nothing_left(totals: &Totals) {
    assert_eq!(totals.accepted, totals.released, "{totals:?}");
    assert_eq!(totals.connections_open, 0, "{totals:?}");
    assert_eq!(totals.stacks_suspended, 0, "{totals:?}");
    assert_eq!(totals.drains, 0, "{totals:?}");
}

fn listener(limits: Limits) -> ListenerConfig {
    limits.check().expect("limits within their bounds");
    ListenerConfig {
        name: "test".into(),
        address: ([127, 0, 0, 1], 0).into(),
        identities: vec![IdentityConfig {
            server_names: Vec::new(),
            credentials: PKI.server.clone(),
            token_key: None,
            client_ca: vec![PKI.root.clone()],
            trust_domain: None,
            client_auth: ClientAuth::Require,
            revocation: None,
            ocsp: None,
            staple: None,
        }],
        strict_sni: false,
        tls: TlsConfig::default(),
        rules: vec![Rule::parse_allow("cn=alice").expect("a rule")],
        shadow_rules: None,
        upstream: UpstreamAddress::Whoami,
        announce: Announce::Nothing,
        withdrawal: Withdrawal::default(),
        proxy_from: Vec::new(),
        resumption: Resumption::default(),
        max_connections: None,
        limits,
    }
}

/// The log, as far as it is written.
#[derive(Clone, Default)]
struct LogLines {
    text: Arc<Mutex<Vec<u8>>>,
}

impl LogLines {
    fn lines(&self) -> Vec<Value> {
        let text = self.text.lock().expect("no panic under the lock");
        // A line is written with one call, so there are only whole ones.
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
            .collect()
    }
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.lock().expect("no panic under the lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
