//! Revocation lists of the test PKI's client CAs, as their CAs would make them, and as somebody else would.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateRevocationList, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams,
    SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::pki::{Identity, KeyKind, Pki, authority};
use crate::tool::OPENSSL;

/// Which CA of the clients' hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// It signs the intermediate.
    Root,
    /// It signs the clients.
    Intermediate,
}

/// What a list says. Times are in minutes from now.
#[derive(Clone, Debug)]
pub struct Crl {
    number: u64,
    made: i64,
    until: i64,
    revoked: Vec<Vec<u8>>,
    point: Option<String>,
}

impl Crl {
    /// An empty list with this number, made an hour ago, good for a day.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self { number, made: -60, until: 24 * 60, revoked: Vec::new(), point: None }
    }

    /// Made and to be replaced at these times, in minutes from now.
    #[must_use]
    pub fn between(mut self, made: i64, until: i64) -> Self {
        (self.made, self.until) = (made, until);
        self
    }

    /// Revokes the end entity of an identity.
    #[must_use]
    pub fn revoke(self, identity: &Identity) -> Self {
        self.revoke_certificate(&identity.chain[0])
    }

    /// Revokes a certificate.
    #[must_use]
    pub fn revoke_certificate(mut self, certificate: &CertificateDer<'_>) -> Self {
        self.revoked.push(serial(certificate));
        self
    }

    /// Only for certificates with this distribution point.
    #[must_use]
    pub fn only_for(mut self, uri: &str) -> Self {
        self.point = Some(uri.to_owned());
        self
    }

    /// Signed by a CA of the PKI's clients.
    #[must_use]
    pub fn signed(&self, pki: &Pki, by: Authority) -> CertificateRevocationList {
        let issuer = match by {
            Authority::Root => &pki.clients.root,
            Authority::Intermediate => &pki.clients.intermediate,
        };
        self.parameters().signed_by(issuer).expect("a list")
    }

    /// In the name of the clients' intermediate, and signed with another key.
    #[must_use]
    pub fn forged(&self) -> CertificateRevocationList {
        let params = authority("Countersign test client intermediate");
        let issuer = Issuer::new(params, KeyKind::EcdsaP256.generate());
        self.parameters().signed_by(&issuer).expect("a list")
    }

    fn parameters(&self) -> CertificateRevocationListParams {
        let now = OffsetDateTime::now_utc();
        let entry = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: now - Duration::hours(2),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: now + Duration::minutes(self.made),
            next_update: now + Duration::minutes(self.until),
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: self.point.as_ref().map(|uri| {
                CrlIssuingDistributionPoint {
                    distribution_point: CrlDistributionPoint { uris: vec![uri.clone()] },
                    scope: None,
                }
            }),
            revoked_certs: self.revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }
}

/// A certificate's serial number: the INTEGER's content without the zero that makes it positive.
///
/// # Panics
///
/// When it is no certificate.
#[must_use]
pub fn serial(certificate: &[u8]) -> Vec<u8> {
    // Certificate, tbsCertificate, version, serialNumber.
    let tbs = content(content(certificate));
    let integer = &tbs[2 + usize::from(tbs[1])..];
    assert_eq!(integer[0], 2, "a serial number");
    content(integer).iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// The content of the first element.
fn content(der: &[u8]) -> &[u8] {
    let (length, header) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            let bytes = &der[2..2 + count];
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + count)
        }
    };
    &der[header..header + length]
}

/// `openssl ca` as the clients' intermediate: what rcgen cannot make.
pub struct OpensslAuthority {
    directory: PathBuf,
}

impl OpensslAuthority {
    /// In a folder of the PKI.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    #[must_use]
    pub fn new(pki: &Pki) -> Self {
        let directory = pki.directory().join("openssl-ca");
        fs::create_dir_all(&directory).expect("a folder");
        let issuer = &pki.clients.intermediate;
        fs::write(directory.join("ca.pem"), issuer.pem()).expect("a file");
        fs::write(directory.join("ca.key"), issuer.key().serialize_pem()).expect("a file");
        fs::write(directory.join("index.txt"), "").expect("a file");
        Self { directory }
    }

    /// Puts a certificate into the database of those that are revoked.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn revoke(&self, identity: &Identity) {
        let serial: String =
            serial(&identity.chain[0]).iter().map(|byte| format!("{byte:02X}")).collect();
        let name = &identity.common_name;
        let line = format!(
            "R\t900101000000Z\t200101000000Z,keyCompromise\t{serial}\tunknown\t/CN={name}\n"
        );
        let path = self.directory.join("index.txt");
        let before = fs::read_to_string(&path).expect("a file");
        fs::write(path, before + &line).expect("a file");
    }

    /// Forgets whom it has revoked.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn forget(&self) {
        fs::write(self.directory.join("index.txt"), "").expect("a file");
    }

    /// `openssl ca -gencrl`; `extensions` are lines of the section crl_extensions. Without a number it is a
    /// list of version 1.
    ///
    /// # Panics
    ///
    /// When openssl does not.
    pub fn generate(&self, number: Option<u64>, extensions: &[&str], out: &Path) {
        let folder = self.directory.display();
        let mut text = format!(
            "[ca]\ndefault_ca = ours\n[ours]\ndatabase = {folder}/index.txt\ndefault_md = sha256\ndefault_crl_days = 1\nunique_subject = no\n"
        );
        if let Some(number) = number {
            fs::write(self.directory.join("crlnumber"), format!("{number:04X}\n")).expect("a file");
            text.push_str(&format!(
                "crlnumber = {folder}/crlnumber\ncrl_extensions = extensions\n"
            ));
            text.push_str("[extensions]\nauthorityKeyIdentifier = keyid\n");
            extensions.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        let config = self.directory.join("openssl.cnf");
        fs::write(&config, text).expect("a file");
        let path = |path: &Path| path.display().to_string();
        let finished = OPENSSL.run(&[
            "ca",
            "-batch",
            "-gencrl",
            "-config",
            &path(&config),
            "-cert",
            &path(&self.directory.join("ca.pem")),
            "-keyfile",
            &path(&self.directory.join("ca.key")),
            "-out",
            &path(out),
        ]);
        assert!(finished.status.success(), "{finished:?}");
    }
}
