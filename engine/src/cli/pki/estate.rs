//! A PKI on disk, opened: its directory, its index, its CAs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::RevokedCertParams;
use rustls_pki_types::CertificateDer;

use super::authority::{Authority, Kind};
use super::command;
use super::directory::{
    CRLS, Directory, INTERMEDIATE, INTERMEDIATE_CRL_DER, Lock, ROOT, ROOT_CRL_DER, Readers,
};
use super::error::{PkiError, Result};
use super::index::{Index, Issued, Published, Record, Revoked, State};
use super::key;
use super::moment::{Lifetime, Moment};
use super::serial::Serial;
use crate::cli::warn;
use crate::config;

/// How long a CRL is good for if nobody has said otherwise.
pub(super) const CRL_LIFETIME: Lifetime = Lifetime::days(7);

pub(super) struct Estate {
    pub(super) directory: Directory,
    pub(super) index: Index,
    /// None where nothing is to be changed.
    _lock: Option<Lock>,
}

impl Estate {
    /// To look at it. Takes no lock, so it works where nothing can be written.
    pub(super) fn look_at(path: &Path) -> Result<Self> {
        let directory = Directory::new(path);
        Ok(Self { index: Index::read(&directory)?, directory, _lock: None })
    }

    /// To change it.
    pub(super) fn change(path: &Path) -> Result<Self> {
        let directory = Directory::new(path);
        // Before the lock: where no PKI is, no file for a lock should be either.
        Index::read(&directory)?;
        let lock = directory.lock()?;
        Ok(Self { index: Index::read(&directory)?, directory, _lock: Some(lock) })
    }

    /// One that is being made.
    pub(super) fn new(directory: Directory, index: Index, lock: Lock) -> Self {
        Self { directory, index, _lock: Some(lock) }
    }

    pub(super) fn root_certificate(&self) -> Result<CertificateDer<'static>> {
        first_certificate(&self.directory.file(ROOT))
    }

    pub(super) fn root(&self) -> Result<Authority> {
        self.authority(ROOT, &self.index.founded.root_key)
    }

    pub(super) fn intermediate(&self) -> Result<Authority> {
        self.authority(INTERMEDIATE, &self.index.founded.intermediate_key)
    }

    /// The intermediate, if what it signs now is worth something.
    pub(super) fn issuer(&self, now: Moment) -> Result<Authority> {
        let of_intermediate = |issued: &&Issued| issued.kind == Kind::Intermediate;
        let recorded = self.index.issued.iter().rfind(of_intermediate);
        let state = recorded.map(|issued| (issued, self.index.state(issued, now)));
        match state {
            Some((issued, State::Expired)) => Err(PkiError::Refused(format!(
                "the intermediate ended at {}; make a new PKI with `countersign pki init` in another directory, and let client_ca name both roots for a while",
                issued.not_after
            ))),
            Some((_, State::Revoked)) => Err(PkiError::Refused(
                "the intermediate is revoked: nobody would accept what it signs; make a new PKI with `countersign pki init` in another directory".into(),
            )),
            _ => self.intermediate(),
        }
    }

    fn authority(&self, certificate: &str, key: &str) -> Result<Authority> {
        let path = self.directory.file(certificate);
        let certificate = first_certificate(&path)?;
        let key_path = self.directory.file(key);
        if !key::is_token(key)
            && let Ok(found) = key_path.metadata()
            && found.permissions().mode() & 0o077 != 0
        {
            let mode = found.permissions().mode() & 0o777;
            let key = key_path.display();
            warn(&[format!("a CA's key is open to others (mode {mode:03o}): chmod 600 {key}")]);
        }
        let spki = public_key(&path, &certificate)?;
        let key = key::open(key, self.directory.path(), &spki)?;
        Authority::new(certificate, key).map_err(|problem| PkiError::content(&path, problem))
    }

    /// Records revocations and writes a new CRL of each CA; gives what was published. The CRLs live as long
    /// as those before, unless `lifetime` says otherwise; with `der`, or where they are there already,
    /// they are written in DER too.
    pub(super) fn publish(
        &mut self,
        revoked: Vec<Revoked>,
        now: Moment,
        lifetime: Option<Lifetime>,
        der: bool,
    ) -> Result<Published> {
        // Before anything is recorded: a key that is not there must not leave half.
        let (root, intermediate) = (self.root()?, self.intermediate()?);
        let before = self.index.published.as_ref();
        let lifetime = lifetime
            .or_else(|| before.and_then(|before| before.next_update.since(before.time)))
            .unwrap_or(CRL_LIFETIME);
        let published = Published {
            time: now,
            number: before.map_or(1, |before| before.number + 1),
            next_update: now.plus(lifetime),
        };
        let mut records: Vec<Record> = revoked.into_iter().map(Record::Revoked).collect();
        records.push(Record::Crl(published.clone()));
        self.index.add(records)?;

        let mut pem = String::new();
        for (authority, issued_by_root, name) in
            [(&root, true, ROOT_CRL_DER), (&intermediate, false, INTERMEDIATE_CRL_DER)]
        {
            let entries = self.revoked_by(issued_by_root);
            let signed = authority.sign_revocations(
                published.number,
                now.backdated(),
                published.next_update,
                entries,
            )?;
            pem += &signed.pem().map_err(PkiError::crypto("write the CRL"))?;
            if der || self.directory.file(name).exists() {
                self.directory.write(name, signed.der(), Readers::Everybody)?;
            }
        }
        self.directory.write(CRLS, pem.as_bytes(), Readers::Everybody)?;
        Ok(published)
    }

    /// Entries stay beyond the end of their certificates: there are verifiers whose clock is behind.
    fn revoked_by(&self, root: bool) -> Vec<RevokedCertParams> {
        let of_issuer =
            self.index.issued.iter().filter(|issued| issued.kind.is_authority() == root);
        of_issuer
            .filter_map(|issued| self.index.revocation(issued.serial))
            .map(|revoked| RevokedCertParams {
                serial_number: revoked.serial.number(),
                revocation_time: revoked.time.date_time(),
                reason_code: Some(revoked.reason.code()),
                invalidity_date: None,
            })
            .collect()
    }

    /// What somebody means who names a serial number, a name, or a certificate's file; in the order in
    /// which they were issued. A name may stand for several.
    pub(super) fn find(&self, what: &str) -> Result<Vec<&Issued>> {
        if let Some(serial) = Serial::parse(what) {
            let found = self.index.by_serial(serial).map(|issued| vec![issued]);
            return found.ok_or_else(|| self.unknown(&format!("serial number {serial}")));
        }
        let named: Vec<&Issued> =
            self.index.issued.iter().filter(|issued| issued.names.contain(what)).collect();
        if let Some(first) = named.first() {
            if let Some(other) = named.iter().find(|other| other.kind != first.kind) {
                return Err(PkiError::Refused(format!(
                    "'{what}' names a {} ({}) and a {} ({}); give the serial number or the file of the one that is meant",
                    first.kind.label(),
                    first.serial,
                    other.kind.label(),
                    other.serial
                )));
            }
            return Ok(named);
        }
        let path = PathBuf::from(what);
        if !path.exists() {
            return Err(self.unknown(&format!(
                "'{what}': it is no serial number, no name in a certificate and no file"
            )));
        }
        let serial = serial_of(&path, &first_certificate(&path)?)?;
        let found = serial.and_then(|serial| self.index.by_serial(serial));
        found.map(|issued| vec![issued]).ok_or_else(|| {
            self.unknown(&format!(
                "the certificate in {what}: its serial number is not one of ours"
            ))
        })
    }

    fn unknown(&self, what: &str) -> PkiError {
        let path = self.directory.path();
        PkiError::Refused(format!(
            "the PKI in {} does not know {what}; `{}` shows all that it has issued",
            path.display(),
            command(path, "list")
        ))
    }
}

/// The first certificate of a PEM file.
pub(super) fn first_certificate(path: &Path) -> Result<CertificateDer<'static>> {
    Ok(certificates(path)?.swap_remove(0))
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    config::certificates(path).map_err(|problem| PkiError::content(path, problem))
}

/// Its SubjectPublicKeyInfo, DER.
fn public_key(path: &Path, certificate: &CertificateDer<'_>) -> Result<Vec<u8>> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.map(|(_, parsed)| parsed.public_key().raw.to_vec()).map_err(|error| {
        PkiError::content(path, format!("the certificate cannot be parsed: {error}"))
    })
}

/// Its serial number, if it is one of the kind that we give.
pub(super) fn serial_of(path: &Path, certificate: &CertificateDer<'_>) -> Result<Option<Serial>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| {
        PkiError::content(path, format!("the certificate cannot be parsed: {error}"))
    })?;
    Ok(Serial::from_der(parsed.raw_serial()))
}
