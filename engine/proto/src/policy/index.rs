//! The rules of one action, so arranged that ten thousand cost no more than a few.
//!
//! Every distinct value or pattern that rules name is an *atom*. A client is looked up once in each kind of them, which
//! finds the atoms that hold of it. An atom knows the first rule that it makes up alone, and the rules of several terms
//! of which it is the rarest; of those the other terms are then looked at.

use std::collections::HashMap;
use std::hash::Hash;

use crate::policy::issuer::SerialNumber;
use crate::policy::issuer_serial::IssuerSerial;
use crate::policy::key::KeyPattern;
use crate::policy::matcher::{Field, Matcher};
use crate::policy::rule::{Action, Rule};
use crate::policy::{DomainName, Fingerprint, Subject};

use self::names::Names;
use self::ranges::Ranges;
use self::search::Search;
use self::staircase::Staircases;

mod names;
mod ranges;
mod search;
mod staircase;
mod trie;

/// The number of an atom.
type AtomId = u32;

/// Finds the first rule of an action that matches a client, as if they were tried one after the other.
///
/// What [`Rule::matches`] says is said here a second time; a test holds the two together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    action: Action,
    atoms: Vec<Atom>,
    conjunctions: Vec<Conjunction>,
    /// Those of [`Self::conjunctions`] without an atom.
    unkeyed: Vec<usize>,
    any_verified: Option<usize>,
    /// By the number of the field.
    names: [Names; Field::ALL.len()],
    emails: Names,
    spiffe_ids: Names,
    addresses: Ranges,
    issuers: Values<String>,
    serials: Values<SerialNumber>,
    issuer_serials: Values<IssuerSerial>,
    keys: Values<Fingerprint>,
    certificates: Values<Fingerprint>,
    key_kinds: Values<KeyPattern>,
    purposes: Values<Box<[u8]>>,
    policies: Values<Box<[u8]>>,
    trust_domains: Values<DomainName>,
    staircases: Staircases,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Atom {
    /// The first rule of which it is the only term.
    alone: Option<usize>,
    /// Those of the conjunctions of which it is the rarest term, ascending.
    keyed: Vec<usize>,
    /// How many conjunctions it is a term of.
    conjunctions: usize,
}

/// A rule of several terms.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Conjunction {
    rule: usize,
    atoms: Box<[AtomId]>,
    /// The places of the terms that are no atoms, but comparisons.
    compared: Box<[usize]>,
}

type Values<K> = HashMap<K, AtomId>;

impl Index {
    pub(super) fn new(rules: &[Rule], action: Action) -> Index {
        let mut index = Index {
            action,
            atoms: Vec::new(),
            conjunctions: Vec::new(),
            unkeyed: Vec::new(),
            any_verified: None,
            names: Field::ALL.map(|field| Names::new(field.syntax().separator)),
            emails: Names::of_mailboxes(),
            spiffe_ids: Names::new(Field::Uri.syntax().separator),
            addresses: Ranges::default(),
            issuers: HashMap::new(),
            serials: HashMap::new(),
            issuer_serials: HashMap::new(),
            keys: HashMap::new(),
            certificates: HashMap::new(),
            key_kinds: HashMap::new(),
            purposes: HashMap::new(),
            policies: HashMap::new(),
            trust_domains: HashMap::new(),
            staircases: Staircases::default(),
        };
        for (number, rule) in rules.iter().enumerate() {
            if rule.action() == action {
                match rule.terms() {
                    [only] => index.add_alone(number, only),
                    several => index.add_conjunction(number, several),
                }
            }
        }
        for (place, conjunction) in index.conjunctions.iter().enumerate() {
            let uses = |atom: &&AtomId| index.atoms[**atom as usize].conjunctions;
            match conjunction.atoms.iter().min_by_key(uses) {
                Some(rarest) => index.atoms[*rarest as usize].keyed.push(place),
                None => index.unkeyed.push(place),
            }
        }
        for field in Field::ALL {
            // A certificate may have such a text for a name.
            index.names[field as usize].compile(field == Field::DnsName);
        }
        index.emails.compile(false);
        index.spiffe_ids.compile(false);
        index
    }

    fn add_alone(&mut self, rule: usize, term: &Matcher) {
        match self.atom(term) {
            Some(atom) => {
                self.atoms[atom as usize].alone.get_or_insert(rule);
            }
            None => match term {
                Matcher::Lifetime(bound) => {
                    self.staircases.lifetime.add(bound.relation, bound.seconds(), rule);
                }
                Matcher::Remaining(bound) => {
                    self.staircases.remaining.add(bound.relation, bound.seconds(), rule);
                }
                Matcher::Key(KeyPattern::RsaBits(relation, bits)) => {
                    self.staircases.rsa_bits.add(*relation, i64::from(*bits), rule);
                }
                Matcher::AnyVerified => {
                    self.any_verified.get_or_insert(rule);
                }
                // Anonymous speaks of no certificate; see `Policy::anonymous_rule`.
                _ => {}
            },
        }
    }

    fn add_conjunction(&mut self, rule: usize, terms: &[Matcher]) {
        let (mut atoms, mut compared) = (Vec::new(), Vec::new());
        for (place, term) in terms.iter().enumerate() {
            match self.atom(term) {
                Some(atom) => {
                    self.atoms[atom as usize].conjunctions += 1;
                    atoms.push(atom);
                }
                None => compared.push(place),
            }
        }
        self.conjunctions.push(Conjunction {
            rule,
            atoms: atoms.into(),
            compared: compared.into(),
        });
    }

    /// The atom of a term; `None` for one that is only compared.
    fn atom(&mut self, term: &Matcher) -> Option<AtomId> {
        let new = &mut self.atoms;
        Some(match term {
            Matcher::Name { field, pattern } => {
                let names = &mut self.names[*field as usize];
                names.atom(pattern.literal(), pattern.tokens(), new)
            }
            Matcher::Email(pattern) => {
                let (local, domain) = pattern.parts();
                let tokens = local.tokens().chain([names::AT]).chain(domain.tokens());
                let literal = pattern.literal().map(|mailbox| names::mailbox_key(&mailbox));
                self.emails.atom(literal, tokens, new)
            }
            Matcher::Spiffe(pattern) => {
                let glob = pattern.glob();
                self.spiffe_ids.atom(glob.literal(), glob.tokens(), new)
            }
            Matcher::Address(prefix) => self.addresses.atom(prefix, new),
            Matcher::Issuer(name) => value(&mut self.issuers, name.as_str().to_owned(), new),
            Matcher::Serial(serial) => value(&mut self.serials, serial.clone(), new),
            Matcher::IssuerSerial(certificate) => {
                value(&mut self.issuer_serials, certificate.clone(), new)
            }
            Matcher::SpkiSha256(key) => value(&mut self.keys, *key, new),
            Matcher::Sha256(certificate) => value(&mut self.certificates, *certificate, new),
            Matcher::Key(KeyPattern::RsaBits(..)) => return None,
            Matcher::Key(kind) => value(&mut self.key_kinds, *kind, new),
            Matcher::Purpose(purpose) => {
                value(&mut self.purposes, purpose.oid().as_bytes().into(), new)
            }
            Matcher::CertificatePolicy(oid) => {
                value(&mut self.policies, oid.as_bytes().into(), new)
            }
            Matcher::TrustDomain(name) => value(&mut self.trust_domains, name.clone(), new),
            Matcher::Lifetime(_)
            | Matcher::Remaining(_)
            | Matcher::AnyVerified
            | Matcher::Anonymous => return None,
        })
    }

    /// The first of `rules` that has the action and matches; `rules` are those the index was made of.
    pub(super) fn first_match(&self, rules: &[Rule], subject: &Subject<'_>) -> Option<usize> {
        self.search(rules, subject).first
    }

    /// As [`Self::first_match`], with the steps that it takes.
    fn search<'a>(&'a self, rules: &[Rule], subject: &Subject<'_>) -> Search<'a> {
        let mut search = Search::new(self);
        search.names(subject);
        search.values(subject);
        search.comparisons(subject);
        search.conjunctions(rules, subject);
        search
    }
}

/// The atom of a value, new if it has not been named before.
fn value<K: Eq + Hash>(values: &mut Values<K>, key: K, atoms: &mut Vec<Atom>) -> AtomId {
    *values.entry(key).or_insert_with(|| new_atom(atoms))
}

fn new_atom(atoms: &mut Vec<Atom>) -> AtomId {
    atoms.push(Atom::default());
    // A configuration has some thousands of rules of a few terms each.
    AtomId::try_from(atoms.len() - 1).unwrap_or(AtomId::MAX)
}

#[cfg(test)]
mod tests;
