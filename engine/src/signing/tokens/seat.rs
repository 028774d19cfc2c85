//! What the dispatcher knows of one token: whether it is there, how much it has to do, how it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_hsm::{Remedy, Scheme};

use super::breaker::{Breaker, Permit};
use super::checking::is_rsa;
use super::counters::{Gauges, TokenCounters, Verdict};
use super::latency::Percentile95;
use crate::config::{TokenRules, VerifyOwn};
use crate::signing::station::{Full, Station};

/// Whom an operation is given to.
pub(super) trait Signs: Send + Sync {
    /// See [`Station::submit`].
    fn submit(&self, attempt: u64, key: u64, scheme: Scheme, message: &[u8]) -> Result<(), Full>;
}

impl Signs for Station {
    fn submit(&self, attempt: u64, key: u64, scheme: Scheme, message: &[u8]) -> Result<(), Full> {
        Self::submit(self, attempt, key, scheme, message)
    }
}

/// Signatures by ECDSA and EdDSA that are verified after a token came up or erred; after that, one of so many.
const FIRST: u32 = 100;
const ONE_OF: u32 = 64;

/// Losses closer together than this are one.
const LOST_AT_ONCE: Duration = Duration::from_millis(10);

/// Operations wait so long for a token that has just gone; then new ones are refused at once.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(1);

/// The least time after which an operation is given to another token too, if not said otherwise.
const HEDGE_LEAST: Duration = Duration::from_millis(5);

/// Can an operation be given to a token?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// Not now, and perhaps in a moment.
    Soon,
    No,
}

/// One token.
pub(super) struct Seat {
    pub(super) name: Arc<str>,
    pub(super) station: Option<Arc<dyn Signs>>,
    pub(super) counters: Arc<TokenCounters>,
    pub(super) breaker: Breaker,
    pub(super) in_flight: usize,
    /// As many may wait there, at least.
    pub(super) queue: usize,
    /// A configuration that is served names it; before that nobody is told of it.
    is_served: bool,
    /// No configuration names it any more: it goes once nothing is in flight.
    pub(super) is_released: bool,
    /// Busy, open, waiting; and at most.
    sessions: (usize, usize, usize),
    sessions_most: usize,
    latency: Percentile95,
    presence: Presence,
    unverified: u32,
    verify_next: u32,
    lost_at: Option<Instant>,
}

enum Presence {
    Up,
    Down { since: Instant, problem: String, remedy: Remedy },
}

impl Seat {
    pub(super) fn new(
        name: Arc<str>,
        counters: Arc<TokenCounters>,
        queue: usize,
        now: Instant,
    ) -> Self {
        let problem = "it is being opened".to_owned();
        Self {
            name,
            station: None,
            counters,
            breaker: Breaker::default(),
            in_flight: 0,
            queue,
            is_served: false,
            is_released: false,
            sessions: (0, 0, 0),
            sessions_most: 0,
            latency: Percentile95::default(),
            presence: Presence::Down { since: now, problem, remedy: Remedy::Reopen },
            unverified: 0,
            verify_next: FIRST,
            lost_at: None,
        }
    }

    /// Gives whether it was not up before.
    pub(super) fn up(&mut self, most: usize) -> bool {
        let was_down = !matches!(self.presence, Presence::Up);
        self.presence = Presence::Up;
        self.breaker.came_back();
        self.verify_next = FIRST;
        self.sessions_most = most;
        if self.is_served {
            self.counters.came_up();
        }
        was_down
    }

    /// Gives whether it was up before.
    pub(super) fn down(&mut self, now: Instant, problem: String, remedy: Remedy) -> bool {
        let since = match self.presence {
            Presence::Up => now,
            Presence::Down { since, .. } => since,
        };
        let was_up = matches!(self.presence, Presence::Up);
        self.presence = Presence::Down { since, problem, remedy };
        self.sessions = (0, 0, 0);
        was_up
    }

    pub(super) fn room(&self, now: Instant) -> Room {
        match &self.presence {
            Presence::Up => match self.breaker.permit(now) {
                Permit::Yes | Permit::Probe => Room::Yes,
                Permit::Wait => Room::Soon,
                Permit::No => Room::No,
            },
            Presence::Down { remedy: Remedy::Fatal, .. } => Room::No,
            Presence::Down { since, .. } if now.duration_since(*since) < RECOVERY_PATIENCE => {
                Room::Soon
            }
            Presence::Down { .. } => Room::No,
        }
    }

    /// May it come back by itself, however long that takes?
    pub(super) fn may_come_back(&self) -> bool {
        !matches!(self.presence, Presence::Down { remedy: Remedy::Fatal, .. })
    }

    /// Why nothing can be given to it.
    pub(super) fn problem(&self) -> String {
        match &self.presence {
            Presence::Up => format!("{}: it fails again and again, and is left alone", self.name),
            Presence::Down { problem, .. } => format!("{}: {problem}", self.name),
        }
    }

    /// When an operation that it was given is given to another too. However slow this one usually is, half of the time
    /// is the other's: a few signatures that hung would otherwise keep any from being hedged for long.
    pub(super) fn hedge_after(&self, rules: &TokenRules) -> Duration {
        rules.hedge_after.unwrap_or_else(|| {
            let usual = self.latency.get().map_or(HEDGE_LEAST, |usual| HEDGE_LEAST.max(usual * 2));
            usual.min(rules.operation_timeout / 2)
        })
    }

    /// A signature came.
    pub(super) fn signed(&mut self, took: Duration) {
        self.latency.note(took);
        self.counters.took(took);
    }

    /// Something went wrong: it is looked at more closely for a while.
    pub(super) fn erred(&mut self, verdict: Verdict) {
        self.verify_next = FIRST;
        self.counters.result(verdict);
    }

    /// Is this signature to be verified before it is sent?
    pub(super) fn verifies(&mut self, scheme: Scheme, rule: VerifyOwn) -> bool {
        if rule == VerifyOwn::Always || is_rsa(scheme) {
            return true;
        }
        if self.verify_next > 0 {
            self.verify_next -= 1;
            return true;
        }
        self.unverified = (self.unverified + 1) % ONE_OF;
        self.unverified == 0
    }

    /// An operation was lost: is that a failure of its own, or one of many at once?
    pub(super) fn counts_loss(&mut self, now: Instant) -> bool {
        let last = self.lost_at.replace(now);
        last.is_none_or(|last| now.duration_since(last) >= LOST_AT_ONCE)
    }

    /// An operation came to nothing, and said nothing about the token.
    pub(super) fn probe_was_void(&mut self, is_probe: bool) {
        if is_probe {
            self.breaker.probe_was_void();
        }
    }

    /// It is part of what is served.
    pub(super) fn serve(&mut self) {
        if !self.is_served && matches!(self.presence, Presence::Up) {
            self.counters.came_up();
        }
        self.is_served = true;
    }

    pub(super) fn sessions(&mut self, busy: usize, open: usize, waiting: usize) {
        self.sessions = (busy, open, waiting);
    }

    /// How it stands, where that is anybody's business.
    pub(super) fn gauges(&self) -> Option<Gauges> {
        let (sessions_busy, sessions_open, waiting) = self.sessions;
        (self.is_served && !self.is_released).then(|| Gauges {
            is_up: matches!(self.presence, Presence::Up),
            sessions_open,
            sessions_busy,
            sessions_most: self.sessions_most,
            waiting,
            in_flight: self.in_flight,
            breaker: Some(self.breaker.standing()),
        })
    }
}
