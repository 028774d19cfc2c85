//! Revocation lists for the workers: read from files, directories and URLs, watched, and published
//! whenever one has changed. Nothing of it runs on a worker's thread, and nothing is freed there.

mod domain;
mod facts;
mod fetch;
mod library;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_proto::ClientAuth;
use countersign_proto::revocation::RevocationFeed;
use serde_json::json;

use self::domain::Domain;
use self::facts::Subscriptions;
use self::fetch::Fetcher;
use self::library::{Library, step_back};
use crate::config::{Config, IdentityConfig, ListSource};
use crate::telemetry::{Log, LogWriter, LoggedConnections, RevocationFacts};
use crate::worker::{InboxSender, Message};

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// URLs that are fetched at one time.
const FETCHES_MAX: usize = 8;

/// How long a start or a reload waits for lists from URLs; then it goes on without them.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// How long a list from a URL may take later.
const PATIENCE: Duration = Duration::from_secs(300);

/// A revocation list cannot be read: a start or a reload comes to nothing.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ListProblem {
    /// The file or directory.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The lists of all trust domains, and the thread that looks after them.
pub(super) struct Revocation {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    subscriptions: Mutex<Subscriptions>,
    inboxes: OnceLock<Vec<InboxSender>>,
    log: LogWriter,
    stopping: AtomicBool,
}

struct State {
    library: Library,
    fetcher: Fetcher,
    domains: Vec<Domain>,
    domain_ids: u64,
    generation: u64,
}

/// Everything that a configuration names has been read; nothing changes until this is dropped.
pub(super) struct Prepared<'a> {
    shared: &'a Shared,
    state: MutexGuard<'a, State>,
}

impl Revocation {
    pub(super) fn new(log: LogWriter) -> Self {
        let state = State {
            library: Library::new(Some(log.clone())),
            fetcher: Fetcher::default(),
            domains: Vec::new(),
            domain_ids: 0,
            generation: 0,
        };
        let shared = Shared {
            state: Mutex::new(state),
            subscriptions: Mutex::default(),
            inboxes: OnceLock::new(),
            log,
            stopping: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Reads every list that `config` names. Those from URLs are waited for a while; what has not come
    /// by then is fetched later.
    ///
    /// # Errors
    /// If a file cannot be read, or is no list.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared<'_>, ListProblem> {
        let mut state = self.shared.state();
        state.fetch_first(config);
        for identity in config.listeners.iter().flat_map(|listener| &listener.identities) {
            if identity.client_auth != ClientAuth::None {
                state.open(identity, &self.shared)?;
            }
        }
        Ok(Prepared { shared: &self.shared, state })
    }

    /// Looks after the lists from now on, and tells these workers.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn watch(&mut self, inboxes: Vec<InboxSender>) -> std::io::Result<()> {
        // Told once: the workers are the same for as long as the engine runs.
        let _ = self.shared.inboxes.set(inboxes);
        let shared = Arc::clone(&self.shared);
        let run = move || {
            while !shared.stopping.load(Ordering::Acquire) {
                tick(&shared);
                std::thread::park_timeout(INTERVAL);
            }
        };
        self.thread = Some(std::thread::Builder::new().name("revocation".into()).spawn(run)?);
        Ok(())
    }

    /// A view of it for the admin endpoint.
    pub(super) fn reader(&self) -> RevocationReader {
        RevocationReader(Arc::downgrade(&self.shared))
    }
}

impl Drop for Revocation {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has nothing more to say. Fetches that hang are left alone.
            let _ = thread.join();
        }
    }
}

/// Reads every list that `config` names in files and directories, and keeps none.
///
/// # Errors
/// The first that cannot be read, or is no list.
pub fn check_lists(config: &Config) -> Result<(), ListProblem> {
    let mut library = Library::new(None);
    let identities = config.listeners.iter().flat_map(|listener| &listener.identities);
    for revocation in identities.filter_map(|identity| identity.revocation.as_ref()) {
        for source in revocation.sources.iter().chain(&revocation.shadow) {
            library.lists(source, true)?;
        }
    }
    Ok(())
}

/// The lists for one identity of `config`, as a worker would have them now; `None` where no client is asked
/// for a certificate.
///
/// # Errors
/// The first that cannot be read, or is no list.
pub fn lists_for(
    config: &Config,
    identity: &IdentityConfig,
) -> Result<Option<Arc<RevocationFeed>>, ListProblem> {
    let unheard = Log::start(1, LoggedConnections::Problems, Box::new(std::io::sink()));
    let (log, _recorders) = unheard.map_err(|error| ListProblem {
        place: "a thread".to_owned(),
        problem: error.to_string(),
    })?;
    let revocation = Revocation::new(log.writer());
    let mut prepared = revocation.prepare(config)?;
    Ok(prepared.feed(0, identity))
}

/// Tells the admin endpoint about the lists.
pub(super) struct RevocationReader(Weak<Shared>);

impl RevocationReader {
    pub(super) fn facts(&self) -> RevocationFacts {
        self.0.upgrade().map_or_else(RevocationFacts::default, |shared| {
            shared.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).facts()
        })
    }
}

impl Prepared<'_> {
    /// The feed of an identity on a worker; none where no client is asked for a certificate.
    pub(super) fn feed(
        &mut self,
        worker: usize,
        identity: &IdentityConfig,
    ) -> Option<Arc<RevocationFeed>> {
        let domain = self.state.domains.iter().find(|domain| domain.is_of(identity))?;
        let feed = Arc::new(RevocationFeed::new(Arc::clone(domain.current())));
        self.shared.subscriptions().add(domain.id(), worker, Arc::clone(&feed));
        Some(feed)
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        self.state.note_facts(self.shared);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The domain of an identity with the lists of now.
    fn open(&mut self, identity: &IdentityConfig, shared: &Shared) -> Result<(), ListProblem> {
        let known = self.domains.iter().any(|domain| domain.is_of(identity));
        if !known {
            self.domain_ids += 1;
            let like = self.domains.first().map(|domain| &**domain.memory());
            let domain = Domain::new(self.domain_ids, identity, like);
            self.domains.push(domain);
        }
        let Some(domain) = self.domains.iter_mut().find(|domain| domain.is_of(identity)) else {
            return Ok(());
        };
        // A file that has become bad is no reason to go on with the last good one here: whoever
        // reloads wants to be told.
        let gathered = domain.gather(&mut self.library, true)?;
        if domain.take(gathered, &mut self.generation, &shared.log) {
            publish(domain, shared);
        }
        Ok(())
    }

    /// Fetches what is not there yet, all at a time.
    fn fetch_first(&mut self, config: &Config) {
        let identities = config.listeners.iter().flat_map(|listener| &listener.identities);
        for revocation in identities.filter_map(|identity| identity.revocation.as_ref()) {
            for source in revocation.sources.iter().chain(&revocation.shadow) {
                if let ListSource::Url(url) = source {
                    self.library.want(url, revocation.refresh);
                }
            }
        }
        let deadline = Instant::now() + FIRST_PATIENCE;
        loop {
            let urls = self.library.due(Instant::now(), FETCHES_MAX, true);
            let left = deadline.saturating_duration_since(Instant::now());
            if urls.is_empty() || left.is_zero() {
                self.library.give_back(&urls);
                return;
            }
            let fetcher = &self.fetcher;
            let fetched: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    urls.iter().map(|url| scope.spawn(move || fetcher.fetch(url, left))).collect();
                let lost = || Err("the thread that fetched it panicked".to_owned());
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
            });
            for (url, result) in urls.iter().zip(fetched) {
                self.library.fetched(url, result);
            }
        }
    }

    /// Publishes whatever has changed.
    fn refresh(&mut self, shared: &Shared) {
        self.domains.retain(|domain| shared.subscriptions().has(domain.id()));
        for domain in &mut self.domains {
            domain.want_points(&mut self.library);
            // Without the strictness of a reload nothing is an error: what was good is kept.
            let Ok(gathered) = domain.gather(&mut self.library, false) else { continue };
            if domain.take(gathered, &mut self.generation, &shared.log) {
                publish(domain, shared);
            }
            domain.free_retired();
        }
        self.library.forget_unused();
        self.library.note_expired();
        self.note_facts(shared);
    }

    fn note_facts(&self, shared: &Shared) {
        shared.subscriptions().note(&self.library, self.generation);
    }
}

/// Tells the workers; each puts it in between two turns of its loop.
fn publish(domain: &Domain, shared: &Shared) {
    let Some(inboxes) = shared.inboxes.get() else { return };
    for (worker, inbox) in inboxes.iter().enumerate() {
        let feeds = shared.subscriptions().of(domain.id(), worker);
        if !feeds.is_empty() {
            inbox.send(Message::Revocations(Arc::clone(domain.current()), feeds));
        }
    }
    let current = domain.current();
    shared.log.write(
        "crl_published",
        json!({ "generation": current.generation, "crls": domain.lists(), "entries": domain.entries() }),
    );
}

/// Looks at everything once.
fn tick(shared: &Arc<Shared>) {
    let (urls, fetcher) = {
        let mut state = shared.state();
        state.refresh(shared);
        (state.library.due(Instant::now(), FETCHES_MAX, false), state.fetcher.clone())
    };
    for url in urls {
        let (theirs, fetcher) = (Arc::clone(shared), fetcher.clone());
        let fetch = {
            let url = url.clone();
            move || {
                step_back();
                let result = fetcher.fetch(&url, PATIENCE);
                let mut state = theirs.state();
                state.library.fetched(&url, result);
                state.refresh(&theirs);
            }
        };
        let started = std::thread::Builder::new().name("crl-fetch".into()).spawn(fetch);
        if let Err(error) = started {
            shared.state().library.fetched(&url, Err(format!("no thread to fetch it: {error}")));
        }
    }
}
