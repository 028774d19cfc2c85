//! The rules of one action, so arranged that ten thousand on exact values cost no more than one.

use std::collections::HashMap;
use std::hash::Hash;

use crate::identity::ClientIdentity;
use crate::policy::Fingerprint;
use crate::policy::address;
use crate::policy::issuer_serial::IssuerSerial;
use crate::policy::mailbox;
use crate::policy::matcher::{Field, Matcher};
use crate::policy::rule::{Action, Rule, without_root};

/// Finds the first rule of an action that matches a client, as if they were tried one after the other.
///
/// A value stands for the first of the rules that name it. What [`Rule::matches`] says of a pattern without a star is
/// said here a second time, as a look-up; a test holds the two together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    action: Action,
    common_names: FirstRule<String>,
    organizations: FirstRule<String>,
    organizational_units: FirstRule<String>,
    /// In lower case.
    dns_names: FirstRule<String>,
    uris: FirstRule<String>,
    /// As [`mailbox::folded`] writes them.
    emails: FirstRule<String>,
    /// As [`address::bits`] counts them.
    addresses: FirstRule<u128>,
    keys: FirstRule<Fingerprint>,
    issuer_serials: FirstRule<IssuerSerial>,
    certificates: FirstRule<Fingerprint>,
    /// The rules that must be tried, ascending: those with stars or ranges, and who speaks of every client.
    tried: Vec<usize>,
}

type FirstRule<K> = HashMap<K, usize>;

impl Index {
    pub(super) fn new(rules: &[Rule], action: Action) -> Index {
        let mut index = Index {
            action,
            common_names: HashMap::new(),
            organizations: HashMap::new(),
            organizational_units: HashMap::new(),
            dns_names: HashMap::new(),
            uris: HashMap::new(),
            emails: HashMap::new(),
            addresses: HashMap::new(),
            keys: HashMap::new(),
            issuer_serials: HashMap::new(),
            certificates: HashMap::new(),
            tried: Vec::new(),
        };
        for (number, rule) in rules.iter().enumerate() {
            if rule.action() == action {
                index.add(number, rule.matcher());
            }
        }
        index
    }

    fn add(&mut self, rule: usize, matcher: &Matcher) {
        let is_known = match matcher {
            Matcher::Name { field, pattern } => keep(self.names(*field), pattern.literal(), rule),
            Matcher::Email(pattern) => keep(&mut self.emails, pattern.literal(), rule),
            Matcher::Address(prefix) => keep(&mut self.addresses, prefix.only(), rule),
            Matcher::SpkiSha256(key) => keep(&mut self.keys, Some(*key), rule),
            Matcher::IssuerSerial(certificate) => {
                keep(&mut self.issuer_serials, Some(certificate.clone()), rule)
            }
            Matcher::Sha256(certificate) => keep(&mut self.certificates, Some(*certificate), rule),
            Matcher::AnyVerified => false,
            // Speaks of no certificate; see `Policy::anonymous_rule`.
            Matcher::Anonymous => true,
        };
        if !is_known {
            self.tried.push(rule);
        }
    }

    fn names(&mut self, field: Field) -> &mut FirstRule<String> {
        match field {
            Field::CommonName => &mut self.common_names,
            Field::Organization => &mut self.organizations,
            Field::OrganizationalUnit => &mut self.organizational_units,
            Field::DnsName => &mut self.dns_names,
            Field::Uri => &mut self.uris,
        }
    }

    /// The first of `rules` that has the action and matches; `rules` are those the index was made of.
    pub(super) fn first_match(&self, rules: &[Rule], client: &ClientIdentity) -> Option<usize> {
        let known = self.first_known(client);
        let is_earlier = |&&rule: &&usize| known.is_none_or(|known| rule < known);
        let mut earlier = self.tried.iter().take_while(is_earlier);
        earlier.find(|&&rule| rules[rule].matches(client)).copied().or(known)
    }

    fn first_known(&self, client: &ClientIdentity) -> Option<usize> {
        let common_names = match (self.action, client.common_names()) {
            (Action::Deny, names) | (Action::Allow, names @ [_]) => names,
            (Action::Allow, _) => &[],
        };
        let dns_name = |name: &String| Some(without_root(name).to_ascii_lowercase());
        let email = |name: &String| mailbox::folded(name);
        let found = [
            named(&self.common_names, common_names),
            named(&self.organizations, client.organizations()),
            named(&self.organizational_units, client.organizational_units()),
            looked_up(&self.dns_names, client.dns_names(), dns_name),
            named(&self.uris, client.uris()),
            looked_up(&self.emails, client.emails(), email),
            looked_up(&self.addresses, client.ip_addresses(), |name| Some(address::bits(*name))),
            looked_up(&self.keys, &[client], |client| Some(Fingerprint(client.spki_sha256()))),
            looked_up(&self.issuer_serials, &[client], |client| Some(IssuerSerial::of(client))),
            looked_up(&self.certificates, &[client], |client| Some(Fingerprint(client.sha256()))),
        ];
        found.into_iter().flatten().min()
    }
}

/// Whether there is a value to know the rule by.
fn keep<K: Eq + Hash>(known: &mut FirstRule<K>, value: Option<K>, rule: usize) -> bool {
    let Some(value) = value else { return false };
    known.entry(value).or_insert(rule);
    true
}

fn named(known: &FirstRule<String>, names: &[String]) -> Option<usize> {
    names.iter().filter_map(|name| known.get(name)).copied().min()
}

/// Makes no key where there is none to compare it with.
fn looked_up<K: Eq + Hash, N>(
    known: &FirstRule<K>,
    names: &[N],
    key: impl Fn(&N) -> Option<K>,
) -> Option<usize> {
    if known.is_empty() {
        return None;
    }
    names.iter().filter_map(|name| known.get(&key(name)?)).copied().min()
}

#[cfg(test)]
mod tests;
