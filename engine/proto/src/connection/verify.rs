//! `VerifiedClient`: path and possession, both proven.

use std::sync::Arc;

use crate::identity::ClientIdentity;
use crate::policy::Subject;
use crate::tls::{Evidence, Possession, VerifiedChain, signature_scheme_name};
use rustls::SignatureScheme;
use rustls_pki_types::UnixTime;

/// A client whose certification path holds and who has proven to possess the end entity's key.
///
/// There is one way to make one: from a [`VerifiedChain`] and a [`Possession`], each of which comes
/// only out of its own verification.
#[derive(Debug)]
pub struct VerifiedClient {
    identity: Arc<ClientIdentity>,
    trust_domain: Option<Arc<str>>,
    evidence: Arc<Evidence>,
    scheme: SignatureScheme,
}

impl VerifiedClient {
    pub(super) fn new(chain: &VerifiedChain, possession: Possession) -> Self {
        Self {
            identity: Arc::clone(chain.identity()),
            evidence: Arc::clone(chain.evidence()),
            trust_domain: chain.trust_domain().cloned(),
            scheme: possession.scheme(),
        }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<ClientIdentity> {
        &self.identity
    }

    /// The name of the trust domain that its path leads to, if that has one.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&Arc<str>> {
        self.trust_domain.as_ref()
    }

    /// What policy is asked about at `now`.
    pub(super) fn subject(&self, now: UnixTime) -> Subject<'_> {
        Subject {
            identity: &self.identity,
            trust_domain: self.trust_domain.as_deref(),
            now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// What its path rests on.
    #[must_use]
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// What it signed with.
    #[must_use]
    pub fn signature_scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// The same, by its name in OpenSSL's style.
    #[must_use]
    pub fn signature_scheme_name(&self) -> Option<&'static str> {
        signature_scheme_name(self.scheme)
    }
}
