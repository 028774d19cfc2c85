//! `VerifiedClient`: path and possession, both proven.

use std::sync::Arc;

use crate::identity::ClientIdentity;
use crate::tls::{Evidence, Possession, VerifiedChain};
use rustls::SignatureScheme;

/// A client whose certification path holds and who has proven to possess the end entity's key.
///
/// There is one way to make one: from a [`VerifiedChain`] and a [`Possession`], each of which comes
/// only out of its own verification.
#[derive(Debug)]
pub struct VerifiedClient {
    identity: Arc<ClientIdentity>,
    evidence: Arc<Evidence>,
    scheme: SignatureScheme,
}

impl VerifiedClient {
    pub(super) fn new(chain: &VerifiedChain, possession: Possession) -> Self {
        Self {
            identity: Arc::clone(chain.identity()),
            evidence: Arc::clone(chain.evidence()),
            scheme: possession.scheme(),
        }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<ClientIdentity> {
        &self.identity
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
}
