//! What a verified path rests on, kept so that it can be asked again whether it still holds, without
//! the certificates.

use aws_lc_rs::digest;

use crate::identity::Certificate;
use crate::revocation::{Checked, PointName, of_certificate};

/// The certificates of one path below its anchor, end entity first, each with who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) anchor: usize,
    pub(crate) issued: Box<[Issued]>,
    pub(crate) revocation: Checked,
}

/// One certificate, as its issuer's revocation lists speak of it (RFC 5280 §5.1.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Who signed it.
    pub issuer: Issuer,
    /// The serial number: the INTEGER's content.
    pub serial: Box<[u8]>,
    /// Its distribution points, for the lists that are about some of them only.
    pub(crate) distribution_points: Box<[PointName]>,
    /// Its issuer's key usage, if there is one, allows it to sign lists (cRLSign).
    pub(crate) signs_lists: bool,
}

/// A CA as the signer of certificates: one name may have had several keys, and one key several names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// SHA-256 over its distinguished name, DER with the header.
    pub name: [u8; 32],
    /// SHA-256 over its SubjectPublicKeyInfo, DER with the header.
    pub key: [u8; 32],
}

/// A certificate of a path and its issuer, while the path is looked at.
pub(crate) struct Link<'a> {
    pub(crate) certificate: &'a Certificate<'a>,
    /// DER with the header.
    pub(crate) issuer_name: &'a [u8],
    /// DER with the header.
    pub(crate) issuer_spki: &'a [u8],
    /// The issuer's key usage, if there is one, has cRLSign.
    pub(crate) issuer_signs_lists: bool,
}

impl Evidence {
    /// The earliest notAfter on the path, the anchor's included: seconds since the epoch.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The latest notBefore on the path, the anchor's included: seconds since the epoch.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Which anchor of the trust domain the path leads to, counted from 0 in the order of the bundle.
    #[must_use]
    pub fn anchor(&self) -> usize {
        self.anchor
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let issued = self.issued.iter().map(|issued| size_of::<Issued>() + issued.serial.len());
        size_of::<Self>() + issued.sum::<usize>()
    }

    /// What revocation lists said when it was verified.
    #[must_use]
    pub fn revocation(&self) -> &Checked {
        &self.revocation
    }

    /// The certificates below the anchor, end entity first.
    #[must_use]
    pub fn issued(&self) -> &[Issued] {
        &self.issued
    }
}

impl Issuer {
    /// Of a distinguished name and a SubjectPublicKeyInfo, both DER with the header.
    #[must_use]
    pub fn new(name: &[u8], spki: &[u8]) -> Self {
        Self { name: sha256(name), key: sha256(spki) }
    }
}

impl Link<'_> {
    pub(crate) fn issued(&self) -> Issued {
        Issued {
            issuer: Issuer::new(self.issuer_name, self.issuer_spki),
            serial: self.certificate.serial.into(),
            // An extension that cannot be read names no point; webpki judges certificates.
            distribution_points: match self.certificate.crl_distribution_points() {
                Ok(Some(extension)) => of_certificate(extension),
                _ => Box::default(),
            },
            signs_lists: self.issuer_signs_lists,
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, bytes);
    std::array::from_fn(|index| hash.as_ref()[index])
}
