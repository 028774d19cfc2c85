//! The CA that clients are issued under.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData as _,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::arguments::KeyType;
use crate::plan::certificates;

const ROOT: &str = "client-root.pem";
const ISSUER: &str = "client-issuer.pem";
const ISSUER_KEY: &str = "client-issuer.key";

/// How long what is made here is valid.
const LIFETIME: Duration = Duration::days(30);

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What clients send behind their own certificate.
    above: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Reads the issuing certificate, what stands above it, and the issuing key.
    pub(super) fn read(file: &Path, key: &Path) -> Result<Self, String> {
        let chain = certificates(file)?;
        let pem = fs::read_to_string(key).map_err(|error| format!("{}: {error}", key.display()))?;
        let pair = KeyPair::from_pem(&pem)
            .map_err(|error| format!("{}: not a private key in PEM: {error}", key.display()))?;
        let public = pair.subject_public_key_info();
        let unusable = |error| format!("{}: not a usable CA certificate: {error}", file.display());
        if !contains(&chain[0], &public) {
            return Err(format!(
                "{} is not the key of the first certificate of {}",
                key.display(),
                file.display()
            ));
        }
        let issuer = Issuer::from_ca_cert_der(&chain[0], pair).map_err(unusable)?;
        let above = chain.into_iter().filter(|certificate| !is_self_signed(certificate)).collect();
        Ok(Self { issuer, above })
    }

    /// A root and an intermediate in `directory`; those of an earlier run if they are there.
    pub(super) fn make_or_reuse(directory: &Path) -> Result<Self, String> {
        let (issuer, key) = (directory.join(ISSUER), directory.join(ISSUER_KEY));
        if !issuer.exists() {
            make(directory).map_err(|error| {
                format!("{}: no client CA can be made there: {error}", directory.display())
            })?;
        }
        Self::read(&issuer, &key)
    }

    /// A client's chain and key.
    pub(super) fn issue(
        &self,
        name: &str,
        dns: &str,
        kind: KeyType,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let failed = |error: rcgen::Error| format!("no certificate for client {name}: {error}");
        let key = generate(kind).map_err(failed)?;
        let mut params = CertificateParams::new([dns.to_owned()]).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = dated(params).signed_by(&key, &self.issuer).map_err(failed)?;
        let mut chain = Vec::with_capacity(1 + self.above.len());
        chain.push(certificate.der().clone());
        chain.extend(self.above.iter().cloned());
        Ok((chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

fn make(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(directory)?;
    let root_key = KeyPair::generate()?;
    let root_params = authority("countersign-loadgen client root");
    let root = root_params.self_signed(&root_key)?;
    let root_issuer = Issuer::new(root_params, root_key);
    let key = KeyPair::generate()?;
    let certificate =
        authority("countersign-loadgen client issuer").signed_by(&key, &root_issuer)?;
    fs::write(directory.join(ROOT), root.pem())?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(directory.join(ISSUER_KEY))?;
    file.write_all(key.serialize_pem().as_bytes())?;
    // Last: where it stands, the others do too.
    fs::write(directory.join(ISSUER), certificate.pem())?;
    Ok(())
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dated(params)
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    params.use_authority_key_identifier_extension = true;
    // A server's clock may be a little behind.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + LIFETIME;
    params
}

fn generate(kind: KeyType) -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(match kind {
        KeyType::P256 => &PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 => &PKCS_RSA_SHA256,
        KeyType::Ed25519 => &PKCS_ED25519,
    })
}

fn contains(certificate: &CertificateDer<'_>, part: &[u8]) -> bool {
    certificate.windows(part.len()).any(|window| window == part)
}

/// Issuer and subject are the same name (RFC 5280, section 3.2): such a certificate proves nothing to
/// a server that does not have it already.
fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    issuer_and_subject(certificate).is_some_and(|(issuer, subject)| issuer == subject)
}

/// The DER of issuer and subject (RFC 5280, section 4.1): the third and fifth field of the part that is
/// signed, behind an optional version.
fn issuer_and_subject<'a>(certificate: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let (_, outer, _) = element(certificate)?;
    let (_, mut rest, _) = element(outer)?;
    let mut fields = Vec::new();
    while fields.len() < 6 {
        let (tag, content, behind) = element(rest)?;
        // [0] is the version.
        if tag != 0xa0 {
            fields.push(content);
        }
        rest = behind;
    }
    // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    Some((fields[2], fields[4]))
}

/// Tag, content and what follows one DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
        let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, &rest[count..])
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_self_signed_and_an_intermediate_is_not() {
        let key = KeyPair::generate().unwrap();
        let params = authority("root");
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let below = authority("below").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        assert!(is_self_signed(root.der()));
        assert!(!is_self_signed(below.der()));
        assert!(!is_self_signed(&CertificateDer::from(vec![0x30, 0x84, 0xff])));
    }
}
