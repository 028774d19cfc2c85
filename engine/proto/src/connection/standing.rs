//! Whether a client that was let in would still be: asked again of all that may have changed since,
//! without its certificates; and what becomes of its connection if not.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;

use super::Phase;
use super::authorize::{self, Authorized};
use super::core::Core;
use super::timer::Timer;
use super::verify::VerifiedClient;
use crate::desk::Desk;
use crate::error::Reason;
use crate::identity::ClientIdentity;
use crate::listener::{Consequence, Listener};
use crate::policy;
use crate::report::{Event, Withdrawn};
use crate::time::seconds;
use crate::tls::{ClientAuth, Evidence, TrustDomain, Vouching};

/// Timers run on the monotonic clock, certificates by `CLOCK_REALTIME`: where that is set forward, it is
/// noticed within this time.
pub(super) const EXPIRY_LOOK: Duration = Duration::from_secs(300);

/// Who is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) identity: &'a ClientIdentity,
    pub(super) evidence: &'a Evidence,
}

/// A client would be let in now.
#[derive(Debug)]
pub(super) struct Admission {
    /// By this rule.
    pub(super) rule: Arc<str>,
    /// The last second in which every certificate of its path is valid, since the epoch; `None` for an
    /// anonymous client.
    pub(super) not_after: Option<i64>,
}

/// Why a client would not be let in any more.
#[derive(Debug)]
pub(super) struct NoLonger {
    pub(super) reason: Reason,
    /// For the operator.
    pub(super) detail: String,
    /// The rule that keeps it out, if one does.
    pub(super) rule: Option<Arc<str>>,
}

/// Would this client, an anonymous one if `None`, be let in if it came to `listener` now and asked for
/// `server_name`? Asked are trust, revocation, policy and validity. The
/// path was verified before and is not built again.
///
/// # Errors
/// Why not. If a certificate has expired and something else is wrong too, whichever of the two has the
/// stricter consequence on this listener.
pub(super) fn reconsider(
    listener: &Listener,
    server_name: Option<&str>,
    client: Option<Subject<'_>>,
    now: UnixTime,
) -> Result<Admission, NoLonger> {
    let Some(identity) = listener.identities.choose(server_name) else {
        let detail = "no identity answers to its server name any more";
        return Err(NoLonger::because(Reason::UnknownServerName, detail));
    };
    let Some(Subject { identity: client, evidence }) = client else {
        if identity.client_auth() == ClientAuth::Require {
            let detail = "it came without a certificate, and one is required by now";
            return Err(NoLonger::because(Reason::ClientNoLongerAllowed, detail));
        }
        let rule = ask_policy(listener, None)?;
        return Ok(Admission { rule, not_after: None });
    };
    let vouching = match identity.trust_domain() {
        Some(domain) => domain.vouches(evidence, now),
        None => Vouching::Unknown,
    };
    let asked = policy::Subject {
        identity: client,
        trust_domain: identity.trust_domain().and_then(|domain| domain.name()).map(|name| &**name),
        now: seconds(now),
    };
    let admitted = ask_trust(vouching)
        .and_then(|()| identity.trust_domain().map_or(Ok(()), |it| ask_lists(it, evidence, now)))
        .and_then(|()| ask_policy(listener, Some(&asked)));
    match (admitted, ask_validity(vouching, evidence, now)) {
        (Ok(rule), Ok(not_after)) => Ok(Admission { rule, not_after: Some(not_after) }),
        (Err(lost), Ok(_)) | (Ok(_), Err(lost)) => Err(lost),
        (Err(lost), Err(expired)) => {
            let consequence = |lost: &NoLonger| listener.withdrawal.consequence(lost.reason);
            Err(if consequence(&expired) > consequence(&lost) { expired } else { lost })
        }
    }
}

/// Has one of its certificates been revoked since? That a list is out of date by now, or missing, keeps new
/// clients out; it does not end what a list has spoken for before.
fn ask_lists(domain: &TrustDomain, evidence: &Evidence, now: UnixTime) -> Result<(), NoLonger> {
    match domain.recheck(evidence, now) {
        Err(error) if error.reason() == Reason::ClientCertificateRevoked => Err(NoLonger {
            reason: Reason::ClientCertificateRevoked,
            detail: error.to_string(),
            rule: None,
        }),
        _ => Ok(()),
    }
}

fn ask_trust(vouching: Vouching) -> Result<(), NoLonger> {
    match vouching {
        // Whether it has expired is a question of validity.
        Vouching::Until(_) | Vouching::Expired => Ok(()),
        Vouching::NotYetValid => {
            let detail = "the CA that its path leads to is not valid yet: was the clock set back?";
            Err(NoLonger::because(Reason::ClientCertificateNotYetValid, detail))
        }
        Vouching::Unknown => {
            let detail = "the CA that its path leads to is not among client_ca any more";
            Err(NoLonger::because(Reason::ClientCaNoLongerTrusted, detail))
        }
    }
}

fn ask_policy(
    listener: &Listener,
    client: Option<&policy::Subject<'_>>,
) -> Result<Arc<str>, NoLonger> {
    authorize::judge(&listener.policy, client).map_err(|rule| {
        let who = client.map_or("an anonymous client", |client| client.identity.subject());
        let detail = match &rule {
            Some(rule) => format!("{who} is kept out by {rule} by now"),
            None => format!("no rule lets {who} in any more"),
        };
        NoLonger { reason: Reason::ClientNoLongerAllowed, detail, rule }
    })
}

fn ask_validity(vouching: Vouching, evidence: &Evidence, now: UnixTime) -> Result<i64, NoLonger> {
    let expired = |detail| Err(NoLonger::because(Reason::ClientCertificateExpired, detail));
    let not_after = match vouching {
        Vouching::Until(not_after) => not_after.min(evidence.not_after()),
        Vouching::Expired => return expired("the CA that its path leads to has expired"),
        Vouching::NotYetValid | Vouching::Unknown => evidence.not_after(),
    };
    if seconds(now) > not_after {
        return expired("a certificate of its path has expired since it was let in");
    }
    Ok(not_after)
}

impl NoLonger {
    pub(super) fn because(reason: Reason, detail: &str) -> Self {
        Self { reason, detail: detail.to_owned(), rule: None }
    }
}

/// Where a connection's client stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// What had been published when it was asked last.
    publications: u64,
    /// When to ask whether a certificate has expired; `None` if there is none, or one has.
    not_after: Option<i64>,
    /// Why it would not be let in any more.
    withdrawn: Option<Reason>,
    is_draining: bool,
}

/// What becomes of a connection that was asked about.
pub(super) enum Prospect {
    GoesOn,
    /// It may finish what it is about.
    Finishes,
    Over(Phase),
}

impl Standing {
    pub(super) fn begin(desk: &Desk) -> Self {
        Self {
            publications: desk.publications(),
            not_after: None,
            withdrawn: None,
            is_draining: false,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }
}

impl Core {
    /// Has the connection been asked about since something was published last?
    pub(super) fn is_reconsidered(&self) -> bool {
        self.standing.publications == self.desk.publications()
    }

    /// Asks whether an open connection's client would still be let in, and does what its listener says.
    pub(super) fn reconsider(&mut self, authorized: &mut Authorized) -> Prospect {
        match self.ask(authorized) {
            Ok(()) => {
                self.standing.withdrawn = None;
                self.report.withdrawn = None;
                self.report.rule = Some(Arc::clone(authorized.rule()));
                self.spare();
                self.watch_expiry();
                Prospect::GoesOn
            }
            Err(lost) => self.withdraw(lost, authorized),
        }
    }

    /// Asks once more about a client that is about to be let in, if something was published since its
    /// connection was accepted.
    ///
    /// # Errors
    /// Why it is not to be let in.
    pub(super) fn ask_again(&mut self, authorized: &mut Authorized) -> Result<(), NoLonger> {
        if self.is_reconsidered() {
            let evidence = authorized.client().map(VerifiedClient::evidence);
            self.standing.not_after = evidence.map(|evidence| evidence.not_after());
            return Ok(());
        }
        self.ask(authorized)
    }

    fn ask(&mut self, authorized: &mut Authorized) -> Result<(), NoLonger> {
        self.standing.publications = self.desk.publications();
        let subject = authorized
            .client()
            .map(|client| Subject { identity: client.identity(), evidence: client.evidence() });
        let server_name = self.report.server_name.as_deref();
        let asked = reconsider(&self.current(), server_name, subject, self.now.unix);
        let Admission { rule, not_after } = asked?;
        authorized.renew(rule);
        self.standing.not_after = not_after;
        Ok(())
    }

    /// What is served now where the client connected to. Where nothing is any more, the connection goes
    /// on as it was served last.
    fn current(&self) -> Arc<Listener> {
        self.desk.listener(self.listener.address).unwrap_or_else(|| Arc::clone(&self.listener))
    }

    /// Lives on by what is served now, so that nothing keeps an old configuration.
    pub(super) fn adopt(&mut self) {
        self.listener = self.current();
    }

    fn withdraw(&mut self, lost: NoLonger, authorized: &Authorized) -> Prospect {
        let consequence = self.current().withdrawal.consequence(lost.reason);
        if self.standing.withdrawn != Some(lost.reason) {
            self.standing.withdrawn = Some(lost.reason);
            self.report.withdrawn = Some(lost.reason);
            self.events.push_back(Event::Withdrawn(Box::new(Withdrawn {
                listener: Arc::clone(&self.report.listener),
                client: self.report.client,
                identity: authorized.client().map(|client| Arc::clone(client.identity())),
                reason: lost.reason,
                detail: lost.detail.clone(),
                consequence,
            })));
        }
        self.watch_expiry();
        match consequence {
            Consequence::Keep => {
                self.spare();
                Prospect::GoesOn
            }
            Consequence::Drain => {
                if !self.standing.is_draining {
                    self.standing.is_draining = true;
                    self.start_timer(Timer::Withdrawal);
                }
                Prospect::Finishes
            }
            Consequence::Close => Prospect::Over(self.abort(lost.reason, lost.detail)),
        }
    }

    /// It had been told to finish, perhaps, and need not any more.
    fn spare(&mut self) {
        self.standing.is_draining = false;
        self.timers.stop(Timer::Withdrawal);
    }

    /// The time to finish is over.
    pub(super) fn end_withdrawal(&mut self) -> Phase {
        let reason = self.standing.withdrawn.unwrap_or(Reason::Internal);
        self.abort(reason, "its client would not be let in any more, and it did not end in time")
    }

    /// Has a certificate of the client's path expired since it was asked last?
    pub(super) fn has_expired(&self) -> bool {
        self.standing.not_after.is_some_and(|not_after| seconds(self.now.unix) > not_after)
    }

    /// Has the timer run until a certificate of the client's path may have expired.
    pub(super) fn watch_expiry(&mut self) {
        let Some(not_after) = self.standing.not_after else { return };
        // The certificate is valid for the whole of its last second.
        let left = not_after.saturating_sub(seconds(self.now.unix)).saturating_add(1);
        match u64::try_from(left) {
            Ok(left @ 1..) => {
                let left = Duration::from_secs(left).min(EXPIRY_LOOK);
                self.timers.set(Timer::Expiry, self.now.moment + left);
            }
            // It is known already.
            _ => self.timers.stop(Timer::Expiry),
        }
    }
}

#[cfg(test)]
mod tests;
