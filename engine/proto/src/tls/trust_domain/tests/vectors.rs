//! Wycheproof's vectors: signatures that are right, wrong, or wrong in a way that others have overlooked.

use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::aws_lc_rs as algorithm;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

use super::super::ALL;
use crate::identity::public_key;

/// Each algorithm, with the vectors that there are for it. There are none, with signatures in DER, for
/// P-256 with SHA-384 or SHA-512 and P-521 with SHA-256 or SHA-384.
#[test]
fn ecdsa_signatures_are_judged_as_the_vectors_say() {
    use ecdsa::TestName as N;
    for (name, algorithm, count) in [
        (N::EcdsaSecp256r1Sha256, algorithm::ECDSA_P256_SHA256, 484),
        (N::EcdsaSecp384r1Sha256, algorithm::ECDSA_P384_SHA256, 472),
        (N::EcdsaSecp384r1Sha384, algorithm::ECDSA_P384_SHA384, 504),
        (N::EcdsaSecp384r1Sha512, algorithm::ECDSA_P384_SHA512, 542),
        (N::EcdsaSecp521r1Sha512, algorithm::ECDSA_P521_SHA512, 542),
    ] {
        let set = ecdsa::TestSet::load(name).unwrap();
        let mut judge = Judge::new(format!("{name:?}"), algorithm);
        for group in &set.test_groups {
            for test in &group.tests {
                judge.hear(&group.der, &test.msg, &test.sig, test.tc_id, test.result);
            }
        }
        judge.found(count, &[]);
    }
}

#[test]
fn ed25519_signatures_are_judged_as_the_vectors_say() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut judge = Judge::new("Ed25519".into(), algorithm::ED25519);
    for group in &set.test_groups {
        for test in &group.tests {
            judge.hear(&group.der, &test.msg, &test.sig, test.tc_id, test.result);
        }
    }
    judge.found(151, &[]);
}

#[test]
fn rsa_pkcs1_signatures_are_judged_as_the_vectors_say() {
    use algorithm::{
        RSA_PKCS1_2048_8192_SHA256 as SHA256, RSA_PKCS1_2048_8192_SHA384 as SHA384,
        RSA_PKCS1_2048_8192_SHA512 as SHA512,
    };
    use pkcs1::TestName as N;
    for (name, algorithm, count) in [
        (N::Rsa2048Sha256, SHA256, 259),
        (N::Rsa2048Sha384, SHA384, 258),
        (N::Rsa2048Sha512, SHA512, 259),
        (N::Rsa3072Sha256, SHA256, 259),
        (N::Rsa3072Sha384, SHA384, 259),
        (N::Rsa3072Sha512, SHA512, 260),
        (N::Rsa4096Sha256, SHA256, 258),
        (N::Rsa4096Sha384, SHA384, 259),
        (N::Rsa4096Sha512, SHA512, 259),
        (N::Rsa8192Sha256, SHA256, 258),
        (N::Rsa8192Sha384, SHA384, 259),
        (N::Rsa8192Sha512, SHA512, 259),
    ] {
        let set = pkcs1::TestSet::load(name).unwrap();
        let mut judge = Judge::new(format!("{name:?}"), algorithm);
        for group in &set.test_groups {
            for test in &group.tests {
                judge.hear(&group.der, &test.msg, &test.sig, test.tc_id, test.result);
            }
        }
        judge.found(count, &[MISSING_NULL]);
    }
}

/// RFC 9846 §4.2.3: the salt is as long as the hash, and MGF1 uses the same hash.
#[test]
fn rsa_pss_signatures_are_judged_as_the_vectors_say() {
    use algorithm::{
        RSA_PSS_2048_8192_SHA256_LEGACY_KEY as SHA256,
        RSA_PSS_2048_8192_SHA384_LEGACY_KEY as SHA384,
        RSA_PSS_2048_8192_SHA512_LEGACY_KEY as SHA512,
    };
    use pss::TestName as N;
    for (name, algorithm, count) in [
        (N::RsaPss2048Sha256Mgf1SaltLen32, SHA256, 108),
        (N::RsaPss2048Sha384Mgf1SaltLen48, SHA384, 141),
        (N::RsaPss3072Sha256Mgf1SaltLen32, SHA256, 108),
        (N::RsaPss4096Sha256Mgf1SaltLen32, SHA256, 108),
        (N::RsaPss4096Sha384Mgf1SaltLen48, SHA384, 141),
        (N::RsaPss4096Sha512Mgf1SaltLen64, SHA512, 179),
    ] {
        let set = pss::TestSet::load(name).unwrap();
        let mut judge = Judge::new(format!("{name:?}"), algorithm);
        for group in &set.test_groups {
            for test in &group.tests {
                judge.hear(&group.der, &test.msg, &test.sig, test.tc_id, test.result);
            }
        }
        judge.found(count, &[]);
    }
}

/// The one that the vectors leave open ("acceptable", MissingNull), in each set of RSA PKCS #1: within the
/// signature stands an AlgorithmIdentifier without its NULL, which RFC 8017 §9.2 (note 2) has
/// implementations expect. aws-lc wants the bytes that a signer writes, and refuses.
const MISSING_NULL: (usize, bool) = (8, false);

struct Judge {
    name: String,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    heard: usize,
    /// Vectors that are judged otherwise than they say, and those that leave it open.
    otherwise: Vec<(usize, bool)>,
}

impl Judge {
    fn new(name: String, algorithm: &'static dyn SignatureVerificationAlgorithm) -> Self {
        let is_ours = |one: &&dyn SignatureVerificationAlgorithm| {
            one.signature_alg_id() == algorithm.signature_alg_id()
                && one.public_key_alg_id() == algorithm.public_key_alg_id()
        };
        assert!(ALL.iter().any(is_ours), "{name}");
        Self { name, algorithm, heard: 0, otherwise: Vec::new() }
    }

    /// A vector, whose key is a SubjectPublicKeyInfo.
    fn hear(&mut self, spki: &[u8], message: &[u8], signature: &[u8], id: usize, says: TestResult) {
        self.heard += 1;
        let (key_algorithm, key) = public_key(spki).expect("a SubjectPublicKeyInfo");
        let holds = *key_algorithm == *self.algorithm.public_key_alg_id()
            && self.algorithm.verify_signature(key, message, signature).is_ok();
        let expected = match says {
            TestResult::Valid => Some(true),
            TestResult::Invalid => Some(false),
            TestResult::Acceptable => None,
        };
        if expected != Some(holds) {
            self.otherwise.push((id, holds));
        }
    }

    /// All that there are, and judged otherwise than they say exactly these: the vector, and the verdict.
    #[track_caller]
    fn found(self, count: usize, otherwise: &[(usize, bool)]) {
        assert_eq!((self.heard, &*self.otherwise), (count, otherwise), "{}", self.name);
    }
}
