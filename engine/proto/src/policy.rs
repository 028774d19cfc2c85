//! Which verified clients may connect: rules on what the certificate says, deny before allow, nobody by default.
//!
//! Where a certificate is ambiguous the two actions read it differently, each to the safe side:
//!
//! | the certificate | an allow rule | a deny rule |
//! | --- | --- | --- |
//! | has several CNs, or several of the issuer's | on CN never matches | matches if any of them does |
//! | has several O, OU, or SANs of a kind | matches if any of them does | matches if any of them does |
//! | has a wildcard dNSName (`*.example`) | matches it only letter by letter | matches it also by its stars |
//! | has an IPv4-mapped iPAddress | takes it for the IPv4 address | matches it as either |
//! | has several URIs, or one that is no valid SPIFFE ID | on SPIFFE never matches | matches if any of them fits |
//! | has no extended key usage, an unreadable one, or anyExtendedKeyUsage | matches only what is listed | matches, whatever the purpose |
//! | has unreadable certificate policies, or anyPolicy | matches only what is listed | matches, whatever the policy |
//! | has no certificate policies | on them never matches | on them never matches |
//! | has a key of an unknown kind | on keys never matches | matches, whatever the kind |
//! | leads to a trust domain without a name | on trust domains never matches | on trust domains never matches |
//! | has a serial number that other issuers give too | must name the issuer beside it | need not |
//! | is signed by ECDSA, so that its holder can change its hash | may name the hash | may not |
//!
//! A rule of several terms matches whom all of them match, each read for the rule's action. There is no "not": a rule
//! says what a certificate is, and of both actions there are rules enough to say the rest.

use std::fmt;
use std::sync::Arc;

use crate::identity::ClientIdentity;

use self::index::Index;

pub use self::address::{AddressError, AddressPrefix};
pub use self::bound::{BoundError, Relation, SpanBound};
pub use self::domain_name::{DomainName, DomainNameError};
pub use self::error::RuleError;
pub use self::fingerprint::{Fingerprint, FingerprintError};
pub use self::glob::{Glob, GlobError, MAX_PATTERN_BYTES};
pub use self::hexadecimal::HexError;
pub use self::issuer::{IssuerName, IssuerNameError, SerialNumber};
pub use self::issuer_serial::{IssuerSerial, IssuerSerialError};
pub use self::key::{KeyError, KeyPattern};
pub use self::mailbox::{MailboxError, MailboxPattern};
pub use self::matcher::{Field, Matcher};
pub use self::purpose::{Purpose, PurposeError};
pub use self::rule::{Action, MAX_TERMS, Rule};
pub use self::spiffe::{SpiffeError, SpiffePattern};

mod address;
mod bound;
mod domain_name;
mod error;
mod fingerprint;
mod glob;
mod hexadecimal;
mod index;
mod issuer;
mod issuer_serial;
mod key;
mod mailbox;
mod matcher;
mod matching;
mod purpose;
mod rule;
mod spiffe;

/// Whom a [`Policy`] judges: what its certificate says, and what else a rule can be about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What the verified certificate says.
    pub identity: &'a ClientIdentity,
    /// What the configuration calls the trust domain that the certificate leads to; `None` if it has no name.
    pub trust_domain: Option<&'a str>,
    /// Seconds since the Unix epoch.
    pub now: i64,
}

impl Subject<'_> {
    /// From notBefore to notAfter, in seconds. Path validation has refused a validity that ends before it begins.
    fn lifetime(&self) -> i64 {
        self.identity.not_after().saturating_sub(self.identity.not_before())
    }

    /// From now to notAfter, in seconds.
    fn remaining(&self) -> i64 {
        self.identity.not_after().saturating_sub(self.now)
    }
}

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
    /// The order of the rules decides only which of several matching ones is named: the first.
    ///
    /// Nothing is tried one after the other, except the rules that name no value at all and only compare times or key
    /// sizes in several terms. Exact values are looked up, ranges of addresses by their length (129 at most), patterns
    /// followed letter by letter, all of a kind at once. So ten thousand rules cost what a few do, unless they are
    /// about this client. At most, whatever the rules and the names: for each name of n bytes, n + 1 times the places
    /// in the patterns that its beginning fits, none counted twice; and each term of each rule once.
    pub fn decide(&self, subject: &Subject<'_>) -> Decision {
        if let Some(rule) = self.deny.first_match(&self.rules, subject) {
            return Decision::Denied { rule: Some(rule) };
        }
        match self.allow.first_match(&self.rules, subject) {
            Some(rule) => Decision::Allowed { rule },
            None => Decision::Denied { rule: None },
        }
    }

    /// As [`Self::decide`], by the rule's name.
    pub fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        let (allowed, rule) = match self.decide(subject) {
            Decision::Allowed { rule } => (true, Some(rule)),
            Decision::Denied { rule } => (false, rule),
        };
        Verdict { allowed, rule: rule.map(|rule| Arc::clone(self.name(rule))) }
    }

    /// What is said about a client without a certificate, where none is required.
    pub fn verdict_on_anonymous(&self) -> Verdict {
        let rule = self.anonymous_rule();
        Verdict { allowed: rule.is_some(), rule: rule.map(|rule| Arc::clone(self.name(rule))) }
    }

    /// The first rule that lets in a client without a certificate, if there is one.
    pub fn anonymous_rule(&self) -> Option<usize> {
        self.rules.iter().position(Rule::is_for_anonymous)
    }
}

/// A [`Decision`] that stands for itself, with the rule's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// May the client connect?
    pub allowed: bool,
    /// The rule that decides; `None` if no rule lets the client in.
    pub rule: Option<Arc<str>>,
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
