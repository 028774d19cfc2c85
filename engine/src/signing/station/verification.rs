//! Does a key in a token belong to a certificate?

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use countersign_hsm::Scheme;

use super::StationError;

/// Stands before what is random in a challenge, so that its signature is no signature in any protocol
/// (as RFC 9846, section 4.4.3, does).
const PREFIX: &[u8; 61] = b"Countersign asks a token to prove that a key is the right one";

/// The token tells the public key: is it the certificate's?
pub(super) fn same_key(uri: &str, expected: &[u8], told: &[u8]) -> Result<(), StationError> {
    if expected == told {
        return Ok(());
    }
    Err(StationError::fatal(format!(
        "{uri}: the key does not belong to the certificate: the SHA-256 of the public key (SPKI) is {} in the \
         certificate and {} in the token",
        sha256(expected),
        sha256(told)
    )))
}

/// What a token signs to prove that it has a key.
pub(super) fn challenge() -> Result<[u8; PREFIX.len() + 32], StationError> {
    let mut challenge = [0; PREFIX.len() + 32];
    let (prefix, random) = challenge.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    rand::fill(random).map_err(|_| {
        StationError::passing("there is no randomness for a challenge to the token")
    })?;
    Ok(challenge)
}

/// The token has signed: by the certificate's key?
pub(super) fn verify(
    uri: &str,
    spki: &[u8],
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), StationError> {
    if scheme.verifies(spki, message, signature) {
        return Ok(());
    }
    Err(StationError::fatal(format!(
        "{uri}: the key does not belong to the certificate: its signature does not verify with the \
         certificate's public key (SHA-256 of the SPKI: {}); the token does not tell its own",
        sha256(spki)
    )))
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

    use super::*;

    #[test]
    fn another_key_is_refused_with_both_hashes() {
        let error = same_key("pkcs11:object=a", b"one", b"two").expect_err("another");
        for hash in [sha256(b"one"), sha256(b"two")] {
            assert!(error.problem.contains(&hash), "{error}");
        }
        assert_eq!(same_key("pkcs11:object=a", b"one", b"one"), Ok(()));
    }

    #[test]
    fn only_the_certificates_key_proves_itself() {
        for (algorithm, scheme) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Scheme::EcdsaP256Sha256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Scheme::EcdsaP384Sha384),
            (&rcgen::PKCS_ED25519, Scheme::Ed25519),
        ] {
            let key = KeyPair::generate_for(algorithm).expect("a key");
            let other = KeyPair::generate_for(algorithm).expect("a key");
            let message = challenge().expect("randomness");
            let signature = key.sign(&message).expect("a signature");
            let verify = |by: &KeyPair| {
                verify("pkcs11:", &by.subject_public_key_info(), scheme, &message, &signature)
            };
            assert_eq!(verify(&key), Ok(()), "{scheme}");
            verify(&other).expect_err("another key");
        }
    }
}
