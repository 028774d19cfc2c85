//! Certificates that never change: Ed25519 keys from fixed seeds, fixed dates and serial numbers.

use aws_lc_rs::signature::Ed25519KeyPair;
use countersign_proto::{ChainLimits, ClientIdentity, Credentials, Limits, ServerKey, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ED25519,
    RevocationReason, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::element::element;
use crate::random::Random;

/// What the clocks of all targets say: 2025-06-15.
pub(crate) const NOW_SECONDS: u64 = 1_750_000_000;
/// id-Ed25519, as an AlgorithmIdentifier.
pub(crate) const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
pub(crate) const SERVER_NAME: &str = "engine.example";

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A root, an intermediate, a server and clients, of which two are revoked.
pub(crate) struct Pki {
    root: Ca,
    intermediate: Ca,
    serial: u64,
}

/// An end entity.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut root = parameters("root", 1);
        authority(&mut root, BasicConstraints::Unconstrained);
        let root = Ca::self_signed(root, key_of("root")).expect("a root");
        let mut intermediate = parameters("intermediate", 2);
        authority(&mut intermediate, BasicConstraints::Constrained(0));
        intermediate.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example".to_owned())],
            excluded_subtrees: vec![GeneralSubtree::DnsName("not.example".to_owned())],
        });
        let key = key_of("intermediate");
        let intermediate = Ca::signed_by(intermediate, key, &root).expect("an intermediate");
        Self { root, intermediate, serial: 2 }
    }

    pub(crate) fn root(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    pub(crate) fn intermediate(&self) -> &CertificateDer<'static> {
        self.intermediate.der()
    }

    pub(crate) fn root_key(&self) -> &KeyPair {
        self.root.key()
    }

    pub(crate) fn intermediate_key(&self) -> &KeyPair {
        self.intermediate.key()
    }

    /// The clients' trust domain, which has verified nothing yet.
    pub(crate) fn trust_domain(&self) -> TrustDomain {
        let limits = Limits::default();
        let bounds =
            ChainLimits { certificates: limits.chain_certificates, bytes: limits.chain_bytes };
        TrustDomain::new(&[self.root.der().clone()], bounds, true).expect("a trust domain")
    }

    pub(crate) fn issue(&mut self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Issued {
        self.issue_with(name, |params| params.extended_key_usages = vec![purpose])
    }

    pub(crate) fn client(&mut self, name: &str) -> Issued {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client with everything that a certificate is read for.
    pub(crate) fn ornate_client(&mut self) -> Issued {
        self.issue_with("ornate.example", |params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::OrganizationName, "Pre\u{f6}cupied, \"Inc\"");
            name.push(DnType::OrganizationalUnitName, "one");
            name.push(DnType::CountryName, "AQ");
            name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "own");
            let text = |text: &str| text.try_into().expect("ASCII");
            params.subject_alt_names.extend([
                SanType::URI(text("spiffe://example/ornate")),
                SanType::Rfc822Name(text("ornate@example")),
                SanType::IpAddress([192, 0, 2, 7].into()),
                SanType::IpAddress([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7].into()),
            ]);
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::EmailProtection];
            let uris = vec!["http://crl.example/a.crl".to_owned(), "ldap://crl.example".to_owned()];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
            let extension = CustomExtension::from_oid_content;
            let ocsp = element(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]]);
            let responder = element(0x86, &[b"http://ocsp.example/"]);
            let access = element(0x30, &[&element(0x30, &[&ocsp, &responder])]);
            let policy =
                element(0x30, &[&element(0x30, &[&element(6, &[&[0x67, 0x81, 0x0c, 1, 2, 1]])])]);
            params.custom_extensions.extend([
                extension(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access),
                extension(&[1, 3, 6, 1, 5, 5, 7, 1, 24], element(0x30, &[&[2, 1, 5]])),
                extension(&[2, 5, 29, 32], policy),
            ]);
        })
    }

    fn issue_with(&mut self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.serial += 1;
        let mut params = parameters(name, self.serial);
        if name.contains('.') {
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = key_of(name);
        let certificate = params.signed_by(&key, &self.intermediate).expect("an end entity");
        Issued { der: certificate.der().clone(), key }
    }

    /// An end entity's chain and key, for a server.
    pub(crate) fn credentials(&self, of: &Issued) -> Credentials {
        Credentials { chain: self.chain(of), key: ServerKey::Software(key(of)) }
    }

    /// What an end entity shows.
    pub(crate) fn chain(&self, of: &Issued) -> Vec<CertificateDer<'static>> {
        vec![of.der.clone(), self.intermediate.der().clone()]
    }

    /// A revocation list of the intermediate or of the root, with these serial numbers: PEM and DER.
    pub(crate) fn list(&self, by_root: bool, number: u64, serials: &[&str]) -> (String, Vec<u8>) {
        let reasons =
            [None, Some(RevocationReason::KeyCompromise), Some(RevocationReason::CertificateHold)];
        let entry = |(index, serial): (usize, &&str)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&bytes(serial)),
            revocation_time: date_time_ymd(2024, 6, 17),
            reason_code: reasons[index % reasons.len()],
            invalidity_date: (index % 2 == 1).then(|| date_time_ymd(2023, 1, 2)),
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 6, 1),
            next_update: date_time_ymd(2052, 6, 18),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().enumerate().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = if by_root { &self.root } else { &self.intermediate };
        let list = params.signed_by(issuer).expect("a list");
        (list.pem().expect("PEM"), list.der().to_vec())
    }
}

/// The identity in a certificate of this PKI.
pub(crate) fn identity(der: &[u8]) -> ClientIdentity {
    ClientIdentity::parse(der).expect("a certificate")
}

/// Of hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn parameters(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(params: &mut CertificateParams, constraints: BasicConstraints) {
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

/// An Ed25519 key that depends on nothing but the name of its holder.
fn key_of(name: &str) -> KeyPair {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = Random::new(seed);
    let secret: [u8; 32] = std::array::from_fn(|_| random.byte());
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).expect("a seed of 32 bytes");
    let pkcs8 = pair.to_pkcs8v1().expect("PKCS#8");
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_ref()), &PKCS_ED25519)
        .expect("an Ed25519 key")
}

/// An end entity's key.
pub(crate) fn key(of: &Issued) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(of.key.serialize_der()))
}
