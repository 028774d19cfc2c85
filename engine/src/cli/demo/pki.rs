//! A throwaway PKI: a root, an intermediate, a server, two clients. Made as `countersign pki` makes them, but
//! without its index: nothing of it is ever renewed or revoked.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Result;
use crate::cli::pki::authority::{Authority, Content, Kind};
use crate::cli::pki::issue::pem;
use crate::cli::pki::key::KeyKind;
use crate::cli::pki::moment::{Lifetime, Moment};
use crate::cli::pki::names::Names;

const NAME: &str = "Countersign demo";

/// Certificates of the demo live so long.
const LIFETIME: Lifetime = Lifetime::days(1);

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
    let now = Moment::now();
    let authority = |kind| Content::of_authority(kind, NAME, now, LIFETIME);
    let key = || KeyKind::P256.generate();
    let root = Authority::root(&authority(Kind::Root)?, Box::new(key()?))?;
    let intermediate = root.intermediate(&authority(Kind::Intermediate)?, Box::new(key()?))?;

    fs::write(directory.join("ca.pem"), pem(root.certificate()))?;
    let issue = |file: &str, kind, names| -> Result<Client> {
        let key = key()?;
        let certificate = intermediate.sign(&Content::new(kind, names, now, LIFETIME)?, &key)?;
        let chain = [certificate, intermediate.certificate().clone()];
        let text: String = chain.iter().map(pem).collect();
        fs::write(directory.join(format!("{file}.pem")), text)?;
        write_secret(&directory.join(format!("{file}.key")), &key.serialize_pem())?;
        Ok(Client {
            chain: chain.into(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    };
    issue("server", Kind::Server, Names::of_server(&["localhost", "127.0.0.1", "::1"])?)?;
    let client = |name: &str| {
        issue(name, Kind::Client, Names::of_client(name, &format!("{name}.demo.example"))?)
    };
    Ok(Pki {
        root: root.certificate().clone(),
        alice: client("alice")?,
        mallory: client("mallory")?,
    })
}

fn write_secret(path: &Path, pem: &str) -> Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes())?;
    Ok(())
}
