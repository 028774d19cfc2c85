//! `VerifiedClient`: path and possession, both proven.

use std::sync::Arc;

use crate::identity::ClientIdentity;
use crate::tls::{Possession, VerifiedChain};
use rustls::SignatureScheme;

/// A client whose certification path holds and who has proven to possess the end entity's key.
///
/// There is one way to make one: from a [`VerifiedChain`] and a [`Possession`], each of which comes
/// only out of its own verification.
#[derive(Debug)]
pub struct VerifiedClient {
    identity: Arc<ClientIdentity>,
    not_after: i64,
    scheme: SignatureScheme,
}

impl VerifiedClient {
    pub(super) fn new(chain: VerifiedChain, possession: Possession) -> Self {
        Self {
            not_after: chain.not_after(),
            identity: Arc::new(chain.into_identity()),
            scheme: possession.scheme(),
        }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<ClientIdentity> {
        &self.identity
    }

    /// The earliest notAfter of its path: seconds since the epoch.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// What it signed with.
    #[must_use]
    pub fn signature_scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
