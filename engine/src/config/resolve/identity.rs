//! The identities of a listener.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_proto::policy::{Action, DomainName};
use countersign_proto::{
    ChainLimits, ClientAuth, Credentials, Rule, ServerKey, TlsVersion, TokenKey, TokenKeyId,
    TrustDomain, TrustDomainError,
};
use rustls::SignatureAlgorithm;
use rustls_pki_types::CertificateDer;

use super::tokens::Settings;
use super::{credentials, ocsp, revocation, server_name, tls};
use crate::config::errors::{At, Problems, Spot};
use crate::config::raw::{Raw, RawIdentity, RawKey, RawListener};
use crate::config::{IdentityConfig, ListenerConfig, TlsConfig, TokenKeyConfig};

/// Every identity of a listener, the default first; `None` if something is wrong with any.
pub(super) fn resolve_all(
    raw: &RawListener,
    tls: Option<&TlsConfig>,
    rules: Option<&[Rule]>,
    tokens: &Settings,
    problems: &mut Problems<'_>,
) -> Option<Vec<IdentityConfig>> {
    server_name::check_all(raw, problems);
    let mut identities = Vec::with_capacity(raw.identities.len());
    for identity in &raw.identities {
        identities.extend(resolve(identity, raw, tls, rules, tokens, problems));
    }
    let is_whole = !identities.is_empty() && identities.len() == raw.identities.len();
    is_whole.then_some(identities)
}

fn resolve(
    raw: &RawIdentity,
    listener: &RawListener,
    tls: Option<&TlsConfig>,
    rules: Option<&[Rule]>,
    tokens: &Settings,
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
    let key = server_key(raw, chain.as_deref(), tokens, problems);
    if let (Some((_, _, Some(algorithm))), Some(tls)) = (&key, tls) {
        check_suites(raw, listener, tls, *algorithm, problems);
    }
    let client_auth = client_auth(raw);
    if let Some(rules) = rules.filter(|_| !raw.spoilt.contains(&"client_auth")) {
        check_rules(raw, client_auth, rules, problems);
    }
    let client_ca = client_ca(raw, listener, client_auth, problems);
    let revocation = revocation::resolve(&raw.revocation, client_auth, problems);
    let rules = ocsp::rules(raw, listener, client_auth, problems);
    let staple = chain.as_deref().and_then(|chain| ocsp::staple(raw, chain, problems));
    let trust_domain = trust_domain(raw, client_auth, problems)?;
    let (key, token_key, _) = key?;
    let credentials = Credentials { chain: chain?, key };
    let (client_ca, revocation) = (client_ca?, revocation?);
    Some(IdentityConfig {
        server_names,
        credentials,
        token_key,
        client_ca,
        trust_domain,
        client_auth,
        revocation,
        ocsp: rules.map(Arc::new),
        staple: staple.map(Arc::new),
    })
}

/// The identity's key, and where it is if it is in a token; what it signs with, if it is known to be the
/// certificate's. A token is not asked here: its key is taken to be the certificate's.
type Key = (ServerKey, Option<Arc<TokenKeyConfig>>, Option<SignatureAlgorithm>);

fn server_key(
    raw: &RawIdentity,
    chain: Option<&[CertificateDer<'static>]>,
    tokens: &Settings,
    problems: &mut Problems<'_>,
) -> Option<Key> {
    let At { value, spot } = raw.key.as_ref()?;
    let own = raw.certificate.as_ref().zip(chain);
    match value {
        RawKey::File(path) => {
            let at = At { value: path.clone(), spot: spot.clone() };
            let der = credentials::key(&at, problems)?;
            let algorithm = own.and_then(|(certificate, chain)| {
                credentials::check_match(certificate, chain, &at, &der, problems)
            });
            Some((der.into(), None, algorithm))
        }
        RawKey::Tokens(uris) => {
            let config = tokens.key(uris, raw.certificate.as_ref(), problems);
            let (certificate, chain) = own?;
            let key = TokenKey::of(TokenKeyId(0), chain.first()?);
            let key =
                key.map_err(|error| format!("{}: {error}", credentials::path(&certificate.value)));
            let key = problems.keep(&certificate.spot, key)?;
            let algorithm = key.kind();
            Some((ServerKey::Token(key), Some(config?), Some(algorithm)))
        }
        RawKey::Neither(Some(at)) => {
            problems.error(
                &at.spot,
                "where there are several keys, they are one key in several tokens, and each is a `pkcs11:` URI; a key in a file stands alone",
            );
            None
        }
        RawKey::Neither(None) => {
            problems.error(
                spot,
                "it is empty; name a PEM file, such as \"partners.key\", or a `pkcs11:` URI",
            );
            None
        }
    }
}

/// The name of its trust domain, if it has one; `None` if something is wrong with it.
fn trust_domain(
    raw: &RawIdentity,
    client_auth: ClientAuth,
    problems: &mut Problems<'_>,
) -> Option<Option<DomainName>> {
    let Some(at) = &raw.trust_domain else { return Some(None) };
    if client_auth == ClientAuth::None {
        problems.error(
            &at.spot,
            "it has no effect: with client_auth = \"none\" no client is asked for a certificate; take one of the two out",
        );
        return None;
    }
    problems.keep(&at.spot, at.value.parse()).map(Some)
}

/// A name stands for one bundle: rules on it must not mean other CAs on another identity.
pub(super) fn check_trust_domains(
    raw: &Raw,
    listeners: &[ListenerConfig],
    problems: &mut Problems<'_>,
) {
    // Where something is wrong, which bundle belongs to which name is not known.
    if !problems.is_empty() {
        return;
    }
    let mut known: HashMap<&str, (&Spot, &[CertificateDer<'static>])> = HashMap::new();
    let mut rest = listeners;
    for raw in &raw.listeners {
        // Each has become one for every address, all with the same identities.
        let Some((of_raw, after)) = rest.split_at_checked(raw.listen.len()) else { return };
        rest = after;
        let identities = of_raw.first().map_or(&[][..], |listener| &listener.identities);
        for (raw, identity) in raw.identities.iter().zip(identities) {
            let Some(At { value: name, spot }) = &raw.trust_domain else { continue };
            let (first, bundle) = *known.entry(name).or_insert((spot, &identity.client_ca));
            if bundle != identity.client_ca {
                let line = problems.line(first);
                problems.error(
                    spot,
                    format_args!(
                        "`{name}` is the name of another client_ca{line}; give each bundle a name of its own"
                    ),
                );
            }
        }
    }
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
    let spot = match &raw.client_auth {
        Some(at) => at.spot.clone(),
        None => raw.spot.clone(),
    };
    match client_auth {
        ClientAuth::None if !allowed.any(Rule::is_for_anonymous) => problems.error(
            &spot,
            "nobody could get in: with client_auth = \"none\" every client is anonymous, and no rule allows that; add \"anonymous\" to allow if that is meant",
        ),
        ClientAuth::Require if allowed.all(Rule::is_for_anonymous) => problems.error(
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
        Ok(domain) => {
            for warning in domain.warnings() {
                let path = credentials::path(&at.value);
                problems.warning(&at.spot, format_args!("{path}: {warning}"));
            }
            Some(bundle)
        }
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
