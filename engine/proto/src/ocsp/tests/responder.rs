//! A CA, certificates of its, and answers in every shape.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SigningKey,
};

use super::super::question::{key_bits, tlv};
use super::super::{CertIdHash, Question, Status};
use crate::identity::{Certificate, Der};

/// ecdsa-with-SHA256, as an AlgorithmIdentifier.
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// What the clocks of the tests say: 2026-01-01.
pub(super) const NOW: i64 = 1_767_225_600;

pub(super) struct Ca {
    pub(super) issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(super) struct Certified {
    pub(super) der: Vec<u8>,
    pub(super) key: KeyPair,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a CA") }
    }

    pub(super) fn issue(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certified {
        let mut params = named(name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certified { der: certificate.der().to_vec(), key }
    }

    /// A signer of answers.
    pub(super) fn delegate(&self, name: &str) -> Certified {
        self.issue(name, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        })
    }

    pub(super) fn question(&self, about: &Certified) -> Question {
        Question::about(&about.der, self.issuer.der()).expect("a question")
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    params
}

/// An extension with this value.
pub(super) fn extension(oid: &[u64], value: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(oid, value)
}

/// What an answer says; every part can be changed.
pub(super) struct Saying {
    pub(super) cert_id: Vec<u8>,
    pub(super) status: Status,
    pub(super) this_update: i64,
    pub(super) next_update: Option<i64>,
    pub(super) produced_at: i64,
    pub(super) by_key: bool,
    pub(super) nonce: Option<Vec<u8>>,
    pub(super) extension: Option<Vec<u8>>,
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Saying {
    /// Good, from an hour ago until in an hour.
    pub(super) fn good(question: &Question) -> Self {
        Self {
            cert_id: cert_id(question, CertIdHash::Sha1),
            status: Status::Good,
            this_update: NOW - 3_600,
            next_update: Some(NOW + 3_600),
            produced_at: NOW - 3_600,
            by_key: false,
            nonce: None,
            extension: None,
            certificates: Vec::new(),
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Signed by the CA itself.
    pub(super) fn by(&self, ca: &Ca) -> Vec<u8> {
        self.signed(ca.issuer.der(), ca.issuer.key())
    }

    /// Signed by a delegate, whose certificate comes with it.
    pub(super) fn by_delegate(mut self, delegate: &Certified) -> Vec<u8> {
        self.certificates.push(delegate.der.clone());
        self.signed(&delegate.der, &delegate.key)
    }

    pub(super) fn signed(&self, signer: &[u8], key: &KeyPair) -> Vec<u8> {
        let signer = Certificate::read(signer).expect("a certificate");
        let data = self.data(&signer);
        let signature = key.sign(&data).expect("a signature");
        let mut parts = vec![data, ECDSA_SHA256.to_vec(), tlv(3, &[&[0], &signature])];
        if !self.certificates.is_empty() {
            parts.push(tlv(0xa0, &[&tlv(0x30, &[&self.certificates.concat()])]));
        }
        let basic = tlv(0x30, &[&parts.concat()]);
        let oid = tlv(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
        let bytes = tlv(0x30, &[&oid, &tlv(4, &[&basic])]);
        tlv(0x30, &[&[10, 1, 0], &tlv(0xa0, &[&bytes])])
    }

    fn data(&self, signer: &Certificate<'_>) -> Vec<u8> {
        let responder = if self.by_key {
            let hash = aws_lc_rs::digest::digest(
                &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
                key_bits(signer.spki).expect("a key"),
            );
            tlv(0xa2, &[&tlv(4, &[hash.as_ref()])])
        } else {
            tlv(0xa1, &[signer.subject])
        };
        let mut extensions = Vec::new();
        if let Some(nonce) = &self.nonce {
            let oid = tlv(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2]]);
            extensions.push(tlv(0x30, &[&oid, &tlv(4, &[&tlv(4, &[nonce])])]));
        }
        extensions.extend(self.extension.clone());
        let mut parts = vec![responder, time(self.produced_at), tlv(0x30, &[&self.single()])];
        if !extensions.is_empty() {
            parts.push(tlv(0xa1, &[&tlv(0x30, &[&extensions.concat()])]));
        }
        tlv(0x30, &[&parts.concat()])
    }

    pub(super) fn single(&self) -> Vec<u8> {
        let status = match self.status {
            Status::Good => tlv(0x80, &[]),
            Status::Unknown => tlv(0x82, &[]),
            Status::Revoked { at, reason } => {
                let reason =
                    reason.map_or_else(Vec::new, |code| tlv(0xa0, &[&tlv(10, &[&[code]])]));
                tlv(0xa1, &[&time(at), &reason])
            }
        };
        let next = self.next_update.map_or_else(Vec::new, |at| tlv(0xa0, &[&time(at)]));
        tlv(0x30, &[&self.cert_id, &status, &time(self.this_update), &next])
    }
}

/// The CertID that a request for this has.
pub(super) fn cert_id(question: &Question, hash: CertIdHash) -> Vec<u8> {
    let request = question.request(hash, None);
    let mut der = Der(&request);
    for _ in 0..4 {
        der = der.expect(0x30, "").expect("a request");
    }
    der.whole(0x30, "").expect("a CertID").to_vec()
}

fn time(seconds: i64) -> Vec<u8> {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    tlv(0x18, &[text.as_bytes()])
}

/// The date of a day since 1970, by counting.
fn civil(mut days: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as i64 + 1, days + 1)
}
