//! One rule, as it is written in a configuration and as it meets a certificate.

use std::fmt;
use std::str::FromStr;

use crate::identity::ClientIdentity;
use crate::policy::glob::{Glob, GlobError};

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
    pub fn deny(matcher: Matcher) -> Result<Rule, RuleError> {
        match matcher {
            Matcher::AnyVerified => Err(RuleError::DeniesEveryone),
            Matcher::Name { .. } => Ok(Rule { action: Action::Deny, matcher }),
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
        let Matcher::Name { field, pattern } = &self.matcher else {
            return true;
        };
        match (field, self.action) {
            (Field::CommonName, Action::Allow) => match client.common_names() {
                [only] => pattern.matches(only),
                _ => false,
            },
            (Field::CommonName, Action::Deny) => {
                client.common_names().iter().any(|name| pattern.matches(name))
            }
            (Field::DnsName, action) => {
                client.dns_names().iter().any(|name| dns_matches(action, pattern, name))
            }
            (Field::Uri, _) => client.uris().iter().any(|uri| pattern.matches(uri)),
        }
    }
}

fn dns_matches(action: Action, pattern: &Glob, name: &str) -> bool {
    // `payments.example.` is the same name, fully qualified (RFC 1034 section 3.1).
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_wildcard = name.contains('*');
    if is_wildcard && action == Action::Allow {
        // A certificate for `*.example` speaks for no single host: only who allows that very name means it.
        return pattern.as_str().eq_ignore_ascii_case(name);
    }
    pattern.matches(name)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Allow => write!(f, "allow {}", self.matcher),
            Action::Deny => write!(f, "deny {}", self.matcher),
        }
    }
}

/// The name in the certificate that a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `cn`: the subject's CN. Case matters; it has no segments, so `*` and `**` mean the same.
    CommonName,
    /// `dns`: a SAN of kind dNSName. Case does not matter (RFC 4343); segments are labels, between dots.
    DnsName,
    /// `uri`: a SAN of kind uniformResourceIdentifier, as a SPIFFE ID. Compared as it stands: case matters, nothing is
    /// decoded or normalized; segments lie between slashes.
    Uri,
}

impl Field {
    const ALL: [Field; 3] = [Field::CommonName, Field::DnsName, Field::Uri];

    /// The name before the `=`.
    pub fn keyword(self) -> &'static str {
        match self {
            Field::CommonName => "cn",
            Field::DnsName => "dns",
            Field::Uri => "uri",
        }
    }

    pub(super) fn separator(self) -> Option<u8> {
        match self {
            Field::CommonName => None,
            Field::DnsName => Some(b'.'),
            Field::Uri => Some(b'/'),
        }
    }
}

const ANY_VERIFIED: &str = "any-verified";

/// Whom a rule speaks of: `cn=PATTERN`, `dns=PATTERN`, `uri=PATTERN`, or `any-verified`.
///
/// In a pattern `*` stands for any run of characters, also none, within one segment (a DNS label, a part of a URI
/// between slashes); `**` for any run across segments. Every other character stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matcher {
    /// A name in the certificate fits a pattern.
    #[non_exhaustive]
    Name {
        /// Which name.
        field: Field,
        /// The pattern, compiled.
        pattern: Glob,
    },
    /// Every client whose certificate was verified.
    AnyVerified,
}

impl FromStr for Matcher {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Matcher, RuleError> {
        if text == ANY_VERIFIED {
            return Ok(Matcher::AnyVerified);
        }
        let Some((keyword, pattern)) = text.split_once('=') else {
            return Err(RuleError::NoField { text: shown(text) });
        };
        let Some(field) = Field::ALL.into_iter().find(|field| field.keyword() == keyword) else {
            return Err(RuleError::UnknownField { field: shown(keyword) });
        };
        let keyword = field.keyword();
        let pattern = Glob::new(field, pattern)
            .map_err(|error| RuleError::Pattern { field: keyword, error })?;
        Ok(Matcher::Name { field, pattern })
    }
}

/// The beginning of a text that was refused, safe to show.
fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let beginning: String = text.chars().take(LONGEST).collect();
    crate::identity::Printable(&beginning).to_string()
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Name { field, pattern } => {
                write!(f, "{}={}", field.keyword(), pattern.as_str())
            }
            Matcher::AnyVerified => f.write_str(ANY_VERIFIED),
        }
    }
}

/// Why a text is not a rule. The configuration is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// No `=`, and not `any-verified`.
    #[error(
        "`{text}` names no field: write cn=PATTERN, dns=PATTERN, uri=PATTERN or {ANY_VERIFIED}"
    )]
    NoField {
        /// The beginning of the text.
        text: String,
    },
    /// A field that no rule can be about.
    #[error(
        "unknown field `{field}`: the fields are cn, dns and uri, in lower case and with no blank before the `=`"
    )]
    UnknownField {
        /// What stands before the `=`.
        field: String,
    },
    /// The pattern cannot be one.
    #[error("{field}=: {error}")]
    Pattern {
        /// The field the pattern is for.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        error: GlobError,
    },
    /// `deny any-verified`.
    #[error("deny {ANY_VERIFIED} would keep everyone out: leave the rules empty to say so")]
    DeniesEveryone,
}
