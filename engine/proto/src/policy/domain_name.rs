//! Names that a configuration gives to trust domains.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::identity::shown;

/// Longest name of a trust domain, in bytes.
const MAX_BYTES: usize = 64;

/// The name of a trust domain: of a bundle of CA certificates, as a configuration calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    fn from_str(text: &str) -> Result<DomainName, DomainNameError> {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || [b'.', b'_', b'-'].contains(&byte);
        if (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(DomainName(text.into()));
        }
        Err(DomainNameError { text: shown(text) })
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that no trust domain is called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` cannot be the name of a trust domain: it has 1 to {MAX_BYTES} letters, digits, `.`, `_` and `-`"
)]
pub struct DomainNameError {
    /// The beginning of the text.
    text: String,
}
