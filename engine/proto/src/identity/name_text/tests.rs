use rcgen::string::TeletexString;
use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

use super::super::ClientIdentity;
use super::*;

fn canonical(text: &str) -> String {
    canonical_name(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_an_identity_gives_is_canonical() {
    let mut parameters = CertificateParams::default();
    let name = &mut parameters.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    name.push(DnType::CountryName, "CH");
    name.push(DnType::OrganizationName, " #a,O=Bank+\"\\<>; ");
    name.push(DnType::OrganizationalUnitName, "#1\r\n\0\u{202e}\u{1d11e}");
    name.push(
        DnType::LocalityName,
        DnValue::TeletexString(TeletexString::try_from("Zug").expect("T.61")),
    );
    name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999, 1]), "custom");
    name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "a=b");
    name.push(DnType::CommonName, "ü\\2C");
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let identity = ClientIdentity::parse(certificate.der()).expect("an identity");
    let issuer = identity.issuer();
    assert!(issuer.contains("1.3.6.1.4.1.99999.1=#0c06637573746f6d"), "{issuer}");
    assert_eq!(canonical(issuer), issuer);
}

#[test]
fn other_ways_to_write_a_name_come_to_the_same() {
    for text in [
        r"CN=a\,b,O=\#1,STREET=\ x\ +ST=ü",
        r"cn=a\2Cb,o=\231,street=\20x\20+st=\C3\BC",
        r"2.5.4.3=a\2cb,2.5.4.10=\#1,2.5.4.9=\ x\20+S=\c3\bc",
    ] {
        // A type given by its number has its value in hex.
        let text = text.replace("2.5.4.3=a\\2cb", "2.5.4.3=#0c03612c62");
        assert_eq!(canonical(&text), r"CN=a\,b,O=\#1,ST=ü+STREET=\ x\ ");
    }
    assert_eq!(canonical("GN=a,E=b"), "givenName=a,emailAddress=b");
    assert_eq!(canonical("1.2.3=#0C0161"), "1.2.3=#0c0161", "nobody knows what the value means");
    assert_eq!(canonical("C=#020101"), "C=#020101", "it is no string");
    assert_eq!(canonical("O="), "O=", "an empty value is a value");
    assert_eq!(canonical("O=a\u{202e}b"), r"O=a\E2\80\AEb");
}

#[test]
fn what_openssl_prints_is_the_name_it_was_printed_of() {
    // OpenSSL 3.0: `openssl x509 -noout -issuer -nameopt RFC2253,-esc_msb`.
    let printed =
        r#"OU=q+CN=p,emailAddress=a@b,GN=Al,O=\ #a\,B\+\"\<\>\;,street=Weg 1,ST=Zürich,C=CH"#;
    let der = include_bytes!("openssl.der");
    let identity = ClientIdentity::parse(der).expect("an identity");
    assert_eq!(canonical(printed), identity.issuer());
}

#[test]
fn what_matches_no_name_is_refused() {
    use NameTextError as E;
    let refused = |text: &str| canonical_name(text).expect_err(text);
    assert_eq!(refused(""), E::Empty);
    assert!(refused("CN=a,O=b, c").to_string().starts_with("` c` is no attribute"));
    assert!(matches!(refused("CN=a,"), E::NoType { .. }));
    for text in ["CN=a, O=b", "C = CH, O = b", "CN= a", "CN=a ", "CN=a ,O=b", " CN=a"] {
        assert_eq!(refused(text), E::Blank, "{text}");
    }
    assert!(refused("C = CH, O = b").to_string().contains("-nameopt RFC2253,-esc_msb"));
    let error = refused("CommonName=a");
    assert!(error.to_string().contains("the names are CN, L, ST, O, OU"), "{error}");
    for text in ["1=a", "01.2=a", "1..2=a", "=a"] {
        assert!(matches!(refused(text), E::UnknownType { .. }), "{text}");
    }
    for text in
        ["1.2.3=a", "1.2.3=#", "CN=#0c", "CN=#0c0161ff", "CN=#+c0161", "CN=#zz", "CN=#0c01612"]
    {
        assert!(matches!(refused(text), E::Encoding { .. }), "{text}");
    }
    for text in ["CN=\"a\"", "CN=a;b", "CN=<a", "CN=a\0"] {
        assert!(matches!(refused(text), E::Unescaped { .. }), "{text}");
    }
    for text in ["CN=\\", "CN=\\x", "CN=\\2", "CN=\\2,"] {
        assert_eq!(refused(text), E::Escape, "{text}");
    }
    assert!(matches!(refused("CN=\\ff"), E::NotUtf8 { .. }));
    assert!(!refused("CN=\\ff\u{1b}").to_string().contains('\u{1b}'));
}

#[test]
fn no_text_panics() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut text = String::from("CN=");
        for _ in 0..8 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text.push_str(
                ["a", "\\", ",", "O=", "#", "0c", "01", "ü", "=", "+", " ", "1.2"]
                    [(random % 12) as usize],
            );
        }
        if let Ok(canonical) = canonical_name(&text) {
            accepted += 1;
            assert_eq!(canonical_name(&canonical), Ok(canonical), "{text}");
        }
    }
    assert!(accepted > 1_000, "only {accepted}");
}
