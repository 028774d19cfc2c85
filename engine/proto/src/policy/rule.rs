//! One rule, and how it meets a certificate.

use std::fmt;

use crate::identity::ClientIdentity;
use crate::policy::error::RuleError;
use crate::policy::glob::Glob;
use crate::policy::matcher::{Field, Matcher, SHA256};

/// What a rule does with a client it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets the client in, unless a deny rule matches too.
    Allow,
    /// Keeps the client out, whatever else matches.
    Deny,
}

/// A rule of a policy. Its `Display` (`allow cn=payments-*`) is its name in logs and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    action: Action,
    matcher: Matcher,
}

impl Rule {
    /// Lets in whom the matcher matches.
    pub fn allow(matcher: Matcher) -> Rule {
        Rule { action: Action::Allow, matcher }
    }

    /// Keeps out whom the matcher matches.
    ///
    /// # Errors
    ///
    /// [`RuleError::DeniesEveryone`] for `any-verified`: a policy without rules says the same, and says it on purpose.
    /// [`RuleError::DeniesAnonymous`] for `anonymous`, and [`RuleError::DeniesByCertificateHash`] for `sha256`, which
    /// a client could evade.
    pub fn deny(matcher: Matcher) -> Result<Rule, RuleError> {
        match matcher {
            Matcher::AnyVerified => Err(RuleError::DeniesEveryone),
            Matcher::Anonymous => Err(RuleError::DeniesAnonymous),
            Matcher::Sha256(_) => Err(RuleError::DeniesByCertificateHash),
            Matcher::Name { .. }
            | Matcher::Email(_)
            | Matcher::Address(_)
            | Matcher::SpkiSha256(_)
            | Matcher::IssuerSerial(_) => Ok(Rule { action: Action::Deny, matcher }),
        }
    }

    /// Reads the text of an allow rule, as `cn=payments-*`; see [`Matcher`].
    ///
    /// # Errors
    ///
    /// A [`RuleError`] that says what is wrong with the text and what would be right.
    pub fn parse_allow(text: &str) -> Result<Rule, RuleError> {
        Ok(Rule::allow(text.parse()?))
    }

    /// Reads the text of a deny rule, as `dns=**.guest.example`; see [`Matcher`].
    ///
    /// # Errors
    ///
    /// A [`RuleError`] that says what is wrong with the text and what would be right.
    pub fn parse_deny(text: &str) -> Result<Rule, RuleError> {
        // Before its digits are looked at: there is no use in mending them.
        if text.split_once('=').is_some_and(|(keyword, _)| keyword == SHA256) {
            return Err(RuleError::DeniesByCertificateHash);
        }
        Rule::deny(text.parse()?)
    }

    /// What it does with a client it matches.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Whom it matches.
    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    /// Whether the rule speaks of this client. Ambiguous certificates are read to the safe side of the action.
    pub fn matches(&self, client: &ClientIdentity) -> bool {
        match &self.matcher {
            Matcher::Name { field, pattern } => self.name_matches(*field, pattern, client),
            Matcher::Email(pattern) => client.emails().iter().any(|name| pattern.matches(name)),
            Matcher::Address(prefix) => {
                client.ip_addresses().iter().any(|name| prefix.matches(self.action, *name))
            }
            Matcher::SpkiSha256(fingerprint) => fingerprint.0 == client.spki_sha256(),
            Matcher::IssuerSerial(certificate) => certificate.matches(client),
            Matcher::Sha256(fingerprint) => fingerprint.0 == client.sha256(),
            Matcher::AnyVerified => true,
            // Whoever has a certificate is not anonymous.
            Matcher::Anonymous => false,
        }
    }

    fn name_matches(&self, field: Field, pattern: &Glob, client: &ClientIdentity) -> bool {
        let any = |names: &[String]| names.iter().any(|name| pattern.matches(name));
        match (field, self.action) {
            (Field::CommonName, Action::Allow) => match client.common_names() {
                [only] => pattern.matches(only),
                _ => false,
            },
            (Field::CommonName, Action::Deny) => any(client.common_names()),
            (Field::Organization, _) => any(client.organizations()),
            (Field::OrganizationalUnit, _) => any(client.organizational_units()),
            (Field::DnsName, action) => {
                client.dns_names().iter().any(|name| dns_matches(action, pattern, name))
            }
            (Field::Uri, _) => any(client.uris()),
        }
    }
}

fn dns_matches(action: Action, pattern: &Glob, name: &str) -> bool {
    let name = without_root(name);
    let is_wildcard = name.contains('*');
    if is_wildcard && action == Action::Allow {
        // A certificate for `*.example` speaks for no single host: only who allows that very name means it.
        return pattern.as_str().eq_ignore_ascii_case(name);
    }
    pattern.matches(name)
}

/// `payments.example.` is the same name as without the dot, fully qualified (RFC 1034 section 3.1).
pub(super) fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Allow => write!(f, "allow {}", self.matcher),
            Action::Deny => write!(f, "deny {}", self.matcher),
        }
    }
}
