//! Who a client is: the names and fingerprints read out of its end entity certificate (RFC 5280).
//!
//! Reading is not verifying. Everything here is what a certificate *says*; it becomes a fact only once the
//! certification path and the possession of the key are proven, so parse a certificate after that.
//!
//! A name that cannot be read exactly is an error and never skipped: a skipped name is one that a deny rule
//! does not see.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use aws_lc_rs::digest;
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use x509_parser::x509::X509Name;

pub(crate) use self::certificate::{
    ANY_EXTENDED_KEY_USAGE, CLIENT_AUTH, Certificate, Der, Malformed, NameKinds, public_key,
};
use self::certificate::{CERTIFICATE_POLICIES, EXTENDED_KEY_USAGE, SUBJECT_ALT_NAME};
use self::distinguished_name::DistinguishedName;
use self::issuer_name::IssuerName;
pub(crate) use self::issuer_name::IssuerNames;
pub use self::key_kind::KeyKind;
pub use self::name_text::{NameTextError, canonical_name};
pub use self::object_identifier::{Listed, ObjectIdentifier, OidError};
pub use self::printable::Printable;
pub(crate) use self::printable::shown;

mod certificate;
mod distinguished_name;
mod issuer_name;
mod key_kind;
mod name_text;
mod object_identifier;
mod printable;

/// Longest certificate that is read, in bytes of DER.
///
/// The longest signatures of today (SLH-DSA, FIPS 205: 49,856 bytes) fit; it also bounds what an identity can hold.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// Most subject alternative names a certificate may carry, all kinds counted together.
pub const MAX_ALT_NAMES: usize = 256;

/// Most attributes the subject, or the issuer, may have.
pub const MAX_NAME_ATTRIBUTES: usize = 64;

/// Longest single name that is read, in bytes: a SAN entry, or a CN, O or OU.
///
/// Well above what is sane: DNS names end at 253 characters (RFC 1035 section 2.3.4), common names at 64 (X.520),
/// SPIFFE IDs at 2,048 bytes.
pub const MAX_NAME_BYTES: usize = 4096;

/// Why no identity could be read from a certificate. The certificate's issuer is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The DER is longer than [`MAX_CERTIFICATE_BYTES`].
    #[error("the certificate has {length} bytes, more than {MAX_CERTIFICATE_BYTES}")]
    TooLong {
        /// Length of the DER in bytes.
        length: usize,
    },
    /// Not a certificate of RFC 5280 section 4.1.
    #[error("the certificate is malformed: {reason}")]
    Malformed {
        /// What the parser stumbled over; holds nothing of the certificate's text.
        reason: String,
    },
    /// Bytes follow the certificate.
    #[error("{length} bytes follow the certificate")]
    TrailingData {
        /// How many.
        length: usize,
    },
    /// The subject or the issuer has more than [`MAX_NAME_ATTRIBUTES`] attributes.
    #[error("the {name} has more than {MAX_NAME_ATTRIBUTES} attributes")]
    TooManyAttributes {
        /// `subject` or `issuer`.
        name: &'static str,
    },
    /// A CN, O or OU whose characters cannot be told, or longer than [`MAX_NAME_BYTES`].
    #[error("the {name} has a {attribute} that cannot be read as text")]
    UnreadableAttribute {
        /// `subject` or `issuer`.
        name: &'static str,
        /// The short name of the attribute, as `CN`.
        attribute: &'static str,
    },
    /// More than [`MAX_ALT_NAMES`] subject alternative names.
    #[error("the certificate has more than {MAX_ALT_NAMES} subject alternative names")]
    TooManyAltNames,
    /// A subject alternative name that is not what RFC 5280 section 4.2.1.6 says.
    #[error("a subject alternative name of kind {kind} {reason}")]
    InvalidAltName {
        /// `dNSName`, `uniformResourceIdentifier`, `rfc822Name`, `iPAddress` or `unknown`.
        kind: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The identity a verified end entity certificate gives its owner.
///
/// Common names, organizations and organizational units are held as they stand in the certificate, for comparing;
/// show them through [`Printable`], for they may contain control characters. Every other text here has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    subject: String,
    common_names: Vec<String>,
    organizations: Vec<String>,
    organizational_units: Vec<String>,
    alt_names: AltNames,
    issuer: Arc<IssuerName>,
    serial: String,
    not_before: i64,
    not_after: i64,
    key: KeyKind,
    purposes: Listed,
    policies: Listed,
    sha256: [u8; 32],
    spki_sha256: [u8; 32],
}

/// A distinguished name (DER with its header) as an RFC 4514 string, safe to show.
pub(crate) fn distinguished_name_text(der: &[u8]) -> String {
    let name = X509Name::from_der(der).ok();
    let read = name.and_then(|(_, name)| DistinguishedName::read("issuer", &name).ok());
    read.map_or_else(|| "(a name that cannot be read)".to_owned(), |name| name.text)
}

impl ClientIdentity {
    /// Reads the identity from the DER of one certificate.
    ///
    /// # Errors
    ///
    /// Any [`IdentityError`]: malformed, over one of this module's limits, or with a name that cannot be read exactly.
    pub fn parse(der: &[u8]) -> Result<ClientIdentity, IdentityError> {
        Self::parse_beside(der, &IssuerNames::default())
    }

    /// As [`Self::parse`], with the issuer's name out of `issuers` if it is there, and put there if not.
    pub(crate) fn parse_beside(
        der: &[u8],
        issuers: &IssuerNames,
    ) -> Result<ClientIdentity, IdentityError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(IdentityError::TooLong { length: der.len() });
        }
        let certificate = Certificate::read(der).map_err(misread)?;
        if !certificate.rest.is_empty() {
            return Err(IdentityError::TrailingData { length: certificate.rest.len() });
        }
        let (_, subject) = X509Name::from_der(certificate.subject).map_err(malformed)?;
        let subject = DistinguishedName::read("subject", &subject)?;
        let [alt_names, purposes, policies] = certificate
            .values_of([SUBJECT_ALT_NAME, EXTENDED_KEY_USAGE, CERTIFICATE_POLICIES])
            .map_err(misread)?;
        Ok(ClientIdentity {
            subject: subject.text,
            common_names: subject.common_names,
            organizations: subject.organizations,
            organizational_units: subject.organizational_units,
            alt_names: AltNames::read(alt_names)?,
            issuer: issuers.read(certificate.issuer)?,
            serial: serial(certificate.serial),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            key: KeyKind::of(certificate.spki),
            purposes: Listed::purposes(purposes),
            policies: Listed::policies(policies),
            sha256: sha256(der),
            spki_sha256: sha256(certificate.spki),
        })
    }

    /// Bytes that it takes, without the issuer's name, which those of one issuer share.
    pub(crate) fn bytes(&self) -> usize {
        let AltNames { dns, uris, emails, ip_addresses } = &self.alt_names;
        let lists = [
            &self.common_names,
            &self.organizations,
            &self.organizational_units,
            dns,
            uris,
            emails,
        ];
        let texts = lists.into_iter().flatten().map(|text| size_of::<String>() + text.capacity());
        size_of::<Self>()
            + texts.sum::<usize>()
            + size_of_val(ip_addresses.as_slice())
            + self.subject.capacity()
            + self.serial.capacity()
    }

    /// The subject as an RFC 4514 string (most specific first), control characters escaped. Empty if the subject is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Every CN of the subject, in the certificate's order, unescaped.
    ///
    /// More than one is ambiguous: [`crate::policy`] says what follows from that.
    pub fn common_names(&self) -> &[String] {
        &self.common_names
    }

    /// Every O of the subject, in the certificate's order, unescaped.
    pub fn organizations(&self) -> &[String] {
        &self.organizations
    }

    /// Every OU of the subject, in the certificate's order, unescaped.
    pub fn organizational_units(&self) -> &[String] {
        &self.organizational_units
    }

    /// SAN entries of kind dNSName, as written. Printable ASCII; may begin with a `*` label.
    pub fn dns_names(&self) -> &[String] {
        &self.alt_names.dns
    }

    /// SAN entries of kind uniformResourceIdentifier, as written. Printable ASCII.
    pub fn uris(&self) -> &[String] {
        &self.alt_names.uris
    }

    /// SAN entries of kind rfc822Name, as written. Printable ASCII.
    pub fn emails(&self) -> &[String] {
        &self.alt_names.emails
    }

    /// SAN entries of kind iPAddress.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.alt_names.ip_addresses
    }

    /// The issuer as an RFC 4514 string, control characters escaped.
    pub fn issuer(&self) -> &str {
        &self.issuer.text
    }

    /// Every CN of the issuer, in the certificate's order, unescaped.
    pub fn issuer_common_names(&self) -> &[String] {
        &self.issuer.common_names
    }

    /// The serial number in lowercase hex, two digits a byte, no separators, without the sign byte DER puts before a
    /// value whose first bit is set.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Start of the validity, in seconds since the Unix epoch (may be negative).
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Last second of the validity, in seconds since the Unix epoch.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// What its key is.
    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// What the key may be used for: the extended key usage (RFC 5280 section 4.2.1.12).
    pub fn purposes(&self) -> &Listed {
        &self.purposes
    }

    /// Under which policies it was issued (RFC 5280 section 4.2.1.4), as it says itself: whether its issuers may
    /// assert them was not looked at.
    pub fn policies(&self) -> &Listed {
        &self.policies
    }

    /// SHA-256 over the whole certificate.
    ///
    /// Names a certificate for allowing and for the audit, never for denying: the holder of an ECDSA signed one can
    /// change this value without the issuer's help, by putting n - s for s in the signature.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// [`Self::sha256`] in lowercase hex.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// SHA-256 over the SubjectPublicKeyInfo, as RFC 7469 section 2.4 pins it: names the key, whatever certificate it
    /// is in.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// [`Self::spki_sha256`] in lowercase hex.
    pub fn spki_sha256_hex(&self) -> String {
        hex(&self.spki_sha256)
    }
}

/// For people: subject, serial number and issuer, with nothing that would break a log line.
impl fmt::Display for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" (serial {}, issued by \"{}\")", self.subject, self.serial, self.issuer())
    }
}

/// The subject alternative names (RFC 5280 section 4.2.1.6) of the kinds that policy or an audit can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AltNames {
    dns: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    ip_addresses: Vec<IpAddr>,
}

impl AltNames {
    fn read(extension: Option<&[u8]>) -> Result<AltNames, IdentityError> {
        let mut names = AltNames::default();
        let Some(extension) = extension else { return Ok(names) };
        let (trailing, sequence) = Any::from_der(extension).map_err(malformed)?;
        if sequence.tag() != Tag::Sequence || !trailing.is_empty() {
            return Err(IdentityError::Malformed {
                reason: "the SAN extension is not one SEQUENCE".to_owned(),
            });
        }
        let mut rest = sequence.data;
        let mut count = 0;
        while !rest.is_empty() {
            count += 1;
            if count > MAX_ALT_NAMES {
                return Err(IdentityError::TooManyAltNames);
            }
            let (after, name) = Any::from_der(rest).map_err(malformed)?;
            names.keep(&name)?;
            rest = after;
        }
        Ok(names)
    }

    fn keep(&mut self, name: &Any<'_>) -> Result<(), IdentityError> {
        if name.class() != Class::ContextSpecific {
            return Err(invalid_alt_name("unknown", "is not context-specific"));
        }
        match (name.tag().0, name.header.is_constructed()) {
            (1, false) => self.emails.push(ia5_name("rfc822Name", name.data)?),
            (2, false) => self.dns.push(ia5_name("dNSName", name.data)?),
            (6, false) => self.uris.push(ia5_name("uniformResourceIdentifier", name.data)?),
            (7, false) => self.ip_addresses.push(ip_address(name.data)?),
            // otherName, x400Address, directoryName, ediPartyName, registeredID: no rule speaks of them.
            (0 | 3 | 4 | 5 | 8, _) => {}
            _ => return Err(invalid_alt_name("unknown", "has a tag that RFC 5280 does not know")),
        }
        Ok(())
    }
}

/// An IA5String without control characters: a NUL in a name has only ever served to cut it short in someone's C.
fn ia5_name(kind: &'static str, bytes: &[u8]) -> Result<String, IdentityError> {
    if bytes.is_empty() {
        return Err(invalid_alt_name(kind, "is empty"));
    }
    if bytes.len() > MAX_NAME_BYTES {
        return Err(invalid_alt_name(kind, "is too long"));
    }
    if !bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(invalid_alt_name(kind, "has characters that are not printable ASCII"));
    }
    Ok(bytes.iter().map(|&byte| char::from(byte)).collect())
}

fn ip_address(bytes: &[u8]) -> Result<IpAddr, IdentityError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        return Ok(IpAddr::V6(Ipv6Addr::from(v6)));
    }
    Err(invalid_alt_name("iPAddress", "has neither 4 nor 16 bytes"))
}

fn invalid_alt_name(kind: &'static str, reason: &'static str) -> IdentityError {
    IdentityError::InvalidAltName { kind, reason }
}

fn misread(reason: Malformed) -> IdentityError {
    IdentityError::Malformed { reason: reason.to_owned() }
}

fn malformed<E: fmt::Display>(error: x509_parser::nom::Err<E>) -> IdentityError {
    use x509_parser::nom::Err::{Error, Failure, Incomplete};
    let reason = match error {
        Incomplete(_) => "it ends too early".to_owned(),
        Error(error) | Failure(error) => error.to_string(),
    };
    IdentityError::Malformed { reason }
}

fn serial(integer: &[u8]) -> String {
    match integer {
        [0, value @ ..] if !value.is_empty() => hex(value),
        value => hex(value),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    value
}

/// Lowercase hex, two digits a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
        }
    }
    text
}

#[cfg(test)]
mod tests;
