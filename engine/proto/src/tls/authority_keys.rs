//! The keys of CAs that have issued clients, parsed once: reading a point and checking that it lies on its
//! curve is a twentieth of verifying with it.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

/// Keys that are kept. The CAs below one trust domain that issue clients are few; others are parsed each
/// time.
const KEYS: usize = 16;

/// Keys with which a signature on a path has held, each written once and then only read.
#[derive(Default)]
pub(super) struct AuthorityKeys {
    known: [OnceLock<AuthorityKey>; KEYS],
}

struct AuthorityKey {
    kind: &'static Kind,
    key: Box<[u8]>,
    parsed: ParsedPublicKey,
}

/// A webpki algorithm by its identifiers, and the one of aws-lc that is the same.
struct Kind {
    public_key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    algorithm: &'static dyn VerificationAlgorithm,
}

/// What CAs sign clients with, for the most part. RSA keys are read quickly beside what they cost.
static KINDS: [Kind; 2] = [
    Kind {
        public_key: alg_id::ECDSA_P256,
        signature: alg_id::ECDSA_SHA256,
        algorithm: &ECDSA_P256_SHA256_ASN1,
    },
    Kind {
        public_key: alg_id::ECDSA_P384,
        signature: alg_id::ECDSA_SHA384,
        algorithm: &ECDSA_P384_SHA384_ASN1,
    },
];

impl AuthorityKeys {
    /// `algorithms`, each looking for the key here before it parses it.
    pub(super) fn before<const N: usize>(
        &self,
        algorithms: [&'static dyn SignatureVerificationAlgorithm; N],
    ) -> [Parsed<'_>; N] {
        algorithms.map(|algorithm| Parsed { algorithm, keys: self })
    }

    fn find(&self, kind: &Kind, public_key: &[u8]) -> Option<&ParsedPublicKey> {
        let mut known = self.known.iter().map_while(OnceLock::get);
        let found =
            known.find(|known| std::ptr::eq(known.kind, kind) && *known.key == *public_key)?;
        Some(&found.parsed)
    }

    fn keep(&self, kind: &'static Kind, public_key: &[u8]) {
        if let Some(free) = self.known.iter().find(|slot| slot.get().is_none())
            && let Ok(parsed) = ParsedPublicKey::new(kind.algorithm, public_key)
        {
            // Another thread may have taken the place: then it is parsed once more.
            let _ = free.set(AuthorityKey { kind, key: public_key.into(), parsed });
        }
    }
}

/// An algorithm that looks for the key among those parsed before.
pub(super) struct Parsed<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    keys: &'a AuthorityKeys,
}

impl SignatureVerificationAlgorithm for Parsed<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let ids = (self.public_key_alg_id(), self.signature_alg_id());
        let Some(kind) = KINDS.iter().find(|kind| (kind.public_key, kind.signature) == ids) else {
            return self.algorithm.verify_signature(public_key, message, signature);
        };
        if let Some(parsed) = self.keys.find(kind, public_key) {
            return parsed.verify_sig(message, signature).map_err(|_| InvalidSignature);
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        // webpki goes from the anchor down and stops at the first signature that does not hold: a key
        // that has signed is an anchor's, or that of a CA below one. No stranger can fill the places.
        self.keys.keep(kind, public_key);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

impl fmt::Debug for Parsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parsed({:?})", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
    use webpki::aws_lc_rs as algorithm;

    use super::*;

    #[test]
    fn a_key_is_kept_once_it_has_signed_and_judges_as_before() {
        let keys = AuthorityKeys::default();
        let [parsed] = keys.before([algorithm::ECDSA_P256_SHA256]);
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let key = pair.der_bytes();
        let signature = pair.sign(b"signed").expect("a signature");
        assert!(parsed.verify_signature(key, b"another", &signature).is_err());
        assert!(keys.find(&KINDS[0], key).is_none(), "it has signed nothing yet");
        for _ in 0..2 {
            assert!(parsed.verify_signature(key, b"signed", &signature).is_ok());
            assert!(parsed.verify_signature(key, b"another", &signature).is_err());
            assert!(parsed.verify_signature(&key[1..], b"signed", &signature).is_err());
        }
        assert!(keys.find(&KINDS[0], key).is_some());
        assert!(keys.find(&KINDS[1], key).is_none(), "by its curve as well");
        // More of them than there are places: the others are parsed each time.
        for _ in 0..2 * KEYS {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let signature = pair.sign(b"signed").expect("a signature");
            assert!(parsed.verify_signature(pair.der_bytes(), b"signed", &signature).is_ok());
            assert!(parsed.verify_signature(pair.der_bytes(), b"signe", &signature).is_err());
        }
    }
}
