//! What can be wrong with the text of a rule.

use crate::policy::matcher::{ANONYMOUS, ANY_VERIFIED};
use crate::policy::{AddressError, FingerprintError, GlobError, IssuerSerialError, MailboxError};

/// Why a text is not a rule. The configuration is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// No `=`, and neither `any-verified` nor `anonymous`.
    #[error(
        "`{text}` names no field: write FIELD=VALUE, as cn=payments-* (the fields are {FIELDS}), {ANY_VERIFIED} or {ANONYMOUS}"
    )]
    NoField {
        /// The beginning of the text.
        text: String,
    },
    /// A field that no rule can be about.
    #[error(
        "unknown field `{field}`: the fields are {FIELDS}, in lower case and with no blank before the `=`"
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
    /// Not a pattern over email addresses.
    #[error("email=: {0}")]
    Email(#[source] MailboxError),
    /// Neither an address nor a range of them.
    #[error("ip=: {0}")]
    Address(#[source] AddressError),
    /// Not a SHA-256.
    #[error("{field}=: {error}")]
    Fingerprint {
        /// The field the hash is for.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        error: FingerprintError,
    },
    /// Not a serial number with its issuer.
    #[error("issuer-serial=: {0}")]
    IssuerSerial(#[source] IssuerSerialError),
    /// `deny any-verified`.
    #[error("deny {ANY_VERIFIED} would keep everyone out: leave the rules empty to say so")]
    DeniesEveryone,
    /// `deny anonymous`.
    #[error(
        "deny {ANONYMOUS} is not needed: without a certificate only allow {ANONYMOUS} lets anyone in"
    )]
    DeniesAnonymous,
    /// `deny sha256=`.
    #[error(
        "deny sha256= can be evaded: whoever holds a certificate signed by ECDSA can write n-s for s in the signature, \
         which stays valid and gives another hash; deny spki-sha256=HEX (the key) or issuer-serial=HEX@ISSUER (the certificate)"
    )]
    DeniesByCertificateHash,
}

const FIELDS: &str = "cn, o, ou, dns, uri, ip, email, spki-sha256, issuer-serial and sha256";
