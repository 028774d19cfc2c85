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
const KEY_IDENTIFIER: u8 = 0x80;
const PERMITTED_SUBTREES: u8 = 0xa0;
const EXCLUDED_SUBTREES: u8 = 0xa1;

/// id-ce-subjectKeyIdentifier (RFC 5280 §4.2.1.2).
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
/// id-ce-keyUsage (§4.2.1.3).
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
/// id-ce-subjectAltName (§4.2.1.6).
pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
/// id-ce-certificatePolicies (§4.2.1.4).
pub(super) const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 32];
/// id-ce-extKeyUsage (§4.2.1.12).
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
/// id-ce-basicConstraints (§4.2.1.9).
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
/// id-ce-nameConstraints (§4.2.1.10).
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
/// id-ce-authorityKeyIdentifier (§4.2.1.1).
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];

/// id-kp-clientAuth (§4.2.1.12): the content of the OBJECT IDENTIFIER.
pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// anyExtendedKeyUsage (§4.2.1.12): the content of the OBJECT IDENTIFIER.
pub(crate) const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
/// id-ce-cRLDistributionPoints (§4.2.1.13).
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];

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
    /// The INTEGER: 0 is v1, which has no extensions, 2 is v3 (§4.1.2.1).
    pub(crate) version: u8,
    /// What is signed: the tbsCertificate with its header.
    pub(crate) signed: &'a [u8],
    /// The content of the AlgorithmIdentifier beside the signature.
    pub(crate) signature_algorithm: &'a [u8],
    /// The BIT STRING's content, beginning with the count of its unused bits.
    pub(crate) signature: &'a [u8],
    /// What follows the certificate.
    pub(crate) rest: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads the DER of one certificate.
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Der(der);
        let mut certificate = outer.expect(SEQUENCE, "it is no SEQUENCE")?;
        let signed = certificate.whole(SEQUENCE, "it has no tbsCertificate")?;
        let mut tbs = Der(signed).expect(SEQUENCE, "it has no tbsCertificate")?;
        let signature_algorithm = certificate.expect(SEQUENCE, "it has no signatureAlgorithm")?.0;
        let signature = certificate.expect(BIT_STRING, "it has no signature")?.0;
        certificate.end("something follows its signature")?;

        let version = tbs.version()?;
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
        Ok(Self {
            serial,
            issuer,
            not_before,
            not_after,
            subject,
            spki,
            extensions: extensions.0,
            version,
            signed,
            signature_algorithm,
            signature,
            rest: outer.0,
        })
    }

    /// The value of the cRLDistributionPoints extension.
    pub(crate) fn crl_distribution_points(&self) -> Result<Option<&'a [u8]>, Malformed> {
        self.extension(CRL_DISTRIBUTION_POINTS)
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

    /// What it calls its own key; a hint, and nothing where it cannot be read.
    pub(crate) fn subject_key_id(&self) -> Option<&'a [u8]> {
        let value = self.extension(SUBJECT_KEY_IDENTIFIER).ok()??;
        Some(Der(value).expect(OCTET_STRING, "").ok()?.0)
    }

    /// What it calls its issuer's key; a hint, and nothing where it cannot be read.
    pub(crate) fn authority_key_id(&self) -> Option<&'a [u8]> {
        let value = self.extension(AUTHORITY_KEY_IDENTIFIER).ok()??;
        let mut content = Der(value).expect(SEQUENCE, "").ok()?;
        Some(content.expect(KEY_IDENTIFIER, "").ok()?.0)
    }

    /// What basicConstraints says; `None` without the extension.
    pub(crate) fn basic_constraints(&self) -> Result<Option<BasicConstraints>, Malformed> {
        const MALFORMED: Malformed = "its basic constraints are malformed";
        let Some(value) = self.extension(BASIC_CONSTRAINTS)? else { return Ok(None) };
        let mut value = Der(value);
        let mut constraints = value.expect(SEQUENCE, MALFORMED)?;
        value.end(MALFORMED)?;
        let mut is_ca = false;
        if constraints.next_tag() == Some(BOOLEAN) {
            is_ca = constraints.expect(BOOLEAN, MALFORMED)?.0 == [0xff];
        }
        let mut path_len = None;
        if constraints.next_tag() == Some(INTEGER) {
            path_len = Some(match constraints.expect(INTEGER, MALFORMED)?.0 {
                bytes @ [0..0x80, ..] if bytes.len() <= 4 => {
                    bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
                }
                // No path is as long as that.
                [0..0x80, ..] => usize::MAX,
                _ => return Err(MALFORMED),
            });
        }
        constraints.end(MALFORMED)?;
        Ok(Some(BasicConstraints { is_ca, path_len }))
    }

    /// Which purposes of a TLS client the extended key usage names; `None` without the extension,
    /// which allows everything.
    pub(crate) fn purposes(&self) -> Result<Option<Purposes>, Malformed> {
        const MALFORMED: Malformed = "its extended key usage is malformed";
        let Some(value) = self.extension(EXTENDED_KEY_USAGE)? else { return Ok(None) };
        let mut value = Der(value);
        let mut list = value.expect(SEQUENCE, MALFORMED)?;
        value.end(MALFORMED)?;
        let mut purposes = Purposes::default();
        while !list.0.is_empty() {
            let purpose = list.expect(OBJECT_IDENTIFIER, MALFORMED)?.0;
            purposes.client_auth |= purpose == CLIENT_AUTH;
            purposes.any |= purpose == ANY_EXTENDED_KEY_USAGE;
        }
        Ok(Some(purposes))
    }

    /// What the name constraints speak of; nothing without the extension.
    pub(crate) fn name_constraints(&self) -> Result<NameConstraints, Malformed> {
        const MALFORMED: Malformed = "its name constraints are malformed";
        let mut found = NameConstraints::default();
        let Some(value) = self.extension(NAME_CONSTRAINTS)? else { return Ok(found) };
        let mut value = Der(value);
        let mut constraints = value.expect(SEQUENCE, MALFORMED)?;
        value.end(MALFORMED)?;
        for subtrees in [PERMITTED_SUBTREES, EXCLUDED_SUBTREES] {
            if constraints.next_tag() != Some(subtrees) {
                continue;
            }
            let mut subtrees = constraints.expect(subtrees, MALFORMED)?;
            while !subtrees.0.is_empty() {
                let base = subtrees.expect(SEQUENCE, MALFORMED)?;
                found.kinds.add(base.next_tag().ok_or(MALFORMED)?);
                found.subtrees += 1;
            }
        }
        constraints.end(MALFORMED)?;
        Ok(found)
    }

    /// What kinds of names stand in the subjectAltName extension, and how many.
    pub(crate) fn alt_names(&self) -> Result<AltNames, Malformed> {
        const MALFORMED: Malformed = "its alternative names are malformed";
        let mut found = AltNames::default();
        let Some(value) = self.extension(SUBJECT_ALT_NAME)? else { return Ok(found) };
        let mut names = Der(value).expect(SEQUENCE, MALFORMED)?;
        while let Some((tag, _, _)) = names.element() {
            found.kinds.add(tag);
            found.count += 1;
        }
        names.end(MALFORMED)?;
        Ok(found)
    }

    /// The value of an extension; an error if it stands there twice (RFC 5280 §4.2).
    pub(crate) fn extension(&self, wanted: &[u8]) -> Result<Option<&'a [u8]>, Malformed> {
        let [value] = self.values_of([wanted])?;
        Ok(value)
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

/// basicConstraints (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) is_ca: bool,
    /// CA certificates that may follow on a path, those not counted that are self-issued.
    pub(crate) path_len: Option<usize>,
}

/// What an extended key usage names of what concerns a TLS client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Purposes {
    pub(crate) client_auth: bool,
    pub(crate) any: bool,
}

/// What name constraints speak of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NameConstraints {
    pub(crate) kinds: NameKinds,
    /// Permitted and excluded ones.
    pub(crate) subtrees: usize,
}

/// The names in a subjectAltName.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AltNames {
    pub(crate) kinds: NameKinds,
    pub(crate) count: usize,
}

/// A set of the kinds of a GeneralName (RFC 5280 §4.2.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameKinds(u16);

impl NameKinds {
    pub(crate) const EMAIL: Self = Self(1 << 1);
    pub(crate) const DIRECTORY: Self = Self(1 << 4);
    pub(crate) const URI: Self = Self(1 << 6);
    /// otherName, x400Address, ediPartyName and registeredID.
    pub(crate) const RARE: Self = Self(1 | 1 << 3 | 1 << 5 | 1 << 8);

    fn add(&mut self, tag: u8) {
        self.0 |= 1 << (tag & 0x0f);
    }

    pub(crate) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The algorithm (the AlgorithmIdentifier's content) and the key of a SubjectPublicKeyInfo with its
/// header (RFC 5280 §4.1.2.7).
pub(crate) fn public_key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut info = Der(spki).expect(SEQUENCE, "").ok()?;
    let algorithm = info.expect(SEQUENCE, "").ok()?.0;
    let key = info.expect(BIT_STRING, "").ok()?.0;
    Some((algorithm, key.strip_prefix(&[0])?))
}

/// DER not read yet (X.690): definite lengths, of at most four bytes, in the fewest bytes.
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

impl<'a> Der<'a> {
    pub(crate) fn next_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which is to be of this tag.
    pub(crate) fn expect(&mut self, tag: u8, otherwise: Malformed) -> Result<Self, Malformed> {
        match self.element() {
            Some((found, content, _)) if found == tag => Ok(Self(content)),
            _ => Err(otherwise),
        }
    }

    /// As [`Self::expect`], with its header.
    pub(crate) fn whole(&mut self, tag: u8, otherwise: Malformed) -> Result<&'a [u8], Malformed> {
        match self.element() {
            Some((found, _, whole)) if found == tag => Ok(whole),
            _ => Err(otherwise),
        }
    }

    pub(crate) fn end(&self, otherwise: Malformed) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(otherwise) }
    }

    /// Tag, content, and both with the length between them. Tags of more than a byte do not occur.
    pub(crate) fn element(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
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

    /// The version of a tbsCertificate; v1 where none stands there (RFC 5280 §4.1.2.1).
    fn version(&mut self) -> Result<u8, Malformed> {
        const MALFORMED: Malformed = "its version is malformed";
        if self.next_tag() != Some(VERSION) {
            return Ok(0);
        }
        let mut explicit = self.expect(VERSION, MALFORMED)?;
        match *explicit.expect(INTEGER, MALFORMED)?.0 {
            [version] => explicit.end(MALFORMED).map(|()| version),
            _ => Err(MALFORMED),
        }
    }

    /// UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them: to the second, in UTC.
    pub(crate) fn time(&mut self) -> Option<i64> {
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
    use rcgen::BasicConstraints::{Constrained, Unconstrained};
    use rcgen::{
        CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
        KeyUsagePurpose,
    };
    use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

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
        let (_, theirs) = X509Certificate::from_der(der).unwrap();
        let ours = Certificate::read(der).unwrap();
        assert_eq!(u32::from(ours.version), theirs.version().0);
        assert_eq!(ours.signed, theirs.tbs_certificate.as_ref());
        assert_eq!(ours.signature[1..], *theirs.signature_value.data);
        assert_eq!(public_key(ours.spki).unwrap().1, &*theirs.public_key().subject_public_key.data);
        let constraints = theirs.basic_constraints().unwrap().map(|found| BasicConstraints {
            is_ca: found.value.ca,
            path_len: found.value.path_len_constraint.map(|length| length as usize),
        });
        assert_eq!(ours.basic_constraints().unwrap(), constraints);
        let purposes = theirs
            .extended_key_usage()
            .unwrap()
            .map(|found| Purposes { client_auth: found.value.client_auth, any: found.value.any });
        assert_eq!(ours.purposes().unwrap(), purposes);
        let names = theirs.subject_alternative_name().unwrap();
        let count = names.map_or(0, |names| names.value.general_names.len());
        assert_eq!(ours.alt_names().unwrap().count, count);
        let subtrees = theirs.name_constraints().unwrap().map_or(0, |found| {
            let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
            count(&found.value.permitted_subtrees) + count(&found.value.excluded_subtrees)
        });
        assert_eq!(ours.name_constraints().unwrap().subtrees, subtrees);
        for extension in theirs.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    assert_eq!(ours.subject_key_id(), Some(id.0));
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    let id = id.key_identifier.as_ref().map(|id| id.0);
                    assert_eq!(ours.authority_key_id(), id);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn extensions_are_those_that_another_parser_finds() {
        for path_len in [None, Some(0), Some(1), Some(127), Some(255)] {
            let limit = path_len.map_or(Unconstrained, Constrained);
            agrees_with_x509_parser(&certificate(|parameters| {
                parameters.is_ca = IsCa::Ca(limit);
                parameters.use_authority_key_identifier_extension = true;
                parameters.name_constraints = Some(rcgen::NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("a".into())],
                    excluded_subtrees: vec![
                        GeneralSubtree::DnsName("b".into()),
                        GeneralSubtree::Rfc822Name("c".into()),
                    ],
                });
            }));
        }
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        for purposes in [vec![ClientAuth], vec![ServerAuth, Any], vec![ServerAuth]] {
            agrees_with_x509_parser(&certificate(|parameters| {
                parameters.is_ca = IsCa::ExplicitNoCa;
                parameters.extended_key_usages = purposes;
            }));
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
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            parameters.is_ca = IsCa::Ca(Constrained(1));
            parameters.use_authority_key_identifier_extension = true;
            parameters.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("a".into())],
                excluded_subtrees: vec![],
            });
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
                    let _ = (certificate.key_usage(), certificate.alt_names());
                    let _ = (certificate.basic_constraints(), certificate.purposes());
                    let _ = (certificate.name_constraints(), public_key(certificate.spki));
                    let _ = (certificate.subject_key_id(), certificate.authority_key_id());
                }
            }
        }
    }
}
