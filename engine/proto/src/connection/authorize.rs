//! `Authorized`: policy has let a verified client in.

use std::sync::Arc;

use rustls_pki_types::UnixTime;

use super::verify::VerifiedClient;
use crate::policy::{Decision, Policy};

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
        let name = |rule: usize| Arc::clone(policy.name(rule));
        match policy.decide(&client.subject(now)) {
            Decision::Allowed { rule } => Ok(Self { rule: name(rule), client: Some(client) }),
            Decision::Denied { rule } => Err(Denied { rule: rule.map(name), client }),
        }
    }

    /// Asks `policy` about a client that presented no certificate.
    pub(super) fn anonymous(policy: &Policy) -> Option<Self> {
        let rule = policy.anonymous_rule()?;
        Some(Self { client: None, rule: Arc::clone(policy.name(rule)) })
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
