//! Where a trust domain finds the lists that hold now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use super::set::{ListSet, RevocationMemory};
use super::standing::{Checked, RevocationRefusal, Standing, Verdict};
use crate::tls::{Evidence, Issued, Link};

/// What is known at one time. It does not change: what is learned later is another one.
#[derive(Debug)]
pub struct Revocations {
    /// Grows with every publish; from 1.
    pub generation: u64,
    /// The lists that decide.
    pub live: Option<ListSet>,
    /// Lists that are asked beside, and decide nothing.
    pub shadow: Option<ListSet>,
    /// What outlives them.
    pub memory: Arc<RevocationMemory>,
}

/// The verdicts of [`Lookups`], in their order.
pub const LOOKUPS: [&str; 4] = ["good", "expired", "unknown", "revoked"];

/// How often each verdict of [`LOOKUPS`] was found, for one certificate each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// By the lists that decide.
    pub live: [u64; LOOKUPS.len()],
    /// By the shadow lists.
    pub shadow: [u64; LOOKUPS.len()],
}

/// The place where one worker's trust domain finds its [`Revocations`]. Each worker has its own, so
/// that nothing in it is contended; a new one is put in between two turns of the worker's loop.
#[derive(Default)]
pub struct RevocationFeed {
    current: ArcSwapOption<Revocations>,
    live: [AtomicU64; LOOKUPS.len()],
    shadow: [AtomicU64; LOOKUPS.len()],
}

impl RevocationFeed {
    /// With what holds from the beginning.
    #[must_use]
    pub fn new(revocations: Arc<Revocations>) -> Self {
        let this = Self::default();
        this.publish(revocations);
        this
    }

    /// From now on these hold. What held before is let go of: whoever keeps another handle to it
    /// frees it.
    pub fn publish(&self, revocations: Arc<Revocations>) {
        self.current.store(Some(revocations));
    }

    /// The generation that holds; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.current().as_ref().map_or(0, |current| current.generation)
    }

    /// What was found so far.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        let read = |counters: &[AtomicU64; LOOKUPS.len()]| {
            counters.each_ref().map(|counter| counter.load(Ordering::Relaxed))
        };
        Lookups { live: read(&self.live), shadow: read(&self.shadow) }
    }

    /// Asks about every certificate of a path, with the certificates at hand.
    pub(crate) fn check(
        &self,
        links: &[Link<'_>],
        issued: &[Issued],
        now: i64,
    ) -> Result<Checked, RevocationRefusal> {
        let current = self.current();
        let Some(current) = current.as_ref() else { return Ok(Checked::default()) };
        for (link, issued) in links.iter().zip(issued) {
            current.memory.note_issuer(&issued.issuer.key, link.issuer_spki);
        }
        let result = self.ask(current, issued, now);
        let standings = match &result {
            Ok(checked) => &checked.standings[..],
            Err(refusal) => std::slice::from_ref(&refusal.standing),
        };
        let is_certain =
            |standing: &Standing| !matches!(standing.verdict, Verdict::Unknown | Verdict::Expired);
        if !standings.iter().all(is_certain) {
            let extensions =
                links.iter().filter_map(|link| link.certificate.crl_distribution_points().ok()?);
            extensions.for_each(|extension| current.memory.note_points(extension));
        }
        result
    }

    /// Asks again about the certificates of a path that was verified before.
    ///
    /// # Errors
    /// If it would be refused now.
    pub fn recheck(&self, evidence: &Evidence, now: i64) -> Result<Checked, RevocationRefusal> {
        match self.current().as_ref() {
            Some(current) => self.ask(current, evidence.issued(), now),
            None => Ok(Checked::default()),
        }
    }

    fn ask(
        &self,
        current: &Revocations,
        issued: &[Issued],
        now: i64,
    ) -> Result<Checked, RevocationRefusal> {
        let standings = |set: &ListSet, counters: &[AtomicU64; LOOKUPS.len()]| -> Box<[Standing]> {
            let all = issued.iter().enumerate().map(|(position, issued)| {
                let spki = current.memory.issuer(&issued.issuer.key);
                let standing = set.standing(issued, position > 0, spki, now);
                let counter = &counters[usize::from(standing.verdict.severity())];
                counter.fetch_add(1, Ordering::Relaxed);
                standing
            });
            all.collect()
        };
        let shadow = current
            .shadow
            .as_ref()
            .and_then(|set| set.decide(&standings(set, &self.shadow), now).err());
        let generation = current.generation;
        let Some(set) = &current.live else {
            return Ok(Checked { generation, shadow, ..Checked::default() });
        };
        let standings = standings(set, &self.live);
        set.decide(&standings, now)?;
        let holds_until = set.holds_until(&standings, issued, now);
        Ok(Checked { generation, holds_until, standings, shadow })
    }

    fn current(&self) -> Guard<Option<Arc<Revocations>>> {
        self.current.load()
    }
}

impl std::fmt::Debug for RevocationFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RevocationFeed(generation {})", self.generation())
    }
}
