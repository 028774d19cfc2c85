//! ECDSA P-256 throughout: a root, one intermediate, a server and as many clients as are wanted.

use std::sync::Arc;

use countersign_proto::{ChainLimits, Credentials, Limits, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What the server's certificate is for.
pub const SERVER_NAME: &str = "engine.example";

type Ca = CertifiedIssuer<'static, KeyPair>;

/// Issues both sides' certificates.
pub struct Pki {
    root: Ca,
    intermediate: Ca,
}

impl Pki {
    /// A root and an intermediate with keys of their own.
    ///
    /// # Panics
    /// If there is no randomness to make keys from.
    #[must_use]
    pub fn new() -> Self {
        let key = || KeyPair::generate().expect("a P-256 key");
        let root = Ca::self_signed(authority("root"), key()).expect("a root");
        let intermediate =
            Ca::signed_by(authority("intermediate"), key(), &root).expect("an intermediate");
        Self { root, intermediate }
    }

    /// A server's chain of two certificates, and its key.
    #[must_use]
    pub fn server(&self) -> Credentials {
        self.issue(SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's chain of two certificates, and its key; nobody has seen it before.
    #[must_use]
    pub fn client(&self, name: &str) -> Credentials {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The root as a client trusts it.
    ///
    /// # Panics
    /// Never: the root is well-formed.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a root");
        Arc::new(roots)
    }

    /// The root as the server trusts it, by a domain that has verified nothing yet.
    ///
    /// # Panics
    /// Never: the root is well-formed.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        let limits = Limits::default();
        let bounds =
            ChainLimits { certificates: limits.chain_certificates, bytes: limits.chain_bytes };
        TrustDomain::new(&[self.root.der().clone()], bounds, true).expect("a trust domain")
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Credentials {
        let mut params = named(name);
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName(name.try_into().expect("a DNS name"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a P-256 key");
        let end_entity = params.signed_by(&key, &self.intermediate).expect("an end entity");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let intermediate: CertificateDer<'static> = self.intermediate.der().clone();
        Credentials { chain: vec![end_entity.der().clone(), intermediate], key: key.into() }
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
