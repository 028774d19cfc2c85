use rcgen::string::{BmpString, Ia5String, TeletexString};
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType, SerialNumber};

use super::*;

/// A self-signed certificate, changed from rcgen's defaults by `change`.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut parameters);
    let key = KeyPair::generate().expect("a key");
    parameters.self_signed(&key).expect("a certificate").der().to_vec()
}

fn identity(change: impl FnOnce(&mut CertificateParams)) -> ClientIdentity {
    ClientIdentity::parse(&certificate(change)).expect("an identity")
}

fn error(change: impl FnOnce(&mut CertificateParams)) -> IdentityError {
    ClientIdentity::parse(&certificate(change)).expect_err("no identity")
}

fn ia5(text: &str) -> Ia5String {
    Ia5String::try_from(text).expect("ASCII")
}

/// An attribute type rcgen knows under another name: so a subject can have the same type twice.
fn by_oid(oid: &[u64]) -> DnType {
    DnType::CustomDnType(oid.to_vec())
}

/// The SAN extension with these DER entries.
fn alt_names(entries: &[u8]) -> CustomExtension {
    let length = u16::try_from(entries.len()).expect("a short test").to_be_bytes();
    let mut sequence = vec![0x30, 0x82, length[0], length[1]];
    sequence.extend_from_slice(entries);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], sequence)
}

#[test]
fn a_certificate_gives_its_names_and_fingerprints() {
    let der = certificate(|parameters| {
        let name = &mut parameters.distinguished_name;
        name.push(DnType::CountryName, "CH");
        name.push(DnType::OrganizationName, "Example");
        name.push(DnType::OrganizationalUnitName, "Payments");
        name.push(DnType::CommonName, "payments-7");
        parameters.subject_alt_names = vec![
            SanType::DnsName(ia5("Payments-7.example")),
            SanType::URI(ia5("spiffe://example/payments")),
            SanType::Rfc822Name(ia5("ops@example")),
            SanType::IpAddress("192.0.2.7".parse().expect("an address")),
            SanType::IpAddress("2001:db8::7".parse().expect("an address")),
        ];
        parameters.serial_number = Some(SerialNumber::from_slice(&[0xab, 0x00, 0x0f]));
        parameters.not_before = rcgen::date_time_ymd(1970, 1, 2);
        parameters.not_after = rcgen::date_time_ymd(2049, 12, 31);
    });
    let client = ClientIdentity::parse(&der).expect("an identity");

    assert_eq!(client.subject(), "CN=payments-7,OU=Payments,O=Example,C=CH");
    assert_eq!(client.issuer(), client.subject(), "it is self-signed");
    assert_eq!(client.common_names(), ["payments-7"]);
    assert_eq!(client.organizations(), ["Example"]);
    assert_eq!(client.organizational_units(), ["Payments"]);
    assert_eq!(client.dns_names(), ["Payments-7.example"]);
    assert_eq!(client.uris(), ["spiffe://example/payments"]);
    assert_eq!(client.emails(), ["ops@example"]);
    assert_eq!(client.ip_addresses().len(), 2);
    assert_eq!(client.ip_addresses()[1].to_string(), "2001:db8::7");
    assert_eq!(client.serial(), "ab000f", "DER's sign byte is no part of the number");
    assert_eq!(client.not_before(), 86_400);
    assert_eq!(client.not_after(), 2_524_521_600);
    assert_eq!(client.sha256_hex(), hex(digest::digest(&digest::SHA256, &der).as_ref()));
}

#[test]
fn the_spki_fingerprint_names_the_key_and_not_the_certificate() {
    let key = KeyPair::generate().expect("a key");
    let issue =
        || CertificateParams::default().self_signed(&key).expect("a certificate").der().to_vec();
    let (first, second) = (issue(), issue());
    let (first, second) = (ClientIdentity::parse(&first), ClientIdentity::parse(&second));
    let (first, second) = (first.expect("an identity"), second.expect("an identity"));
    assert_ne!(first.sha256(), second.sha256());
    assert_eq!(first.spki_sha256(), second.spki_sha256());
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(first.spki_sha256_hex(), hex(digest::digest(&digest::SHA256, &spki).as_ref()));
}

#[test]
fn every_common_name_is_kept() {
    let client = identity(|parameters| {
        parameters.distinguished_name.push(DnType::CommonName, "first");
        parameters.distinguished_name.push(by_oid(&[2, 5, 4, 3]), "second");
    });
    assert_eq!(client.common_names(), ["first", "second"]);
    assert_eq!(client.subject(), "CN=second,CN=first");
}

#[test]
fn a_subject_cannot_pretend_to_have_other_attributes() {
    let client = identity(|parameters| {
        parameters.distinguished_name.push(DnType::CommonName, " #a,O=Bank+\"\\<>; ");
        parameters.distinguished_name.push(DnType::OrganizationName, "#1");
    });
    assert_eq!(client.subject(), r#"O=\#1,CN=\ #a\,O=Bank\+\"\\\<\>\;\ "#);
    assert_eq!(client.common_names(), [" #a,O=Bank+\"\\<>; "], "for comparing it stays as it is");
}

#[test]
fn nothing_shown_breaks_a_line_or_turns_the_text_around() {
    let name = "a\r\nb\0\u{1b}[2J\u{202e}c\u{85}";
    let client =
        identity(|parameters| parameters.distinguished_name.push(DnType::CommonName, name));
    assert_eq!(client.subject(), r"CN=a\0D\0Ab\00\1B[2J\E2\80\AEc\C2\85");
    assert_eq!(client.common_names(), [name]);
    assert_eq!(Printable(name).to_string(), r"a\u{d}\u{a}b\u{0}\u{1b}[2J\u{202e}c\u{85}");
    assert_eq!(
        Printable(r"a\u{d}").to_string(),
        r"a\\u{d}",
        "text that looks escaped is told apart"
    );
}

#[test]
fn old_string_types_are_read_as_text() {
    let client = identity(|parameters| {
        let name = &mut parameters.distinguished_name;
        name.push(
            DnType::CommonName,
            DnValue::BmpString(BmpString::try_from("Zürich").expect("UCS-2")),
        );
        let teletex = TeletexString::try_from("plain").expect("T.61");
        name.push(DnType::OrganizationName, DnValue::TeletexString(teletex));
    });
    assert_eq!(client.common_names(), ["Zürich"]);
    assert_eq!(client.organizations(), ["plain"]);
}

#[test]
fn unknown_attribute_types_are_shown_by_number_and_value_in_hex() {
    let client = identity(|parameters| {
        parameters.distinguished_name.push(by_oid(&[1, 3, 6, 1, 4, 1, 99999, 1]), "x,");
    });
    assert_eq!(client.subject(), "1.3.6.1.4.1.99999.1=#0c02782c");
    assert!(identity(|_| {}).subject().is_empty());
}

#[test]
fn an_alt_name_that_cannot_be_read_exactly_refuses_the_certificate() {
    let cases: [(&str, &[u8]); 7] = [
        ("a NUL in a dNSName", b"\x82\x05a\0b.c"),
        ("a UTF-8 dNSName", b"\x82\x03\xc3\xbcb"),
        ("an empty dNSName", b"\x82\x00"),
        ("a newline in a URI", b"\x86\x02a\n"),
        ("an address of five bytes", b"\x87\x05\x01\x02\x03\x04\x05"),
        ("a tag without meaning", b"\x89\x01a"),
        ("a class without meaning", b"\x02\x01a"),
    ];
    for (case, entry) in cases {
        let error = error(|parameters| parameters.custom_extensions.push(alt_names(entry)));
        assert!(matches!(error, IdentityError::InvalidAltName { .. }), "{case}: {error}");
    }
    let cut_off = error(|parameters| parameters.custom_extensions.push(alt_names(b"\x82\x09a")));
    assert!(matches!(cut_off, IdentityError::Malformed { .. }), "{cut_off}");
}

#[test]
fn alt_names_of_other_kinds_are_passed_over() {
    // otherName with a UPN, registeredID, then a dNSName.
    let entries = b"\xa0\x11\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03\xa0\x03\x0c\x01a\x88\x01\x2a\x82\x01b";
    let client = identity(|parameters| parameters.custom_extensions.push(alt_names(entries)));
    assert_eq!(client.dns_names(), ["b"]);
    assert!(client.uris().is_empty() && client.emails().is_empty());
}

#[test]
fn everything_has_a_limit() {
    let many = |count: usize| b"\x82\x01a".repeat(count);
    let full =
        identity(|parameters| parameters.custom_extensions.push(alt_names(&many(MAX_ALT_NAMES))));
    assert_eq!(full.dns_names().len(), MAX_ALT_NAMES);
    let over =
        error(|parameters| parameters.custom_extensions.push(alt_names(&many(MAX_ALT_NAMES + 1))));
    assert_eq!(over, IdentityError::TooManyAltNames);

    let long = "a".repeat(MAX_NAME_BYTES + 1);
    let over =
        error(|parameters| parameters.subject_alt_names = vec![SanType::DnsName(ia5(&long))]);
    assert_eq!(over, IdentityError::InvalidAltName { kind: "dNSName", reason: "is too long" });
    let over =
        error(|parameters| parameters.distinguished_name.push(DnType::CommonName, long.as_str()));
    assert_eq!(over, IdentityError::UnreadableAttribute { name: "subject", attribute: "CN" });

    let over = error(|parameters| {
        for number in 0..=MAX_NAME_ATTRIBUTES as u64 {
            parameters.distinguished_name.push(by_oid(&[1, 3, 6, 1, 4, 1, 99999, number]), "x");
        }
    });
    assert_eq!(over, IdentityError::TooManyAttributes { name: "subject" });

    let longest = vec![0; MAX_CERTIFICATE_BYTES + 1];
    let over = ClientIdentity::parse(&longest);
    assert_eq!(over, Err(IdentityError::TooLong { length: MAX_CERTIFICATE_BYTES + 1 }));
}

#[test]
fn two_alt_name_extensions_are_refused() {
    let error = error(|parameters| {
        parameters.custom_extensions.push(alt_names(b"\x82\x01a"));
        parameters.custom_extensions.push(alt_names(b"\x82\x01b"));
    });
    assert!(matches!(error, IdentityError::Malformed { .. }), "{error}");
}

#[test]
fn bytes_after_the_certificate_are_refused() {
    let mut der = certificate(|_| {});
    der.push(0);
    assert_eq!(ClientIdentity::parse(&der), Err(IdentityError::TrailingData { length: 1 }));
}

#[test]
fn damaged_certificates_never_panic_and_never_smuggle_control_characters() {
    let der = certificate(|parameters| {
        parameters.distinguished_name.push(DnType::CommonName, "payments");
        parameters.distinguished_name.push(by_oid(&[1, 3, 6, 1, 4, 1, 99999]), "x");
        parameters.subject_alt_names = vec![
            SanType::DnsName(ia5("payments.example")),
            SanType::URI(ia5("spiffe://example/payments")),
            SanType::IpAddress("192.0.2.7".parse().expect("an address")),
        ];
    });
    for end in 0..der.len() {
        assert!(ClientIdentity::parse(&der[..end]).is_err(), "cut off after {end} bytes");
    }
    for place in 0..der.len() {
        for value in 0..=u8::MAX {
            let mut damaged = der.clone();
            damaged[place] = value;
            if let Ok(client) = ClientIdentity::parse(&damaged) {
                assert!(
                    !client.to_string().contains(char::is_control),
                    "byte {place} set to {value}"
                );
                assert!(
                    !client.dns_names().concat().contains(char::is_control),
                    "byte {place} set to {value}"
                );
            }
        }
    }
}
