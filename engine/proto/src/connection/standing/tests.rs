use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::limits::Limits;
use crate::listener::{Announce, Identities, Withdrawal};
use crate::op::UpstreamAddress;
use crate::policy::{Policy, Rule};
use crate::tls::{ChainLimits, Credentials, Identity, TlsParameters, TrustDomain, VerifiedChain};

/// 2025-06-15
const NOW: i64 = 1_750_000_000;
const YEAR: i64 = 365 * 86_400;

const CLOSE: Withdrawal = Withdrawal { revoked: Consequence::Close, expired: Consequence::Close };

/// One CA, its client, and a server.
struct Estate {
    key: Vec<u8>,
    root: CertificateDer<'static>,
    client: Arc<VerifiedChain>,
    server: Credentials,
}

impl Estate {
    /// The client is valid from 2020 until 2030, its root until 2040.
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let key_der = key.serialize_der();
        let root = CertifiedIssuer::self_signed(ca((2020, 2040)), key).unwrap();
        let client_key = KeyPair::generate().unwrap();
        let mut params = named("client", (2020, 2030));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = params.signed_by(&client_key, &root).unwrap().der().clone();
        let server_key = KeyPair::generate().unwrap();
        let server = named("server", (2020, 2030)).self_signed(&server_key).unwrap();
        let root = root.der().clone();
        Self {
            key: key_der,
            client: domain(&root).verify(&[client], unix(NOW)).unwrap(),
            server: Credentials {
                chain: vec![server.der().clone()],
                key: PrivateKeyDer::try_from(server_key.serialize_der()).unwrap().into(),
            },
            root,
        }
    }

    /// Another certificate of the same CA.
    fn renewed(&self, years: (i32, i32)) -> CertificateDer<'static> {
        let key = KeyPair::try_from(self.key.as_slice()).unwrap();
        ca(years).self_signed(&key).unwrap().der().clone()
    }

    fn listener(
        &self,
        root: &CertificateDer<'static>,
        rules: &[&str],
        withdrawal: Withdrawal,
    ) -> Listener {
        let parsed = rules.iter().map(|rule| match rule.strip_prefix('!') {
            Some(denied) => Rule::parse_deny(denied).unwrap(),
            None => Rule::parse_allow(rule).unwrap(),
        });
        let policy = Policy::new(parsed.collect());
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        let identity = Identity::new(
            &self.server,
            Some(Arc::new(domain(root))),
            ClientAuth::Optional,
            rules.contains(&"anonymous"),
            &TlsParameters::new(random),
        );
        let names = vec!["here.example".to_owned()];
        Listener {
            shadow: None,
            proxy_from: Vec::new(),
            name: "door".into(),
            address: SocketAddr::from(([127, 0, 0, 1], 8_443)),
            generation: 1,
            identities: Identities::new(vec![(names, identity.unwrap())], true),
            policy,
            upstream: UpstreamAddress::Whoami,
            announce: Announce::Nothing,
            withdrawal,
            limits: Limits::default(),
        }
    }

    fn ask(&self, listener: &Listener, now: i64) -> Result<Admission, Reason> {
        let subject =
            Subject { identity: self.client.identity(), evidence: self.client.evidence() };
        reconsider(listener, Some("here.example"), Some(subject), unix(now))
            .map_err(|lost| lost.reason)
    }

    fn reason(&self, listener: &Listener, now: i64) -> Option<Reason> {
        self.ask(listener, now).err()
    }
}

fn domain(root: &CertificateDer<'static>) -> TrustDomain {
    let limits = ChainLimits { certificates: 8, bytes: 32_768 };
    TrustDomain::new(std::slice::from_ref(root), limits, true).unwrap()
}

fn named(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

fn ca(years: (i32, i32)) -> CertificateParams {
    let mut params = named("root", years);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn unix(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()))
}

#[test]
fn the_rule_of_now_lets_it_in_until_its_path_ends() {
    let estate = Estate::new();
    let listener = estate.listener(&estate.root, &["dns=client.example"], CLOSE);
    let admission = estate.ask(&listener, NOW).unwrap();
    assert_eq!(&*admission.rule, "allow dns=client.example");
    let not_after = estate.client.evidence().not_after();
    assert_eq!(admission.not_after, Some(not_after));
    assert!(estate.ask(&listener, not_after).is_ok(), "in its last second");
    let after = estate.reason(&listener, not_after + 1);
    assert_eq!(after, Some(Reason::ClientCertificateExpired));
}

#[test]
fn a_ca_is_known_by_name_and_key() {
    let estate = Estate::new();
    let ask = |root: &CertificateDer<'static>, now| {
        let listener = estate.listener(root, &["any-verified"], CLOSE);
        estate.ask(&listener, now).map(|admission| admission.not_after.unwrap())
    };
    let not_after = estate.client.evidence().not_after();
    assert_eq!(ask(&estate.renewed((2025, 2060)), NOW), Ok(not_after), "renewed");
    assert!(
        ask(&estate.renewed((2025, 2027)), NOW).unwrap() < not_after,
        "it ends before the client"
    );
    let expired = ask(&estate.renewed((2020, 2024)), NOW);
    assert_eq!(expired, Err(Reason::ClientCertificateExpired));
    let early = ask(&estate.renewed((2027, 2060)), NOW);
    assert_eq!(early, Err(Reason::ClientCertificateNotYetValid));
    let namesake = ca((2020, 2040)).self_signed(&KeyPair::generate().unwrap()).unwrap();
    let another_key = ask(namesake.der(), NOW);
    assert_eq!(another_key, Err(Reason::ClientCaNoLongerTrusted));
}

#[test]
fn of_two_certificates_of_a_ca_the_better_one_counts() {
    let estate = Estate::new();
    let bundle = [estate.renewed((2020, 2024)), estate.renewed((2025, 2060))];
    for order in [[0, 1], [1, 0]] {
        let bundle = order.map(|index| bundle[index].clone());
        let limits = ChainLimits { certificates: 8, bytes: 32_768 };
        let domain = TrustDomain::new(&bundle, limits, true).unwrap();
        let vouching = domain.vouches(estate.client.evidence(), unix(NOW));
        assert!(matches!(vouching, Vouching::Until(_)), "{vouching:?}");
    }
}

#[test]
fn a_deny_rule_and_the_absence_of_an_allow_rule_keep_it_out() {
    let estate = Estate::new();
    for rules in
        [&["any-verified", "!dns=client.example"][..], &["dns=other.example"], &["anonymous"]]
    {
        let listener = estate.listener(&estate.root, rules, CLOSE);
        let reason = estate.reason(&listener, NOW);
        assert_eq!(reason, Some(Reason::ClientNoLongerAllowed), "{rules:?}");
    }
}

#[test]
fn a_name_that_nobody_answers_to_keeps_it_out() {
    let estate = Estate::new();
    let listener = estate.listener(&estate.root, &["anonymous"], CLOSE);
    for name in [None, Some("elsewhere.example")] {
        let lost = reconsider(&listener, name, None, unix(NOW)).unwrap_err();
        assert_eq!(lost.reason, Reason::UnknownServerName);
    }
}

#[test]
fn an_anonymous_client_needs_its_rule_and_no_clock() {
    let estate = Estate::new();
    let ask = |rules: &[&str]| {
        let listener = estate.listener(&estate.root, rules, CLOSE);
        reconsider(&listener, Some("here.example"), None, unix(NOW + 100 * YEAR))
            .map(|admission| (admission.rule.to_string(), admission.not_after))
            .map_err(|lost| lost.reason)
    };
    assert_eq!(ask(&["anonymous"]), Ok(("allow anonymous".to_owned(), None)));
    assert_eq!(ask(&["any-verified"]), Err(Reason::ClientNoLongerAllowed));
}

#[test]
fn of_two_causes_the_one_with_the_stricter_consequence_counts() {
    use Consequence::{Close, Drain, Keep};
    let estate = Estate::new();
    let expired = Reason::ClientCertificateExpired;
    let denied = Reason::ClientNoLongerAllowed;
    for (on_revoked, on_expired, reason) in [
        (Close, Keep, denied),
        (Keep, Close, expired),
        (Drain, Close, expired),
        (Drain, Keep, denied),
        (Close, Close, denied),
    ] {
        let withdrawal = Withdrawal { revoked: on_revoked, expired: on_expired };
        let listener = estate.listener(&estate.root, &["dns=other.example"], withdrawal);
        let found = estate.reason(&listener, NOW + 20 * YEAR);
        assert_eq!(found, Some(reason), "{on_revoked:?} {on_expired:?}");
    }
}
