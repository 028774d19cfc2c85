//! The lists of a trust domain, and what they say of a certificate.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::distribution::{self, PointName};
use super::list::{RevocationList, RevocationReason, sha256};
use super::once_table::OnceTable;
use super::standing::{ListFacts, RevocationRefusal, Standing, Verdict};
use super::{CLOCK_SKEW_SECONDS, ISSUERS_MAX, POINTS_FETCHED_MAX};
use crate::tls::Issued;

/// What holds where the lists have no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RevocationPolicy {
    /// Of a certificate for which there is no list.
    pub unknown: OnUnknown,
    /// Of one whose CA's list is out of date and does not have it.
    pub expired: OnExpired,
}

/// What becomes of a certificate whose CA has no list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// It is refused.
    #[default]
    Refuse,
    /// It is let through.
    Allow,
}

/// What becomes of a certificate whose CA's list is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnExpired {
    /// It is refused once the list has been out of date for so many seconds.
    FailClosed {
        /// Seconds beyond nextUpdate.
        grace_seconds: u64,
    },
    /// It is let through.
    FailOpen,
}

impl Default for OnExpired {
    fn default() -> Self {
        Self::FailClosed { grace_seconds: 0 }
    }
}

impl RevocationPolicy {
    fn lets_through(&self, standing: &Standing, now: i64) -> bool {
        match (standing.verdict, self.expired) {
            (Verdict::Good, _) | (Verdict::Expired, OnExpired::FailOpen) => true,
            (Verdict::Revoked(_), _) => false,
            (Verdict::Unknown, _) => self.unknown == OnUnknown::Allow,
            (Verdict::Expired, OnExpired::FailClosed { grace_seconds }) => {
                let grace = i64::try_from(grace_seconds).unwrap_or(i64::MAX);
                standing.list.is_some_and(|list| now <= list.next_update.saturating_add(grace))
            }
        }
    }
}

/// What outlives the lists of a trust domain: the keys of the CAs that clients have come with, and
/// where their certificates say that lists are. Read and written by all workers, without a lock; it
/// only grows, to a bound.
pub struct RevocationMemory {
    /// SubjectPublicKeyInfos by their SHA-256.
    issuers: Arc<OnceTable<Box<[u8]>>>,
    points: Option<OnceTable<Box<str>>>,
}

impl RevocationMemory {
    /// An empty one. `follows_points` says whether the distribution points of certificates are
    /// remembered at all.
    #[must_use]
    pub fn new(follows_points: bool) -> Self {
        Self::with_issuers(Arc::new(OnceTable::new(ISSUERS_MAX)), follows_points)
    }

    /// One with distribution points of its own, and the same keys.
    #[must_use]
    pub fn sharing_issuers(&self, follows_points: bool) -> Self {
        Self::with_issuers(Arc::clone(&self.issuers), follows_points)
    }

    fn with_issuers(issuers: Arc<OnceTable<Box<[u8]>>>, follows_points: bool) -> Self {
        let points = follows_points.then(|| OnceTable::new(POINTS_FETCHED_MAX));
        Self { issuers, points }
    }

    /// Where lists should be fetched, as verified certificates without a list say.
    pub fn points(&self) -> impl Iterator<Item = &str> {
        self.points.iter().flat_map(|points| points.values().map(|uri| &**uri))
    }

    pub(super) fn issuer(&self, key: &[u8; 32]) -> Option<&[u8]> {
        self.issuers.get(key).map(|spki| &**spki)
    }

    pub(super) fn note_issuer(&self, key: &[u8; 32], spki: &[u8]) {
        if self.issuers.get(key).is_none() {
            self.issuers.insert(key, spki.into());
        }
    }

    /// A certificate with this extension has no list that is in date.
    pub(super) fn note_points(&self, extension: &[u8]) {
        let Some(points) = &self.points else { return };
        distribution::uris(extension, |uri| {
            let key = sha256(uri.as_bytes());
            if points.get(&key).is_none() {
                points.insert(&key, uri.into());
            }
        });
    }
}

/// Lists, by the name of their issuer.
pub struct ListSet {
    policy: RevocationPolicy,
    by_issuer: HashMap<[u8; 32], Authority>,
}

/// The lists with one issuer's name: of all its keys, and of whoever has written that name.
#[derive(Default)]
struct Authority {
    /// The freshest first.
    complete: Vec<Arc<RevocationList>>,
    /// The freshest first.
    deltas: Vec<Arc<RevocationList>>,
}

impl ListSet {
    /// A set of lists, in any order.
    #[must_use]
    pub fn new(
        lists: impl IntoIterator<Item = Arc<RevocationList>>,
        policy: RevocationPolicy,
    ) -> Self {
        let mut by_issuer: HashMap<[u8; 32], Authority> = HashMap::new();
        for list in lists {
            let authority = by_issuer.entry(sha256(&list.issuer)).or_default();
            match list.base {
                None => authority.complete.push(list),
                Some(_) => authority.deltas.push(list),
            }
        }
        for authority in by_issuer.values_mut() {
            for lists in [&mut authority.complete, &mut authority.deltas] {
                lists.sort_by_key(|list| Reverse((list.this_update, list.number)));
            }
        }
        Self { policy, by_issuer }
    }

    /// Verifies the lists with every key that is known to be their issuer's or may be, here and now,
    /// so that no handshake has to. `anchors` are names and SubjectPublicKeyInfos, DER with the header.
    pub fn verify_ahead<'a>(
        &self,
        anchors: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        memory: &RevocationMemory,
    ) {
        for (name, spki) in anchors {
            memory.note_issuer(&sha256(spki), spki);
            for list in self.by_issuer.get(&sha256(name)).into_iter().flat_map(Authority::lists) {
                let _ = list.is_signed_by(spki);
            }
        }
        // Keys of intermediates are known by their hash only: their lists are found by trying. A few
        // lists and a few keys; beyond that it is left to those who know the pair.
        const PAIRS_MAX: usize = 4_096;
        let lists = self.by_issuer.values().flat_map(Authority::lists);
        let pairs = lists.flat_map(|list| memory.issuers.values().map(move |spki| (list, spki)));
        for (list, spki) in pairs.take(PAIRS_MAX) {
            let _ = list.is_signed_by(spki);
        }
    }

    /// Does the policy let a path through, of certificates that stand so?
    pub(super) fn decide(&self, standings: &[Standing], now: i64) -> Result<(), RevocationRefusal> {
        let refused = |(position, standing): (usize, &Standing)| {
            (!self.policy.lets_through(standing, now))
                .then_some(RevocationRefusal { position, standing: *standing })
        };
        // A revoked certificate is the better reason than one that nothing is known of.
        let refusals = standings.iter().enumerate().filter_map(refused);
        match refusals
            .max_by_key(|refusal| (refusal.standing.verdict.severity(), Reverse(refusal.position)))
        {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Until when certificates that stand so are let through without being asked about again.
    pub(super) fn holds_until(&self, standings: &[Standing], issued: &[Issued], now: i64) -> i64 {
        let by_dates = standings.iter().map(|standing| {
            let next_update = standing.list.map_or(i64::MAX, |list| list.next_update);
            match (standing.verdict, self.policy.expired) {
                (Verdict::Good, _) => next_update,
                (Verdict::Expired, OnExpired::FailClosed { grace_seconds }) => {
                    next_update.saturating_add(i64::try_from(grace_seconds).unwrap_or(i64::MAX))
                }
                _ => i64::MAX,
            }
        });
        // Lists from the future are believed when their time comes.
        let authorities =
            issued.iter().filter_map(|issued| self.by_issuer.get(&issued.issuer.name));
        let ahead = authorities.flat_map(|authority| [&authority.complete, &authority.deltas]);
        let ahead = ahead.filter_map(|lists| {
            let limit = now.saturating_add(CLOCK_SKEW_SECONDS);
            lists.iter().take_while(|list| list.this_update > limit).last()
        });
        let ahead = ahead.map(|list| list.this_update - CLOCK_SKEW_SECONDS - 1);
        by_dates.chain(ahead).min().unwrap_or(i64::MAX)
    }

    /// How a certificate stands. `spki` is its issuer's, where that is known.
    pub(super) fn standing(
        &self,
        issued: &Issued,
        is_authority: bool,
        spki: Option<&[u8]>,
        now: i64,
    ) -> Standing {
        const UNKNOWN: Standing = Standing { verdict: Verdict::Unknown, list: None };
        // RFC 5280 §6.3.3 (f): where key usage is there, it must have cRLSign.
        let Some(authority) =
            self.by_issuer.get(&issued.issuer.name).filter(|_| issued.signs_lists)
        else {
            return UNKNOWN;
        };
        let question =
            Question { issued, points: &issued.distribution_points, is_authority, spki, now };
        let mut complete = authority.complete.iter().filter(|list| question.is_about(list));
        let Some(freshest) = complete.next() else { return UNKNOWN };
        let equals = complete.take_while(|list| {
            (list.this_update, list.number) == (freshest.this_update, freshest.number)
        });
        // Two lists that are equally fresh and differ: the worse word counts, whatever their order.
        std::iter::once(freshest)
            .chain(equals)
            .map(|list| question.answer(list, &authority.deltas))
            .max_by_key(|standing| standing.verdict.severity())
            .unwrap_or(UNKNOWN)
    }
}

impl Authority {
    fn lists(&self) -> impl Iterator<Item = &Arc<RevocationList>> {
        self.complete.iter().chain(&self.deltas)
    }
}

/// What is asked about one certificate.
struct Question<'a> {
    issued: &'a Issued,
    points: &'a [PointName],
    is_authority: bool,
    spki: Option<&'a [u8]>,
    now: i64,
}

impl Question<'_> {
    /// Does the list speak of the certificate, with the authority of its issuer?
    fn is_about(&self, list: &RevocationList) -> bool {
        list.this_update <= self.now.saturating_add(CLOCK_SKEW_SECONDS)
            && list.scope.covers(self.points, self.is_authority)
            && list.is_by(&self.issued.issuer.key, self.spki) == Some(true)
    }

    /// What a complete list says, with the freshest delta that builds upon it.
    fn answer(&self, list: &RevocationList, deltas: &[Arc<RevocationList>]) -> Standing {
        // RFC 5280 §5.2.4: same issuer, same scope, same key; the list is not older than the delta's
        // base, and older than the delta.
        let fits = |delta: &&Arc<RevocationList>| {
            delta.scope == list.scope
                && delta.base <= list.number
                && list.number < delta.number
                && self.is_about(delta)
        };
        let delta = deltas.iter().find(fits);
        let mut facts = ListFacts {
            number: list.number,
            this_update: list.this_update,
            next_update: list.next_update,
        };
        let mut revoked = list.reason(&self.issued.serial);
        if let Some(delta) = delta {
            facts.number = delta.number;
            facts.this_update = delta.this_update;
            facts.next_update = facts.next_update.max(delta.next_update);
            revoked = match delta.reason(&self.issued.serial) {
                Some(RevocationReason::RemoveFromCrl) => None,
                Some(reason) => Some(reason),
                None => revoked,
            };
        }
        let verdict = match revoked {
            Some(reason) => Verdict::Revoked(reason),
            None if self.now > facts.next_update => Verdict::Expired,
            None => Verdict::Good,
        };
        Standing { verdict, list: Some(facts) }
    }
}

impl std::fmt::Debug for ListSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListSet({} issuers)", self.by_issuer.len())
    }
}

impl std::fmt::Debug for RevocationMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RevocationMemory({} keys)", self.issuers.values().count())
    }
}
