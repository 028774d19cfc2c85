//! The Public Key Interoperability Test Suite of NIST (2011): certificates for each step of path validation.
//!
//! Sections 4.1 to 4.4 whole (4.4 is revocation: each path with the lists that say the rest); of 4.5, 4.6,
//! 4.7, 4.13 and 4.16 what concerns paths of TLS clients. Where the engine's verdict is another than the
//! suite's, [`DIVERGENCES`] says why, and the test holds that table to the letter.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::revocation::{
    ListReader, ListSet, RevocationFeed, RevocationList, RevocationMemory, RevocationPolicy,
    Revocations,
};
use countersign_proto::{ChainLimits, TrustDomain};
use rustls_pki_types::{CertificateDer, UnixTime};

use self::vectors::{Says, VECTORS, Vector};

mod vectors;

/// 2025-06-15: the certificates are valid from 2010 to 2030.
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_750_000_000));

const DSA: &str = "DSA is not accepted, and RFC 9846 knows no scheme for it";
const NAMES: &str = "names are compared byte by byte (webpki), not by RFC 5280 §7.1: white space, case and encoding count";
const BEFORE_1970: &str = "a date before 1970 is not accepted (webpki)";
const UNIQUE_IDS: &str =
    "unique identifiers are not accepted (webpki); RFC 5280 §4.1.2.8 forbids CAs to write them";
const CA_AS_CLIENT: &str = "a CA's certificate is not accepted as a client's (webpki)";
const SELF_ISSUED: &str = "an intermediate's path length counts self-issued certificates too (webpki), against RFC 5280 §4.2.1.9";
const DIRECTORY: &str = "constraints on directory names are refused and not processed (webpki); the engine warns at load";
const EMAIL: &str = "constraints on email addresses are refused where a certificate has one, and not processed (webpki)";
const URI: &str =
    "constraints on URIs are refused where a certificate has one, and not processed (webpki)";

/// Valid, and refused. There is none that is invalid and accepted.
const DIVERGENCES: &[(&str, &str)] = &[
    ("4.1.4", DSA),
    ("4.1.5", DSA),
    ("4.2.3", BEFORE_1970),
    ("4.3.3", NAMES),
    ("4.3.4", NAMES),
    ("4.3.5", NAMES),
    ("4.3.6", UNIQUE_IDS),
    ("4.3.10", NAMES),
    ("4.3.11", NAMES),
    ("4.6.8", CA_AS_CLIENT),
    ("4.6.14", CA_AS_CLIENT),
    ("4.6.15", SELF_ISSUED),
    ("4.6.17", SELF_ISSUED),
    ("4.13.1", DIRECTORY),
    ("4.13.4", DIRECTORY),
    ("4.13.5", DIRECTORY),
    ("4.13.6", DIRECTORY),
    ("4.13.21", EMAIL),
    ("4.13.23", EMAIL),
    ("4.13.25", EMAIL),
    ("4.13.34", URI),
    ("4.13.36", URI),
];

#[test]
fn every_verdict_is_the_suites_or_a_divergence_that_is_explained() {
    let domain = domain();
    let (mut otherwise, mut said) = (Vec::new(), Vec::new());
    for vector in VECTORS.iter().filter(|vector| !vector.says.is_for_revocation()) {
        let verdict = domain.verify(&vector.chain(), NOW);
        if verdict.is_ok() == (vector.says == Says::Valid) {
            continue;
        }
        let refusal = verdict.err();
        assert!(refusal.is_some(), "{} is invalid and was let in", vector.number);
        said.extend(refusal.map(|error| format!("{}: {error}", vector.number)));
        otherwise.push(vector.number);
    }
    let explained: Vec<_> = DIVERGENCES.iter().map(|(number, _)| *number).collect();
    assert_eq!(otherwise, explained, "what differs, and what is explained: {said:#?}");
}

#[test]
fn the_order_of_certificates_and_those_that_do_not_belong_there_change_nothing() {
    let domain = domain();
    let extra = ["GoodCACert", "TrustAnchorRootCertificate", "BadSignedCACert", "UIDCACert"];
    for vector in VECTORS {
        let mut chain = vector.chain();
        let plain = domain.verify(&chain, NOW).is_ok();
        chain[1..].reverse();
        chain.extend(extra.iter().chain(&extra[..1]).map(|name| certificate(name)));
        assert_eq!(domain.verify(&chain, NOW).is_ok(), plain, "{}", vector.number);
    }
}

/// But for revocation these are real paths: whatever refuses them must have read the lists.
#[test]
fn the_paths_of_the_section_on_revocation_hold() {
    let domain = domain();
    for vector in VECTORS.iter().filter(|vector| vector.number.starts_with("4.4.")) {
        let verdict = domain.verify(&vector.chain(), NOW);
        assert!(verdict.is_ok(), "{}: {}", vector.number, verdict.unwrap_err());
        for name in vector.lists {
            let der = read("crls", &format!("{name}.crl"));
            assert_eq!(der[0], 0x30, "{}: {name}", vector.number);
        }
    }
}

/// Valid with its lists, and refused.
const DIVERGENCES_BY_LISTS: &[(&str, &str)] = &[(
    "4.4.19",
    "a list counts only if the key that signed the certificate has signed it too: whoever has another key of a CA's name must not take back what that key has signed",
)];

#[test]
fn revocation_says_what_the_suite_says_or_a_divergence_that_is_explained() {
    let (mut otherwise, mut said) = (Vec::new(), Vec::new());
    for vector in VECTORS.iter().filter(|vector| vector.says.is_for_revocation()) {
        // A list that cannot be read is none.
        let lists = vector.lists.iter().filter_map(|name| list(name)).map(Arc::new);
        let revocations = Revocations {
            generation: 1,
            live: Some(ListSet::new(lists, RevocationPolicy::default())),
            shadow: None,
            memory: Arc::new(RevocationMemory::new(false)),
        };
        let feed = Arc::new(RevocationFeed::new(Arc::new(revocations)));
        let verdict = domain().with_revocations(feed).verify(&vector.chain(), NOW);
        if verdict.is_ok() == (vector.says == Says::ValidByLists) {
            continue;
        }
        let refusal = verdict.err();
        assert!(refusal.is_some(), "{} is invalid and was let in", vector.number);
        said.extend(refusal.map(|error| format!("{}: {error}", vector.number)));
        otherwise.push(vector.number);
    }
    let explained: Vec<_> = DIVERGENCES_BY_LISTS.iter().map(|(number, _)| *number).collect();
    assert_eq!(otherwise, explained, "what differs, and what is explained: {said:#?}");
}

fn list(name: &str) -> Option<RevocationList> {
    let der = read("crls", &format!("{name}.crl"));
    let mut reader = ListReader::new(der.len() as u64);
    reader.push(&der).ok()?;
    reader.finish().ok()?.pop()
}

#[test]
fn every_vector_of_sections_4_1_to_4_4_is_there() {
    for (section, count) in [("4.1.", 6), ("4.2.", 8), ("4.3.", 11), ("4.4.", 21)] {
        let found = VECTORS.iter().filter(|vector| vector.number.starts_with(section)).count();
        assert_eq!(found, count, "{section}");
    }
}

fn domain() -> TrustDomain {
    let limits = ChainLimits { certificates: 16, bytes: 60 * 1024 };
    TrustDomain::new(&[certificate("TrustAnchorRootCertificate")], limits, true).expect("a root")
}

impl Vector {
    /// The end entity first, then its CAs upwards.
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let names = [self.end_entity].into_iter().chain(self.authorities.iter().rev().copied());
        names.map(certificate).collect()
    }
}

fn certificate(name: &str) -> CertificateDer<'static> {
    read("certs", &format!("{name}.crt")).into()
}

fn read(folder: &str, name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/pkits");
    let path = root.join(folder).join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
