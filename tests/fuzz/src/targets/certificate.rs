//! One certificate, by everybody who reads one.

use std::path::Path;

use countersign_proto::ocsp::{self, CertIdHash, Question};
use countersign_proto::{ChainLimits, ClientIdentity, TrustDomain};
use rustls_pki_types::CertificateDer;

use crate::outcome::note;
use crate::pki::Pki;

pub(super) fn target(data: &[u8]) {
    match ClientIdentity::parse(data) {
        Ok(identity) => {
            note("an identity");
            let alt_names = [identity.dns_names(), identity.uris(), identity.emails()];
            let shown = [identity.to_string(), identity.subject().into(), identity.issuer().into()];
            for text in alt_names.into_iter().flatten().chain(&shown) {
                assert!(!text.contains(char::is_control), "{text:?} would break a line");
            }
        }
        Err(error) => note(error),
    }
    let bounds = ChainLimits { certificates: 8, bytes: 32 * 1024 };
    match TrustDomain::new(&[CertificateDer::from(data.to_vec())], bounds, true) {
        Ok(domain) => domain.warnings().iter().for_each(|warning| note(warning.problem)),
        Err(error) => note(error),
    }
    if let Some(url) = ocsp::responder_of(data) {
        note("a responder");
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?} is asked as it stands");
    }
    if ocsp::must_staple(data) {
        note("must be stapled");
    }
    if let Ok(question) = Question::about(data, data) {
        let request = question.request(CertIdHash::Sha256, Some(&[7; ocsp::NONCE_BYTES]));
        assert!(request.len() < data.len() + 256, "a request is small");
    }
}

/// Those of our own PKI, and NIST's.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut pki = Pki::new();
    let issued = [pki.client("client.example"), pki.ornate_client()];
    let mut seeds: Vec<_> = issued.iter().map(|issued| issued.der.to_vec()).collect();
    seeds.extend([pki.root().to_vec(), pki.intermediate().to_vec()]);
    seeds.extend(published("certs"));
    seeds
}

/// Files of the Public Key Interoperability Test Suite.
pub(super) fn published(folder: &str) -> Vec<Vec<u8>> {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/pkits");
    let files = crate::files(&suite.join(folder));
    assert!(!files.is_empty(), "the suite lies in {}", suite.display());
    files
}
