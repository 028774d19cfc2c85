//! `countersign hsm check`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use countersign_hsm::{MacKind, PinSource, PrivateKey, Scheme, Session, Uri};
use countersign_proto::TlsVersion;

use super::signing::{prove, sha256};
use super::{Ended, Typed, key_uri, parse_pin_source, parse_uri, with_pin};
use crate::cli::{login, refuse};
use crate::config::{self, Config, TicketKeySource, TokenKeyPlace};

#[derive(Debug, Args)]
#[command(override_usage = "\
countersign hsm check --config <FILE>
       countersign hsm check --key <URI>... --certificate <FILE>... [--pin-source <SOURCE>]")]
#[command(after_help = "\
A real signature is made for each scheme that the token has for the key, and verified with
the certificate's public key. Exit status: 0 if every key is there, belongs to its certificate and
signs for the versions of TLS that its listener has (without a configuration: 1.3 and 1.2); 1 if not.
Example:
  countersign hsm check --certificate server.pem --key \\
      'pkcs11:token=edge;object=server?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin'")]
pub(super) struct CheckArguments {
    /// Configuration file: every key of it that is in a token, also the one that ticket keys are derived from.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["key", "certificate", "pin_source"])]
    config: Option<PathBuf>,
    /// A key in a token; may be given several times.
    #[arg(long, value_name = "URI", value_parser = parse_uri, required_unless_present = "config")]
    key: Vec<Typed<Uri>>,
    /// PEM file with the certificate that the key is for, end entity first; one for all keys, or one for each in the same
    /// order.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    certificate: Vec<PathBuf>,
    /// Where the PIN is, unless a URI says so: file:/PATH, env:NAME or fd:N.
    #[arg(long, value_name = "SOURCE", value_parser = parse_pin_source)]
    pin_source: Option<Typed<PinSource>>,
}

/// A key, and what it is for.
struct Pair {
    uri: Uri,
    certificate: PathBuf,
    versions: Vec<TlsVersion>,
}

pub(super) fn check(arguments: &CheckArguments, output: &mut dyn Write) -> Result<ExitCode, Ended> {
    match &arguments.config {
        Some(file) => check_configuration(file, output),
        None => check_pairs(&arguments.pairs()?, output).map(exit_code),
    }
}

impl CheckArguments {
    fn pairs(&self) -> Result<Vec<Pair>, String> {
        let Self { key: keys, certificate: certificates, pin_source, .. } = self;
        if certificates.len() != 1 && certificates.len() != keys.len() {
            return Err(format!(
                "there are {} keys and {} certificates; give one certificate for all keys, or one for each",
                keys.len(),
                certificates.len()
            ));
        }
        let pairs = keys.iter().zip(certificates.iter().cycle()).map(|(uri, certificate)| {
            Ok(Pair {
                uri: key_uri(uri, pin_source.as_ref())?,
                certificate: certificate.clone(),
                versions: vec![TlsVersion::Tls13, TlsVersion::Tls12],
            })
        });
        pairs.collect()
    }
}

fn check_configuration(file: &Path, output: &mut dyn Write) -> Result<ExitCode, Ended> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(errors) => return Ok(refuse(&errors)),
    };
    let mut pairs = Vec::new();
    for listener in &config.listeners {
        let keys = listener.identities.iter().filter_map(|identity| identity.token_key.as_ref());
        for (key, place) in keys.flat_map(|key| key.places.iter().map(move |place| (key, place))) {
            pairs.push(Pair {
                uri: whole(place),
                certificate: key.certificate.clone(),
                versions: listener.tls.versions.clone(),
            });
        }
    }
    let mut are_right = check_pairs(&pairs, output)?;
    if let Some(TicketKeySource::Token(token)) = &config.ticket_keys {
        let uri = whole(&token.place);
        writeln!(output, "{uri}")?;
        match derive(&uri) {
            Ok(kind) => writeln!(output, "  derives ticket keys with {kind}")?,
            Err(problem) => {
                are_right = false;
                writeln!(output, "  WRONG: {problem}")?;
            }
        }
    } else if pairs.is_empty() {
        writeln!(output, "{}: no key is in a token", file.display())?;
    }
    Ok(exit_code(are_right))
}

/// The key's URI with what the table of tokens says of it.
fn whole(place: &TokenKeyPlace) -> Uri {
    let uri = place.uri.with_module_path(&place.token.module);
    with_pin(&uri, place.token.pin_source.as_ref())
}

fn derive(uri: &Uri) -> Result<&'static str, String> {
    let session = login::session(uri, false)?;
    let key = session.mac_key(uri).map_err(|error| error.to_string())?;
    session.mac(&key, b"countersign hsm check").map_err(|error| error.to_string())?;
    Ok(match key.kind() {
        MacKind::HmacSha256 => "HMAC-SHA-256",
        MacKind::AesCmac => "AES-CMAC",
    })
}

/// Checks each key with its certificate, whatever is wrong with another; says whether all are right.
fn check_pairs(pairs: &[Pair], output: &mut dyn Write) -> Result<bool, Ended> {
    let mut are_right = true;
    for Pair { uri, certificate, versions } in pairs {
        writeln!(output, "{uri}")?;
        let problems = match open(uri, certificate) {
            Err(problem) => vec![problem],
            Ok(found) => {
                let spki = sha256(&found.spki);
                writeln!(
                    output,
                    "  {}, belongs to {} (SHA-256 of the SPKI: {spki})",
                    found.key.kind(),
                    certificate.display()
                )?;
                sign(&found, versions, output)?
            }
        };
        are_right &= problems.is_empty();
        for problem in problems {
            writeln!(output, "  WRONG: {problem}")?;
        }
        output.flush()?;
    }
    Ok(are_right)
}

fn exit_code(are_right: bool) -> ExitCode {
    if are_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Found {
    uri: Uri,
    session: Session,
    key: PrivateKey,
    spki: Vec<u8>,
}

fn open(uri: &Uri, certificate: &Path) -> Result<Found, String> {
    let spki = public_key(certificate)?;
    let session = login::session(uri, false)?;
    let key = session.private_key(uri, Some(&spki)).map_err(|error| error.to_string())?;
    Ok(Found { uri: uri.clone(), session, key, spki })
}

/// The SubjectPublicKeyInfo of a file's first certificate, DER.
fn public_key(path: &Path) -> Result<Vec<u8>, String> {
    let chain =
        config::certificates(path).map_err(|error| format!("{}: {error}", path.display()))?;
    x509_parser::parse_x509_certificate(&chain[0])
        .map(|(_, parsed)| parsed.public_key().raw.to_vec())
        .map_err(|error| format!("{}: cannot be parsed: {error}", path.display()))
}

/// Has it sign each scheme; what is wrong with that.
fn sign(
    found: &Found,
    versions: &[TlsVersion],
    output: &mut dyn Write,
) -> Result<Vec<String>, Ended> {
    let mut problems = Vec::new();
    let pin = match (found.key.always_authenticate(), found.uri.pin_source()) {
        (true, Some(source)) => Some(login::read_pin(source)?),
        _ => None,
    };
    let mut signed = Vec::new();
    for scheme in found.key.schemes() {
        match prove(&found.session, &found.key, scheme, &found.spki, pin.as_ref()) {
            Ok(()) => signed.push(scheme),
            Err(problem) => problems.push(problem),
        }
    }
    let names: Vec<&str> = signed.iter().map(|scheme| scheme.name()).collect();
    if !signed.is_empty() {
        writeln!(output, "  signs {}", names.join(", "))?;
    }
    for version in versions {
        let (version, works) = match version {
            TlsVersion::Tls13 => ("TLS 1.3", signed.iter().any(|scheme| signs_in_tls13(*scheme))),
            TlsVersion::Tls12 => ("TLS 1.2", !signed.is_empty()),
        };
        if works {
            writeln!(output, "  enough for {version}")?;
        } else {
            problems.push(format!(
                "the token signs nothing with this key that {version} could use; `countersign hsm list` shows its mechanisms"
            ));
        }
    }
    Ok(problems)
}

/// RFC 9846, section 4.2.3: RSASSA-PKCS1-v1_5 stands in certificates only.
fn signs_in_tls13(scheme: Scheme) -> bool {
    use Scheme::{RsaPkcs1Sha256, RsaPkcs1Sha384, RsaPkcs1Sha512};
    !matches!(scheme, RsaPkcs1Sha256 | RsaPkcs1Sha384 | RsaPkcs1Sha512)
}
