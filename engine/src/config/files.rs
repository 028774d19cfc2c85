//! PEM files: certificates and keys. Errors go on from the file's name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// A certificate or key file larger than this is not read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads a file whole; its content is wiped from memory when dropped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // A reload must not wait for whoever may write into a pipe.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".into());
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(content)
}

/// The certificates of a PEM file, in order.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("has no certificate in it (a section '-----BEGIN CERTIFICATE-----')".into());
    }
    Ok(certificates)
}

/// The first private key of a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let content = read(path)?;
    if content.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err("has an encrypted key; decrypt it, and protect the file by its mode".into());
    }
    match PrivateKeyDer::from_pem_slice(&content) {
        Ok(key) => Ok(key),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => Err(
            "has no private key in it (PKCS#8 'PRIVATE KEY', SEC1 'EC PRIVATE KEY' or PKCS#1 'RSA PRIVATE KEY')"
                .into(),
        ),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}
