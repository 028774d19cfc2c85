//! One rule: what it does, and with whom.

use std::fmt;

use crate::policy::Subject;
use crate::policy::error::RuleError;
use crate::policy::matcher::{Matcher, SHA256};

/// Most terms of a rule.
pub const MAX_TERMS: usize = 8;

/// What stands between two terms.
const AND: &str = " && ";

/// What a rule does with a client it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets the client in, unless a deny rule matches too.
    Allow,
    /// Keeps the client out, whatever else matches.
    Deny,
}

/// A rule of a policy: an action, and terms that must all hold. Its `Display` (`allow cn=payments-* && lifetime<=24h`)
/// is its name in logs and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    action: Action,
    /// At least one.
    terms: Box<[Matcher]>,
}

impl Rule {
    /// Does this with whom every term matches.
    ///
    /// # Errors
    ///
    /// [`RuleError::NoTerm`] and [`RuleError::TooManyTerms`] if there are none or more than [`MAX_TERMS`].
    /// [`RuleError::NotAlone`] for `any-verified` and `anonymous` beside another term.
    ///
    /// Of a deny rule: [`RuleError::DeniesEveryone`] for `any-verified`: a policy without rules says the same, and says
    /// it on purpose. [`RuleError::DeniesAnonymous`] for `anonymous`, and [`RuleError::DeniesByCertificateHash`] for
    /// `sha256`, which a client could evade.
    ///
    /// Of an allow rule: [`RuleError::SerialWithoutIssuer`] for a serial number with no term for its issuer beside it,
    /// since every CA below the trust anchors can give that number.
    pub fn new(action: Action, terms: Vec<Matcher>) -> Result<Rule, RuleError> {
        let is_alone = terms.len() == 1;
        let mut has_serial = false;
        let mut has_issuer = false;
        for term in &terms {
            match (action, term) {
                (Action::Deny, Matcher::AnyVerified) => return Err(RuleError::DeniesEveryone),
                (Action::Deny, Matcher::Anonymous) => return Err(RuleError::DeniesAnonymous),
                (Action::Deny, Matcher::Sha256(_)) => {
                    return Err(RuleError::DeniesByCertificateHash);
                }
                (_, Matcher::AnyVerified | Matcher::Anonymous) if !is_alone => {
                    return Err(RuleError::NotAlone { term: term.to_string() });
                }
                (_, Matcher::Serial(_)) => has_serial = true,
                (_, Matcher::Issuer(_)) => has_issuer = true,
                (_, Matcher::Name { field, .. }) => has_issuer |= field.is_of_issuer(),
                _ => {}
            }
        }
        match terms.len() {
            0 => return Err(RuleError::NoTerm),
            1..=MAX_TERMS => {}
            count => return Err(RuleError::TooManyTerms { count }),
        }
        if action == Action::Allow && has_serial && !has_issuer {
            return Err(RuleError::SerialWithoutIssuer);
        }
        Ok(Rule { action, terms: terms.into() })
    }

    /// Reads the text of an allow rule, as `cn=payments-*` or `dns=**.example && key=ec-p256`; see [`Matcher`].
    ///
    /// # Errors
    ///
    /// A [`RuleError`] that says what is wrong with the text and what would be right.
    pub fn parse_allow(text: &str) -> Result<Rule, RuleError> {
        Rule::parse(Action::Allow, text)
    }

    /// Reads the text of a deny rule, as `dns=**.guest.example`; see [`Matcher`].
    ///
    /// # Errors
    ///
    /// A [`RuleError`] that says what is wrong with the text and what would be right.
    pub fn parse_deny(text: &str) -> Result<Rule, RuleError> {
        Rule::parse(Action::Deny, text)
    }

    fn parse(action: Action, text: &str) -> Result<Rule, RuleError> {
        let count = text.split(AND).count();
        if count > MAX_TERMS {
            return Err(RuleError::TooManyTerms { count });
        }
        let term = |(number, text): (usize, &str)| {
            term(action, text).map_err(|error| match count {
                1 => error,
                _ => RuleError::Term { number: number + 1, error: Box::new(error) },
            })
        };
        Rule::new(action, text.split(AND).enumerate().map(term).collect::<Result<_, _>>()?)
    }

    /// What it does with a client it matches.
    pub fn action(&self) -> Action {
        self.action
    }

    /// What must hold of whom it matches: all of these.
    pub fn terms(&self) -> &[Matcher] {
        &self.terms
    }

    /// Does it let in a client without a certificate?
    pub fn is_for_anonymous(&self) -> bool {
        self.action == Action::Allow && matches!(*self.terms, [Matcher::Anonymous])
    }

    /// Whether the rule speaks of this client. Ambiguous certificates are read to the safe side of the action.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.terms.iter().all(|term| term.matches(self.action, subject))
    }
}

fn term(action: Action, text: &str) -> Result<Matcher, RuleError> {
    // Before its digits are looked at: there is no use in mending them.
    let keyword = text.split_once('=').map(|(keyword, _)| keyword);
    if action == Action::Deny && keyword == Some(SHA256) {
        return Err(RuleError::DeniesByCertificateHash);
    }
    // Taken as part of a value it would be a rule that matches nobody, and to a deny rule that is the wrong side.
    if text.contains(AND.trim()) {
        return Err(RuleError::Unspaced);
    }
    text.parse()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            Action::Allow => "allow ",
            Action::Deny => "deny ",
        })?;
        for (number, term) in self.terms.iter().enumerate() {
            let and = if number == 0 { "" } else { AND };
            write!(f, "{and}{term}")?;
        }
        Ok(())
    }
}
