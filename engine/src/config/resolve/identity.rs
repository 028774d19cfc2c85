//! The identities of a listener.

use countersign_proto::policy::{Action, Matcher};
use countersign_proto::{
    ChainLimits, ClientAuth, Credentials, Rule, TlsVersion, TrustDomain, TrustDomainError,
};
use rustls::SignatureAlgorithm;
use rustls_pki_types::CertificateDer;

use super::{credentials, server_name, tls};
use crate::config::errors::{Problems, Spot};
use crate::config::raw::{RawIdentity, RawListener};
use crate::config::{IdentityConfig, TlsConfig};

/// Every identity of a listener, the default first; `None` if something is wrong with any.
pub(super) fn resolve_all(
    raw: &RawListener,
    tls: Option<&TlsConfig>,
    rules: Option<&[Rule]>,
    problems: &mut Problems<'_>,
) -> Option<Vec<IdentityConfig>> {
    server_name::check_all(raw, problems);
    let mut identities = Vec::with_capacity(raw.identities.len());
    for identity in &raw.identities {
        identities.extend(resolve(identity, raw, tls, rules, problems));
    }
    let is_whole = !identities.is_empty() && identities.len() == raw.identities.len();
    is_whole.then_some(identities)
}

fn resolve(
    raw: &RawIdentity,
    listener: &RawListener,
    tls: Option<&TlsConfig>,
    rules: Option<&[Rule]>,
    problems: &mut Problems<'_>,
) -> Option<IdentityConfig> {
    let server_names = server_name::resolve(raw, problems);
    let chain = raw.certificate.as_ref().and_then(|at| {
        let names = raw.server_names.iter().filter_map(|name| {
            let lower = name.value.to_ascii_lowercase();
            server_names.contains(&lower).then(|| (lower, name.spot.clone()))
        });
        let names: Vec<_> = names.collect();
        credentials::chain(at, &names, problems)
    });
    let key = raw.key.as_ref().and_then(|at| credentials::key(at, problems));
    if let (Some(certificate), Some(chain), Some(at), Some(key)) =
        (&raw.certificate, &chain, &raw.key, &key)
    {
        let algorithm = credentials::check_match(certificate, chain, at, key, problems);
        if let (Some(algorithm), Some(tls)) = (algorithm, tls) {
            check_suites(raw, listener, tls, algorithm, problems);
        }
    }
    let client_auth = client_auth(raw);
    if let Some(rules) = rules.filter(|_| !raw.spoilt.contains(&"client_auth")) {
        check_rules(raw, client_auth, rules, problems);
    }
    let client_ca = client_ca(raw, listener, client_auth, problems);
    let credentials = Credentials { chain: chain?, key: key? };
    Some(IdentityConfig { server_names, credentials, client_ca: client_ca?, client_auth })
}

fn client_auth(raw: &RawIdentity) -> ClientAuth {
    match raw.client_auth.as_ref().map(|at| at.value.as_str()) {
        Some("none") => ClientAuth::None,
        Some("optional") => ClientAuth::Optional,
        _ => ClientAuth::Require,
    }
}

/// Could anybody get in?
fn check_rules(
    raw: &RawIdentity,
    client_auth: ClientAuth,
    rules: &[Rule],
    problems: &mut Problems<'_>,
) {
    let mut allowed = rules.iter().filter(|rule| rule.action() == Action::Allow);
    let is_anonymous = |rule: &Rule| matches!(rule.matcher(), Matcher::Anonymous);
    let spot = match &raw.client_auth {
        Some(at) => at.spot.clone(),
        None => raw.spot.clone(),
    };
    match client_auth {
        ClientAuth::None if !allowed.any(is_anonymous) => problems.error(
            &spot,
            "nobody could get in: with client_auth = \"none\" every client is anonymous, and no rule allows that; add \"anonymous\" to allow if that is meant",
        ),
        ClientAuth::Require if allowed.all(is_anonymous) => problems.error(
            &spot,
            "nobody could get in: every client must have a certificate, and the rules allow only those without; add a rule such as 'cn=payments-*' to allow, or choose another client_auth",
        ),
        _ => {}
    }
}

fn client_ca(
    raw: &RawIdentity,
    listener: &RawListener,
    client_auth: ClientAuth,
    problems: &mut Problems<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let at = match (client_auth, &raw.client_ca) {
        (ClientAuth::None, None) => return Some(Vec::new()),
        (ClientAuth::None, Some(at)) => {
            problems.error(
                &at.spot,
                "it has no effect: with client_auth = \"none\" no client is asked for a certificate; take one of the two out",
            );
            return None;
        }
        (_, None) => {
            if !["client_ca", "client_auth"].iter().any(|name| raw.spoilt.contains(name)) {
                problems.missing(
                    &raw.spot.absent("client_ca"),
                    "clients are asked for a certificate; name the PEM file with the CA certificates that it must lead to, such as `client_ca = \"clients-ca.pem\"`",
                );
            }
            return None;
        }
        (_, Some(at)) => at,
    };
    let bundle = credentials::client_ca(at, problems)?;
    let limits = &listener.limits.values;
    let limits = ChainLimits { certificates: limits.chain_certificates, bytes: limits.chain_bytes };
    let tells_names = listener.ca_names.as_ref().is_none_or(|at| at.value == "all");
    match TrustDomain::new(&bundle, limits, tells_names) {
        Ok(_) => Some(bundle),
        Err(error) => {
            let help = match &error {
                TrustDomainError::Names { .. } => {
                    format!("; say `{}`", problems.setting("ca_names", "\"none\""))
                }
                _ => String::new(),
            };
            let path = credentials::path(&at.value);
            problems.error(&at.spot, format_args!("{path}: {error}{help}"));
            None
        }
    }
}

/// A suite of TLS 1.2 says what the server signs with.
fn check_suites(
    raw: &RawIdentity,
    listener: &RawListener,
    tls: &TlsConfig,
    algorithm: SignatureAlgorithm,
    problems: &mut Problems<'_>,
) {
    if !tls.versions.contains(&TlsVersion::Tls12) {
        return;
    }
    let mut suites = tls.suites.iter().filter(|suite| tls::version(suite) == TlsVersion::Tls12);
    if suites.any(|suite| suite.usable_for_signature_algorithm(algorithm)) {
        return;
    }
    let kind = if algorithm == SignatureAlgorithm::RSA { "RSA" } else { "ECDSA" };
    let line = match &listener.suites {
        Some(at) => problems.line(&at.spot),
        None => String::new(),
    };
    let spot = raw.key.as_ref().map_or_else(Spot::default, |at| at.spot.clone());
    problems.error(
        &spot,
        format_args!(
            "no TLS 1.2 suite of the listener{line} works with this key ({algorithm:?}); add ECDHE-{kind}-AES128-GCM-SHA256 to suites, or take \"1.2\" out of versions"
        ),
    );
}
