//! A certificate by its issuer and serial number: what names it for good (RFC 5280 section 4.1.2.2).

use std::fmt;
use std::str::FromStr;

use crate::identity::{ClientIdentity, MAX_CERTIFICATE_BYTES, NameTextError, canonical_name};
use crate::policy::hexadecimal::{self, HexError};
use crate::policy::issuer::without_leading_zeros;

/// `HEX@ISSUER`: a serial number and the RFC 4514 string of the issuer, most specific attribute first.
///
/// Both stand in a connection's log line and in what `openssl x509 -noout -serial -issuer -nameopt RFC2253,-esc_msb`
/// prints of a certificate. Colons and leading zeros of the number do not count, nor does how the issuer is escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerSerial {
    /// In the form of [`ClientIdentity::serial`].
    serial: String,
    /// In the form of [`ClientIdentity::issuer`].
    issuer: String,
}

impl IssuerSerial {
    /// Those of a client's certificate.
    pub fn of(client: &ClientIdentity) -> IssuerSerial {
        IssuerSerial {
            serial: without_leading_zeros(client.serial()),
            issuer: client.issuer().to_owned(),
        }
    }

    /// Whether these are the issuer and the serial number of the client's certificate.
    pub fn matches(&self, client: &ClientIdentity) -> bool {
        self.issuer == client.issuer() && self.serial == without_leading_zeros(client.serial())
    }
}

impl FromStr for IssuerSerial {
    type Err = IssuerSerialError;

    fn from_str(text: &str) -> Result<IssuerSerial, IssuerSerialError> {
        // A longer name than a whole certificate matches none.
        if text.len() > MAX_CERTIFICATE_BYTES {
            return Err(IssuerSerialError::TooLong { length: text.len() });
        }
        let (serial, issuer) = text.split_once('@').ok_or(IssuerSerialError::NoIssuer)?;
        Ok(IssuerSerial {
            serial: without_leading_zeros(&hexadecimal::digits(serial)?),
            issuer: canonical_name(issuer)?,
        })
    }
}

impl fmt::Display for IssuerSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.serial, self.issuer)
    }
}

/// Why a text does not name a certificate by issuer and serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerSerialError {
    /// No at sign.
    #[error(
        "write HEX@ISSUER, as 5f:0a:11@CN=Example CA,O=Example: a serial number alone is unique only to its issuer"
    )]
    NoIssuer,
    /// Longer than any certificate.
    #[error(
        "it has {length} bytes, more than any certificate that is read ({MAX_CERTIFICATE_BYTES})"
    )]
    TooLong {
        /// Length of the text in bytes.
        length: usize,
    },
    /// The serial number is not hexadecimal.
    #[error("the serial number: {0}")]
    Serial(#[from] HexError),
    /// The issuer is not a distinguished name.
    #[error("the issuer: {0}")]
    Issuer(#[from] NameTextError),
}
