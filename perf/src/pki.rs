//! The certificates of a run: a server's under a root and an intermediate, and a CA for clients with one
//! intermediate, under which the load generator issues.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::experiment::ServerKey;
use crate::problem::{During, Result};

/// The name in the server's certificates.
pub(crate) const SERVER_NAME: &str = "localhost";
/// Longer than any run.
const LIFETIME: Duration = Duration::days(7);

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Where everything lies, as PEM.
#[derive(Debug)]
pub(crate) struct Pki {
    directory: PathBuf,
    /// What clients trust.
    pub(crate) server_root: CertificateDer<'static>,
    /// A client of the check at start: its chain and key.
    pub(crate) client_chain: Vec<CertificateDer<'static>>,
    pub(crate) client_key: PrivateKeyDer<'static>,
}

impl Pki {
    /// Makes everything anew in `directory`.
    pub(crate) fn make(directory: &Path) -> Result<Pki> {
        build(directory).during(format_args!("cannot make certificates in {}", directory.display()))
    }

    /// The server's certificate and its intermediate.
    pub(crate) fn server_chain(&self, key: ServerKey) -> PathBuf {
        self.directory.join(format!("server-{}.pem", key.name()))
    }

    pub(crate) fn server_key(&self, key: ServerKey) -> PathBuf {
        self.directory.join(format!("server-{}.key", key.name()))
    }

    /// Chain and key in one file, as HAProxy wants them.
    pub(crate) fn server_pair(&self, key: ServerKey) -> PathBuf {
        self.directory.join(format!("server-{}-pair.pem", key.name()))
    }

    /// What servers trust for clients: the root alone.
    pub(crate) fn client_root(&self) -> PathBuf {
        self.directory.join("client-root.pem")
    }

    /// The intermediate that issues clients, and that clients send.
    pub(crate) fn client_issuer(&self) -> PathBuf {
        self.directory.join("client-issuer.pem")
    }

    pub(crate) fn client_issuer_key(&self) -> PathBuf {
        self.directory.join("client-issuer.key")
    }
}

type Made<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn build(directory: &Path) -> Made<Pki> {
    let (server_root, server_issuer) = hierarchy("Countersign perf server")?;
    let (client_root, client_issuer) = hierarchy("Countersign perf client")?;
    let write = |name: &str, pem: &str| fs::write(directory.join(name), pem);
    write("client-root.pem", &client_root.pem())?;
    write("client-issuer.pem", &client_issuer.pem())?;
    write_secret(&directory.join("client-issuer.key"), &client_issuer.key().serialize_pem())?;

    for kind in [ServerKey::P256, ServerKey::Rsa2048] {
        let algorithm: &SignatureAlgorithm = match kind {
            ServerKey::P256 => &PKCS_ECDSA_P256_SHA256,
            ServerKey::Rsa2048 => &PKCS_RSA_SHA256,
        };
        let key = KeyPair::generate_for(algorithm)?;
        let params = end_entity("countersign-perf-server", ExtendedKeyUsagePurpose::ServerAuth)?;
        let certificate = params.signed_by(&key, &server_issuer)?;
        let chain = certificate.pem() + &server_issuer.pem();
        write(&format!("server-{}.pem", kind.name()), &chain)?;
        let secret = key.serialize_pem();
        write_secret(&directory.join(format!("server-{}.key", kind.name())), &secret)?;
        let pair = format!("server-{}-pair.pem", kind.name());
        write_secret(&directory.join(pair), &(chain + &secret))?;
    }

    let key = KeyPair::generate()?;
    let params = end_entity("countersign-perf-check", ExtendedKeyUsagePurpose::ClientAuth)?;
    let client = params.signed_by(&key, &client_issuer)?;
    Ok(Pki {
        directory: directory.to_owned(),
        server_root: server_root.der().clone(),
        client_chain: vec![client.der().clone(), client_issuer.der().clone()],
        client_key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    })
}

fn hierarchy(name: &str) -> Made<(Authority, Authority)> {
    let root_params = authority(&format!("{name} root"))?;
    let root = CertifiedIssuer::self_signed(root_params, KeyPair::generate()?)?;
    let issuer_params = authority(&format!("{name} intermediate"))?;
    let issuer = CertifiedIssuer::signed_by(issuer_params, KeyPair::generate()?, &root)?;
    Ok((root, issuer))
}

fn authority(name: &str) -> Made<CertificateParams> {
    let mut params = named(name, Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn end_entity(name: &str, purpose: ExtendedKeyUsagePurpose) -> Made<CertificateParams> {
    let mut params = named(name, vec![SERVER_NAME.to_owned(), "127.0.0.1".to_owned()])?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    Ok(params)
}

fn named(name: &str, names: Vec<String>) -> Made<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + LIFETIME;
    Ok(params)
}

fn write_secret(path: &Path, pem: &str) -> std::io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes())
}
