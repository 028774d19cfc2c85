//! Whom a rule speaks of, as it is written in a configuration.

use std::fmt;
use std::str::FromStr;

use crate::identity::{ObjectIdentifier, shown};
use crate::policy::bound::SpanBound;
use crate::policy::domain_name::DomainName;
use crate::policy::error::RuleError;
use crate::policy::glob::{Glob, Syntax};
use crate::policy::issuer::{IssuerName, SerialNumber};
use crate::policy::key::KeyPattern;
use crate::policy::purpose::Purpose;
use crate::policy::spiffe::SpiffePattern;
use crate::policy::{AddressPrefix, Fingerprint, IssuerSerial, MailboxPattern};

/// One term of a rule: something that a certificate is or is not.
///
/// | text | the certificate |
/// | --- | --- |
/// | `cn=PATTERN`, `o=PATTERN`, `ou=PATTERN` | has such an attribute in its subject |
/// | `dns=PATTERN`, `uri=PATTERN` | has such a SAN |
/// | `email=LOCAL@DOMAIN` | has such a SAN of kind rfc822Name; see [`MailboxPattern`] |
/// | `ip=ADDRESS`, `ip=ADDRESS/BITS` | has such a SAN of kind iPAddress; see [`AddressPrefix`] |
/// | `spiffe=spiffe://DOMAIN/PATH` | is an X509-SVID of such a SPIFFE ID; see [`SpiffePattern`] |
/// | `issuer=NAME` | was issued by this name; see [`IssuerName`] |
/// | `issuer-cn=PATTERN` | was issued by a name with such a CN |
/// | `serial=HEX` | has this serial number |
/// | `issuer-serial=HEX@ISSUER` | is this one, whatever its signature is; see [`IssuerSerial`] |
/// | `spki-sha256=HEX` | is for this key: SHA-256 over the SubjectPublicKeyInfo |
/// | `sha256=HEX` | is this one to the byte; only to allow |
/// | `key=KIND`, `key=rsa>=BITS` | is for a key of this kind; see [`KeyPattern`] |
/// | `eku=PURPOSE` | may be used for this; see [`Purpose`] |
/// | `policy-oid=OID` | says to be issued under this certificate policy |
/// | `trust-domain=NAME` | leads to a CA of this trust domain |
/// | `lifetime<=TIME` | is valid no longer than this in all; also `<`, `>=`, `>` |
/// | `remaining>=TIME` | is valid so much longer from now; also `<=`, `<`, `>` |
/// | `any-verified` | is any that was verified; only to allow, and alone |
/// | `anonymous` | is missing, where none is required; only to allow, and alone |
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
    /// The only URI is a SPIFFE ID that fits a pattern.
    Spiffe(SpiffePattern),
    /// The issuer has this name.
    Issuer(IssuerName),
    /// The serial number is this one, whoever gave it.
    Serial(SerialNumber),
    /// The certificate is this one, whatever its signature is.
    IssuerSerial(IssuerSerial),
    /// The key is this one, in whatever certificate.
    SpkiSha256(Fingerprint),
    /// The certificate is this one to the byte.
    Sha256(Fingerprint),
    /// The key is of this kind.
    Key(KeyPattern),
    /// The extended key usage has this purpose.
    Purpose(Purpose),
    /// The certificate policies have this one.
    CertificatePolicy(ObjectIdentifier),
    /// The path leads to a CA of the trust domain of this name.
    TrustDomain(DomainName),
    /// From notBefore to notAfter it is so long.
    Lifetime(SpanBound),
    /// From now to notAfter it is so long.
    Remaining(SpanBound),
    /// Every client whose certificate was verified.
    AnyVerified,
    /// A client without a certificate, where none is required.
    Anonymous,
}

pub(super) const ANY_VERIFIED: &str = "any-verified";
pub(super) const ANONYMOUS: &str = "anonymous";
pub(super) const SHA256: &str = "sha256";
const SPKI_SHA256: &str = "spki-sha256";
const LIFETIME: &str = "lifetime";
const REMAINING: &str = "remaining";

impl FromStr for Matcher {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Matcher, RuleError> {
        match text {
            ANY_VERIFIED => return Ok(Matcher::AnyVerified),
            ANONYMOUS => return Ok(Matcher::Anonymous),
            _ => {}
        }
        let Some(end) = text.find(['=', '<', '>']) else {
            return Err(RuleError::NoField { text: shown(text) });
        };
        let (keyword, comparison) = text.split_at(end);
        let bound = |field| comparison.parse().map_err(|error| RuleError::Bound { field, error });
        match keyword {
            LIFETIME => return bound(LIFETIME).map(Matcher::Lifetime),
            REMAINING => return bound(REMAINING).map(Matcher::Remaining),
            _ => {}
        }
        let Some(value) = comparison.strip_prefix('=') else {
            return Err(match Matcher::of(keyword, "") {
                Err(RuleError::UnknownField { field }) => RuleError::UnknownField { field },
                _ => RuleError::Compared { field: shown(keyword) },
            });
        };
        Matcher::of(keyword, value)
    }
}

impl Matcher {
    fn of(keyword: &str, value: &str) -> Result<Matcher, RuleError> {
        let fingerprint =
            |field| value.parse().map_err(|error| RuleError::Fingerprint { field, error });
        match keyword {
            "email" => value.parse().map(Matcher::Email).map_err(RuleError::Email),
            "ip" => value.parse().map(Matcher::Address).map_err(RuleError::Address),
            "spiffe" => value.parse().map(Matcher::Spiffe).map_err(RuleError::Spiffe),
            "issuer" => value.parse().map(Matcher::Issuer).map_err(RuleError::Issuer),
            "serial" => value.parse().map(Matcher::Serial).map_err(RuleError::Serial),
            "issuer-serial" => {
                value.parse().map(Matcher::IssuerSerial).map_err(RuleError::IssuerSerial)
            }
            SPKI_SHA256 => fingerprint(SPKI_SHA256).map(Matcher::SpkiSha256),
            SHA256 => fingerprint(SHA256).map(Matcher::Sha256),
            "key" => value.parse().map(Matcher::Key).map_err(RuleError::Key),
            "eku" => value.parse().map(Matcher::Purpose).map_err(RuleError::Purpose),
            "policy-oid" => {
                value.parse().map(Matcher::CertificatePolicy).map_err(RuleError::PolicyOid)
            }
            "trust-domain" => {
                value.parse().map(Matcher::TrustDomain).map_err(RuleError::TrustDomain)
            }
            _ => Matcher::name(keyword, value),
        }
    }

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
            Matcher::Spiffe(pattern) => write!(f, "spiffe={pattern}"),
            Matcher::Issuer(name) => write!(f, "issuer={name}"),
            Matcher::Serial(serial) => write!(f, "serial={serial}"),
            Matcher::IssuerSerial(certificate) => write!(f, "issuer-serial={certificate}"),
            Matcher::SpkiSha256(fingerprint) => write!(f, "{SPKI_SHA256}={fingerprint}"),
            Matcher::Sha256(fingerprint) => write!(f, "{SHA256}={fingerprint}"),
            Matcher::Key(kind) => write!(f, "key={kind}"),
            Matcher::Purpose(purpose) => write!(f, "eku={purpose}"),
            Matcher::CertificatePolicy(oid) => write!(f, "policy-oid={oid}"),
            Matcher::TrustDomain(name) => write!(f, "trust-domain={name}"),
            Matcher::Lifetime(bound) => write!(f, "{LIFETIME}{bound}"),
            Matcher::Remaining(bound) => write!(f, "{REMAINING}{bound}"),
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
    /// `issuer-cn`: the issuer's CN. Compared as the subject's is.
    IssuerCommonName,
}

impl Field {
    pub(super) const ALL: [Field; 6] = [
        Field::CommonName,
        Field::Organization,
        Field::OrganizationalUnit,
        Field::DnsName,
        Field::Uri,
        Field::IssuerCommonName,
    ];

    /// The name before the `=`.
    pub fn keyword(self) -> &'static str {
        match self {
            Field::CommonName => "cn",
            Field::Organization => "o",
            Field::OrganizationalUnit => "ou",
            Field::DnsName => "dns",
            Field::Uri => "uri",
            Field::IssuerCommonName => "issuer-cn",
        }
    }

    pub(super) fn is_of_issuer(self) -> bool {
        self == Field::IssuerCommonName
    }

    pub(super) fn syntax(self) -> Syntax {
        match self {
            Field::CommonName
            | Field::Organization
            | Field::OrganizationalUnit
            | Field::IssuerCommonName => Syntax::ATTRIBUTE,
            Field::DnsName => Syntax::DOMAIN,
            Field::Uri => Syntax::URI,
        }
    }
}
