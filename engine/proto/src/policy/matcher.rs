//! Whom a rule speaks of, as it is written in a configuration.

use std::fmt;
use std::str::FromStr;

use crate::identity::shown;
use crate::policy::error::RuleError;
use crate::policy::glob::{Glob, Syntax};
use crate::policy::{AddressPrefix, Fingerprint, IssuerSerial, MailboxPattern};

/// Whom a rule speaks of.
///
/// | text | the certificate |
/// | --- | --- |
/// | `cn=PATTERN`, `o=PATTERN`, `ou=PATTERN` | has such an attribute in its subject |
/// | `dns=PATTERN`, `uri=PATTERN` | has such a SAN |
/// | `email=LOCAL@DOMAIN` | has such a SAN of kind rfc822Name; see [`MailboxPattern`] |
/// | `ip=ADDRESS`, `ip=ADDRESS/BITS` | has such a SAN of kind iPAddress; see [`AddressPrefix`] |
/// | `spki-sha256=HEX` | is for this key: SHA-256 over the SubjectPublicKeyInfo |
/// | `issuer-serial=HEX@ISSUER` | is this one, whatever its signature is; see [`IssuerSerial`] |
/// | `sha256=HEX` | is this one to the byte; only to allow |
/// | `any-verified` | is any that was verified |
/// | `anonymous` | is missing, where none is required |
///
/// In a pattern `*` stands for any run of characters, also none, within one segment (a DNS label, a part of a URI
/// between slashes); `**` for any run across segments. Every other character stands for itself.
///
/// What it writes is what it reads, with addresses, digits and issuers in the one form that logs have them in.
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
    /// A SAN of kind rfc822Name fits a pattern. An emailAddress in the subject is not looked at.
    Email(MailboxPattern),
    /// A SAN of kind iPAddress lies within. The address that the client connects from is not looked at.
    Address(AddressPrefix),
    /// The key is this one, in whatever certificate.
    SpkiSha256(Fingerprint),
    /// The certificate is this one, whatever its signature is.
    IssuerSerial(IssuerSerial),
    /// The certificate is this one to the byte.
    Sha256(Fingerprint),
    /// Every client whose certificate was verified.
    AnyVerified,
    /// A client without a certificate, where none is required.
    Anonymous,
}

pub(super) const ANY_VERIFIED: &str = "any-verified";
pub(super) const ANONYMOUS: &str = "anonymous";
pub(super) const SHA256: &str = "sha256";
const SPKI_SHA256: &str = "spki-sha256";

impl FromStr for Matcher {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Matcher, RuleError> {
        if text == ANY_VERIFIED {
            return Ok(Matcher::AnyVerified);
        }
        if text == ANONYMOUS {
            return Ok(Matcher::Anonymous);
        }
        let Some((keyword, value)) = text.split_once('=') else {
            return Err(RuleError::NoField { text: shown(text) });
        };
        let fingerprint =
            |field| value.parse().map_err(|error| RuleError::Fingerprint { field, error });
        match keyword {
            "email" => value.parse().map(Matcher::Email).map_err(RuleError::Email),
            "ip" => value.parse().map(Matcher::Address).map_err(RuleError::Address),
            SPKI_SHA256 => fingerprint(SPKI_SHA256).map(Matcher::SpkiSha256),
            "issuer-serial" => {
                value.parse().map(Matcher::IssuerSerial).map_err(RuleError::IssuerSerial)
            }
            SHA256 => fingerprint(SHA256).map(Matcher::Sha256),
            _ => Matcher::name(keyword, value),
        }
    }
}

impl Matcher {
    fn name(keyword: &str, pattern: &str) -> Result<Matcher, RuleError> {
        let Some(field) = Field::ALL.into_iter().find(|field| field.keyword() == keyword) else {
            return Err(RuleError::UnknownField { field: shown(keyword) });
        };
        let keyword = field.keyword();
        let pattern = Glob::new(field, pattern)
            .map_err(|error| RuleError::Pattern { field: keyword, error })?;
        Ok(Matcher::Name { field, pattern })
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Name { field, pattern } => {
                write!(f, "{}={}", field.keyword(), pattern.as_str())
            }
            Matcher::Email(pattern) => write!(f, "email={pattern}"),
            Matcher::Address(prefix) => write!(f, "ip={prefix}"),
            Matcher::SpkiSha256(fingerprint) => write!(f, "{SPKI_SHA256}={fingerprint}"),
            Matcher::IssuerSerial(certificate) => write!(f, "issuer-serial={certificate}"),
            Matcher::Sha256(fingerprint) => write!(f, "{SHA256}={fingerprint}"),
            Matcher::AnyVerified => f.write_str(ANY_VERIFIED),
            Matcher::Anonymous => f.write_str(ANONYMOUS),
        }
    }
}

/// A name in the certificate that a pattern can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `cn`: the subject's CN. Case matters; it has no segments, so `*` and `**` mean the same.
    CommonName,
    /// `o`: an O of the subject. Compared as a CN is.
    Organization,
    /// `ou`: an OU of the subject. Compared as a CN is.
    OrganizationalUnit,
    /// `dns`: a SAN of kind dNSName. Case does not matter (RFC 4343); segments are labels, between dots.
    DnsName,
    /// `uri`: a SAN of kind uniformResourceIdentifier, as a SPIFFE ID. Compared as it stands: case matters, nothing is
    /// decoded or normalized; segments lie between slashes. A SPIFFE ID has its scheme and trust domain in lower case.
    Uri,
}

impl Field {
    const ALL: [Field; 5] = [
        Field::CommonName,
        Field::Organization,
        Field::OrganizationalUnit,
        Field::DnsName,
        Field::Uri,
    ];

    /// The name before the `=`.
    pub fn keyword(self) -> &'static str {
        match self {
            Field::CommonName => "cn",
            Field::Organization => "o",
            Field::OrganizationalUnit => "ou",
            Field::DnsName => "dns",
            Field::Uri => "uri",
        }
    }

    pub(super) fn syntax(self) -> Syntax {
        match self {
            Field::CommonName | Field::Organization | Field::OrganizationalUnit => {
                Syntax::ATTRIBUTE
            }
            Field::DnsName => Syntax::DOMAIN,
            Field::Uri => Syntax::URI,
        }
    }
}
