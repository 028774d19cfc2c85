//! One throwaway PKI for the process.

use std::sync::LazyLock;

use countersign_proto::Credentials;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The host name in the server's certificate.
pub(crate) const SERVER_NAME: &str = "localhost";

/// The common name of the client.
pub(crate) const CLIENT_NAME: &str = "alice";

/// A root with a server and a client directly below it.
pub(crate) struct Pki {
    /// What both sides trust.
    pub(crate) root: CertificateDer<'static>,
    /// The engine's.
    pub(crate) server: Credentials,
    /// Alice's.
    pub(crate) client: Credentials,
}

/// The one that every test uses.
pub(crate) static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key pair");
        let root = CertifiedIssuer::self_signed(params, key).expect("a root");
        Self {
            server: end_entity(&root, SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth),
            client: end_entity(&root, CLIENT_NAME, ExtendedKeyUsagePurpose::ClientAuth),
            root: root.der().clone(),
        }
    }
}

fn end_entity(
    root: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> Credentials {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a DNS name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().expect("a key pair");
    let certificate = params.signed_by(&key, root).expect("a certificate");
    Credentials {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())).into(),
    }
}
