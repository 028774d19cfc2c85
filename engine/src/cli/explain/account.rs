//! The account of one client: every question that the engine would ask, in its order, with what it
//! found.

use countersign_proto::identity::hex;
use std::sync::Arc;

use countersign_proto::policy::{Decision, Subject};
use countersign_proto::revocation::Standing;
use countersign_proto::{
    ClientAuth, ClientIdentity, Evidence, Policy, Reason, TrustDomain, UpstreamAddress,
    VerifiedChain,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::Serialize;

use super::date;
use crate::cli::alert_name;
use crate::config::{Config, IdentityConfig, ListenerConfig};
use crate::control::lists_for;

/// Who asks for what.
pub(super) struct Question<'a> {
    pub(super) config: &'a Config,
    pub(super) listener: &'a ListenerConfig,
    pub(super) server_name: Option<&'a str>,
    /// As the client would send it, end entity first.
    pub(super) chain: &'a [CertificateDer<'static>],
    pub(super) now: UnixTime,
}

/// What would become of it. Field for field what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    /// Of this format.
    version: u32,
    verdict: Verdict,
    /// Why not, as the log would name it.
    reason: Option<&'static str>,
    /// The TLS alert that the client would see.
    alert: Option<String>,
    pub(super) listener: String,
    pub(super) address: String,
    pub(super) server_name: Option<String>,
    /// The identity that answers, counted from 1.
    pub(super) identity: Option<usize>,
    pub(super) client_auth: Option<&'static str>,
    pub(super) sent: Vec<Certificate>,
    /// From the end entity to the trust anchor; empty if there is none.
    pub(super) path: Vec<Certificate>,
    pub(super) checks: Vec<Check>,
    /// The rule that decided.
    pub(super) rule: Option<String>,
    pub(super) upstream: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Allowed,
    Refused,
}

/// A certificate, as far as it can be read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) serial: String,
    /// Seconds since the epoch.
    pub(super) not_before: i64,
    /// Seconds since the epoch.
    pub(super) not_after: i64,
    pub(super) sha256: String,
    pub(super) spki_sha256: String,
    /// Why it cannot be read.
    pub(super) problem: Option<String>,
}

/// One question.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) result: Answer,
    pub(super) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Holds,
    Fails,
    /// It does not apply, or cannot be asked here.
    NotAsked,
}

impl Account {
    /// # Errors
    /// What keeps the engine from being asked at all, in words.
    pub(super) fn of(question: &Question<'_>) -> Result<Self, String> {
        let mut account = Self::begin(question);
        account.ask(question)?;
        Ok(account)
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    /// Why not, and what the client sees.
    pub(super) fn refusal(&self) -> Option<(&'static str, Option<&str>)> {
        Some((self.reason?, self.alert.as_deref()))
    }

    fn begin(question: &Question<'_>) -> Self {
        Self {
            version: 1,
            // Until everything was asked.
            verdict: Verdict::Refused,
            reason: None,
            alert: None,
            listener: question.listener.name.clone(),
            address: question.listener.address.to_string(),
            server_name: question.server_name.map(str::to_owned),
            identity: None,
            client_auth: None,
            sent: question.chain.iter().map(Certificate::of).collect(),
            path: Vec::new(),
            checks: Vec::new(),
            rule: None,
            upstream: None,
        }
    }

    fn ask(&mut self, question: &Question<'_>) -> Result<(), String> {
        let listener = question.listener;
        let Some(index) = listener.identity_for(question.server_name) else {
            let detail = "no identity answers to it, and strict_sni is set";
            self.fails("server_name", Reason::UnknownServerName, detail.to_owned());
            return Ok(());
        };
        let identity = &listener.identities[index];
        self.identity = Some(index + 1);
        self.holds("server_name", answering(index, identity));
        self.client_auth = Some(match identity.client_auth {
            ClientAuth::Require => "require",
            ClientAuth::Optional => "optional",
            ClientAuth::None => "none",
        });
        let policy = Policy::new(listener.rules.clone());
        if identity.client_auth == ClientAuth::None {
            self.not_asked("path", "no client is asked for a certificate: all are anonymous");
            self.anonymous(listener, &policy);
            return Ok(());
        }
        let domain = listener.trust_domain(identity).map_err(|error| error.to_string())?;
        let lists = identity.revocation.as_ref().map(|_| lists_for(question.config, identity));
        let lists = lists.transpose().map_err(|problem| problem.to_string())?.flatten();
        let domain = match lists {
            Some(lists) => domain.with_revocations(lists),
            None => domain,
        };
        if let Some(client) = self.verify(question, identity, &domain) {
            let client = client.subject(question.now);
            if identity.ocsp.is_some() {
                self.not_asked("ocsp", "the responder is asked in the handshake");
            }
            self.not_asked("possession", "the client proves in its handshake that it has the key");
            self.authorize(listener, &policy, &client);
        }
        Ok(())
    }

    /// The certification path, as a handshake verifies it.
    fn verify(
        &mut self,
        question: &Question<'_>,
        identity: &IdentityConfig,
        domain: &TrustDomain,
    ) -> Option<Arc<VerifiedChain>> {
        let limits = &question.listener.limits;
        let bytes: usize = question.chain.iter().map(|der| der.len()).sum();
        let size = format!(
            "{} certificates of {}, {bytes} bytes of {}",
            question.chain.len(),
            limits.chain_certificates,
            limits.chain_bytes
        );
        let verified = match domain.verify(question.chain, question.now) {
            Ok(verified) => verified,
            Err(error) => {
                let reason = error.reason();
                let check = check_of(reason);
                if check != "size" {
                    self.holds("size", size);
                }
                self.fails(check, reason, error.to_string());
                return None;
            }
        };
        self.holds("size", size);
        let evidence = verified.evidence();
        self.path = path(question.chain, identity, evidence);
        self.holds(
            "path",
            format!(
                "signatures, validity, constraints and usages of {} certificates, up to anchor {} of client_ca",
                evidence.issued().len(),
                evidence.anchor() + 1
            ),
        );
        self.revocation(identity, verified.evidence(), question.now);
        Some(verified)
    }

    /// What the lists said, one line for each certificate of the path.
    fn revocation(&mut self, identity: &IdentityConfig, evidence: &Evidence, now: UnixTime) {
        if identity.revocation.is_none() {
            self.not_asked("revocation", "no lists are configured (`crl`)");
            return;
        }
        for (position, standing) in evidence.revocation().standings.iter().enumerate() {
            let whose = match self.path.get(position) {
                Some(certificate) => certificate.subject.clone(),
                None => format!("certificate {}", position + 1),
            };
            self.holds("revocation", format!("{whose}: {}", said(standing, now)));
        }
        if let Some(refusal) = &evidence.revocation().shadow {
            self.not_asked("shadow_crl", &format!("would refuse it: {refusal}"));
        }
    }

    fn authorize(&mut self, listener: &ListenerConfig, policy: &Policy, client: &Subject<'_>) {
        let name = |rule: usize| policy.name(rule).to_string();
        match policy.decide(client) {
            Decision::Allowed { rule } => self.allowed(listener, name(rule)),
            Decision::Denied { rule: Some(rule) } => {
                self.rule = Some(name(rule));
                self.fails("policy", Reason::DeniedByRule, format!("kept out by {}", name(rule)));
            }
            Decision::Denied { rule: None } => {
                let detail = format!("none of {} rules lets it in", policy.rules().len());
                self.fails("policy", Reason::DeniedByRule, detail);
            }
        }
        if let Some(rules) = &listener.shadow_rules {
            self.shadow(&Policy::new(rules.clone()), client);
        }
    }

    /// Decided beside, enforced by nobody.
    fn shadow(&mut self, policy: &Policy, client: &Subject<'_>) {
        let detail = match policy.decide(client) {
            Decision::Allowed { rule } => format!("would be let in by {}", policy.name(rule)),
            Decision::Denied { rule: Some(rule) } => {
                format!("would be kept out by {}", policy.name(rule))
            }
            Decision::Denied { rule: None } => "would be let in by no rule".to_owned(),
        };
        self.not_asked("shadow", &detail);
    }

    fn anonymous(&mut self, listener: &ListenerConfig, policy: &Policy) {
        match policy.anonymous_rule() {
            Some(rule) => self.allowed(listener, policy.name(rule).to_string()),
            None => {
                let detail = "no rule lets an anonymous client in".to_owned();
                self.fails("policy", Reason::DeniedByRule, detail);
            }
        }
    }

    fn allowed(&mut self, listener: &ListenerConfig, rule: String) {
        self.holds("policy", format!("let in by {rule}"));
        self.rule = Some(rule);
        self.upstream = Some(match &listener.upstream {
            UpstreamAddress::Tcp(address) => address.to_string(),
            UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
            UpstreamAddress::Whoami => "builtin:whoami".to_owned(),
        });
        self.verdict = Verdict::Allowed;
    }

    fn holds(&mut self, check: &'static str, detail: String) {
        self.checks.push(Check { check, result: Answer::Holds, detail });
    }

    fn not_asked(&mut self, check: &'static str, detail: &str) {
        let detail = detail.to_owned();
        self.checks.push(Check { check, result: Answer::NotAsked, detail });
    }

    fn fails(&mut self, check: &'static str, reason: Reason, detail: String) {
        self.checks.push(Check { check, result: Answer::Fails, detail });
        self.reason = Some(reason.label());
        self.alert = reason.alert().map(alert_name);
    }
}

impl Certificate {
    fn of(der: &CertificateDer<'_>) -> Self {
        match ClientIdentity::parse(der) {
            Ok(read) => Self {
                subject: read.subject().to_owned(),
                issuer: read.issuer().to_owned(),
                serial: read.serial().to_owned(),
                not_before: read.not_before(),
                not_after: read.not_after(),
                sha256: read.sha256_hex(),
                spki_sha256: read.spki_sha256_hex(),
                problem: None,
            },
            Err(problem) => Self {
                subject: String::new(),
                issuer: String::new(),
                serial: String::new(),
                not_before: 0,
                not_after: 0,
                sha256: String::new(),
                spki_sha256: String::new(),
                problem: Some(problem.to_string()),
            },
        }
    }
}

/// Which question a chain was refused by.
fn check_of(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientChainTooLarge => "size",
        Reason::ClientCertificateRevoked
        | Reason::RevocationUnknown
        | Reason::RevocationListExpired => "revocation",
        _ => "path",
    }
}

/// A verdict with the list that it comes from, and how old that is.
fn said(standing: &Standing, now: UnixTime) -> String {
    let verdict = standing.verdict.label();
    let Some(list) = &standing.list else { return format!("{verdict}, no list speaks for it") };
    let number = list.number.map_or_else(String::new, |number| format!(" {number}"));
    let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(list.this_update);
    let (made, next) = (date(list.this_update), date(list.next_update));
    format!("{verdict} by list{number} of {made}, {age} s old; the next is due {next}")
}

fn answering(index: usize, identity: &IdentityConfig) -> String {
    let number = index + 1;
    match identity.server_names.as_slice() {
        [] => format!("identity {number} answers, to every name"),
        names => format!("identity {number} answers, to {}", names.join(", ")),
    }
}

/// The certificates of the path that was taken, the anchor last.
fn path(
    chain: &[CertificateDer<'_>],
    identity: &IdentityConfig,
    evidence: &Evidence,
) -> Vec<Certificate> {
    let read: Vec<_> = chain.iter().map(Certificate::of).collect();
    let of = |serial: &[u8]| {
        let serial =
            hex(serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial));
        read.iter().find(|certificate| certificate.serial == serial).cloned()
    };
    let issued = evidence.issued().iter().filter_map(|issued| of(&issued.serial));
    issued.chain(identity.client_ca.get(evidence.anchor()).map(Certificate::of)).collect()
}
