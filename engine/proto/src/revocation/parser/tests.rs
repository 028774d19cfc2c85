use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData,
    RevocationReason as Reason, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::revocation::tests::forge::{Forge, der, extension, point};
use crate::revocation::{ListReader, ReadError, RevocationList};

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// A list with so many entries, in PEM and in DER.
fn list(key: &KeyPair, entries: u64) -> (String, Vec<u8>) {
    let reasons = [None, Some(Reason::KeyCompromise), Some(Reason::Superseded)];
    let entry = |number: u64| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&(number * 0x0123_4567_89ab).to_be_bytes()[2..]),
        revocation_time: date_time_ymd(2024, 6, 17),
        reason_code: reasons[(number % 3) as usize],
        invalidity_date: number.is_multiple_of(5).then(|| date_time_ymd(2023, 1, 2)),
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 6, 18),
        next_update: date_time_ymd(2052, 6, 18),
        crl_number: SerialNumber::from(0x1234_u64),
        issuing_distribution_point: None,
        revoked_certs: (1..=entries).map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name.push(rcgen::DnType::OrganizationName, "Lists & more");
    let signed = params.signed_by(&Issuer::new(issuer, key)).unwrap();
    (signed.pem().unwrap(), signed.der().to_vec())
}

fn read(bytes: &[u8], chunk: usize) -> Result<Vec<RevocationList>, ReadError> {
    let mut reader = ListReader::new(bytes.len() as u64);
    bytes.chunks(chunk).try_for_each(|chunk| reader.push(chunk))?;
    reader.finish()
}

/// The one problem of a list.
#[track_caller]
fn problem(bytes: &[u8]) -> String {
    read(bytes, 1_000).unwrap_err().to_string()
}

#[test]
fn what_is_read_is_what_another_parser_reads_however_it_comes() {
    let key = key(&PKCS_ECDSA_P256_SHA256);
    for entries in [0, 1, 2, 300] {
        let (pem, der) = list(&key, entries);
        let (_, theirs) = CertificateRevocationList::from_der(&der).unwrap();
        for chunk in [1, 7, 64, 1_000_000] {
            let ours = read(&der, chunk).unwrap().remove(0);
            assert_eq!(ours.issuer(), theirs.issuer().as_raw());
            assert_eq!(ours.this_update(), theirs.last_update().timestamp());
            assert_eq!(ours.next_update(), theirs.next_update().unwrap().timestamp());
            assert_eq!(ours.number().unwrap().to_string(), "4660");
            assert_eq!(ours.der_bytes(), der.len() as u64);
            assert_eq!(ours.entries(), theirs.iter_revoked_certificates().count());
            for revoked in theirs.iter_revoked_certificates() {
                let reason = revoked.reason_code().map_or(0, |(_, reason)| reason.0);
                let found: Vec<_> = ours.serials.find(revoked.raw_serial()).reasons().collect();
                assert_eq!(found, [reason]);
            }
            assert!(ours.is_signed_by(&key.subject_public_key_info()));
            let from_pem = read(pem.as_bytes(), chunk).unwrap().remove(0);
            assert!(from_pem.is_same(&ours));
        }
    }
}

#[test]
fn every_kind_of_signature_is_verified_with_its_own_key_alone() {
    let kinds = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256];
    let keys = kinds.map(key);
    for (index, key) in keys.iter().enumerate() {
        let (_, mut der) = list(key, 20);
        let ours = read(&der, 100).unwrap().remove(0);
        for (other, key) in keys.iter().enumerate() {
            let spki = key.subject_public_key_info();
            assert_eq!(ours.is_signed_by(&spki), index == other);
        }
        // The last byte of the last entry's or the issuer's text: still a list, and signed by nobody.
        let at = der.windows(5).position(|window| window == b"Lists").unwrap();
        der[at] = b'l';
        let damaged = read(&der, 100).unwrap().remove(0);
        assert!(!damaged.is_signed_by(&key.subject_public_key_info()));
    }
}

#[test]
fn a_pem_file_may_hold_several_lists_and_text() {
    let key = key(&PKCS_ECDSA_P256_SHA256);
    let (one, _) = list(&key, 1);
    let (two, _) = list(&key, 2);
    let both =
        format!("Certificate Revocation List (CRL):\r\n{}\nand\n{two}", one.replace('\n', "\r\n"));
    let counts = |text: &str| {
        let lists = read(text.as_bytes(), 11)?;
        Ok(lists.iter().map(RevocationList::entries).collect::<Vec<_>>())
    };
    assert_eq!(counts(&both), Ok(vec![1, 2]));
    assert_eq!(counts(both.trim_end()), Ok(vec![1, 2]));
    let cut = both.rsplit_once("-----END").unwrap().0;
    assert!(matches!(counts(cut), Err(ReadError::Unfinished { .. })));
    assert!(matches!(counts(&both.replacen("MI", "M!", 1)), Err(ReadError::Base64 { line: 3 })));
    assert_eq!(counts(""), Err(ReadError::Nothing));
    assert_eq!(counts(&"x".repeat(200_000)), Err(ReadError::Nothing));
}

#[test]
fn what_would_be_misunderstood_is_an_error_with_its_place() {
    let key = key(&PKCS_ECDSA_P256_SHA256);
    let plain = || Forge::new("ca", 1, 0);
    let attribute_list = || der(0x30, &[0x81, 1, 0xff]);
    let issuer_of_entry = der(0x30, &extension(29, true, &[0x30, 0]));
    let reason_seven = der(0x30, &extension(21, false, &[0x0a, 1, 7]));
    let date = der(0x17, b"200101000000Z");
    let entry = |tail: &[u8]| [&der(2, &[9])[..], &date, tail].concat();
    for (forge, expected) in [
        (plain().only(&[0x84, 1, 0xff]), "indirect CRL"),
        (plain().entry(&entry(&issuer_of_entry)), "indirect CRL"),
        (plain().only(&der(0x83, &[1, 0x40])), "onlySomeReasons"),
        (plain().only(&[0x81, 1, 0xff, 0x82, 1, 0xff]), "contradicts itself"),
        (plain().only(&der(0xa0, &der(0xa1, &[0x31, 0]))), "relative to the issuer"),
        (plain().only(&der(0xa0, &der(0xa0, &[]))), "malformed"),
        (plain().with(extension(99, true, &attribute_list())), "2.5.29.99"),
        (plain().with(extension(20, false, &[2, 1, 2])), "twice"),
        (plain().revoke_for(&[1], 8), "no delta"),
        (plain().entry(&entry(&reason_seven)), "unknown reason 7"),
        (plain().entry(&date), "no serial number"),
        (plain().revoke(&[1; 25]), "25 bytes"),
        (plain().revoke(&[]), "0 bytes"),
        (Forge { version: Some(2), ..plain() }, "unknown version"),
        (Forge { version: None, ..plain() }, "version 1"),
        (Forge { next_update: None, ..plain() }, "no nextUpdate"),
        (
            Forge { extensions: vec![extension(27, true, &[2, 1, 1])], ..plain() },
            "without a CRL number",
        ),
    ] {
        let problem = problem(&forge.sign(&key));
        assert!(
            problem.starts_with("byte ") && problem.contains(expected),
            "{expected}: {problem}"
        );
    }
    let good = Forge { version: None, extensions: Vec::new(), ..plain() }.revoke(&[5]);
    assert_eq!(read(&good.sign(&key), 9).unwrap()[0].number(), None);
    // Extensions that are not critical, and not known, say nothing that matters.
    let good = plain().with(extension(46, false, &point("x"))).sign(&key);
    assert!(read(&good, 9).is_ok());
    assert!(problem(&[&good[..], &[0]].concat()).contains("something follows the list"));
}

#[test]
fn what_is_cut_or_damaged_never_panics() {
    let key = key(&PKCS_ECDSA_P256_SHA256);
    let (pem, der) = list(&key, 5);
    for bytes in [der, pem.into_bytes()] {
        for length in 0..bytes.len() - 30 {
            assert!(read(&bytes[..length], 50).is_err(), "{length}");
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..40_000 {
            let mut damaged = bytes.clone();
            for _ in 0..=next() % 3 {
                let at = (next() as usize) % damaged.len();
                damaged[at] = [0, 0x7f, 0x80, 0x84, 0xff, next() as u8][(next() % 6) as usize];
            }
            if let Ok(lists) = read(&damaged, 1 + (next() as usize) % 200) {
                let _ = lists[0].is_signed_by(&key.subject_public_key_info());
            }
        }
    }
}

#[test]
fn a_length_that_lies_makes_no_room() {
    // SEQUENCE of 2 GiB, with entries to match, of which nothing comes.
    let mut bytes = vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xf0];
    bytes.extend([0x30, 0x84, 0x7f, 0xff, 0xff, 0x00, 2, 1, 1]);
    bytes.extend(der(0x30, &der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])));
    bytes.extend([0x30, 0]);
    bytes.extend(der(0x17, b"200101000000Z"));
    bytes.extend(der(0x17, b"300101000000Z"));
    bytes.extend([0x30, 0x84, 0x7f, 0xff, 0x00, 0x00]);
    bytes.extend(der(0x30, &[der(2, &[7]), der(0x17, b"200101000000Z")].concat()));
    assert!(problem(&bytes).contains("ends in the middle"));
    assert!(problem(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).contains("larger than"));
}
