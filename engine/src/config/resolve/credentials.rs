//! A server's certificate chain and key: parsed, in date, and made for each other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::server_name::covers;
use crate::config::errors::{At, Problems, Spot, quoted};
use crate::config::files;

/// A certificate that is about to expire is worth a word this long before, in seconds.
const NOTICE_SECONDS: i64 = 7 * 24 * 3_600;

/// The chain of an identity, which must speak for `names`.
pub(super) fn chain(
    at: &At<PathBuf>,
    names: &[(String, Spot)],
    problems: &mut Problems<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let chain = read(at, files::certificates, problems)?;
    let mut is_parsed = true;
    for (index, der) in chain.iter().enumerate() {
        let Some(certificate) = parse(at, index, der, problems) else {
            is_parsed = false;
            continue;
        };
        check_dates(at, index, &certificate, problems);
        if index == 0 {
            check_names(at, &certificate, names, problems);
        }
    }
    is_parsed.then_some(chain)
}

fn parse<'a>(
    at: &At<PathBuf>,
    index: usize,
    der: &'a CertificateDer<'_>,
    problems: &mut Problems<'_>,
) -> Option<X509Certificate<'a>> {
    let parsed = X509Certificate::from_der(der).map_err(|_| {
        let number = index + 1;
        format!(
            "certificate {number} of {} is not a certificate: its DER cannot be parsed",
            path(&at.value)
        )
    });
    problems.keep(&at.spot, parsed).map(|(_, certificate)| certificate)
}

fn check_dates(
    at: &At<PathBuf>,
    index: usize,
    certificate: &X509Certificate<'_>,
    problems: &mut Problems<'_>,
) {
    let subject = if index == 0 {
        format!("the certificate of {}", path(&at.value))
    } else {
        format!("certificate {} of {}", index + 1, path(&at.value))
    };
    let validity = certificate.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = now();
    if not_after < now {
        let renew = "renew it, and put the new one there";
        problems.error(&at.spot, format_args!("{subject} expired at {}; {renew}", date(not_after)));
    } else if not_after - now < NOTICE_SECONDS {
        problems.warning(&at.spot, format_args!("{subject} expires soon: at {}", date(not_after)));
    }
    if not_before > now {
        let clients = "until then clients refuse it";
        problems.warning(
            &at.spot,
            format_args!("{subject} is not valid before {}; {clients}", date(not_before)),
        );
    }
}

fn check_names(
    at: &At<PathBuf>,
    certificate: &X509Certificate<'_>,
    names: &[(String, Spot)],
    problems: &mut Problems<'_>,
) {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let certified: Vec<&str> = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
        .collect();
    for (name, spot) in names {
        if certified.iter().any(|certified| covers(certified, name)) {
            continue;
        }
        let has = match certified.as_slice() {
            [] => "it has no DNS names at all".to_owned(),
            names => {
                let names: Vec<_> = names.iter().take(10).map(|name| quoted(name)).collect();
                format!("it has {}", names.join(", "))
            }
        };
        problems.error(
            spot,
            format_args!(
                "the certificate {} does not speak for {}: {has}; take the name out, or use a certificate that has it",
                path(&at.value),
                quoted(name)
            ),
        );
    }
}

/// The key of an identity. Whoever may read it can be the server.
pub(super) fn key(at: &At<PathBuf>, problems: &mut Problems<'_>) -> Option<PrivateKeyDer<'static>> {
    let key = read(at, files::private_key, problems)?;
    if let Ok(metadata) = at.value.metadata() {
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            problems.warning(
                &at.spot,
                format_args!(
                    "{} has mode {mode:04o}: others than its owner may use the key; chmod 600 it",
                    path(&at.value)
                ),
            );
        }
    }
    Some(key)
}

/// Whether the key is that of the chain's first certificate. Gives what it signs with.
pub(super) fn check_match(
    certificate: &At<PathBuf>,
    chain: &[CertificateDer<'static>],
    key: &At<PathBuf>,
    der: &PrivateKeyDer<'static>,
    problems: &mut Problems<'_>,
) -> Option<SignatureAlgorithm> {
    let signing = any_supported_type(der).map_err(|error| {
        format!(
            "the private key in {} cannot be used: {error}; it must be ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 to 8192 bits)",
            path(&key.value)
        )
    });
    let signing = problems.keep(&key.spot, signing)?;
    let algorithm = signing.algorithm();
    let matches = |chain: &[CertificateDer<'static>]| {
        CertifiedKey::new(chain.to_vec(), signing.clone()).keys_match()
    };
    match matches(chain) {
        Ok(()) => return Some(algorithm),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {}
        Err(error) => {
            problems.error(
                &certificate.spot,
                format_args!(
                    "the certificate {} cannot be used: {error}",
                    path(&certificate.value)
                ),
            );
            return None;
        }
    }
    let (key_path, chain_path) = (path(&key.value), path(&certificate.value));
    let other = chain.iter().skip(1).position(|der| matches(std::slice::from_ref(der)).is_ok());
    match other {
        Some(index) => problems.error(
            &certificate.spot,
            format_args!(
                "the key in {key_path} belongs to certificate {} of {chain_path}; put the server's own certificate first, then its issuers",
                index + 2
            ),
        ),
        None => problems.error(
            &key.spot,
            format_args!(
                "the private key in {key_path} does not match the certificate in {chain_path} (their public keys differ)"
            ),
        ),
    }
    None
}

/// The CA certificates that clients must lead to.
pub(super) fn client_ca(
    at: &At<PathBuf>,
    problems: &mut Problems<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let bundle = read(at, files::certificates, problems)?;
    for (index, der) in bundle.iter().enumerate() {
        let certificate = parse(at, index, der, problems)?;
        let not_after = certificate.validity().not_after.timestamp();
        if not_after < now() {
            problems.warning(
                &at.spot,
                format_args!(
                    "CA certificate {} of {} expired at {}: its clients are refused",
                    index + 1,
                    path(&at.value),
                    date(not_after)
                ),
            );
        }
    }
    Some(bundle)
}

fn read<T>(
    at: &At<PathBuf>,
    read: fn(&Path) -> Result<T, String>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let result = read(&at.value).map_err(|problem| format!("{} {problem}", path(&at.value)));
    problems.keep(&at.spot, result)
}

pub(super) fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} seconds since 1970"))
}
