//! `Authorized`: policy has let a verified client in.

use std::sync::Arc;

use rustls_pki_types::UnixTime;

use super::verify::VerifiedClient;
use crate::policy::{Decision, Policy, Subject};

/// A client that policy lets in. Comes only out of [`Authorized::decide`] over a [`VerifiedClient`], or,
/// where no certificate is required, out of [`Authorized::anonymous`]; the upstream is dialled and the
/// relay built from nothing else.
#[derive(Debug)]
pub struct Authorized {
    client: Option<VerifiedClient>,
    rule: Arc<str>,
}

/// A verified client that policy keeps out.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) client: VerifiedClient,
    /// The rule that decided; `None` if no rule let the client in.
    pub(super) rule: Option<Arc<str>>,
}

impl Authorized {
    /// Asks `policy` about `client`.
    pub(super) fn decide(
        policy: &Policy,
        client: VerifiedClient,
        now: UnixTime,
    ) -> Result<Self, Denied> {
        match judge(policy, Some(&client.subject(now))) {
            Ok(rule) => Ok(Self { rule, client: Some(client) }),
            Err(rule) => Err(Denied { rule, client }),
        }
    }

    /// Asks `policy` about a client that presented no certificate.
    pub(super) fn anonymous(policy: &Policy) -> Option<Self> {
        Some(Self { client: None, rule: judge(policy, None).ok()? })
    }

    /// Another rule lets it in by now, or the same one again.
    pub(super) fn renew(&mut self, rule: Arc<str>) {
        self.rule = rule;
    }

    /// Who was let in; `None` for an anonymous client.
    #[must_use]
    pub fn client(&self) -> Option<&VerifiedClient> {
        self.client.as_ref()
    }

    /// The rule that let it in.
    #[must_use]
    pub fn rule(&self) -> &Arc<str> {
        &self.rule
    }
}

/// The rule by which `policy` lets in a client, `None` standing for an anonymous one; or the rule that
/// keeps it out, if there is one.
pub(super) fn judge(
    policy: &Policy,
    client: Option<&Subject<'_>>,
) -> Result<Arc<str>, Option<Arc<str>>> {
    let name = |rule: usize| Arc::clone(policy.name(rule));
    match client {
        Some(client) => match policy.decide(client) {
            Decision::Allowed { rule } => Ok(name(rule)),
            Decision::Denied { rule } => Err(rule.map(name)),
        },
        None => policy.anonymous_rule().map(name).ok_or(None),
    }
}
