//! The files that configurations name: certificates and keys, good and bad.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use time::{Duration, OffsetDateTime};

/// 2020-01-01T00:00:00Z.
const LONG_AGO: i64 = 1_577_836_800;

/// Enough CAs for their names to take more than 64 KiB.
const MANY: usize = 600;

/// Writes `partners` (for partners.example.org and *.partners.example.org), `internal` (for
/// internal.example.org) and `clients-ca.pem`, which are good; and what the breakages name.
pub(crate) fn write(directory: &Path) {
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("a file");
    let now = OffsetDateTime::now_utc();
    let long_ago = OffsetDateTime::from_unix_timestamp(LONG_AGO).expect("a date");
    let month = Duration::days(30);
    let ca_key = KeyPair::generate().expect("a key");
    let ca = authority("Example CA", now - month, now + month);
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(ca, ca_key);
    let issue = |name: &str, names: &[&str], from, to| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = dated(CertificateParams::new(names).expect("names"), name, from, to);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &issuer).expect("a certificate").pem();
        write(&format!("{name}.pem"), &pem);
        write(&format!("{name}.key"), &key.serialize_pem());
        mode(&directory.join(format!("{name}.key")), 0o600);
        pem
    };
    let partners = ["partners.example.org", "*.partners.example.org"];
    let partners_pem = issue("partners", &partners, now - month, now + month);
    issue("internal", &["internal.example.org"], now - month, now + month);
    issue("expired", &partners, long_ago, long_ago + month);
    issue("soon", &partners, now - month, now + Duration::days(3));
    write("clients-ca.pem", &ca_pem);
    write("reversed.pem", &(ca_pem + &partners_pem));
    write("empty.pem", "no certificate here\n");
    write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let old = authority("Old CA", long_ago, long_ago + month);
    let key = KeyPair::generate().expect("a key");
    write("old-ca.pem", &old.self_signed(&key).expect("a certificate").pem());
    write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    fs::copy(directory.join("partners.key"), directory.join("readable.key")).expect("a file");
    mode(&directory.join("readable.key"), 0o644);
    let many: String = (0..MANY)
        .map(|number| {
            let name = format!("{number:0>100}");
            let params = authority(&name, now - month, now + month);
            params.self_signed(&key).expect("a certificate").pem()
        })
        .collect();
    write("many-cas.pem", &many);
}

fn authority(name: &str, from: OffsetDateTime, to: OffsetDateTime) -> CertificateParams {
    let mut params = dated(CertificateParams::default(), name, from, to);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn dated(
    mut params: CertificateParams,
    name: &str,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> CertificateParams {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (from, to);
    params
}

fn mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("a mode");
}
