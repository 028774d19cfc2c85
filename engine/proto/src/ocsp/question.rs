//! What is asked: the request's DER (RFC 6960 §4.1), without a signature.

use aws_lc_rs::digest::{self, Algorithm};

use super::extensions::NONCE;
use crate::identity::{Certificate, Der};
use crate::tls::Issuer;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const REQUEST_EXTENSIONS: u8 = 0xa2;

/// Bytes of a nonce: what RFC 9654 §2.1 recommends.
pub const NONCE_BYTES: usize = 32;

/// A nonce.
pub type Nonce = [u8; NONCE_BYTES];

/// The hash by which a request names the CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CertIdHash {
    /// What every responder understands (RFC 5019 §2.1.1). Nothing rests on it: it only names.
    #[default]
    Sha1,
    /// What RFC 9654 §2.1 and newer responders prefer.
    Sha256,
}

/// A certificate to be asked about: its serial number, and who issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// DER with the header.
    issuer_name: Box<[u8]>,
    /// DER with the header.
    issuer_spki: Box<[u8]>,
    serial: Box<[u8]>,
}

/// What answers are remembered by: SHA-256 over the issuer's name and key, and the serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusKey([u8; 32]);

/// Why nothing can be asked about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// It cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(&'static str),
    /// Its issuer's certificate cannot be read.
    #[error("its issuer's certificate cannot be read: {0}")]
    Issuer(&'static str),
    /// They do not belong together.
    #[error("the certificate's issuer is another one: the names differ")]
    NotIssued,
}

impl StatusKey {
    /// Of the certificate with this serial number (the INTEGER's content).
    #[must_use]
    pub fn new(issuer: &Issuer, serial: &[u8]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"countersign status v1");
        hash.update(&issuer.name);
        hash.update(&issuer.key);
        hash.update(serial);
        let hash = hash.finish();
        Self(std::array::from_fn(|index| hash.as_ref()[index]))
    }
}

impl Question {
    /// About the certificate with this serial number (the INTEGER's content); name and
    /// SubjectPublicKeyInfo of its issuer are DER with the header.
    #[must_use]
    pub fn new(issuer_name: &[u8], issuer_spki: &[u8], serial: &[u8]) -> Self {
        Self {
            issuer_name: issuer_name.into(),
            issuer_spki: issuer_spki.into(),
            serial: serial.into(),
        }
    }

    /// About a certificate, with that of its issuer; both DER.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn about(certificate: &[u8], issuer: &[u8]) -> Result<Self, QuestionError> {
        let certificate = Certificate::read(certificate).map_err(QuestionError::Certificate)?;
        let issuer = Certificate::read(issuer).map_err(QuestionError::Issuer)?;
        if certificate.issuer != issuer.subject {
            return Err(QuestionError::NotIssued);
        }
        Ok(Self::new(issuer.subject, issuer.spki, certificate.serial))
    }

    /// What its answer is remembered by.
    #[must_use]
    pub fn key(&self) -> StatusKey {
        StatusKey::new(&Issuer::new(&self.issuer_name, &self.issuer_spki), &self.serial)
    }

    /// The OCSPRequest, DER.
    #[must_use]
    pub fn request(&self, hash: CertIdHash, nonce: Option<&Nonce>) -> Vec<u8> {
        let (oid, algorithm) = match hash {
            CertIdHash::Sha1 => (SHA1, &digest::SHA1_FOR_LEGACY_USE_ONLY),
            CertIdHash::Sha256 => (SHA256, &digest::SHA256),
        };
        let null: &[u8] = &[0x05, 0x00];
        let algorithm_identifier = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[oid]), null]);
        let name = digest::digest(algorithm, &self.issuer_name);
        // A key that cannot be read is nobody's: no answer will match.
        let key = digest::digest(algorithm, key_bits(&self.issuer_spki).unwrap_or_default());
        let cert_id = tlv(
            SEQUENCE,
            &[
                &algorithm_identifier,
                &tlv(OCTET_STRING, &[name.as_ref()]),
                &tlv(OCTET_STRING, &[key.as_ref()]),
                &tlv(INTEGER, &[&self.serial]),
            ],
        );
        let list = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&cert_id])]);
        let extensions = nonce.map_or_else(Vec::new, |nonce| {
            let value = tlv(OCTET_STRING, &[&tlv(OCTET_STRING, &[nonce])]);
            let extension = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[NONCE]), &value]);
            tlv(REQUEST_EXTENSIONS, &[&tlv(SEQUENCE, &[&extension])])
        });
        tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&list, &extensions])])
    }

    /// Is it the one that a CertID (the SEQUENCE's content, RFC 6960 §4.1.1) speaks of?
    pub(super) fn is_named_by(&self, cert_id: &mut Der<'_>) -> Result<bool, &'static str> {
        const MALFORMED: &str = "a CertID is malformed";
        let mut algorithm = cert_id.expect(SEQUENCE, MALFORMED)?;
        let oid = algorithm.expect(OBJECT_IDENTIFIER, MALFORMED)?.0;
        let name = cert_id.expect(OCTET_STRING, MALFORMED)?.0;
        let key = cert_id.expect(OCTET_STRING, MALFORMED)?.0;
        let serial = cert_id.expect(INTEGER, MALFORMED)?.0;
        cert_id.end(MALFORMED)?;
        let algorithm = match oid {
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => &digest::SHA256,
            SHA384 => &digest::SHA384,
            SHA512 => &digest::SHA512,
            _ => return Ok(false),
        };
        Ok(serial == &*self.serial
            && name == digest::digest(algorithm, &self.issuer_name).as_ref()
            && self.has_key_hash(algorithm, key))
    }

    /// Is it the issuer that signs by this name (DER with the header)?
    pub(super) fn is_issuers_name(&self, name: &[u8]) -> bool {
        name == &*self.issuer_name
    }

    /// Is `hash` that of the issuer's key?
    pub(super) fn has_key_hash(&self, algorithm: &'static Algorithm, hash: &[u8]) -> bool {
        key_bits(&self.issuer_spki)
            .is_some_and(|bits| digest::digest(algorithm, bits).as_ref() == hash)
    }

    pub(super) fn issuer_name(&self) -> &[u8] {
        &self.issuer_name
    }

    pub(super) fn issuer_spki(&self) -> &[u8] {
        &self.issuer_spki
    }
}

const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

/// The key itself of a SubjectPublicKeyInfo: what key hashes are over (RFC 6960 §4.1.1, §4.2.1).
pub(super) fn key_bits(spki: &[u8]) -> Option<&[u8]> {
    let mut spki = Der(spki).expect(SEQUENCE, "").ok()?;
    spki.expect(SEQUENCE, "").ok()?;
    match spki.expect(BIT_STRING, "").ok()?.0 {
        [0, bits @ ..] => Some(bits),
        _ => None,
    }
}

/// An element with these parts as its content.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut element = Vec::with_capacity(length + 6);
    element.push(tag);
    let bytes = length.to_be_bytes();
    let needed = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    match length {
        0..=0x7f => element.push(length as u8),
        // At most eight bytes: their count fits.
        _ => {
            element.push(0x80 | needed.len() as u8);
            element.extend_from_slice(needed);
        }
    }
    parts.iter().for_each(|part| element.extend_from_slice(part));
    element
}
