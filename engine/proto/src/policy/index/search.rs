//! A client's way through the index of one action.

use std::hash::Hash;

use crate::identity::{KeyKind, Listed};
use crate::policy::index::names::{self, Names};
use crate::policy::index::{AtomId, Index, Values};
use crate::policy::issuer::SerialNumber;
use crate::policy::issuer_serial::IssuerSerial;
use crate::policy::key::KeyPattern;
use crate::policy::matcher::Field;
use crate::policy::matching::{self, is_taken_literally, without_root};
use crate::policy::purpose::{has_every_policy, is_open};
use crate::policy::rule::{Action, Rule};
use crate::policy::{Fingerprint, Subject, mailbox, spiffe};

/// One client on its way through an [`Index`].
pub(super) struct Search<'a> {
    index: &'a Index,
    /// The atoms that hold, if there are conjunctions.
    found: Vec<AtomId>,
    /// The first rule that matches, as far as is known.
    pub(super) first: Option<usize>,
    /// Look-ups, places in patterns, and terms looked at.
    pub(super) steps: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(index: &'a Index) -> Search<'a> {
        Search { index, found: Vec::new(), first: index.any_verified, steps: 0 }
    }

    fn note(&mut self, atom: AtomId) {
        self.steps += 1;
        self.matched(self.index.atoms[atom as usize].alone);
        if !self.index.conjunctions.is_empty() {
            self.found.push(atom);
        }
    }

    fn matched(&mut self, rule: Option<usize>) {
        self.first = self.first.into_iter().chain(rule).min();
    }

    pub(super) fn names(&mut self, subject: &Subject<'_>) {
        let (index, action) = (self.index, self.index.action);
        for field in Field::ALL {
            let known = &index.names[field as usize];
            if known.is_empty() {
                continue;
            }
            for name in matching::names(action, field, subject) {
                if field == Field::DnsName {
                    let name = without_root(name).to_ascii_lowercase();
                    if is_taken_literally(action, &name) {
                        self.look_up_text(known, &name);
                    } else {
                        self.look_up(known, &name);
                    }
                } else {
                    self.look_up(known, name);
                }
            }
        }
        let client = subject.identity;
        if !index.emails.is_empty() {
            for mailbox in client.emails().iter().filter_map(|name| mailbox::folded(name)) {
                self.look_up(&index.emails, &names::mailbox_key(&mailbox));
            }
        }
        if !index.spiffe_ids.is_empty() {
            match action {
                Action::Allow => {
                    if let Some(id) = spiffe::id(client.uris()) {
                        self.look_up(&index.spiffe_ids, &id);
                    }
                }
                Action::Deny => {
                    for id in client.uris().iter().filter_map(|uri| spiffe::folded(uri)) {
                        self.look_up(&index.spiffe_ids, &id);
                    }
                }
            }
        }
    }

    fn look_up(&mut self, known: &Names, name: &str) {
        self.steps += known.look_up(name, &mut |atom| self.note(atom));
    }

    fn look_up_text(&mut self, known: &Names, name: &str) {
        self.steps += 1;
        if let Some(atom) = known.with_text(name) {
            self.note(atom);
        }
    }

    pub(super) fn values(&mut self, subject: &Subject<'_>) {
        let (index, client) = (self.index, subject.identity);
        self.look_up_value(&index.issuers, || client.issuer().to_owned());
        self.look_up_value(&index.serials, || SerialNumber::of(client));
        self.look_up_value(&index.issuer_serials, || IssuerSerial::of(client));
        self.look_up_value(&index.keys, || Fingerprint(client.spki_sha256()));
        self.look_up_value(&index.certificates, || Fingerprint(client.sha256()));
        if let Some(name) = subject.trust_domain
            && let Some(atom) = index.trust_domains.get(name)
        {
            self.note(*atom);
        }
        if !index.addresses.is_empty() {
            for address in client.ip_addresses() {
                self.steps += index.addresses.look_up(index.action, *address, &mut |atom| {
                    self.note(atom);
                });
            }
        }
        match client.key() {
            KeyKind::Unknown if index.action == Action::Deny => self.note_all(&index.key_kinds),
            key => {
                for kind in KeyPattern::of(key).iter().flatten() {
                    self.look_up_value(&index.key_kinds, || *kind);
                }
            }
        }
        self.listed(&index.purposes, client.purposes(), is_open);
        self.listed(&index.policies, client.policies(), has_every_policy);
    }

    /// Makes no key where there is none to compare it with.
    fn look_up_value<K: Eq + Hash>(&mut self, values: &Values<K>, key: impl FnOnce() -> K) {
        if !values.is_empty() {
            self.steps += 1;
            if let Some(atom) = values.get(&key()) {
                self.note(*atom);
            }
        }
    }

    /// Looks up what an extension lists; a deny rule finds all where `is_every` says so.
    fn listed(
        &mut self,
        values: &Values<Box<[u8]>>,
        listed: &Listed,
        is_every: fn(&Listed) -> bool,
    ) {
        if values.is_empty() {
            return;
        }
        if self.index.action == Action::Deny && is_every(listed) {
            return self.note_all(values);
        }
        if let Listed::These(these) = listed {
            for oid in these.iter() {
                self.steps += 1;
                if let Some(atom) = values.get(oid) {
                    self.note(*atom);
                }
            }
        }
    }

    fn note_all<K>(&mut self, values: &Values<K>) {
        values.values().for_each(|atom| self.note(*atom));
    }

    /// The rules that are one comparison.
    pub(super) fn comparisons(&mut self, subject: &Subject<'_>) {
        let staircases = &self.index.staircases;
        self.matched(staircases.lifetime.first_that_holds(subject.lifetime()));
        self.matched(staircases.remaining.first_that_holds(subject.remaining()));
        self.matched(match (subject.identity.key(), self.index.action) {
            (KeyKind::Rsa { bits }, _) => staircases.rsa_bits.first_that_holds(bits.into()),
            (KeyKind::Unknown, Action::Deny) => staircases.rsa_bits.first(),
            _ => None,
        });
    }

    /// The rules of several terms, those that could match and be the first.
    pub(super) fn conjunctions(&mut self, rules: &[Rule], subject: &Subject<'_>) {
        let index = self.index;
        self.found.sort_unstable();
        self.found.dedup();
        for place in 0..self.found.len() {
            let keyed = &index.atoms[self.found[place] as usize].keyed;
            self.try_conjunctions(keyed, rules, subject);
        }
        self.try_conjunctions(&index.unkeyed, rules, subject);
    }

    fn try_conjunctions(&mut self, places: &[usize], rules: &[Rule], subject: &Subject<'_>) {
        for place in places {
            let conjunction = &self.index.conjunctions[*place];
            if self.first.is_some_and(|first| first <= conjunction.rule) {
                return;
            }
            let terms = rules[conjunction.rule].terms();
            self.steps += terms.len();
            let compares = |place: &usize| terms[*place].matches(self.index.action, subject);
            if conjunction.atoms.iter().all(|atom| self.found.binary_search(atom).is_ok())
                && conjunction.compared.iter().all(compares)
            {
                self.first = Some(conjunction.rule);
                return;
            }
        }
    }
}
