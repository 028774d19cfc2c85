//! Which verified clients may connect: rules on what the certificate says, deny before allow, nobody by default.
//!
//! Where a certificate is ambiguous the two actions read it differently, each to the safe side:
//!
//! | the certificate | an allow rule | a deny rule |
//! | --- | --- | --- |
//! | has several CNs | on CN never matches | matches if any of them does |
//! | has several O, OU, or SANs of a kind | matches if any of them does | matches if any of them does |
//! | has a wildcard dNSName (`*.example`) | matches it only letter by letter | matches it also by its stars |
//! | has an IPv4-mapped iPAddress | takes it for the IPv4 address | matches it as either |
//! | is signed by ECDSA, so that its holder can change its hash | may name the hash | may not |

use std::fmt;
use std::sync::Arc;

use crate::identity::ClientIdentity;

use self::index::Index;

pub use self::address::{AddressError, AddressPrefix};
pub use self::error::RuleError;
pub use self::fingerprint::{Fingerprint, FingerprintError};
pub use self::glob::{Glob, GlobError, MAX_PATTERN_BYTES};
pub use self::hexadecimal::HexError;
pub use self::issuer_serial::{IssuerSerial, IssuerSerialError};
pub use self::mailbox::{MailboxError, MailboxPattern};
pub use self::matcher::{Field, Matcher};
pub use self::rule::{Action, Rule};

mod address;
mod error;
mod fingerprint;
mod glob;
mod hexadecimal;
mod index;
mod issuer_serial;
mod mailbox;
mod matcher;
mod rule;

/// An ordered list of rules. Immutable: a reload makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    /// What each rule is called in logs, written once rather than for each connection.
    names: Vec<Arc<str>>,
    allow: Index,
    deny: Index,
}

impl Policy {
    /// A policy of these rules. Without rules it denies everyone.
    pub fn new(rules: Vec<Rule>) -> Policy {
        let allow = Index::new(&rules, Action::Allow);
        let deny = Index::new(&rules, Action::Deny);
        let names = rules.iter().map(|rule| rule.to_string().into()).collect();
        Policy { rules, names, allow, deny }
    }

    /// What a rule of [`Self::rules`] is called in logs: its `Display`.
    ///
    /// # Panics
    /// If there is no rule of that index.
    pub fn name(&self, rule: usize) -> &Arc<str> {
        &self.names[rule]
    }

    /// Whether there are no rules, so that nobody is allowed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules in the order given; a [`Decision`] counts from 0 in it.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Judges a client: denied if any deny rule matches, else allowed if any allow rule matches, else denied.
    ///
    /// The order of the rules decides only which of several matching ones is named: the first. Rules on exact values
    /// are looked up, at the same cost for one as for ten thousand. Rules with a star, and ranges of addresses, are
    /// tried one after the other; each costs at most the length of the pattern times the length of the name, for
    /// every such name of the client.
    pub fn decide(&self, client: &ClientIdentity) -> Decision {
        if let Some(rule) = self.deny.first_match(&self.rules, client) {
            return Decision::Denied { rule: Some(rule) };
        }
        match self.allow.first_match(&self.rules, client) {
            Some(rule) => Decision::Allowed { rule },
            None => Decision::Denied { rule: None },
        }
    }

    /// The first rule that lets in a client without a certificate, if there is one.
    pub fn anonymous_rule(&self) -> Option<usize> {
        self.rules.iter().position(|rule| {
            rule.action() == Action::Allow && matches!(rule.matcher(), Matcher::Anonymous)
        })
    }
}

/// Denies everyone.
impl Default for Policy {
    fn default() -> Policy {
        Policy::new(Vec::new())
    }
}

/// What a [`Policy`] says about one client. The index is into [`Policy::rules`] of that same policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// An allow rule matched, and no deny rule did.
    Allowed {
        /// The first allow rule that matched.
        rule: usize,
    },
    /// The client may not connect.
    Denied {
        /// The first deny rule that matched; None if simply no rule allowed the client.
        rule: Option<usize>,
    },
}

impl Decision {
    /// Whether the client may connect.
    pub fn is_allowed(self) -> bool {
        matches!(self, Decision::Allowed { .. })
    }
}

/// For logs that have no policy at hand; [`Policy::rules`] has the rule's own text.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Allowed { rule } => write!(f, "allowed by rule {rule}"),
            Decision::Denied { rule: Some(rule) } => write!(f, "denied by rule {rule}"),
            Decision::Denied { rule: None } => f.write_str("denied: no rule allows it"),
        }
    }
}

#[cfg(test)]
mod tests;
