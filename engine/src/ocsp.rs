//! OCSP over the network: questions about clients, whose handshakes wait, and staples for our own
//! certificates.
//!
//! One thread does it all, with a runtime of its own: workers hand it questions and get answers through
//! their inboxes; nobody waits for it but a start or a reload, and that for a few seconds at most. It is
//! started with the first configuration that needs it. Invariants, written as absences:
//!
//! * No more than [`QUESTIONS_IN_FLIGHT`](asker::QUESTIONS_IN_FLIGHT) questions at one time, and none
//!   twice at the same time.
//! * Nothing is taken from the network that [`countersign_proto::ocsp::verify`] does not hold good.

mod asker;
mod carrier;
mod counters;
mod health;
mod staples;

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use countersign_proto::{Handoff, Listener, WorkKind};
use tokio::sync::mpsc;

use self::asker::Asker;
pub(crate) use self::carrier::check_url;
use self::counters::Counters;
use self::staples::{Cells, Staples, Target};
use crate::config::Config;
use crate::signing::{Job, Performer};
use crate::telemetry::{LogWriter, OcspFacts};
use crate::worker::InboxSender;

/// Questions that wait for the thread to take them; a worker whose question does not fit refuses its
/// client. More can wait behind it, each for a suspended handshake.
const QUEUE: usize = 4_096;

/// A start or a reload waits so long for staples that are not there yet.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

/// Names are looked up by the system's resolver, which blocks: on so many threads.
const LOOKUP_THREADS: usize = 4;

/// The OCSP of an engine.
pub(crate) struct Ocsp {
    requests: mpsc::Sender<Request>,
    /// Until the thread runs.
    waiting: Option<mpsc::Receiver<Request>>,
    counters: Arc<Counters>,
    staples: Arc<Staples>,
}

enum Request {
    /// A handshake waits for an answer.
    Ask(Job),
    /// Tell these workers of every answer.
    Tell(Vec<InboxSender>),
    /// Have these staples, then say so.
    Fetch(Vec<Arc<Target>>, std_mpsc::Sender<()>),
}

/// The staples of a configuration, before it is served.
pub(crate) struct Prepared(Vec<Arc<Target>>);

impl Ocsp {
    pub(crate) fn new(log: LogWriter) -> Self {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let staples = Arc::new(Staples::new(log, Arc::clone(&counters)));
        Self { requests, waiting: Some(receiver), counters, staples }
    }

    /// Has a staple for each certificate of a configuration that wants one, as far as they come soon.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn prepare(&mut self, config: &Config) -> std::io::Result<Prepared> {
        let targets = self.staples.targets(config);
        let identities = || config.listeners.iter().flat_map(|listener| &listener.identities);
        if targets.is_empty() && identities().all(|identity| identity.ocsp.is_none()) {
            return Ok(Prepared(targets));
        }
        self.start()?;
        let missing: Vec<_> = targets.iter().filter(|target| target.is_bare()).cloned().collect();
        let (done, is_done) = std_mpsc::channel();
        if !missing.is_empty() && self.requests.blocking_send(Request::Fetch(missing, done)).is_ok()
        {
            // What has not come by then comes later.
            let _ = is_done.recv_timeout(FIRST_PATIENCE);
        }
        Ok(Prepared(targets))
    }

    fn start(&mut self) -> std::io::Result<()> {
        let Some(requests) = self.waiting.take() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUP_THREADS)
            .build()?;
        let (counters, staples) = (Arc::clone(&self.counters), Arc::clone(&self.staples));
        let run = move || {
            let asker = Asker::new(counters);
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serve(requests, asker, staples));
            drop(local);
            // A look-up that hangs is left alone.
            runtime.shutdown_background();
        };
        // It ends with the last sender of requests: the engine's and its workers'.
        std::thread::Builder::new().name("ocsp".into()).spawn(run).map(drop)
    }

    /// These staples are served from now on, by these workers.
    pub(crate) fn serve(
        &self,
        prepared: Prepared,
        workers: impl Iterator<Item = (InboxSender, Cells)>,
    ) {
        let workers: Vec<_> = workers.collect();
        if self.waiting.is_none() {
            let inboxes = workers.iter().map(|(inbox, _)| inbox.clone()).collect();
            // It ends with the last sender only.
            let _ = self.requests.blocking_send(Request::Tell(inboxes));
        }
        self.staples.serve(prepared.0, workers.into_iter());
    }

    /// Who does the work of handshakes: `others`, but for questions.
    pub(crate) fn performer(&self, others: Arc<dyn Performer>) -> Arc<dyn Performer> {
        Arc::new(WithOcsp { requests: self.requests.clone(), others })
    }

    /// A view of it for the admin endpoint.
    pub(crate) fn reader(&self) -> OcspReader {
        OcspReader { counters: Arc::clone(&self.counters), staples: Arc::clone(&self.staples) }
    }
}

impl Prepared {
    /// Puts the staples that are there into the identities of a worker that does not serve them yet, and
    /// gives where later ones go.
    pub(crate) fn cells<'a>(
        &self,
        config: &Config,
        listeners: impl Iterator<Item = &'a Listener>,
    ) -> Cells {
        let mut cells = Vec::new();
        for (configured, listener) in config.listeners.iter().zip(listeners) {
            for (identity, built) in configured.identities.iter().zip(listener.identities.all()) {
                let Some(staple) = &identity.staple else { continue };
                let of = |target: &&Arc<Target>| target.is_for(staple);
                let Some(target) = self.0.iter().find(of) else { continue };
                let cell = built.staple_cell();
                cell.publish(cell.prepare(target.staple().as_deref()));
                cells.push((Arc::clone(target), Arc::clone(cell)));
            }
        }
        Cells(cells)
    }
}

async fn serve(mut requests: mpsc::Receiver<Request>, asker: Asker, staples: Arc<Staples>) {
    let keeper = tokio::task::spawn_local(staples::keep(Arc::clone(&staples)));
    while let Some(request) = requests.recv().await {
        match request {
            Request::Ask(job) => asker.take(job),
            Request::Tell(workers) => asker.tell(workers),
            Request::Fetch(targets, done) => {
                let staples = Arc::clone(&staples);
                tokio::task::spawn_local(async move {
                    staples.fetch_all(targets).await;
                    // Whoever asked may have lost patience.
                    let _ = done.send(());
                });
            }
        }
    }
    keeper.abort();
}

/// Tells the admin endpoint about OCSP.
pub(crate) struct OcspReader {
    counters: Arc<Counters>,
    staples: Arc<Staples>,
}

impl OcspReader {
    pub(crate) fn facts(&self) -> OcspFacts {
        OcspFacts { staples: self.staples.facts(), ..self.counters.facts() }
    }
}

/// Hands questions to the OCSP thread and everything else to others.
struct WithOcsp {
    requests: mpsc::Sender<Request>,
    others: Arc<dyn Performer>,
}

impl Performer for WithOcsp {
    fn handoff(&self) -> Handoff {
        self.others.handoff()
    }

    fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        if job.work.kind() != WorkKind::AskStatus {
            return self.others.submit(job);
        }
        match self.requests.try_reserve() {
            Ok(place) => place.send(Request::Ask(job)),
            Err(_full_or_over) => return Err(Box::new(job)),
        }
        Ok(())
    }
}
