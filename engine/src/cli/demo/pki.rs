//! A throwaway PKI: a root, an intermediate, a server, two clients.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::Result;

/// Certificates of the demo live so long.
const LIFETIME: Duration = Duration::days(1);

/// What the demo's own client needs.
pub(super) struct Pki {
    pub(super) root: CertificateDer<'static>,
    pub(super) alice: Client,
    pub(super) mallory: Client,
}

/// A client's chain and key.
pub(super) struct Client {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Makes everything and writes it into `directory`: `ca.pem`, and `.pem` and `.key` for `server`,
/// `alice` and `mallory`.
pub(super) fn write(directory: &Path) -> Result<Pki> {
    let root_key = KeyPair::generate()?;
    let root_params = authority("Countersign demo root")?;
    let root = root_params.self_signed(&root_key)?;
    let root_issuer = Issuer::new(root_params, root_key);

    let intermediate_key = KeyPair::generate()?;
    let intermediate_params = authority("Countersign demo intermediate")?;
    let intermediate = intermediate_params.signed_by(&intermediate_key, &root_issuer)?;
    let issuer = Issuer::new(intermediate_params, intermediate_key);

    fs::write(directory.join("ca.pem"), root.pem())?;
    let issue = |name: &str, names: &[&str], purpose| -> Result<Client> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = dated(CertificateParams::new(names)?);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let chain = certificate.pem() + &intermediate.pem();
        fs::write(directory.join(format!("{name}.pem")), chain)?;
        write_secret(&directory.join(format!("{name}.key")), &key.serialize_pem())?;
        Ok(Client {
            chain: vec![certificate.der().clone(), intermediate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    };
    issue("server", &["localhost", "127.0.0.1", "::1"], ExtendedKeyUsagePurpose::ServerAuth)?;
    Ok(Pki {
        root: root.der().clone(),
        alice: issue("alice", &["alice.demo.example"], ExtendedKeyUsagePurpose::ClientAuth)?,
        mallory: issue("mallory", &["mallory.demo.example"], ExtendedKeyUsagePurpose::ClientAuth)?,
    })
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut params = dated(CertificateParams::new(Vec::new())?);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    // A clock that is a little behind must not refuse them.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + LIFETIME;
    params
}

fn write_secret(path: &Path, pem: &str) -> Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes())?;
    Ok(())
}
