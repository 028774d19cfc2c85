//! Signatures with SHA-1 are refused, however right they are (SECURITY.md).

use std::time::Duration;

use countersign_proto::{ChainLimits, Reason, TrustDomain};
use rustls_pki_types::{CertificateDer, UnixTime};

/// 2030-01-01
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_000));

struct Kind {
    root: &'static [u8],
    sha1: &'static [u8],
    sha256: &'static [u8],
}

const KINDS: [Kind; 2] = [
    Kind {
        root: include_bytes!("sha1/ec-root.der"),
        sha1: include_bytes!("sha1/ec-sha1.der"),
        sha256: include_bytes!("sha1/ec-sha256.der"),
    },
    Kind {
        root: include_bytes!("sha1/rsa-root.der"),
        sha1: include_bytes!("sha1/rsa-sha1.der"),
        sha256: include_bytes!("sha1/rsa-sha256.der"),
    },
];

#[test]
fn only_the_hash_decides() {
    let limits = ChainLimits { certificates: 8, bytes: 32_768 };
    for kind in KINDS {
        let root = CertificateDer::from(kind.root);
        let domain = TrustDomain::new(&[root], limits, true).expect("a root");
        assert!(domain.verify(&[kind.sha256.into()], NOW).is_ok());
        let refused = domain.verify(&[kind.sha1.into()], NOW).expect_err("SHA-1");
        assert_eq!(refused.reason(), Reason::ClientCertificateBadSignature);
        assert!(refused.to_string().contains("SHA-2"), "{refused}");
    }
}
