//! The engine as a whole: its workers and its log.

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_proto::{Handoff, TicketKeys, UpstreamAddress};
use countersign_ring::{ListenOptions, Listener};
use serde_json::json;

use super::admin::Admin;
use super::descriptors::{Capacity, capacity, raise_limit};
use super::revocation::{ListProblem, Prepared, Revocation};
use super::status::Status;
use super::ticket_keys::{Change, NoRandomness, TicketKeyring, TicketKeysError};
use crate::config::{
    AdminAddress, BuildError, Config, ConfigErrors, IdentityConfig, ListenerConfig,
};
use crate::ocsp::Ocsp;
use crate::signing::station::Absence;
use crate::signing::{Performer, Tokens};
use crate::telemetry::{Log, Totals};
use crate::worker::{
    self, Bound, InboxSender, Message, Publication, Served, WorkerEnd, WorkerError, WorkerPlan,
};

/// A running engine.
pub struct Engine {
    workers: Vec<Worker>,
    addresses: Vec<SocketAddr>,
    log: Log,
    stopping: Cell<bool>,
    handoff: Handoff,
    generation: u64,
    capacity: Capacity,
    status: Arc<Status>,
    admin: Option<Admin>,
    ticket_keys: TicketKeyring,
    revocation: Option<Revocation>,
    ocsp: Ocsp,
    tokens: Tokens,
    config: Config,
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
    /// The admin endpoint cannot be started.
    #[error("cannot serve metrics on {address}: {source}")]
    Admin {
        /// Where.
        address: AdminAddress,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The thread that asks OCSP responders cannot be started.
    #[error("cannot start asking OCSP responders: {0}")]
    Ocsp(std::io::Error),
    /// A key in a token cannot be used.
    #[error("{0}")]
    Tokens(ConfigErrors),
    /// The log's thread cannot be started.
    #[error("cannot start the log: {0}")]
    Log(std::io::Error),
    /// A listener cannot be built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// There can be no ticket keys.
    #[error("{0}")]
    TicketKeys(#[from] TicketKeysError),
    /// A revocation list cannot be read.
    #[error("{0}")]
    Revocation(#[from] ListProblem),
    /// The thread that looks after revocation lists cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A worker could not start.
    #[error("{0}")]
    Worker(#[from] WorkerError),
}

/// Why a reload has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// This needs a restart.
    #[error("{0} cannot change while the engine runs; restart it to change that")]
    Unchangeable(&'static str),
    /// An address cannot be listened on.
    #[error("{0}")]
    Listen(#[from] StartError),
    /// A listener cannot be built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// There can be no ticket keys.
    #[error("{0}")]
    TicketKeys(#[from] TicketKeysError),
    /// A revocation list cannot be read.
    #[error("{0}")]
    Revocation(#[from] ListProblem),
    /// The thread that asks OCSP responders cannot be started.
    #[error("cannot start asking OCSP responders: {0}")]
    Ocsp(std::io::Error),
    /// A key in a token cannot be used.
    #[error("{0}")]
    Tokens(ConfigErrors),
}

impl ReloadError {
    /// Everything that is wrong, one text for each mistake.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Tokens(errors) => errors.0.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        }
    }
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
        mut config: Config,
        performer: Arc<dyn Performer>,
        output: Box<dyn Write + Send>,
    ) -> Result<Self, StartError> {
        let (log, recorders) =
            Log::start(config.workers, config.log_connections, output).map_err(StartError::Log)?;
        let capacity = capacity(
            config.max_connections,
            dials(&config),
            config.listeners.len() - 1,
            raise_limit(),
        );
        let addresses =
            config.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>();
        // Before anybody can connect: both may wait, for a token or the network.
        let mut tokens = Tokens::new(Some(log.writer()));
        let prepared_tokens = tokens.prepare(&mut config, Absence::Awaited);
        let prepared_tokens = prepared_tokens.map_err(StartError::Tokens)?;
        tokens.serve(prepared_tokens, &config);
        let mut ocsp = Ocsp::new(log.writer());
        let staples = ocsp.prepare(&config).map_err(StartError::Ocsp)?;
        let (sockets, bound) = listen(&addresses, config.workers)?;
        let mut revocation = Revocation::new(log.writer());
        let mut lists = revocation.prepare(&config)?;
        let (revocation_reader, ocsp_reader) = (revocation.reader(), ocsp.reader());
        let status = Arc::new(Status::new(
            log.reader(),
            &config,
            capacity,
            revocation_reader,
            ocsp_reader,
            tokens.reader(),
        ));
        let ticket_keys = TicketKeyring::start(&config, Instant::now())?;
        status.ticket_keys(ticket_keys.len());
        let performer = tokens.performer(ocsp.performer(performer));
        let mut engine = Self {
            workers: Vec::new(),
            addresses: bound,
            log,
            stopping: Cell::new(false),
            handoff: performer.handoff(),
            generation: 1,
            capacity,
            status,
            admin: None,
            ticket_keys,
            revocation: None,
            ocsp,
            tokens,
            config,
        };
        let mut cells = Vec::new();
        for (number, (sockets, recorder)) in sockets.into_iter().zip(recorders).enumerate() {
            let served =
                served(&engine.config, &engine.addresses, 1, engine.handoff, &mut lists, number)?;
            cells.push(staples.cells(&engine.config, listeners(&served)));
            let sockets = sockets
                .into_iter()
                .zip(served)
                .map(|(socket, (address, served))| Bound { address, socket, served })
                .collect();
            let cpus = &engine.config.cpus;
            // On an error the workers that run already are told to stop, by dropping `engine`.
            let worker = start(WorkerPlan {
                number,
                workers: engine.config.workers,
                cpu: (!cpus.is_empty()).then(|| cpus[number % cpus.len()]),
                sockets,
                chain_cache: engine.config.chain_cache,
                limits: engine.config.listeners[0].limits.clone(),
                max_connections: capacity.connections,
                max_handshakes: engine.config.max_handshakes,
                slots: capacity.slots,
                performer: Arc::clone(&performer),
                ticket_keys: engine.ticket_keys.for_worker().map_err(TicketKeysError::from)?,
                recorder,
            })?;
            engine.workers.push(worker);
        }
        drop(lists);
        let inboxes = engine.workers.iter().map(|worker| worker.inbox.clone());
        engine.ocsp.serve(staples, inboxes.clone().zip(cells));
        revocation.watch(inboxes.collect()).map_err(StartError::Thread)?;
        engine.revocation = Some(revocation);
        if let Some(address) = engine.config.admin.clone() {
            let source = Arc::clone(&engine.status);
            let failed = |source| StartError::Admin { address: address.clone(), source };
            engine.admin = Some(Admin::start(&address, source).map_err(failed)?);
        }
        engine.status.set_ready(true);
        engine.log_listening();
        engine.log.write(
            "ready",
            json!({
                "workers": engine.config.workers,
                "cpus": engine.config.cpus,
                "max_connections_per_worker": capacity.connections,
                "version": env!("CARGO_PKG_VERSION"),
            }),
        );
        Ok(engine)
    }

    /// Serves another configuration from now on, all of it or nothing. Connections that are open live
    /// on; sockets that both configurations listen on are kept, and nothing queued on them is lost.
    ///
    /// # Errors
    /// See [`ReloadError`]; then nothing has changed.
    pub fn reload(&mut self, config: Config) -> Result<(), ReloadError> {
        self.try_reload(config).inspect_err(|_| self.status.reload_failed())
    }

    /// A configuration could not even be loaded: counted like a reload that failed.
    pub fn note_failed_load(&self) {
        self.status.reload_failed();
    }

    fn try_reload(&mut self, mut config: Config) -> Result<(), ReloadError> {
        self.refuse_unchangeable(&config)?;
        let tokens = self.tokens.prepare(&mut config, Absence::Refused);
        let tokens = tokens.map_err(ReloadError::Tokens)?;
        let known =
            |address: &SocketAddr| self.config.listeners.iter().any(|l| l.address == *address);
        let added: Vec<_> =
            config.listeners.iter().map(|l| l.address).filter(|address| !known(address)).collect();
        let staples = self.ocsp.prepare(&config).map_err(ReloadError::Ocsp)?;
        let (sockets, bound) = listen(&added, config.workers)?;
        let generation = self.generation + 1;
        let addresses: Vec<_> = config
            .listeners
            .iter()
            .map(|listener| {
                let kept = self.config.listeners.iter().position(|l| l.address == listener.address);
                let new = added.iter().position(|address| *address == listener.address);
                kept.map(|index| self.addresses[index])
                    .or_else(|| new.map(|index| bound[index]))
                    .unwrap_or(listener.address)
            })
            .collect();
        let Some(revocation) = &self.revocation else { return Ok(()) };
        let mut lists = revocation.prepare(&config)?;
        let mut publications = Vec::with_capacity(self.workers.len());
        let mut cells = Vec::with_capacity(self.workers.len());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let served = served(&config, &addresses, generation, self.handoff, &mut lists, number)?;
            cells.push(staples.cells(&config, listeners(&served)));
            let of = |address| served.iter().find(|(known, _)| *known == address);
            let added = added
                .iter()
                .zip(sockets)
                .filter_map(|(address, socket)| {
                    let (address, served) = of(*address)?.clone();
                    Some(Bound { address, socket, served })
                })
                .collect();
            publications.push(Publication { generation, served, added });
        }
        drop(lists);
        let ticket_keys = self.ticket_keys.reload(&config, Instant::now())?;
        let for_workers = match &ticket_keys {
            Some(keyring) => {
                of_workers(keyring, self.workers.len()).map_err(TicketKeysError::from)?
            }
            None => Vec::new(),
        };
        // Nothing can fail from here on.
        self.tokens.serve(tokens, &config);
        self.addresses = addresses;
        self.generation = generation;
        self.config = config;
        self.status.published(&self.config, generation);
        for (worker, publication) in self.workers.iter().zip(publications) {
            worker.inbox.send(Message::Publish(Box::new(publication)));
        }
        if let Some(keyring) = ticket_keys {
            self.ticket_keys = keyring;
            self.give_ticket_keys(for_workers);
        }
        let inboxes = self.workers.iter().map(|worker| worker.inbox.clone());
        self.ocsp.serve(staples, inboxes.zip(cells));
        if !added.is_empty() {
            self.log_listening();
        }
        Ok(())
    }

    /// Looks after what changes by itself with time: ticket keys, and keys in tokens that nobody has any
    /// more. To be called again and again.
    pub fn tend(&mut self) {
        self.tokens.tend();
        match self.ticket_keys.tend(&self.config, Instant::now()) {
            Change::None => {}
            Change::Changed => match of_workers(&self.ticket_keys, self.workers.len()) {
                Ok(for_workers) => {
                    self.give_ticket_keys(for_workers);
                    let fields = json!({
                        "ticket_keys": self.ticket_keys.len(),
                        "ticket_key_generation": self.ticket_keys.generation(),
                    });
                    self.log.write("ticket_keys_changed", fields);
                }
                Err(error) => self.refuse_ticket_keys(&error.to_string()),
            },
            Change::Refused(problem) => self.refuse_ticket_keys(&problem),
        }
    }

    fn give_ticket_keys(&self, for_workers: Vec<TicketKeys>) {
        self.status.ticket_keys(self.ticket_keys.len());
        for (worker, keys) in self.workers.iter().zip(for_workers) {
            worker.inbox.send(Message::TicketKeys(Box::new(keys)));
        }
    }

    fn refuse_ticket_keys(&self, problem: &str) {
        self.status.ticket_keys_refused();
        self.log.write(
            "ticket_keys_refused",
            json!({
                "error": problem,
                "message": "tickets are sealed and opened with the keys that were there before",
            }),
        );
    }

    /// What is made once, when the engine starts.
    fn refuse_unchangeable(&self, config: &Config) -> Result<(), ReloadError> {
        let now = &self.config;
        let same = |what, same| if same { Ok(()) } else { Err(ReloadError::Unchangeable(what)) };
        same("workers", config.workers == now.workers)?;
        same("cpus", config.cpus == now.cpus)?;
        same("max_connections", config.max_connections == now.max_connections)?;
        same("max_handshakes", config.max_handshakes == now.max_handshakes)?;
        same("cached_chains", config.chain_cache.chains == now.chain_cache.chains)?;
        same("cached_chain_bytes", config.chain_cache.bytes == now.chain_cache.bytes)?;
        same("log_connections", config.log_connections == now.log_connections)?;
        same("admin.listen", config.admin == now.admin)?;
        let stacks = |config: &Config| config.listeners[0].limits.stacks();
        same("the number of suspended handshakes", stacks(config) == stacks(now))?;
        let room = self.capacity.slots as usize
            >= self.capacity.connections * if dials(config) { 2 } else { 1 };
        same(
            "an upstream that is dialled where none was (the table of descriptors is too small for it)",
            room,
        )
    }

    fn log_listening(&self) {
        for (address, listener) in self.addresses.iter().zip(&self.config.listeners) {
            self.log.write(
                "listening",
                json!({ "address": address.to_string(), "listener": listener.name }),
            );
        }
    }

    /// The configuration that is served.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Grows by one with every reload.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
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
        let mut fields = self.totals().to_json();
        fields["tokens"] = self.tokens.reader().to_json();
        self.log.write("status", fields);
    }

    /// Has a worker ended that was not told to?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let failed =
            !self.stopping.get() && self.workers.iter().any(|worker| worker.thread.is_finished());
        self.status.set_healthy(!failed);
        failed
    }

    /// Tells the workers to stop accepting, to let connections finish and to cut them off after
    /// `patience`. Told again, only a shorter patience counts.
    pub fn begin_stop(&self, patience: Duration) {
        self.stopping.set(true);
        self.status.set_ready(false);
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
        self.admin = None;
        self.revocation = None;
        stopped.totals = self.log.totals();
        let mut fields = stopped.totals.to_json();
        fields["clean"] = json!(stopped.clean);
        fields["error"] = json!(stopped.failure.as_ref().map(ToString::to_string));
        self.log.write("stopped", fields);
        self.log.flush();
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

/// Opens every token that a configuration names, finds every key, and closes them again.
///
/// # Errors
/// Everything that is wrong, each at its place.
pub fn check_tokens(config: &Config) -> Result<(), ConfigErrors> {
    Tokens::new(None).prepare(&mut config.clone(), Absence::Refused).map(drop)
}

/// The keys for each worker, with a part of its own to seal under.
fn of_workers(keyring: &TicketKeyring, workers: usize) -> Result<Vec<TicketKeys>, NoRandomness> {
    (0..workers).map(|_| keyring.for_worker()).collect()
}

/// Does a listener dial its upstream?
fn dials(config: &Config) -> bool {
    config.listeners.iter().any(|listener| listener.upstream != UpstreamAddress::Whoami)
}

/// Builds for one worker what each address serves.
fn served(
    config: &Config,
    bound: &[SocketAddr],
    generation: u64,
    handoff: Handoff,
    lists: &mut Prepared<'_>,
    worker: usize,
) -> Result<Vec<(SocketAddr, Served)>, BuildError> {
    let mut feed = |identity: &IdentityConfig| lists.feed(worker, identity);
    let build = |(index, listener): (usize, &ListenerConfig)| {
        let max_connections = listener.max_connections.unwrap_or(usize::MAX);
        let built = listener.build(bound[index], generation, handoff, &mut feed)?;
        let built = Arc::new(built);
        Ok((listener.address, Served { listener: built, max_connections }))
    };
    config.listeners.iter().enumerate().map(build).collect()
}

/// What a worker serves, in the order of the configuration.
fn listeners(
    served: &[(SocketAddr, Served)],
) -> impl Iterator<Item = &countersign_proto::Listener> {
    served.iter().map(|(_, served)| &*served.listener)
}

/// Makes listening sockets, one for each address and worker, and gives them by worker, with where each
/// address came to listen.
fn listen(
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<(Vec<Vec<Listener>>, Vec<SocketAddr>), StartError> {
    let mut bound = Vec::with_capacity(addresses.len());
    let mut sockets: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for &asked in addresses {
        refuse_if_taken(asked)?;
        let mut address = asked;
        for of_worker in &mut sockets {
            let failed = |source| StartError::Listen { address: asked, source };
            let socket = Listener::bind(address, &ListenOptions::default()).map_err(failed)?;
            // Port 0: the first socket's port is everybody's.
            address = socket.local_addr().map_err(failed)?;
            of_worker.push(socket);
        }
        bound.push(address);
    }
    Ok((sockets, bound))
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
