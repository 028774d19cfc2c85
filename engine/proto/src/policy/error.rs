//! What can be wrong with the text of a rule.

use crate::identity::OidError;
use crate::policy::matcher::{ANONYMOUS, ANY_VERIFIED};
use crate::policy::rule::MAX_TERMS;
use crate::policy::{
    AddressError, BoundError, DomainNameError, FingerprintError, GlobError, HexError,
    IssuerNameError, IssuerSerialError, KeyError, MailboxError, PurposeError, SpiffeError,
};

/// Why a text is not a rule. The configuration is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Something is wrong with one of several terms.
    #[error("term {number}: {error}")]
    Term {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        error: Box<RuleError>,
    },
    /// No term at all.
    #[error("the rule is empty: write FIELD=VALUE, as cn=payments-*")]
    NoTerm,
    /// More than [`MAX_TERMS`] terms.
    #[error(
        "the rule has {count} terms; it may have {MAX_TERMS}: write several rules, any of which may match"
    )]
    TooManyTerms {
        /// How many it has.
        count: usize,
    },
    /// `&&` with something other than one blank on either side.
    #[error(
        "`&&` stands between two terms, with one blank before and one behind it; where it belongs to a value, write `*` in its place"
    )]
    Unspaced,
    /// `any-verified` or `anonymous` beside another term.
    #[error("{term} stands alone: beside another term it says nothing, leave it out")]
    NotAlone {
        /// Which of the two.
        term: String,
    },
    /// No `=`, and neither `any-verified` nor `anonymous`.
    #[error(
        "`{text}` names no field: write FIELD=VALUE, as cn=payments-* (the fields are {FIELDS}), {ANY_VERIFIED} or {ANONYMOUS}"
    )]
    NoField {
        /// The beginning of the text.
        text: String,
    },
    /// A field that is equal or not was compared otherwise.
    #[error("{field} is not compared by size: write {field}=VALUE")]
    Compared {
        /// The field.
        field: String,
    },
    /// Not a bound on a time.
    #[error("{field}: {error}")]
    Bound {
        /// The field that it bounds.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        error: BoundError,
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
    /// Not a pattern over SPIFFE IDs.
    #[error("spiffe=: {0}")]
    Spiffe(#[source] SpiffeError),
    /// Not the name of an issuer.
    #[error("issuer=: {0}")]
    Issuer(#[source] IssuerNameError),
    /// Not a serial number.
    #[error("serial=: {0}")]
    Serial(#[source] HexError),
    /// Not a kind of key.
    #[error("key=: {0}")]
    Key(#[source] KeyError),
    /// Not an extended key usage.
    #[error("eku=: {0}")]
    Purpose(#[source] PurposeError),
    /// Not the OID of a certificate policy.
    #[error("policy-oid=: {0}")]
    PolicyOid(#[source] OidError),
    /// Not the name of a trust domain.
    #[error("trust-domain=: {0}")]
    TrustDomain(#[source] DomainNameError),
    /// `allow serial=` without its issuer.
    #[error(
        "a serial number is unique only to its issuer, and every CA could give it: write issuer-serial=HEX@ISSUER, or add && issuer=NAME or && issuer-cn=PATTERN"
    )]
    SerialWithoutIssuer,
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

const FIELDS: &str = "cn, o, ou, dns, uri, ip, email, spiffe, issuer, issuer-cn, serial, issuer-serial, spki-sha256, sha256, key, eku, policy-oid, trust-domain, lifetime and remaining";
