//! The engine as a whole: its workers and its log.

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_proto::UpstreamAddress;
use countersign_ring::{ListenOptions, Listener};
use serde_json::json;

use super::descriptors::{capacity, raise_limit};
use crate::config::Config;
use crate::signing::Performer;
use crate::telemetry::{Log, Recorder, Totals};
use crate::worker::{self, InboxSender, Message, WorkerEnd, WorkerError, WorkerPlan};

/// A running engine.
pub struct Engine {
    workers: Vec<Worker>,
    addresses: Vec<SocketAddr>,
    log: Log,
    stopping: Cell<bool>,
}

struct Worker {
    inbox: InboxSender,
    thread: JoinHandle<Result<WorkerEnd, WorkerError>>,
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The log's thread cannot be started.
    #[error("cannot start the log: {0}")]
    Log(std::io::Error),
    /// A worker could not start.
    #[error("{0}")]
    Worker(#[from] WorkerError),
}

/// How the engine ended.
#[derive(Debug)]
pub struct Stopped {
    /// Every connection ended by itself.
    pub clean: bool,
    /// A worker failed while it served.
    pub failure: Option<WorkerError>,
    /// The counters at the end.
    pub totals: Totals,
}

impl Engine {
    /// Starts listening and serving. `output` receives the log.
    ///
    /// # Errors
    /// See [`StartError`]; whatever had started already is stopped again.
    pub fn start(
        config: Config,
        performer: Arc<dyn Performer>,
        output: Box<dyn Write + Send>,
    ) -> Result<Self, StartError> {
        let (log, recorders) = Log::start(config.workers, output).map_err(StartError::Log)?;
        let limit = raise_limit();
        let dials =
            config.listeners.iter().any(|listener| listener.upstream != UpstreamAddress::Whoami);
        let capacity = capacity(config.max_connections, dials, limit);
        let (sockets, addresses) = listen(&config)?;
        let mut engine = Self { workers: Vec::new(), addresses, log, stopping: Cell::new(false) };
        let listeners = Arc::new(config.listeners);
        let plans =
            sockets.into_iter().zip(recorders).enumerate().map(|(number, (sockets, recorder))| {
                let cpu =
                    (!config.cpus.is_empty()).then(|| config.cpus[number % config.cpus.len()]);
                plan(
                    number,
                    config.workers,
                    cpu,
                    sockets,
                    &listeners,
                    capacity,
                    &performer,
                    recorder,
                )
            });
        for plan in plans {
            // On an error the workers that run already are told to stop, by dropping `engine`.
            let worker = start(plan)?;
            engine.workers.push(worker);
        }
        for (index, address) in engine.addresses.iter().enumerate() {
            engine
                .log
                .write("listening", json!({ "address": address.to_string(), "listener": index }));
        }
        engine.log.write(
            "ready",
            json!({
                "workers": config.workers,
                "cpus": config.cpus,
                "max_connections_per_worker": capacity.connections,
                "version": env!("CARGO_PKG_VERSION"),
            }),
        );
        Ok(engine)
    }

    /// Where it listens, in the order of the configuration; ports that were 0 are what the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.log.totals()
    }

    /// Writes the counters into the log.
    pub fn log_status(&self) {
        self.log.write("status", self.totals().to_json());
    }

    /// Has a worker ended that was not told to?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.stopping.get() && self.workers.iter().any(|worker| worker.thread.is_finished())
    }

    /// Tells the workers to stop accepting, to let connections finish and to cut them off after
    /// `patience`. Told again, only a shorter patience counts.
    pub fn begin_stop(&self, patience: Duration) {
        self.stopping.set(true);
        let now = Instant::now();
        let deadline = now.checked_add(patience).unwrap_or(now);
        for worker in &self.workers {
            worker.inbox.send(Message::Stop { deadline });
        }
        self.log.write("stopping", json!({ "drain_timeout_ms": patience.as_millis() as u64 }));
    }

    /// Has everything ended?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.workers.iter().all(|worker| worker.thread.is_finished())
    }

    /// Waits for the workers' end; [`Self::begin_stop`] was called before.
    #[must_use]
    pub fn join(mut self) -> Stopped {
        let mut stopped = Stopped { clean: true, failure: None, totals: Totals::default() };
        for worker in self.workers.drain(..) {
            match worker.thread.join() {
                Ok(Ok(WorkerEnd::Clean)) => {}
                Ok(Ok(WorkerEnd::TimedOut)) => stopped.clean = false,
                Ok(Err(error)) => {
                    stopped.clean = false;
                    stopped.failure = Some(error);
                }
                Err(_panic) => {
                    stopped.clean = false;
                    stopped.failure = Some(WorkerError::Panicked);
                }
            }
        }
        self.log.flush();
        stopped.totals = self.log.totals();
        let mut fields = stopped.totals.to_json();
        fields["clean"] = json!(stopped.clean);
        fields["error"] = json!(stopped.failure.as_ref().map(ToString::to_string));
        self.log.write("stopped", fields);
        stopped
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for worker in self.workers.drain(..) {
            worker.inbox.send(Message::Stop { deadline: Instant::now() });
            // Its end interests nobody any more.
            let _ = worker.thread.join();
        }
    }
}

/// Makes the listening sockets of every worker: one for each address and worker.
fn listen(config: &Config) -> Result<(Vec<Vec<Listener>>, Vec<SocketAddr>), StartError> {
    let mut addresses = Vec::with_capacity(config.listeners.len());
    let mut sockets: Vec<Vec<Listener>> = (0..config.workers).map(|_| Vec::new()).collect();
    for listener in &config.listeners {
        let asked = listener.address;
        refuse_if_taken(asked)?;
        let mut address = asked;
        for of_worker in &mut sockets {
            let failed = |source| StartError::Listen { address: asked, source };
            let socket = Listener::bind(address, &ListenOptions::default()).map_err(failed)?;
            // Port 0: the first socket's port is everybody's.
            address = socket.local_addr().map_err(failed)?;
            of_worker.push(socket);
        }
        addresses.push(address);
    }
    Ok((sockets, addresses))
}

/// With SO_REUSEPORT two engines of one user could share a port without noticing; a socket without it
/// finds out whether anybody is there.
fn refuse_if_taken(address: SocketAddr) -> Result<(), StartError> {
    if address.port() == 0 {
        return Ok(());
    }
    let options = ListenOptions { reuse_port: false, ..ListenOptions::default() };
    match Listener::bind(address, &options) {
        Ok(_released_at_once) => Ok(()),
        Err(source) => Err(StartError::Listen { address, source }),
    }
}

#[allow(clippy::too_many_arguments, reason = "a plain record is put together here")]
fn plan(
    number: usize,
    workers: usize,
    cpu: Option<usize>,
    sockets: Vec<Listener>,
    listeners: &Arc<Vec<crate::config::ListenerConfig>>,
    capacity: super::descriptors::Capacity,
    performer: &Arc<dyn Performer>,
    recorder: Recorder,
) -> WorkerPlan {
    WorkerPlan {
        number,
        workers,
        cpu,
        sockets,
        listeners: Arc::clone(listeners),
        max_connections: capacity.connections,
        slots: capacity.slots,
        performer: Arc::clone(performer),
        recorder,
    }
}

fn start(plan: WorkerPlan) -> Result<Worker, WorkerError> {
    let (started, start) = mpsc::channel();
    let thread = worker::spawn(plan, started)?;
    match start.recv() {
        Ok(Ok(inbox)) => Ok(Worker { inbox, thread }),
        Ok(Err(error)) => {
            let _ = thread.join();
            Err(error)
        }
        Err(_gone) => Err(WorkerError::Lost),
    }
}
