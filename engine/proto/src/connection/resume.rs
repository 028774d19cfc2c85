//! Tickets in a handshake: which clients get one, which one opens, and what it must still say at the end.
//!
//! A ticket is opened before the client has proven to have its secret, so nothing here waits, and
//! nothing follows from an opened ticket but that rustls may go on with it. What does not hold declines
//! the ticket: the handshake goes on as a full one, in which the client can show its certificate.

use std::sync::Arc;

use rustls::{HandshakeKind, SignatureScheme};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::core::Core;
use super::verify::{self, VerifiedClient};
use crate::error::Reason;
use crate::identity::ClientIdentity;
use crate::limits::{HELLO_BESIDE_TICKET_BYTES, TICKET_BYTES_MAX, TICKETS_TRIED_MAX};
use crate::ocsp::{Answer, Status, StatusKey};
use crate::report::{Event, TicketEvent};
use crate::seam::Session;
use crate::ticket::{Contents, Declined, Resumption, locate};
use crate::time::seconds;
use crate::tls::{ChainError, ClientAuth, Evidence, Identity, TrustDomain, VerifiedChain};

/// The tickets of one handshake.
pub(super) struct Tickets {
    terms: Resumption,
    client_auth: ClientAuth,
    domain: Option<Arc<TrustDomain>>,
    /// Proven in this very handshake, and let in by policy.
    proven: Option<Claim>,
    /// The ticket opened last: rustls offers one after the other and goes on with the last, or with none.
    opened: Option<OpenedTicket>,
    tried: usize,
    issued: usize,
    lifetime_s: u32,
}

/// What a ticket says of its client.
#[derive(Debug)]
struct Claim {
    certificates: Vec<CertificateDer<'static>>,
    scheme: SignatureScheme,
    /// Seconds since the epoch, as all times here.
    authenticated_at: u64,
    lineage_ends_at: u64,
    /// The earliest notAfter of the path.
    not_after: i64,
}

/// A ticket of ours all of whose terms hold now, of a client that would be let in. Whether whoever offers
/// it has its secret is not known yet.
#[derive(Debug)]
struct OpenedTicket {
    chain: Arc<VerifiedChain>,
    /// What OCSP has told before, where it is to be asked.
    ocsp: Option<Answer>,
    claim: Claim,
}

/// An [`OpenedTicket`] that has carried the handshake to its Finished: the client has its secret. Comes
/// only out of [`Tickets::conclude`].
#[derive(Debug)]
pub(super) struct ResumedSession(OpenedTicket);

impl ResumedSession {
    pub(super) fn identity(&self) -> &Arc<ClientIdentity> {
        self.0.chain.identity()
    }

    pub(super) fn trust_domain(&self) -> Option<&Arc<str>> {
        self.0.chain.trust_domain()
    }

    pub(super) fn evidence(&self) -> &Arc<Evidence> {
        self.0.chain.evidence()
    }

    pub(super) fn ocsp(&self) -> Option<Answer> {
        self.0.ocsp
    }

    pub(super) fn scheme(&self) -> SignatureScheme {
        self.0.claim.scheme
    }

    pub(super) fn authenticated_at(&self) -> u64 {
        self.0.claim.authenticated_at
    }
}

impl Tickets {
    pub(super) fn of(identity: &Identity) -> Self {
        Self {
            terms: identity.resumption(),
            client_auth: identity.client_auth(),
            domain: identity.trust_domain().cloned(),
            proven: None,
            opened: None,
            tried: 0,
            issued: 0,
            lifetime_s: 0,
        }
    }

    /// Whom the identity trusts that was chosen; `None` where no client is asked for a certificate.
    pub(super) fn domain(&self) -> Option<&Arc<TrustDomain>> {
        self.domain.as_ref()
    }

    /// The client has shown these certificates and proven possession, and policy lets it in.
    pub(super) fn note_proven(
        &mut self,
        core: &Core,
        client: &VerifiedClient,
        certificates: Vec<CertificateDer<'static>>,
    ) {
        let authenticated_at = core.now.unix.as_secs();
        self.proven = Some(Claim {
            certificates,
            scheme: client.signature_scheme(),
            authenticated_at,
            lineage_ends_at: authenticated_at.saturating_add(self.terms.lineage.as_secs()),
            not_after: client.evidence().not_after(),
        });
    }

    /// A ticket for the client of this handshake; `None` for one that nobody has let in, that has shown
    /// no certificate, or whose ticket would be too large to come back in a ClientHello.
    pub(super) fn issue(&mut self, core: &mut Core, session: &Session) -> Option<Vec<u8>> {
        self.lifetime_s = 0;
        let opened = self.opened.as_ref().map(|opened| &opened.claim);
        let claim = self.proven.as_ref().or(opened)?;
        if self.issued >= self.terms.tickets {
            return None;
        }
        // That they stand in it says that rustls takes this session for the same client's as we do.
        let certificates = claim.certificates.iter().map(|der| &**der);
        let chain = locate(&session.0, certificates)?;
        let now = core.now.unix.as_secs().max(claim.authenticated_at);
        let not_after = u64::try_from(claim.not_after).unwrap_or(0);
        let expires_at = now
            .saturating_add(self.terms.ticket_lifetime.as_secs())
            .min(claim.lineage_ends_at)
            .min(not_after);
        let lifetime_s = expires_at.checked_sub(now).filter(|seconds| *seconds > 0)?;
        let contents = Contents {
            listener: &core.listener.name,
            server_name: core.report.server_name.as_deref(),
            domain: *self.domain.as_ref()?.id(),
            client_auth: self.client_auth,
            scheme: claim.scheme,
            authenticated_at: claim.authenticated_at,
            issued_at: now,
            expires_at,
            lineage_ends_at: claim.lineage_ends_at,
            chain,
            session: &session.0,
        };
        let most = core.limits().client_hello_bytes.saturating_sub(HELLO_BESIDE_TICKET_BYTES);
        let most = most.min(TICKET_BYTES_MAX);
        let ticket = core.desk.with_ticket_keys(|keys| keys.seal(&contents, most))?;
        self.issued += 1;
        self.lifetime_s = u32::try_from(lifetime_s).unwrap_or(u32::MAX);
        core.events.push_back(Event::Ticket(TicketEvent::Issued));
        Some(ticket)
    }

    /// For how many seconds the ticket is good that was issued last.
    pub(super) fn lifetime_s(&self) -> u32 {
        self.lifetime_s
    }

    /// The session of a ticket that the client offers, if it may go on.
    pub(super) fn open(&mut self, core: &mut Core, ticket: &[u8]) -> Option<Session> {
        self.note_unusable(core);
        if self.tried >= TICKETS_TRIED_MAX {
            return None;
        }
        self.tried += 1;
        core.events.push_back(Event::Ticket(TicketEvent::Offered));
        match self.try_open(core, ticket) {
            Ok((opened, session)) => {
                self.opened = Some(opened);
                Some(session)
            }
            Err(declined) => {
                core.events.push_back(Event::Ticket(TicketEvent::Declined(declined)));
                None
            }
        }
    }

    fn try_open(&self, core: &Core, ticket: &[u8]) -> Result<(OpenedTicket, Session), Declined> {
        let domain = self.domain.as_ref().ok_or(Declined::OtherHost)?;
        let opened = core.desk.with_ticket_keys(|keys| keys.open(domain.id(), ticket))?;
        let contents = Contents::decode(&opened).ok_or(Declined::Malformed)?;
        let lineage_ends_at = self.check_terms(core, domain, &contents)?;
        let certificates: Vec<_> =
            contents.certificates().map(|der| CertificateDer::from(der.to_vec())).collect();
        let chain = known_chain(core, domain, &certificates).map_err(|error| declined(&error))?;
        let ocsp = good_answer(core, domain, chain.evidence())?;
        if !core.listener.policy.decide(&chain.subject(core.now.unix)).is_allowed() {
            return Err(Declined::PolicyChanged);
        }
        let claim = Claim {
            certificates,
            scheme: contents.scheme,
            authenticated_at: contents.authenticated_at,
            lineage_ends_at,
            not_after: chain.evidence().not_after(),
        };
        let session = Session(Zeroizing::new(contents.session.to_vec()));
        Ok((OpenedTicket { chain, ocsp, claim }, session))
    }

    /// Whether the ticket was issued under the terms that hold here and now; gives the lineage's end.
    /// What is configured now counts where it is stricter than what was then.
    fn check_terms(
        &self,
        core: &Core,
        domain: &TrustDomain,
        contents: &Contents<'_>,
    ) -> Result<u64, Declined> {
        let now = core.now.unix.as_secs();
        if now < contents.issued_at {
            return Err(Declined::Expired);
        }
        let lineage_ends_at = contents
            .lineage_ends_at
            .min(contents.authenticated_at.saturating_add(self.terms.lineage.as_secs()));
        if now >= lineage_ends_at {
            return Err(Declined::LineageTooOld);
        }
        let lifetime_s = self.terms.ticket_lifetime.as_secs();
        if now >= contents.expires_at.min(contents.issued_at.saturating_add(lifetime_s)) {
            return Err(Declined::Expired);
        }
        let is_here = contents.listener == &*core.listener.name
            && contents.server_name == core.report.server_name.as_deref()
            && contents.client_auth == self.client_auth;
        if !is_here {
            return Err(Declined::OtherHost);
        }
        if contents.domain != *domain.id() {
            return Err(Declined::TrustChanged);
        }
        Ok(lineage_ends_at)
    }

    /// What the handshake was, at its Finished: the session that it resumed, if it did. `kind` and
    /// `presented` are rustls' words for it.
    ///
    /// # Errors
    /// The reason for the connection's end, and more about it.
    pub(super) fn conclude(
        &mut self,
        core: &mut Core,
        kind: Option<HandshakeKind>,
        presented: &[CertificateDer<'_>],
    ) -> Result<Option<ResumedSession>, (Reason, &'static str)> {
        match kind {
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => {
                self.note_unusable(core);
                Ok(None)
            }
            Some(HandshakeKind::Resumed) => match self.opened.take() {
                Some(opened) if self.proven.is_none() && opened.is_of(presented) => {
                    Ok(Some(ResumedSession(opened)))
                }
                // rustls has no sessions but those that we open; were it ever to, nobody gets in.
                _ => Err((Reason::Internal, "a session was resumed that no ticket has opened")),
            },
            None => {
                self.opened = None;
                Err((Reason::Internal, "a handshake finished, and it is not known how"))
            }
        }
    }

    /// A ticket that was opened and that rustls did not go on with.
    fn note_unusable(&mut self, core: &mut Core) {
        if self.opened.take().is_some() {
            let event = TicketEvent::Declined(Declined::Unusable);
            core.events.push_back(Event::Ticket(event));
        }
    }
}

impl OpenedTicket {
    fn is_of(&self, presented: &[CertificateDer<'_>]) -> bool {
        self.claim.certificates.iter().map(|der| &**der).eq(presented.iter().map(|der| &**der))
    }
}

/// The path of a chain that was verified before: as this worker knows it, or verified again.
fn known_chain(
    core: &Core,
    domain: &TrustDomain,
    chain: &[CertificateDer<'_>],
) -> Result<Arc<VerifiedChain>, ChainError> {
    let (end_entity, intermediates) = chain.split_first().ok_or(ChainError::Malformed)?;
    let key = domain.chain_key(end_entity, intermediates);
    if let Some(known) = verify::known_chain(core, domain, &key) {
        return Ok(known);
    }
    let verified = domain.verify(chain, core.now.unix)?;
    core.desk.remember_chain(key, &verified);
    Ok(verified)
}

/// What OCSP has told of the client, where it is to be asked. A ticket does not wait for an answer: without
/// one that is known it is declined, and the full handshake asks.
fn good_answer(
    core: &Core,
    domain: &TrustDomain,
    evidence: &Evidence,
) -> Result<Option<Answer>, Declined> {
    let Some(rules) = domain.ocsp() else { return Ok(None) };
    let client = evidence.issued().first().ok_or(Declined::StatusUnknown)?;
    let key = StatusKey::new(&client.issuer, &client.serial);
    let known = core.desk.known_answer(&key, rules.freshness(), core.now.unix);
    let answer = known.ok_or(Declined::StatusUnknown)?;
    match answer.status {
        Status::Good => Ok(Some(answer)),
        Status::Revoked { .. } => Err(Declined::Revoked),
        Status::Unknown => Err(Declined::StatusUnknown),
    }
}

/// Why a ticket is declined whose client's chain does not hold any more.
fn declined(error: &ChainError) -> Declined {
    match error.reason() {
        Reason::ClientCertificateRevoked
        | Reason::RevocationUnknown
        | Reason::RevocationListExpired => Declined::Revoked,
        Reason::ClientCertificateExpired | Reason::ClientCertificateNotYetValid => {
            Declined::Expired
        }
        _ => Declined::TrustChanged,
    }
}

/// Does what a client was let in by hold as of now? Asked at the Finished of a resumed session, and fit
/// to be asked of an open connection.
pub(super) fn still_holds(core: &Core, client: &VerifiedClient) -> Result<(), (Reason, String)> {
    let now = seconds(core.now.unix);
    let not_after = client.evidence().not_after();
    if now > not_after {
        let detail = format!(
            "a certificate of the client's path ended at {not_after} (seconds since 1970; now is {now})"
        );
        return Err((Reason::ClientCertificateExpired, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
