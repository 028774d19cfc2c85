//! Certificates that never change: keys from fixed seeds, fixed dates and serial numbers, Ed25519.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::Ed25519KeyPair;
use countersign_proto::{ChainLimits, Credentials, Limits, Policy, Rule, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::random::Random;

/// `CLOCK_REALTIME` at the beginning of every world: 2025-06-15T15:06:40Z.
pub(crate) const EPOCH_SECONDS: u64 = 1_750_000_000;
pub(crate) const SERVER_NAME: &str = "engine.example";
/// Whom the policy lets in, by its common name.
pub(crate) const FRIEND: &str = "friend";

/// What is published: who is trusted, and the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Regime {
    /// Friends are let in.
    Usual,
    /// No rule lets friends in.
    NoRule,
    /// A rule keeps friends out.
    Denied,
    /// The clients' root is not trusted.
    OtherCa,
}

impl Regime {
    pub(crate) fn lets_friends_in(self) -> bool {
        self == Self::Usual
    }
}

/// What a client shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    Friend,
    /// Verified, and denied by a rule.
    Denied,
    Nothing,
    OfAnotherCa,
    Expired,
    NotYetValid,
    OfPurposeServer,
    WithoutIntermediate,
    WithoutDigitalSignature,
    TooManyCertificates,
    Unparsable,
    BadlySigned,
    AnAuthority,
    /// A friend's certificate, and not its key.
    WithAnotherKey,
    /// A friend, whose certificate expires soon after the world has begun.
    Brief,
}

/// The last second in which the certificate of [`Shown::Brief`] is valid.
pub(crate) const BRIEF_NOT_AFTER: u64 = EPOCH_SECONDS + 4;

/// A certification path and the key that goes, or should go, with its end entity.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<dyn SigningKey>,
}

pub(crate) struct Pki {
    pub(crate) server: Credentials,
    pub(crate) server_roots: Arc<RootCertStore>,
    /// A client that trusts these refuses the engine.
    pub(crate) other_roots: Arc<RootCertStore>,
    pub(crate) client_root: CertificateDer<'static>,
    /// No client has a path to it.
    pub(crate) unused_root: CertificateDer<'static>,
    presented: Vec<(Shown, Presented)>,
}

impl Pki {
    /// The one PKI of all worlds.
    pub(crate) fn get() -> &'static Self {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(Self::make)
    }

    pub(crate) fn presented(&self, shown: Shown) -> Option<Presented> {
        self.presented.iter().find(|(of, _)| *of == shown).map(|(_, presented)| presented.clone())
    }

    pub(crate) fn trust_domain(&self, limits: &Limits, regime: Regime) -> Arc<TrustDomain> {
        let root = match regime {
            Regime::OtherCa => &self.unused_root,
            Regime::Usual | Regime::NoRule | Regime::Denied => &self.client_root,
        };
        let bounds =
            ChainLimits { certificates: limits.chain_certificates, bytes: limits.chain_bytes };
        let domain = TrustDomain::new(std::slice::from_ref(root), bounds, true);
        Arc::new(domain.expect("the clients' root"))
    }

    fn make() -> Self {
        let mut serial = 0;
        let servers = Hierarchy::new("servers", &mut serial);
        let clients = Hierarchy::new("clients", &mut serial);
        let strangers = Hierarchy::new("strangers", &mut serial);
        let purpose = |purpose| {
            move |params: &mut CertificateParams| {
                params.extended_key_usages = vec![purpose];
            }
        };
        let server =
            servers.issue(SERVER_NAME, &mut serial, purpose(ExtendedKeyUsagePurpose::ServerAuth));
        let mut issue = |name: &str, change: fn(&mut CertificateParams)| {
            clients.issue(name, &mut serial, change)
        };
        let friend = issue(FRIEND, |_| {});
        let mut presented = vec![
            (Shown::Denied, issue("denied", |_| {})),
            (
                Shown::Expired,
                issue("expired", |params| params.not_after = date_time_ymd(2021, 1, 1)),
            ),
            (
                Shown::NotYetValid,
                issue("early", |params| params.not_before = date_time_ymd(2080, 1, 1)),
            ),
            (
                Shown::OfPurposeServer,
                issue(FRIEND, |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                }),
            ),
            (
                Shown::WithoutDigitalSignature,
                issue(FRIEND, |params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
            ),
            (
                Shown::AnAuthority,
                issue(FRIEND, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            ),
        ];
        presented.push((
            Shown::Brief,
            issue(FRIEND, |params| {
                let since = std::time::Duration::from_secs(BRIEF_NOT_AFTER);
                params.not_after = date_time_ymd(1970, 1, 1) + since;
            }),
        ));
        presented.push((Shown::OfAnotherCa, strangers.issue(FRIEND, &mut serial, |_| {})));
        presented.push((Shown::WithoutIntermediate, friend.changed(|chain| chain.truncate(1))));
        presented.push((
            Shown::TooManyCertificates,
            friend.changed(|chain| chain.extend(vec![chain[1].clone(); 10])),
        ));
        presented.push((
            Shown::Unparsable,
            friend.changed(|chain| chain[0] = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01])),
        ));
        presented.push((
            Shown::BadlySigned,
            friend.changed(|chain| {
                // The signature stands last.
                let mut der = chain[0].to_vec();
                let end = der.len() - 32;
                der[end] ^= 1;
                chain[0] = CertificateDer::from(der);
            }),
        ));
        let wrong_key = Issued { chain: friend.chain.clone(), key: keep(&key_of("another key")) };
        presented.push((Shown::WithAnotherKey, wrong_key));
        presented.push((Shown::Friend, friend));
        Self {
            server: Credentials { chain: server.chain, key: server.key.into() },
            server_roots: servers.roots(),
            other_roots: strangers.roots(),
            client_root: clients.root.der().clone(),
            unused_root: servers.root.der().clone(),
            presented: presented.into_iter().map(|(shown, of)| (shown, of.present())).collect(),
        }
    }
}

/// Lets friends in, keeps one name out, and nobody else in; unless the regime is another.
pub(crate) fn policy(regime: Regime) -> Policy {
    let allowed = if regime == Regime::NoRule { "somebody" } else { FRIEND };
    let denied = if regime == Regime::Denied { FRIEND } else { "denied" };
    Policy::new(vec![
        Rule::parse_allow(&format!("cn={allowed}")).expect("a rule"),
        Rule::parse_deny("cn=denied").expect("a rule"),
        Rule::parse_deny(&format!("cn={denied}")).expect("a rule"),
    ])
}

/// What a policy must never be by mistake.
pub(crate) fn policy_for_everyone() -> Policy {
    Policy::new(vec![Rule::parse_allow("any-verified").expect("a rule")])
}

struct Hierarchy {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Hierarchy {
    fn new(name: &str, serial: &mut u64) -> Self {
        let [root, intermediate] = ["root", "intermediate"].map(|rank| {
            let name = format!("{rank} of {name}");
            let mut params = params(&name, serial);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = Vec::new();
            (params, key_of(&name))
        });
        let root = CertifiedIssuer::self_signed(root.0, root.1).expect("a root");
        let intermediate =
            CertifiedIssuer::signed_by(intermediate.0, intermediate.1, &root).expect("an issuer");
        Self { root, intermediate }
    }

    fn issue(
        &self,
        name: &str,
        serial: &mut u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = params(name, serial);
        change(&mut params);
        let key = key_of(&format!("{name} {serial}"));
        let certificate = params.signed_by(&key, &self.intermediate).expect("an end entity");
        Issued {
            chain: vec![certificate.der().clone(), self.intermediate.der().clone()],
            key: keep(&key),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a root");
        Arc::new(roots)
    }
}

impl Issued {
    fn changed(&self, change: impl FnOnce(&mut Vec<CertificateDer<'static>>)) -> Self {
        let mut chain = self.chain.clone();
        change(&mut chain);
        Self { chain, key: self.key.clone_key() }
    }

    fn present(self) -> Presented {
        let PrivateKeyDer::Pkcs8(key) = &self.key else { unreachable!("PKCS#8 was made") };
        Presented { key: any_eddsa_type(key).expect("an Ed25519 key"), chain: self.chain }
    }
}

fn params(name: &str, serial: &mut u64) -> CertificateParams {
    *serial += 1;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = match name.contains(' ') {
        true => Vec::new(),
        false => vec![SanType::DnsName(name.try_into().expect("a DNS name"))],
    };
    params.serial_number = Some(SerialNumber::from(*serial));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// An Ed25519 key that depends on nothing but the name of its holder.
fn key_of(name: &str) -> KeyPair {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut secret = [0; 32];
    Random::from_seed(seed).fill(&mut secret);
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).expect("a seed of 32 bytes");
    let pkcs8 = pair.to_pkcs8v1().expect("PKCS#8");
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_ref()), &PKCS_ED25519)
        .expect("an Ed25519 key")
}

fn keep(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}
