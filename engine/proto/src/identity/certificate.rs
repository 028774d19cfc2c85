//! One pass over a certificate's DER (RFC 5280 §4.1), without an allocation: where its fields lie.
//!
//! Path validation is webpki's, which reads certificates with a parser of its own and tells little of
//! what it has read. This is for what it does not tell.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const ISSUER_UNIQUE_ID: u8 = 0x81;
const SUBJECT_UNIQUE_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

/// id-ce-keyUsage (RFC 5280 §4.2.1.3).
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
/// id-ce-subjectAltName (§4.2.1.6).
pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
/// id-ce-certificatePolicies (§4.2.1.4).
pub(super) const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 32];
/// id-ce-extKeyUsage (§4.2.1.12).
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

/// What a certificate could not be read for; says nothing of its text.
pub(crate) type Malformed = &'static str;

/// Slices of a certificate.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    /// The INTEGER's content.
    pub(crate) serial: &'a [u8],
    /// The Name with its header.
    pub(crate) issuer: &'a [u8],
    /// Seconds since the epoch.
    pub(crate) not_before: i64,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
    /// The Name with its header.
    pub(crate) subject: &'a [u8],
    /// The SubjectPublicKeyInfo with its header.
    pub(crate) spki: &'a [u8],
    /// What stands within the SEQUENCE OF Extension.
    extensions: &'a [u8],
    /// What follows the certificate.
    pub(crate) rest: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads the DER of one certificate.
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Der(der);
        let mut certificate = outer.expect(SEQUENCE, "it is no SEQUENCE")?;
        let mut tbs = certificate.expect(SEQUENCE, "it has no tbsCertificate")?;
        certificate.expect(SEQUENCE, "it has no signatureAlgorithm")?;
        certificate.expect(BIT_STRING, "it has no signature")?;
        certificate.end("something follows its signature")?;

        if tbs.next_tag() == Some(VERSION) {
            tbs.expect(VERSION, "its version is malformed")?;
        }
        let serial = tbs.expect(INTEGER, "it has no serial number")?.0;
        tbs.expect(SEQUENCE, "it has no signature algorithm")?;
        let issuer = tbs.whole(SEQUENCE, "it has no issuer")?;
        let mut validity = tbs.expect(SEQUENCE, "it has no validity")?;
        let not_before = validity.time().ok_or("its notBefore is malformed")?;
        let not_after = validity.time().ok_or("its notAfter is malformed")?;
        validity.end("its validity is malformed")?;
        let subject = tbs.whole(SEQUENCE, "it has no subject")?;
        let spki = tbs.whole(SEQUENCE, "it has no public key")?;
        for unique_id in [ISSUER_UNIQUE_ID, SUBJECT_UNIQUE_ID] {
            if tbs.next_tag() == Some(unique_id) {
                tbs.expect(unique_id, "a unique identifier is malformed")?;
            }
        }
        let mut extensions = Der(&[]);
        if tbs.next_tag() == Some(EXTENSIONS) {
            let mut explicit = tbs.expect(EXTENSIONS, "its extensions are malformed")?;
            extensions = explicit.expect(SEQUENCE, "its extensions are malformed")?;
            explicit.end("its extensions are malformed")?;
        }
        tbs.end("something follows its extensions")?;
        let (extensions, rest) = (extensions.0, outer.0);
        Ok(Self { serial, issuer, not_before, not_after, subject, spki, extensions, rest })
    }

    /// The first byte of keyUsage's bits, from digitalSignature (0x80) to cRLSign (0x02) and
    /// encipherOnly; `None` without the extension, which allows everything.
    pub(crate) fn key_usage(&self) -> Result<Option<u8>, Malformed> {
        const MALFORMED: Malformed = "its key usage is malformed";
        let [Some(value)] = self.values_of([KEY_USAGE])? else { return Ok(None) };
        let mut value = Der(value);
        let bits = value.expect(BIT_STRING, MALFORMED)?;
        value.end(MALFORMED)?;
        match bits.0 {
            [unused, bits @ ..] if *unused < 8 => Ok(Some(bits.first().copied().unwrap_or(0))),
            _ => Err(MALFORMED),
        }
    }

    /// The values of extensions, found in one pass; an error if one of them stands there twice
    /// (RFC 5280 §4.2).
    pub(super) fn values_of<const COUNT: usize>(
        &self,
        wanted: [&[u8]; COUNT],
    ) -> Result<[Option<&'a [u8]>; COUNT], Malformed> {
        const MALFORMED: Malformed = "an extension is malformed";
        let mut found = [None; COUNT];
        let mut extensions = Der(self.extensions);
        while !extensions.0.is_empty() {
            let mut extension = extensions.expect(SEQUENCE, MALFORMED)?;
            let oid = extension.expect(OBJECT_IDENTIFIER, MALFORMED)?;
            if extension.next_tag() == Some(BOOLEAN) {
                extension.expect(BOOLEAN, MALFORMED)?;
            }
            let value = extension.expect(OCTET_STRING, MALFORMED)?;
            extension.end(MALFORMED)?;
            for (wanted, found) in wanted.iter().zip(&mut found) {
                if oid.0 == *wanted && found.replace(value.0).is_some() {
                    return Err("an extension stands in it twice");
                }
            }
        }
        Ok(found)
    }
}

/// DER not read yet (X.690): definite lengths, of at most four bytes, in the fewest bytes.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn next_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which is to be of this tag.
    pub(super) fn expect(&mut self, tag: u8, otherwise: Malformed) -> Result<Self, Malformed> {
        match self.element() {
            Some((found, content, _)) if found == tag => Ok(Self(content)),
            _ => Err(otherwise),
        }
    }

    /// As [`Self::expect`], with its header.
    pub(super) fn whole(&mut self, tag: u8, otherwise: Malformed) -> Result<&'a [u8], Malformed> {
        match self.element() {
            Some((found, _, whole)) if found == tag => Ok(whole),
            _ => Err(otherwise),
        }
    }

    pub(super) fn end(&self, otherwise: Malformed) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(otherwise) }
    }

    /// Tag, content, and both with the length between them. Tags of more than a byte do not occur.
    fn element(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, after_tag) = self.0.split_first()?;
        let (&first, after_first) = after_tag.split_first()?;
        let (length, header) = match first {
            0..=0x7f => (usize::from(first), 2),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let bytes = after_first.get(..count)?;
                let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                let fewest = length >= 0x80 && bytes[0] != 0;
                if tag & 0x1f == 0x1f || !fewest {
                    return None;
                }
                (length, 2 + count)
            }
            _ => return None,
        };
        let whole = self.0.get(..header.checked_add(length)?)?;
        self.0 = &self.0[whole.len()..];
        Some((tag, &whole[header..], whole))
    }

    /// UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them: to the second, in UTC.
    fn time(&mut self) -> Option<i64> {
        let (tag, text, _) = self.element()?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = digits(text, 2)?;
                // §4.1.2.5.1: 50 and above are of the twentieth century.
                (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
            }
            GENERALIZED_TIME => digits(text, 4)?,
            _ => return None,
        };
        let (month, rest) = digits(rest, 2)?;
        let (day, rest) = digits(rest, 2)?;
        let (hour, rest) = digits(rest, 2)?;
        let (minute, rest) = digits(rest, 2)?;
        let (second, rest) = digits(rest, 2)?;
        let valid = rest == b"Z"
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        valid.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
    }
}

fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let number = digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })?;
    Some((number, rest))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March end in the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "edge");
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    /// Every field that both know, beside another parser.
    #[track_caller]
    fn agrees_with_x509_parser(der: &[u8]) {
        let (_, theirs) = X509Certificate::from_der(der).unwrap();
        let ours = Certificate::read(der).unwrap();
        assert_eq!(ours.serial, theirs.raw_serial());
        assert_eq!(ours.issuer, theirs.issuer().as_raw());
        assert_eq!(ours.subject, theirs.subject().as_raw());
        assert_eq!(ours.spki, theirs.public_key().raw);
        assert_eq!(ours.not_before, theirs.validity().not_before.timestamp());
        assert_eq!(ours.not_after, theirs.validity().not_after.timestamp());
        let usage = theirs.key_usage().unwrap().map(|usage| usage.value);
        let ours = ours.key_usage().unwrap();
        assert_eq!(ours.is_some(), usage.is_some());
        if let (Some(ours), Some(theirs)) = (ours, usage) {
            assert_eq!(ours & 0x80 != 0, theirs.digital_signature());
            assert_eq!(ours & 0x04 != 0, theirs.key_cert_sign());
        }
    }

    #[test]
    fn fields_are_those_that_another_parser_finds() {
        agrees_with_x509_parser(&certificate(|_| {}));
        for usage in [
            vec![KeyUsagePurpose::DigitalSignature],
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::DecipherOnly],
        ] {
            agrees_with_x509_parser(&certificate(|parameters| parameters.key_usages = usage));
        }
    }

    #[test]
    fn times_of_both_kinds_are_read_to_the_second() {
        for (year, month, day) in
            [(1950, 1, 1), (1970, 1, 1), (2000, 2, 29), (2026, 11, 22), (2049, 12, 31)]
        {
            for far in [(2050, 1, 1), (2100, 3, 1), (2400, 2, 29), (9999, 12, 31)] {
                agrees_with_x509_parser(&certificate(|parameters| {
                    parameters.not_before = rcgen::date_time_ymd(year, month, day);
                    parameters.not_after = rcgen::date_time_ymd(far.0, far.1, far.2);
                }));
            }
        }
    }

    #[test]
    fn what_is_cut_or_damaged_never_panics() {
        let der = certificate(|parameters| {
            parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        for length in 0..der.len() {
            assert!(Certificate::read(&der[..length]).is_err());
        }
        for index in 0..der.len() {
            for value in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = der.clone();
                damaged[index] = value;
                if let Ok(certificate) = Certificate::read(&damaged) {
                    let _ = (certificate.key_usage(), certificate.values_of([SUBJECT_ALT_NAME]));
                }
            }
        }
    }
}
