//! Patterns over email addresses.

use std::fmt;
use std::str::FromStr;

use crate::policy::glob::{Glob, GlobError, Syntax};

/// A pattern `LOCAL@DOMAIN` over an rfc822Name (RFC 5280 section 4.2.1.6).
///
/// Two addresses are the same if their local parts are, to the letter, and their domains in any case of ASCII letters
/// (RFC 5280 section 7.5). The local part has no segments, so `*` and `**` mean the same in it; the domain's segments
/// are labels. No star reaches across the at sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxPattern {
    local: Glob,
    domain: Glob,
}

impl MailboxPattern {
    /// Whether the whole address fits. One without an at sign is none.
    pub fn matches(&self, mailbox: &str) -> bool {
        // The local part may hold an at sign itself, in quotes (RFC 5321 section 4.1.2); the domain may not.
        let Some((local, domain)) = mailbox.rsplit_once('@') else { return false };
        self.local.matches(local) && self.domain.matches(domain)
    }

    pub(super) fn parts(&self) -> (&Glob, &Glob) {
        (&self.local, &self.domain)
    }

    /// The only address that fits, as [`folded`] writes it; None if there is a star.
    pub(super) fn literal(&self) -> Option<String> {
        Some(format!("{}@{}", self.local.literal()?, self.domain.literal()?))
    }
}

/// An address in the form in which two that are the same are equal; None if it is none.
pub(super) fn folded(mailbox: &str) -> Option<String> {
    let (local, domain) = mailbox.rsplit_once('@')?;
    Some(format!("{local}@{}", domain.to_ascii_lowercase()))
}

const LOCAL: Syntax = Syntax {
    separator: None,
    folds_case: false,
    has_labels: false,
    fits: |character| character.is_ascii_graphic(),
    takes: "an email address takes printable ASCII without blanks",
};

impl FromStr for MailboxPattern {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<MailboxPattern, MailboxError> {
        match text.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                Ok(MailboxPattern {
                    local: Glob::compile(LOCAL, local)?,
                    domain: Glob::compile(Syntax::DOMAIN, domain)?,
                })
            }
            _ => Err(MailboxError::NoParts),
        }
    }
}

impl fmt::Display for MailboxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local.as_str(), self.domain.as_str())
    }
}

/// Why a text is not a pattern over email addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// One of the two parts is missing.
    #[error("write LOCAL@DOMAIN, as ops@example.org, or *@example.org for everyone there")]
    NoParts,
    /// One of the two parts is not a pattern.
    #[error(transparent)]
    Part(#[from] GlobError),
}
