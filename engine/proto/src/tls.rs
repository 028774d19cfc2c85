//! What rustls is given: provider, signer, verifier, server configuration; and what it cannot do itself.

mod alert;
mod authority_keys;
mod client_hello;
mod client_key;
mod client_status;
mod config;
mod evidence;
pub(crate) mod flight;
mod openssl_names;
mod provider;
mod signature_memo;
mod signer;
mod staple;
mod ticketer;
mod token_key;
mod trust_domain;
mod verifier;

pub(crate) use alert::plaintext_alert;
pub(crate) use client_hello::{Arrival, ClientHello};
pub use config::{ClientAuth, Credentials, CredentialsError, Identity, ServerKey, TlsParameters};
pub(crate) use evidence::Link;
pub use evidence::{Evidence, Issued, Issuer};
pub use openssl_names::ServerCertificate;
pub(crate) use openssl_names::signature_scheme_name;
pub use provider::{Groups, Handoff, default_suites, provider};
pub use staple::{StapleCell, Stapled};
pub use token_key::{TokenKey, TokenKeyError, TokenKeyId};
pub use trust_domain::{
    AnchorWarning, ChainError, ChainLimits, TrustDomain, TrustDomainError, VerifiedChain,
};
pub(crate) use trust_domain::{ChainKey, SIGNATURE_ALGORITHMS, Vouching};
pub use verifier::Possession;
pub(crate) use verifier::verify_possession;

/// The versions that the engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 9846.
    Tls13,
}

impl TlsVersion {
    /// The name in OpenSSL's style, as logs and PROXY headers want it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}
