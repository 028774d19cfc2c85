//! The mechanisms that there are, by name and number.

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use cryptoki_sys::*;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        }
    }
}

/// What is signed with, and who hashes: with a hash function it is the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Ecdsa(Option<Hash>),
    RsaPkcs(Option<Hash>),
    /// The hash function, and whether the token applies it to what is given.
    RsaPss(Hash, bool),
    Eddsa,
    Sha256Hmac,
    AesCmac,
}

/// The kind of key that a mechanism takes.
enum For {
    Ec,
    Rsa,
    Ed25519,
    Secret,
    Aes,
}

const KNOWN: [(&str, CK_MECHANISM_TYPE, For); 15] = [
    ("CKM_ECDSA", CKM_ECDSA, For::Ec),
    ("CKM_ECDSA_SHA256", CKM_ECDSA_SHA256, For::Ec),
    ("CKM_ECDSA_SHA384", CKM_ECDSA_SHA384, For::Ec),
    ("CKM_ECDSA_SHA512", CKM_ECDSA_SHA512, For::Ec),
    ("CKM_RSA_PKCS", CKM_RSA_PKCS, For::Rsa),
    ("CKM_SHA256_RSA_PKCS", CKM_SHA256_RSA_PKCS, For::Rsa),
    ("CKM_SHA384_RSA_PKCS", CKM_SHA384_RSA_PKCS, For::Rsa),
    ("CKM_SHA512_RSA_PKCS", CKM_SHA512_RSA_PKCS, For::Rsa),
    ("CKM_RSA_PKCS_PSS", CKM_RSA_PKCS_PSS, For::Rsa),
    ("CKM_SHA256_RSA_PKCS_PSS", CKM_SHA256_RSA_PKCS_PSS, For::Rsa),
    ("CKM_SHA384_RSA_PKCS_PSS", CKM_SHA384_RSA_PKCS_PSS, For::Rsa),
    ("CKM_SHA512_RSA_PKCS_PSS", CKM_SHA512_RSA_PKCS_PSS, For::Rsa),
    ("CKM_EDDSA", CKM_EDDSA, For::Ed25519),
    ("CKM_SHA256_HMAC", CKM_SHA256_HMAC, For::Secret),
    ("CKM_AES_CMAC", CKM_AES_CMAC, For::Aes),
];

/// The names of all, of which a token has those that its settings list.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, ..)| *name)
}

/// The number of a name.
pub(crate) fn number(name: &str) -> Option<CK_MECHANISM_TYPE> {
    KNOWN.iter().find(|(known, ..)| *known == name).map(|(_, number, _)| *number)
}

/// Key sizes and flags.
pub(crate) fn info(number: CK_MECHANISM_TYPE) -> Option<CK_MECHANISM_INFO> {
    let (_, _, key) = KNOWN.iter().find(|(_, known, _)| *known == number)?;
    let (least, most, flags) = match key {
        For::Ec => (256, 521, CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS),
        For::Rsa => (2048, 8192, 0),
        For::Ed25519 => (255, 255, CKF_EC_NAMEDCURVE),
        For::Secret => (1, 512, 0),
        For::Aes => (16, 32, 0),
    };
    let flags = flags | CKF_SIGN | CKF_HW;
    Some(CK_MECHANISM_INFO { ulMinKeySize: least, ulMaxKeySize: most, flags })
}

impl Mechanism {
    /// The mechanism of a number and, for PSS, its parameters.
    pub(crate) fn new(
        number: CK_MECHANISM_TYPE,
        pss: Option<CK_RSA_PKCS_PSS_PARAMS>,
    ) -> Result<Self, CK_RV> {
        use Hash::{Sha256, Sha384, Sha512};
        Ok(match number {
            CKM_ECDSA => Self::Ecdsa(None),
            CKM_ECDSA_SHA256 => Self::Ecdsa(Some(Sha256)),
            CKM_ECDSA_SHA384 => Self::Ecdsa(Some(Sha384)),
            CKM_ECDSA_SHA512 => Self::Ecdsa(Some(Sha512)),
            CKM_RSA_PKCS => Self::RsaPkcs(None),
            CKM_SHA256_RSA_PKCS => Self::RsaPkcs(Some(Sha256)),
            CKM_SHA384_RSA_PKCS => Self::RsaPkcs(Some(Sha384)),
            CKM_SHA512_RSA_PKCS => Self::RsaPkcs(Some(Sha512)),
            CKM_RSA_PKCS_PSS => Self::RsaPss(pss_hash(pss, None)?, false),
            CKM_SHA256_RSA_PKCS_PSS => Self::RsaPss(pss_hash(pss, Some(Sha256))?, true),
            CKM_SHA384_RSA_PKCS_PSS => Self::RsaPss(pss_hash(pss, Some(Sha384))?, true),
            CKM_SHA512_RSA_PKCS_PSS => Self::RsaPss(pss_hash(pss, Some(Sha512))?, true),
            CKM_EDDSA => Self::Eddsa,
            CKM_SHA256_HMAC => Self::Sha256Hmac,
            CKM_AES_CMAC => Self::AesCmac,
            _ => return Err(CKR_MECHANISM_INVALID),
        })
    }

    /// May what is signed come in parts?
    pub(crate) fn takes_parts(self) -> bool {
        match self {
            Self::Ecdsa(hash) | Self::RsaPkcs(hash) => hash.is_some(),
            Self::RsaPss(_, inside) => inside,
            Self::Eddsa => false,
            Self::Sha256Hmac | Self::AesCmac => true,
        }
    }

    /// Is what it makes a MAC?
    pub(crate) fn is_mac(self) -> bool {
        matches!(self, Self::Sha256Hmac | Self::AesCmac)
    }
}

/// One hash function throughout, and as much salt as it gives: what TLS wants (RFC 8446, section 4.2.3).
fn pss_hash(
    parameters: Option<CK_RSA_PKCS_PSS_PARAMS>,
    expected: Option<Hash>,
) -> Result<Hash, CK_RV> {
    let parameters = parameters.ok_or(CKR_MECHANISM_PARAM_INVALID)?;
    let (hash, mgf) = match parameters.hashAlg {
        CKM_SHA256 => (Hash::Sha256, CKG_MGF1_SHA256),
        CKM_SHA384 => (Hash::Sha384, CKG_MGF1_SHA384),
        CKM_SHA512 => (Hash::Sha512, CKG_MGF1_SHA512),
        _ => return Err(CKR_MECHANISM_PARAM_INVALID),
    };
    let salt = usize::try_from(parameters.sLen).unwrap_or(usize::MAX);
    let is_right = parameters.mgf == mgf
        && salt == hash.algorithm().output_len()
        && expected.is_none_or(|expected| expected == hash);
    if is_right { Ok(hash) } else { Err(CKR_MECHANISM_PARAM_INVALID) }
}
