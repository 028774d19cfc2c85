//! An issuer by its whole name; a serial number without one.

use std::fmt;
use std::str::FromStr;

use crate::identity::{ClientIdentity, MAX_CERTIFICATE_BYTES, NameTextError, canonical_name};
use crate::policy::hexadecimal::{self, HexError};

/// A distinguished name as [`ClientIdentity::issuer`] has it (RFC 4514), most specific attribute first.
///
/// It is compared whole. A pattern over such a text would be evaded: in `CN=a\\,O=Example` what looks like an O is part
/// of the CN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerName(String);

impl IssuerName {
    /// In the form of [`ClientIdentity::issuer`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IssuerName {
    type Err = IssuerNameError;

    fn from_str(text: &str) -> Result<IssuerName, IssuerNameError> {
        // A longer name than a whole certificate matches none.
        if text.len() > MAX_CERTIFICATE_BYTES {
            return Err(IssuerNameError::TooLong { length: text.len() });
        }
        if text.contains('*') {
            return Err(IssuerNameError::Star);
        }
        Ok(IssuerName(canonical_name(text)?))
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace('*', "\\2A"))
    }
}

/// Why a text is no issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerNameError {
    /// Longer than any certificate.
    #[error(
        "it has {length} bytes, more than any certificate that is read ({MAX_CERTIFICATE_BYTES})"
    )]
    TooLong {
        /// Length of the text in bytes.
        length: usize,
    },
    /// A star.
    #[error(
        "the issuer is compared whole: for a pattern write issuer-cn=PATTERN; a `*` that belongs to the name is written `\\2A`"
    )]
    Star,
    /// Not a distinguished name.
    #[error(transparent)]
    Name(#[from] NameTextError),
}

/// A serial number alone. Colons and leading zeros do not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialNumber(String);

impl SerialNumber {
    /// That of a client's certificate.
    pub fn of(client: &ClientIdentity) -> SerialNumber {
        SerialNumber(without_leading_zeros(client.serial()))
    }

    /// Whether it is that of a client's certificate.
    pub fn is_of(&self, client: &ClientIdentity) -> bool {
        self.0 == without_leading_zeros(client.serial())
    }
}

/// A whole number of bytes, and at least one, as [`ClientIdentity::serial`] has it.
pub(super) fn without_leading_zeros(digits: &str) -> String {
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => "00".to_owned(),
        length if length % 2 == 1 => format!("0{digits}"),
        _ => digits.to_owned(),
    }
}

impl FromStr for SerialNumber {
    type Err = HexError;

    fn from_str(text: &str) -> Result<SerialNumber, HexError> {
        Ok(SerialNumber(without_leading_zeros(&hexadecimal::digits(text)?)))
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
