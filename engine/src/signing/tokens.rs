//! Keys in tokens: opened and checked before they are served, signed with by whoever is free.
//!
//! [`Tokens`] belongs to the control thread: it opens stations, finds keys, and lets go of both once nobody holds
//! them. What workers ask goes to one dispatcher thread, which gives each operation to a station and its answer
//! back to the worker's inbox. Invariants, written as absences:
//!
//! * No two stations for one token, module and PIN that are spoken to alike.
//! * No station is opened or key looked up again that a reload names unchanged; but a key that was not looked up
//!   because its token was absent.
//! * No identity is served whose key was in none of its tokens.
//! * No key goes while an identity has it that somebody may still be served by.

mod breaker;
mod checking;
mod counters;
mod dispatch;
mod dispatcher;
mod journal;
mod latency;
mod mailbox;
mod opening;
mod prepared;
mod seat;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use countersign_hsm::{Scheme, Uri};
use countersign_proto::{Handoff, TokenKey, Work};

use self::counters::Ledger;
use self::dispatch::StationId;
use self::mailbox::{Mailbox, Message};
use self::prepared::Absent;
pub(crate) use self::prepared::PreparedTokens;
use super::station::Station;
use super::{Job, Performer};
use crate::config::{Config, TokenConfig};
use crate::telemetry::{LogWriter, TokenFact};

/// The tokens of an engine.
pub(crate) struct Tokens {
    mailbox: Arc<Mailbox>,
    log: Option<LogWriter>,
    ledger: Arc<Ledger>,
    dispatcher: Option<JoinHandle<()>>,
    stations: Vec<Held>,
    keys: Vec<HeldKey>,
    next: u64,
}

/// A station, and what it was opened for.
struct Held {
    id: StationId,
    config: Arc<TokenConfig>,
    /// What it is called in the log and in metrics.
    name: Arc<str>,
    /// Tells the same PIN again; `None` where there is none.
    pin: Option<[u8; 32]>,
    station: Arc<Station>,
    /// It has said that it does not come back by itself.
    is_lost: Arc<AtomicBool>,
    keys: Vec<StationKey>,
}

/// A key of a station.
#[derive(Clone)]
struct StationKey {
    number: u64,
    uri: Uri,
    spki: Arc<[u8]>,
    /// What the token can sign with it; `None` where it was absent and the key was not looked up.
    schemes: Option<Vec<Scheme>>,
}

/// A key that identities may have.
struct HeldKey {
    key: TokenKey,
    places: Vec<(StationId, u64)>,
}

impl Held {
    /// Can it be used for a token that is configured so?
    fn is(&self, config: &TokenConfig, pin: Option<[u8; 32]>) -> bool {
        *self.config == *config && self.pin == pin && !self.is_lost.load(Ordering::Acquire)
    }
}

impl Tokens {
    pub(crate) fn new(log: Option<LogWriter>) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new()),
            log,
            ledger: Arc::default(),
            dispatcher: None,
            stations: Vec::new(),
            keys: Vec::new(),
            next: 0,
        }
    }

    /// Who does the work of handshakes: `others`, but for signatures of tokens.
    pub(crate) fn performer(&self, others: Arc<dyn Performer>) -> Arc<dyn Performer> {
        Arc::new(WithTokens { mailbox: Arc::clone(&self.mailbox), others })
    }

    /// A view for the admin endpoint.
    pub(crate) fn reader(&self) -> TokensReader {
        TokensReader { ledger: Arc::clone(&self.ledger) }
    }

    /// What was prepared can be signed with from now on: to be called before any worker hears of it.
    pub(crate) fn serve(&mut self, prepared: PreparedTokens, config: &Config) {
        self.mailbox.say(Message::Rules(config.tokens.clone()));
        prepared.hand_over(self);
    }

    /// Lets go of keys that nobody has any more, and of stations without keys. To be called again and again.
    pub(crate) fn tend(&mut self) {
        let before = self.keys.len();
        let mailbox = &self.mailbox;
        self.keys.retain(|held| {
            let is_held = held.key.is_held();
            if !is_held {
                mailbox.say(Message::RemoveKey(held.key.id()));
            }
            is_held
        });
        if self.keys.len() < before {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        let (keys, mailbox) = (&self.keys, &self.mailbox);
        for held in &mut self.stations {
            let id = held.id;
            let is_used = |number: u64| keys.iter().any(|key| key.places.contains(&(id, number)));
            let unused = held.keys.extract_if(.., |key| !is_used(key.number));
            unused.for_each(|key| held.station.forget(key.number));
        }
        self.stations.retain(|held| {
            if held.keys.is_empty() {
                mailbox.say(Message::Release(held.id));
            }
            !held.keys.is_empty()
        });
        self.forget_names();
    }

    /// Forgets what was counted of tokens that are not open.
    fn forget_names(&self) {
        let names: Vec<_> = self.stations.iter().map(|held| &*held.name).collect();
        self.ledger.keep(&names);
    }

    /// What is served without a token; it is said once, by whoever does without.
    fn tell_absent(&self, absent: &Absent) {
        let held = self.stations.iter().find(|held| held.id == absent.id);
        let (Some(log), Some(held)) = (&self.log, held) else { return };
        journal::absent(log, &held.name, &absent.problem, &absent.keys);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.mailbox.say(Message::End);
        if let Some(dispatcher) = self.dispatcher.take() {
            // It never waits for anything but its mailbox.
            let _ = dispatcher.join();
        }
    }
}

/// What a token is called in the log and in metrics: its URI, without a key or a PIN's source; and without the
/// module, unless another module has a token of that name.
fn name<'a>(
    config: &TokenConfig,
    mut others: impl Iterator<Item = (&'a str, &'a TokenConfig)>,
) -> Arc<str> {
    let name = config.token.to_string();
    if others.any(|(taken, other)| *taken == *name && other.module != config.module) {
        format!("{name}?module-path={}", config.module.display()).into()
    } else {
        name.into()
    }
}

/// Tells the admin endpoint of tokens.
pub(crate) struct TokensReader {
    ledger: Arc<Ledger>,
}

impl TokensReader {
    pub(crate) fn facts(&self) -> Vec<TokenFact> {
        self.ledger.facts()
    }

    /// The same in short, for the log.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        self.ledger.facts().iter().map(TokenFact::to_json).collect()
    }
}

/// Hands signatures of tokens to the dispatcher and everything else to others.
struct WithTokens {
    mailbox: Arc<Mailbox>,
    others: Arc<dyn Performer>,
}

impl Performer for WithTokens {
    fn handoff(&self) -> Handoff {
        self.others.handoff()
    }

    fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        match &*job.work {
            Work::SignByToken { .. } => self.mailbox.submit(job).map_err(Box::new),
            _ => self.others.submit(job),
        }
    }
}
