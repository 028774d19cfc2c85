//! How a term meets a certificate: the definition, which the index must agree with.

use crate::policy::Subject;
use crate::policy::glob::Glob;
use crate::policy::matcher::{Field, Matcher};
use crate::policy::purpose::has_policy;
use crate::policy::rule::Action;
use crate::policy::spiffe;

impl Matcher {
    /// Whether it speaks of this client. Ambiguous certificates are read to the safe side of the action.
    pub fn matches(&self, action: Action, subject: &Subject<'_>) -> bool {
        let client = subject.identity;
        match self {
            Matcher::Name { field, pattern } => name_matches(action, *field, pattern, subject),
            Matcher::Email(pattern) => client.emails().iter().any(|name| pattern.matches(name)),
            Matcher::Address(prefix) => {
                client.ip_addresses().iter().any(|name| prefix.matches(action, *name))
            }
            Matcher::Spiffe(pattern) => match action {
                Action::Allow => spiffe::id(client.uris()).is_some_and(|id| pattern.matches(&id)),
                Action::Deny => {
                    let mut ids = client.uris().iter().filter_map(|uri| spiffe::folded(uri));
                    ids.any(|id| pattern.matches(&id))
                }
            },
            Matcher::Issuer(name) => name.as_str() == client.issuer(),
            Matcher::Serial(serial) => serial.is_of(client),
            Matcher::IssuerSerial(certificate) => certificate.matches(client),
            Matcher::SpkiSha256(fingerprint) => fingerprint.0 == client.spki_sha256(),
            Matcher::Sha256(fingerprint) => fingerprint.0 == client.sha256(),
            Matcher::Key(kind) => kind.matches(action, client.key()),
            Matcher::Purpose(purpose) => purpose.matches(action, client.purposes()),
            Matcher::CertificatePolicy(oid) => has_policy(action, client.policies(), oid),
            Matcher::TrustDomain(name) => subject.trust_domain == Some(name.as_str()),
            Matcher::Lifetime(bound) => bound.holds(subject.lifetime()),
            Matcher::Remaining(bound) => bound.holds(subject.remaining()),
            Matcher::AnyVerified => true,
            // Whoever has a certificate is not anonymous.
            Matcher::Anonymous => false,
        }
    }
}

fn name_matches(action: Action, field: Field, pattern: &Glob, subject: &Subject<'_>) -> bool {
    let mut names = names(action, field, subject).iter();
    match field {
        Field::DnsName => names.any(|name| dns_matches(action, pattern, name)),
        _ => names.any(|name| pattern.matches(name)),
    }
}

/// The names that a rule on a field is about. Of several CNs an allow rule sees none.
pub(super) fn names<'a>(action: Action, field: Field, subject: &Subject<'a>) -> &'a [String] {
    let client = subject.identity;
    let only = |names: &'a [String]| match (action, names) {
        (Action::Deny, _) | (Action::Allow, [_]) => names,
        (Action::Allow, _) => &[],
    };
    match field {
        Field::CommonName => only(client.common_names()),
        Field::IssuerCommonName => only(client.issuer_common_names()),
        Field::Organization => client.organizations(),
        Field::OrganizationalUnit => client.organizational_units(),
        Field::DnsName => client.dns_names(),
        Field::Uri => client.uris(),
    }
}

fn dns_matches(action: Action, pattern: &Glob, name: &str) -> bool {
    let name = without_root(name);
    if is_taken_literally(action, name) {
        return pattern.as_str().eq_ignore_ascii_case(name);
    }
    pattern.matches(name)
}

/// A certificate for `*.example` speaks for no single host: only who allows that very name means it.
pub(super) fn is_taken_literally(action: Action, name: &str) -> bool {
    action == Action::Allow && name.contains('*')
}

/// `payments.example.` is the same name as without the dot, fully qualified (RFC 1034 section 3.1).
pub(super) fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
