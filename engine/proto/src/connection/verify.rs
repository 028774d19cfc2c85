//! `VerifiedClient`: path and possession, both proven.

use std::sync::Arc;

use super::core::Core;
use super::resume::ResumedSession;
use crate::identity::ClientIdentity;
use crate::policy::Subject;
use crate::time::seconds;
use crate::tls::{
    ChainKey, Evidence, Possession, TrustDomain, VerifiedChain, signature_scheme_name,
};
use rustls::SignatureScheme;
use rustls_pki_types::UnixTime;

/// A client whose certification path holds and who has proven to possess the end entity's key.
///
/// There are two ways to make one: from a [`VerifiedChain`] and a [`Possession`], each of which comes
/// only out of its own verification; or from a [`ResumedSession`], which comes only out of a ticket that
/// was issued to such a client, whose chain holds again, and that has carried this handshake.
#[derive(Debug)]
pub struct VerifiedClient {
    identity: Arc<ClientIdentity>,
    trust_domain: Option<Arc<str>>,
    evidence: Arc<Evidence>,
    scheme: SignatureScheme,
    /// Seconds since the epoch.
    authenticated_at: u64,
    is_resumed: bool,
}

impl VerifiedClient {
    pub(super) fn new(chain: &VerifiedChain, possession: Possession, now: UnixTime) -> Self {
        Self {
            identity: Arc::clone(chain.identity()),
            evidence: Arc::clone(chain.evidence()),
            trust_domain: chain.trust_domain().cloned(),
            scheme: possession.scheme(),
            authenticated_at: now.as_secs(),
            is_resumed: false,
        }
    }

    pub(super) fn resumed(session: &ResumedSession) -> Self {
        Self {
            identity: Arc::clone(session.identity()),
            trust_domain: session.trust_domain().cloned(),
            evidence: Arc::clone(session.evidence()),
            scheme: session.scheme(),
            authenticated_at: session.authenticated_at(),
            is_resumed: true,
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
            now: seconds(now),
        }
    }

    /// What its path rests on.
    #[must_use]
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// When it proved possession of its key: seconds since the epoch. Not on this connection if
    /// [`Self::is_resumed`].
    #[must_use]
    pub fn authenticated_at(&self) -> u64 {
        self.authenticated_at
    }

    /// Has a ticket spoken for it, rather than its certificate?
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
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

/// The chain of this key if the worker has verified it before and it holds now: it is within its validity,
/// and no revocation list of now refuses it.
pub(super) fn known_chain(
    core: &Core,
    domain: &TrustDomain,
    key: &ChainKey,
) -> Option<Arc<VerifiedChain>> {
    let known = core.desk.known_chain(key, core.now.unix)?;
    let renewed = domain.renew(&known, core.now.unix).ok()?;
    if !Arc::ptr_eq(&known, &renewed) {
        core.desk.remember_chain(*key, &renewed);
    }
    Some(renewed)
}
