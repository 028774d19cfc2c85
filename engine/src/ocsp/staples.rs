//! Staples: OCSP answers about our own certificates, fetched ahead and renewed at half of their life, or
//! read from files that others renew.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use countersign_proto::StapleCell;
use countersign_proto::ocsp::{
    Answer, CertIdHash, Expected, NonceUse, RESPONSE_BYTES_MAX, Status, verify,
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::carrier;
use super::counters::Counters;
use crate::config::{Config, StapleConfig, StapleSource};
use crate::telemetry::{LogWriter, StapleFact};
use crate::worker::{InboxSender, Message};

/// How often files and due times are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A responder may take so long: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// After an attempt that came to nothing the next follows after this, then after twice as long each time.
const RETRY_LEAST: Duration = Duration::from_secs(5);
const RETRY_MOST: Duration = Duration::from_secs(600);

/// A staple is renewed after this, however long it would hold.
const RENEWAL_MOST: Duration = Duration::from_secs(24 * 3_600);

/// A staple without nextUpdate holds so long after its thisUpdate, in seconds.
const WITHOUT_NEXT_UPDATE: i64 = 3_600;

/// The identities of one worker with the staples that they show.
pub(crate) struct Cells(pub(super) Vec<(Arc<Target>, Arc<StapleCell>)>);

/// One certificate, and its staple if there is one.
pub(super) struct Target {
    config: Arc<StapleConfig>,
    held: Mutex<Held>,
}

struct Held {
    staple: Option<(Vec<u8>, Answer)>,
    due: Instant,
    failures: u32,
    is_busy: bool,
    /// Of the file, as it was read last.
    seen: Option<(SystemTime, u64)>,
}

/// All of them.
pub(super) struct Staples {
    served: Mutex<Vec<Served>>,
    log: LogWriter,
    counters: Arc<Counters>,
}

struct Served {
    target: Arc<Target>,
    cells: Vec<(InboxSender, Arc<StapleCell>)>,
}

impl Target {
    fn new(config: Arc<StapleConfig>) -> Self {
        let held =
            Held { staple: None, due: Instant::now(), failures: 0, is_busy: false, seen: None };
        Self { config, held: Mutex::new(held) }
    }

    pub(super) fn is_for(&self, config: &StapleConfig) -> bool {
        *self.config == *config
    }

    /// The staple, DER.
    pub(super) fn staple(&self) -> Option<Vec<u8>> {
        self.held().staple.as_ref().map(|(der, _)| der.clone())
    }

    /// Is there no staple?
    pub(super) fn is_bare(&self) -> bool {
        self.held().staple.is_none()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is it to be renewed now? Then nobody else does.
    fn begin(&self) -> bool {
        let mut held = self.held();
        let is_due = held.due <= Instant::now() || held.is_changed(&self.config.source);
        let begins = is_due && !held.is_busy;
        held.is_busy |= begins;
        begins
    }
}

impl Held {
    fn is_changed(&self, source: &StapleSource) -> bool {
        match source {
            StapleSource::Responder(_) => false,
            StapleSource::File(path) => mark(path).is_some_and(|mark| self.seen != Some(mark)),
        }
    }
}

impl Staples {
    pub(super) fn new(log: LogWriter, counters: Arc<Counters>) -> Self {
        Self { served: Mutex::default(), log, counters }
    }

    /// What a configuration wants: each certificate once. Those that are served already keep what they
    /// have.
    pub(super) fn targets(&self, config: &Config) -> Vec<Arc<Target>> {
        let served = self.served();
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let identities = config.listeners.iter().flat_map(|listener| &listener.identities);
        for staple in identities.filter_map(|identity| identity.staple.as_ref()) {
            if targets.iter().any(|target| target.is_for(staple)) {
                continue;
            }
            let known = served.iter().find(|served| served.target.is_for(staple));
            targets.push(known.map_or_else(
                || Arc::new(Target::new(Arc::clone(staple))),
                |served| Arc::clone(&served.target),
            ));
        }
        targets
    }

    /// These are served from now on, and no others.
    pub(super) fn serve(
        &self,
        targets: Vec<Arc<Target>>,
        workers: impl Iterator<Item = (InboxSender, Cells)>,
    ) {
        let mut all: Vec<_> =
            targets.into_iter().map(|target| Served { target, cells: Vec::new() }).collect();
        for (inbox, cells) in workers {
            for (target, cell) in cells.0 {
                let of = |served: &&mut Served| Arc::ptr_eq(&served.target, &target);
                if let Some(served) = all.iter_mut().find(of) {
                    served.cells.push((inbox.clone(), cell));
                }
            }
        }
        for served in &all {
            // One that came after its cells were filled.
            served.publish();
        }
        *self.served() = all;
    }

    pub(super) fn facts(&self) -> Vec<StapleFact> {
        let fact = |served: &Served| StapleFact {
            subject: served.target.config.subject.clone(),
            serial: served.target.config.serial.clone(),
            until: served.target.held().staple.as_ref().map_or(0, |(_, answer)| until(answer)),
        };
        self.served().iter().map(fact).collect()
    }

    fn served(&self) -> MutexGuard<'_, Vec<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches all of these at the same time.
    pub(super) async fn fetch_all(self: &Arc<Self>, targets: Vec<Arc<Target>>) {
        let fetch = |target: Arc<Target>| {
            let staples = Arc::clone(self);
            tokio::task::spawn_local(async move { staples.renew(&target).await })
        };
        let due = targets.into_iter().filter(|target| target.begin());
        for task in due.map(fetch).collect::<Vec<_>>() {
            // A panic is one staple less, and is told as such by its absence.
            let _ = task.await;
        }
    }

    /// Has a new staple for a certificate, or says why not.
    async fn renew(&self, target: &Target) {
        let config = &target.config;
        let seen = match &config.source {
            StapleSource::Responder(_) => None,
            StapleSource::File(path) => mark(path),
        };
        let obtained = obtain(config).await;
        self.counters.staple(obtained.is_ok());
        let mut held = target.held();
        (held.is_busy, held.seen) = (false, seen);
        match obtained {
            Ok((der, answer)) => {
                held.due = Instant::now() + renewal(&answer, carrier::now());
                held.failures = 0;
                let fields = json!({
                    "subject": config.subject,
                    "serial": config.serial,
                    "staple_status": answer.status.label(),
                    "next_update": answer.next_update,
                });
                held.staple = Some((der, answer));
                drop(held);
                self.log.write("ocsp_staple", fields);
                self.publish(target);
            }
            Err(problem) => {
                held.due = Instant::now() + retry(held.failures);
                held.failures = held.failures.saturating_add(1);
                let served_until = held.staple.as_ref().map(|(_, answer)| until(answer));
                drop(held);
                let fields = json!({
                    "subject": config.subject,
                    "serial": config.serial,
                    "problem": problem,
                    "must_staple": config.must_staple,
                    "served_until": served_until,
                });
                self.log.write("ocsp_staple_failed", fields);
            }
        }
    }

    fn publish(&self, target: &Target) {
        let served = self.served();
        if let Some(served) = served.iter().find(|served| std::ptr::eq(&*served.target, target)) {
            served.publish();
        }
    }

    /// Takes back what is out of date: a client would refuse it.
    fn drop_expired(&self) {
        let now = carrier::now();
        for served in self.served().iter() {
            let mut held = served.target.held();
            if held.staple.as_ref().is_none_or(|(_, answer)| until(answer) >= now) {
                continue;
            }
            held.staple = None;
            drop(held);
            served.publish();
            let config = &served.target.config;
            let fields = json!({
                "subject": config.subject,
                "serial": config.serial,
                "must_staple": config.must_staple,
            });
            self.log.write("ocsp_staple_expired", fields);
        }
    }
}

impl Served {
    /// Tells the workers.
    fn publish(&self) {
        let staple = self.target.staple();
        for (inbox, cell) in &self.cells {
            let stapled = cell.prepare(staple.as_deref());
            inbox.send(Message::Staple(Arc::clone(cell), stapled));
        }
    }
}

/// Renews what is due, as long as it is let.
pub(super) async fn keep(staples: Arc<Staples>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        staples.drop_expired();
        let served: Vec<_> =
            staples.served().iter().map(|served| Arc::clone(&served.target)).collect();
        for target in served.into_iter().filter(|target| target.begin()) {
            let staples = Arc::clone(&staples);
            tokio::task::spawn_local(async move { staples.renew(&target).await });
        }
    }
}

/// Fetches or reads an answer, and sees that clients will take it.
async fn obtain(config: &StapleConfig) -> Result<(Vec<u8>, Answer), String> {
    let response = match &config.source {
        StapleSource::Responder(url) => {
            // Without a nonce: it is for everybody.
            let request = config.question.request(CertIdHash::Sha1, None);
            timeout(PATIENCE, carrier::exchange(url, request))
                .await
                .map_err(|_| format!("{url} gave no answer within {PATIENCE:?}"))?
                .map_err(|problem| format!("{url} gave no answer: {problem}"))?
        }
        StapleSource::File(path) => {
            read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?
        }
    };
    let expected = Expected {
        nonce: None,
        nonce_use: NonceUse::Off,
        max_age: WITHOUT_NEXT_UPDATE,
        now: carrier::now(),
    };
    let from = match &config.source {
        StapleSource::Responder(url) => url.to_string(),
        StapleSource::File(path) => path.display().to_string(),
    };
    let answer = verify(&response, &config.question, &expected)
        .map_err(|problem| format!("the answer of {from} does not hold: {problem}"))?;
    match answer.status {
        Status::Unknown => Err(format!("{from} does not know the certificate")),
        // Clients should hear it, and it is shown: the operator reads it in the log and the metrics.
        Status::Good | Status::Revoked { .. } => Ok((response, answer)),
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut der = Vec::new();
    // One byte more than an answer may have is refused when it is verified.
    std::fs::File::open(path)?.take(RESPONSE_BYTES_MAX as u64 + 1).read_to_end(&mut der)?;
    Ok(der)
}

fn mark(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Until when an answer holds, seconds since the epoch.
fn until(answer: &Answer) -> i64 {
    answer.next_update.unwrap_or(answer.this_update.saturating_add(WITHOUT_NEXT_UPDATE))
}

/// When half of what is left of its life is over.
fn renewal(answer: &Answer, now: i64) -> Duration {
    let left = u64::try_from(until(answer).saturating_sub(now)).unwrap_or(0);
    Duration::from_millis(left.saturating_mul(500)).clamp(INTERVAL, RENEWAL_MOST)
}

fn retry(failures: u32) -> Duration {
    RETRY_LEAST.saturating_mul(1 << failures.min(10)).min(RETRY_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staple_is_renewed_at_half_of_what_is_left_of_its_life() {
        let answer = |next_update| Answer {
            status: Status::Good,
            this_update: 1_000,
            next_update,
            received_at: 1_000,
            has_our_nonce: false,
        };
        assert_eq!(renewal(&answer(Some(2_000)), 1_000), Duration::from_secs(500));
        assert_eq!(renewal(&answer(None), 1_000), Duration::from_secs(1_800));
        assert_eq!(renewal(&answer(Some(10_000_000)), 1_000), RENEWAL_MOST);
        assert_eq!(renewal(&answer(Some(900)), 1_000), INTERVAL);
    }

    #[test]
    fn attempts_grow_rarer_up_to_a_bound() {
        assert_eq!(retry(0), Duration::from_secs(5));
        assert_eq!(retry(1), Duration::from_secs(10));
        assert_eq!(retry(u32::MAX), RETRY_MOST);
    }
}
