//! What a token can do.

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};

use crate::scheme::{Family, Hash, Scheme};

/// One mechanism of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MechanismInfo {
    /// Its name, such as `CKM_ECDSA`; a vendor's own as a number.
    pub name: String,
    /// The smallest key, in bits or bytes as the mechanism has it.
    pub key_min: usize,
    /// The largest key, in the same unit.
    pub key_max: usize,
    /// The token signs with it (`CKF_SIGN`).
    pub signs: bool,
    /// The token makes keys or key pairs with it (`CKF_GENERATE`, `CKF_GENERATE_KEY_PAIR`).
    pub generates: bool,
    /// It is done by hardware (`CKF_HW`), as far as the token says so.
    pub hardware: bool,
    pub(crate) number: MechanismType,
}

/// Who hashes the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// We do: one call with the hash.
    HashedHere,
    /// The token does, with the whole message.
    HashedThere,
}

/// The number of the mechanism that signs so; `None` where there is none.
pub(crate) fn number(scheme: Scheme, way: Way) -> Option<MechanismType> {
    Some(match (scheme.family(), way, scheme.hash()) {
        (Family::Ecdsa, Way::HashedHere, _) => MechanismType::ECDSA,
        (Family::Ecdsa, Way::HashedThere, Hash::Sha256) => MechanismType::ECDSA_SHA256,
        (Family::Ecdsa, Way::HashedThere, Hash::Sha384) => MechanismType::ECDSA_SHA384,
        (Family::Ecdsa, Way::HashedThere, Hash::Sha512) => MechanismType::ECDSA_SHA512,
        (Family::Pkcs1, Way::HashedHere, _) => MechanismType::RSA_PKCS,
        (Family::Pkcs1, Way::HashedThere, Hash::Sha256) => MechanismType::SHA256_RSA_PKCS,
        (Family::Pkcs1, Way::HashedThere, Hash::Sha384) => MechanismType::SHA384_RSA_PKCS,
        (Family::Pkcs1, Way::HashedThere, Hash::Sha512) => MechanismType::SHA512_RSA_PKCS,
        (Family::Pss, Way::HashedHere, _) => MechanismType::RSA_PKCS_PSS,
        (Family::Pss, Way::HashedThere, Hash::Sha256) => MechanismType::SHA256_RSA_PKCS_PSS,
        (Family::Pss, Way::HashedThere, Hash::Sha384) => MechanismType::SHA384_RSA_PKCS_PSS,
        (Family::Pss, Way::HashedThere, Hash::Sha512) => MechanismType::SHA512_RSA_PKCS_PSS,
        // Ed25519 is given the message whole: what is hashed twice cannot be hashed before.
        (Family::Ed25519, Way::HashedHere, _) => return None,
        (Family::Ed25519, Way::HashedThere, _) => MechanismType::EDDSA,
    })
}

/// The same mechanism with its parameters.
pub(crate) fn mechanism(scheme: Scheme, way: Way) -> Mechanism<'static> {
    match (scheme.family(), way, scheme.hash()) {
        (Family::Ecdsa, Way::HashedHere, _) => Mechanism::Ecdsa,
        (Family::Ecdsa, Way::HashedThere, Hash::Sha256) => Mechanism::EcdsaSha256,
        (Family::Ecdsa, Way::HashedThere, Hash::Sha384) => Mechanism::EcdsaSha384,
        (Family::Ecdsa, Way::HashedThere, Hash::Sha512) => Mechanism::EcdsaSha512,
        (Family::Pkcs1, Way::HashedHere, _) => Mechanism::RsaPkcs,
        (Family::Pkcs1, Way::HashedThere, Hash::Sha256) => Mechanism::Sha256RsaPkcs,
        (Family::Pkcs1, Way::HashedThere, Hash::Sha384) => Mechanism::Sha384RsaPkcs,
        (Family::Pkcs1, Way::HashedThere, Hash::Sha512) => Mechanism::Sha512RsaPkcs,
        (Family::Pss, Way::HashedHere, hash) => Mechanism::RsaPkcsPss(pss(hash)),
        (Family::Pss, Way::HashedThere, Hash::Sha256) => {
            Mechanism::Sha256RsaPkcsPss(pss(Hash::Sha256))
        }
        (Family::Pss, Way::HashedThere, Hash::Sha384) => {
            Mechanism::Sha384RsaPkcsPss(pss(Hash::Sha384))
        }
        (Family::Pss, Way::HashedThere, Hash::Sha512) => {
            Mechanism::Sha512RsaPkcsPss(pss(Hash::Sha512))
        }
        (Family::Ed25519, _, _) => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
    }
}

/// A salt as long as the hash, and the same hash in MGF1 (RFC 9846, section 4.2.3).
fn pss(hash: Hash) -> PkcsPssParams {
    let (hash_alg, mgf) = match hash {
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    PkcsPssParams { hash_alg, mgf, s_len: u64::from(hash.bytes()).into() }
}

/// What the token is given for `message`.
pub(crate) fn input(scheme: Scheme, way: Way, message: &[u8]) -> Vec<u8> {
    match (way, scheme.family()) {
        (Way::HashedThere, _) => message.to_vec(),
        (Way::HashedHere, Family::Pkcs1) => {
            let mut digest_info = scheme.hash().digest_info_prefix().to_vec();
            digest_info.extend_from_slice(scheme.hash().of(message).as_ref());
            digest_info
        }
        (Way::HashedHere, _) => scheme.hash().of(message).as_ref().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mechanism_with_parameters_has_the_number_it_is_looked_up_by() {
        for scheme in Scheme::ALL {
            for way in [Way::HashedHere, Way::HashedThere] {
                if let Some(number) = number(scheme, way) {
                    assert_eq!(mechanism(scheme, way).mechanism_type(), number, "{scheme} {way:?}");
                }
            }
        }
    }

    #[test]
    fn pkcs1_gets_a_digest_info_and_the_others_the_hash() {
        let message = b"message";
        assert_eq!(input(Scheme::RsaPkcs1Sha256, Way::HashedHere, message).len(), 19 + 32);
        assert_eq!(input(Scheme::EcdsaP384Sha384, Way::HashedHere, message).len(), 48);
        assert_eq!(input(Scheme::RsaPssSha512, Way::HashedHere, message).len(), 64);
        assert_eq!(input(Scheme::RsaPssSha512, Way::HashedThere, message), message);
        assert_eq!(input(Scheme::Ed25519, Way::HashedThere, message), message);
    }
}
