//! Which verified clients may connect: rules on the names in the certificate, deny before allow, nobody by default.
//!
//! Where a certificate is ambiguous the two actions read it differently, each to the safe side:
//!
//! | the certificate | an allow rule | a deny rule |
//! | --- | --- | --- |
//! | has several CNs | on CN never matches | matches if any of them does |
//! | has a wildcard dNSName (`*.example`) | matches it only letter by letter | matches it also by its stars |

use std::fmt;

use crate::identity::ClientIdentity;

pub use self::glob::{Glob, GlobError, MAX_PATTERN_BYTES};
pub use self::rule::{Action, Field, Matcher, Rule, RuleError};

mod glob;
mod rule;

/// An ordered list of rules. Immutable: a reload makes a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// A policy of these rules. Without rules it denies everyone.
    pub fn new(rules: Vec<Rule>) -> Policy {
        Policy { rules }
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
    /// The order of the rules decides only which of several matching ones is named. Costs at most the length of the
    /// pattern times the length of the name, for each pair of rule and name.
    pub fn decide(&self, client: &ClientIdentity) -> Decision {
        if let Some(rule) = self.first_match(Action::Deny, client) {
            return Decision::Denied { rule: Some(rule) };
        }
        match self.first_match(Action::Allow, client) {
            Some(rule) => Decision::Allowed { rule },
            None => Decision::Denied { rule: None },
        }
    }

    fn first_match(&self, action: Action, client: &ClientIdentity) -> Option<usize> {
        self.rules.iter().position(|rule| rule.action() == action && rule.matches(client))
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
