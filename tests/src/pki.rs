//! A throwaway PKI on disk: two hierarchies (servers' and clients'), each root -> intermediate -> end
//! entity, and a maker of every odd client certificate that must be refused.
//!
//! The two roots are different on purpose: an engine that verified clients against its own issuer would
//! pass every test with one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// The host name in every server certificate.
pub const SERVER_NAME: &str = "localhost";

/// An algorithm and size of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// RSA with a 2048-bit modulus.
    Rsa2048,
}

impl KeyKind {
    pub(crate) fn generate(self) -> KeyPair {
        let generated = match self {
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::generate_for(&PKCS_RSA_SHA256),
            Self::Ed25519 => {
                // PKCS#8 version 1: OpenSSL 3.0 does not read the version 2 that rcgen writes.
                let pair = Ed25519KeyPair::generate().expect("an Ed25519 key");
                let pkcs8 = pair.to_pkcs8v1().expect("PKCS#8 of an Ed25519 key");
                KeyPair::from_pkcs8_der_and_sign_algo(
                    &PrivatePkcs8KeyDer::from(pkcs8.as_ref()),
                    &PKCS_ED25519,
                )
            }
        };
        generated.expect("a key pair")
    }
}

/// A certification path and its private key, in memory and on disk.
#[derive(Debug)]
pub struct Identity {
    /// The subject's common name.
    pub common_name: String,
    /// End entity first, root left out.
    pub chain: Vec<CertificateDer<'static>>,
    /// The end entity's private key.
    pub key: PrivateKeyDer<'static>,
    /// The chain as PEM.
    pub chain_file: PathBuf,
    /// The chain without the end entity as PEM (what `openssl s_client -cert_chain` wants), if any.
    pub issuers_file: Option<PathBuf>,
    /// The key as PEM (PKCS#8).
    pub key_file: PathBuf,
}

/// What a client certificate says about itself; [`Pki::issue`] makes it so.
#[derive(Clone, Debug)]
pub struct ClientProfile {
    /// Subject common name; also `NAME.clients.example` and `spiffe://clients.example/NAME` in the SAN.
    pub common_name: String,
    /// Kind of its key.
    pub key: KeyKind,
    /// First and last year of validity (from 1 January to 1 January).
    pub years: (i32, i32),
    /// Extended key usage.
    pub purpose: ExtendedKeyUsagePurpose,
    /// Whether the chain file and the chain sent contain the intermediate.
    pub with_intermediate: bool,
}

impl ClientProfile {
    /// A certificate that any engine trusting the client root accepts.
    #[must_use]
    pub fn good(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            key: KeyKind::EcdsaP256,
            years: (2020, 2090),
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
            with_intermediate: true,
        }
    }
}

/// A root and the intermediate below it.
pub(crate) struct Hierarchy {
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
    pub(crate) intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Hierarchy {
    fn new(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(
            authority(&format!("{name} root")),
            KeyKind::EcdsaP256.generate(),
        )
        .expect("a root");
        let intermediate = CertifiedIssuer::signed_by(
            authority(&format!("{name} intermediate")),
            KeyKind::EcdsaP256.generate(),
            &root,
        )
        .expect("an intermediate");
        Self { root, intermediate }
    }
}

/// Two hierarchies, a server identity and a good client, in a folder that goes away with it.
pub struct Pki {
    directory: TempDir,
    pub(crate) servers: Hierarchy,
    pub(crate) clients: Hierarchy,
    pub(crate) strangers: Hierarchy,
    /// The engine's certificate and key, for [`SERVER_NAME`] and 127.0.0.1.
    pub server: Identity,
    /// What clients trust.
    pub server_root: CertificateDer<'static>,
    /// What clients trust, as PEM.
    pub server_root_file: PathBuf,
    /// What the engine trusts for clients, as PEM.
    pub client_root_file: PathBuf,
    /// Another client root, of [`Pki::client_of_another_ca`] alone, as PEM.
    pub stranger_root_file: PathBuf,
    /// An accepted client, CN `alice`.
    pub alice: Identity,
}

impl Pki {
    /// A fresh PKI whose server key is of `kind`.
    ///
    /// # Panics
    ///
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn new(kind: KeyKind) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("countersign-wire-")
            .tempdir()
            .expect("a temporary folder");
        let servers = Hierarchy::new("Countersign test server");
        let clients = Hierarchy::new("Countersign test client");
        let server_root_file = directory.path().join("server-root.pem");
        let client_root_file = directory.path().join("client-root.pem");
        write(&server_root_file, &servers.root.pem());
        write(&client_root_file, &clients.root.pem());
        let strangers = Hierarchy::new("Stranger");
        let stranger_root_file = directory.path().join("stranger-root.pem");
        write(&stranger_root_file, &strangers.root.pem());

        let params = server_params("countersign test server", &[SERVER_NAME], (2020, 2090));
        let server = end_entity(directory.path(), "server", &servers, kind, true, &params);
        let profile = ClientProfile::good("alice");
        let alice = end_entity(
            directory.path(),
            "alice",
            &clients,
            profile.key,
            true,
            &client_params(&profile),
        );
        Self {
            server,
            server_root: servers.root.der().clone(),
            server_root_file,
            client_root_file,
            stranger_root_file,
            servers,
            clients,
            strangers,
            alice,
            directory,
        }
    }

    /// A folder for a test's own files, removed with the PKI.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A client certificate under the trusted root, as `profile` wants it.
    #[must_use]
    pub fn issue(&self, profile: &ClientProfile) -> Identity {
        self.issue_under(&self.clients, profile)
    }

    /// A good client with the given name.
    #[must_use]
    pub fn client(&self, common_name: &str) -> Identity {
        self.issue(&ClientProfile::good(common_name))
    }

    /// A good client whose common name need not be a word: its SANs and files have another.
    #[must_use]
    pub fn client_named(&self, common_name: &str) -> Identity {
        let profile = ClientProfile::good("named");
        let mut params = client_params(&profile);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let stem = numbered("named");
        end_entity(self.directory.path(), &stem, &self.clients, profile.key, true, &params)
    }

    /// A good client with these SANs instead of the usual ones.
    #[must_use]
    pub fn client_with_names(&self, common_name: &str, names: Vec<SanType>) -> Identity {
        let profile = ClientProfile::good(common_name);
        let mut params = client_params(&profile);
        params.subject_alt_names = names;
        let stem = numbered(common_name);
        end_entity(self.directory.path(), &stem, &self.clients, profile.key, true, &params)
    }

    /// A good client whose certificate names these distribution points of revocation lists.
    #[must_use]
    pub fn client_with_points(&self, common_name: &str, uris: &[&str]) -> Identity {
        let profile = ClientProfile::good(common_name);
        let mut params = client_params(&profile);
        let point = |uri: &&str| CrlDistributionPoint { uris: vec![(*uri).to_owned()] };
        params.crl_distribution_points = uris.iter().map(point).collect();
        let stem = numbered(common_name);
        end_entity(self.directory.path(), &stem, &self.clients, profile.key, true, &params)
    }

    /// Good in every way, but its root is not the one the engine trusts.
    #[must_use]
    pub fn client_of_another_ca(&self) -> Identity {
        self.issue_under(&self.strangers, &ClientProfile::good("stranger"))
    }

    /// Its notAfter has passed.
    #[must_use]
    pub fn expired_client(&self) -> Identity {
        self.issue(&ClientProfile { years: (2019, 2020), ..ClientProfile::good("expired") })
    }

    /// Good, and valid only until so many seconds from now have passed.
    #[must_use]
    pub fn short_lived_client(&self, common_name: &str, lifetime: Duration) -> Identity {
        let profile = ClientProfile::good(common_name);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let mut params = client_params(&profile);
        params.not_after =
            date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs()) + lifetime;
        let stem = numbered(common_name);
        end_entity(self.directory.path(), &stem, &self.clients, profile.key, true, &params)
    }

    /// Its notBefore has not come.
    #[must_use]
    pub fn client_not_yet_valid(&self) -> Identity {
        self.issue(&ClientProfile { years: (2088, 2090), ..ClientProfile::good("not-yet-valid") })
    }

    /// Its extended key usage names serverAuth only.
    #[must_use]
    pub fn client_with_server_purpose(&self) -> Identity {
        self.issue(&ClientProfile {
            purpose: ExtendedKeyUsagePurpose::ServerAuth,
            ..ClientProfile::good("server-purpose")
        })
    }

    /// Good, but it does not send the intermediate that signed it.
    #[must_use]
    pub fn client_without_intermediate(&self) -> Identity {
        self.issue(&ClientProfile {
            with_intermediate: false,
            ..ClientProfile::good("no-intermediate")
        })
    }

    /// A further server identity under the same root, for these names, valid until 1 January of a year. The first
    /// name is its common name.
    #[must_use]
    pub fn server_for(&self, names: &[&str], last_year: i32) -> Identity {
        let params = server_params(names[0], names, (2020, last_year));
        let stem = numbered("server");
        end_entity(self.directory.path(), &stem, &self.servers, KeyKind::EcdsaP256, true, &params)
    }

    /// A server certificate of another key kind under another root, for start-up errors.
    #[must_use]
    pub fn unrelated_server_key_file(&self) -> PathBuf {
        let file = self.directory.path().join("unrelated.key");
        write(&file, &KeyKind::EcdsaP256.generate().serialize_pem());
        file
    }

    /// A client certificate under the trusted root, as `profile` wants it and then changed.
    #[must_use]
    pub fn issue_changed(
        &self,
        profile: &ClientProfile,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = client_params(profile);
        change(&mut params);
        let stem = numbered(&profile.common_name);
        let with_intermediate = profile.with_intermediate;
        let directory = self.directory.path();
        end_entity(directory, &stem, &self.clients, profile.key, with_intermediate, &params)
    }

    fn issue_under(&self, hierarchy: &Hierarchy, profile: &ClientProfile) -> Identity {
        let stem = numbered(&profile.common_name);
        let params = client_params(profile);
        end_entity(
            self.directory.path(),
            &stem,
            hierarchy,
            profile.key,
            profile.with_intermediate,
            &params,
        )
    }
}

/// Seconds from 1970 to 1 January of a year, the end of validity of a certificate that ends with it.
#[must_use]
pub fn start_of_year(year: i32) -> i64 {
    date_time_ymd(year, 1, 1).unix_timestamp()
}

/// Two identities of one name must not share files.
pub(crate) fn numbered(name: &str) -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", SERIAL.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn end_entity(
    directory: &Path,
    stem: &str,
    hierarchy: &Hierarchy,
    kind: KeyKind,
    with_intermediate: bool,
    params: &CertificateParams,
) -> Identity {
    let key = kind.generate();
    let certificate = params.signed_by(&key, &hierarchy.intermediate).expect("an end entity");
    let mut pem = certificate.pem();
    let mut chain = vec![certificate.der().clone()];
    if with_intermediate {
        pem.push_str(&hierarchy.intermediate.pem());
        chain.push(hierarchy.intermediate.der().clone());
    }
    let issuers_file = with_intermediate.then(|| directory.join(format!("{stem}-issuers.pem")));
    if let Some(file) = &issuers_file {
        write(file, &hierarchy.intermediate.pem());
    }
    let chain_file = directory.join(format!("{stem}.pem"));
    let key_file = directory.join(format!("{stem}.key"));
    write(&chain_file, &pem);
    write(&key_file, &key.serialize_pem());
    Identity {
        common_name: common_name(params),
        chain,
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        chain_file,
        issuers_file,
        key_file,
    }
}

pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, (2020, 2090));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn server_params(
    common_name: &str,
    names: &[&str],
    years: (i32, i32),
) -> CertificateParams {
    let mut params = named(common_name, years);
    let names = names.iter().map(|name| SanType::DnsName((*name).try_into().expect("a DNS name")));
    params.subject_alt_names = names.chain([SanType::IpAddress([127, 0, 0, 1].into())]).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn client_params(profile: &ClientProfile) -> CertificateParams {
    let name = &profile.common_name;
    let mut params = named(name, profile.years);
    params.subject_alt_names = vec![
        SanType::DnsName(format!("{name}.clients.example").try_into().expect("a DNS name")),
        SanType::URI(format!("spiffe://clients.example/{name}").try_into().expect("a URI")),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![profile.purpose.clone()];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(common_name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

fn common_name(params: &CertificateParams) -> String {
    match params.distinguished_name.get(&DnType::CommonName) {
        Some(rcgen::DnValue::Utf8String(name)) => name.clone(),
        other => panic!("an end entity without a UTF-8 common name: {other:?}"),
    }
}

pub(crate) fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
