//! A server's key that never leaves its token: what the engine knows of it, and how rustls signs with it.

use std::sync::Arc;

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use crate::seam::{self, Outcome, Report, Work};

/// What a key in a token is called between the connection and whoever asks the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKeyId(pub u64);

/// A key in a token. Cloning gives another handle to the same.
#[derive(Clone, Debug)]
pub struct TokenKey {
    facts: Arc<Facts>,
}

#[derive(Debug)]
struct Facts {
    id: TokenKeyId,
    public_key: SubjectPublicKeyInfoDer<'static>,
    algorithm: SignatureAlgorithm,
    /// In the server's order.
    schemes: Vec<SignatureScheme>,
}

/// Why a certificate's key cannot be one in a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// The certificate cannot be read.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// Nothing of TLS signs with such a key.
    #[error(
        "the certificate's key cannot be used: it must be ECDSA (P-256, P-384, P-521), Ed25519 or RSA"
    )]
    Kind,
    /// The token has no mechanism for any scheme of the key.
    #[error("the token can sign with this key by none of {0:?}")]
    NoScheme(Vec<SignatureScheme>),
}

impl TokenKey {
    /// The key of `certificate`, an end entity, by the name `id`.
    ///
    /// # Errors
    /// See [`TokenKeyError`].
    pub fn of(id: TokenKeyId, certificate: &CertificateDer<'_>) -> Result<Self, TokenKeyError> {
        let public_key = EndEntityCert::try_from(certificate)
            .map_err(|error| TokenKeyError::Certificate(error.to_string()))?
            .subject_public_key_info();
        let (algorithm, schemes) = kind(&public_key).ok_or(TokenKeyError::Kind)?;
        let facts = Facts { id, public_key, algorithm, schemes: schemes.to_vec() };
        Ok(Self { facts: Arc::new(facts) })
    }

    /// The same key by another name, signing only by those of its schemes that are among `usable`.
    ///
    /// # Errors
    /// [`TokenKeyError::NoScheme`] if none is.
    pub fn registered(
        &self,
        id: TokenKeyId,
        usable: &[SignatureScheme],
    ) -> Result<Self, TokenKeyError> {
        let own = &self.facts.schemes;
        let schemes: Vec<_> = own.iter().copied().filter(|own| usable.contains(own)).collect();
        if schemes.is_empty() {
            return Err(TokenKeyError::NoScheme(own.clone()));
        }
        let (public_key, algorithm) = (self.facts.public_key.clone(), self.facts.algorithm);
        Ok(Self { facts: Arc::new(Facts { id, public_key, algorithm, schemes }) })
    }

    /// What the key is called.
    #[must_use]
    pub fn id(&self) -> TokenKeyId {
        self.facts.id
    }

    /// The certificate's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.facts.public_key
    }

    /// ECDSA, Ed25519 or RSA.
    #[must_use]
    pub fn kind(&self) -> SignatureAlgorithm {
        self.facts.algorithm
    }

    /// What it signs by, in the server's order.
    #[must_use]
    pub fn schemes(&self) -> &[SignatureScheme] {
        &self.facts.schemes
    }

    /// Is there another handle to this key? An identity that is served has one, and so has everything that
    /// was begun with it: once there is none, nothing will be signed with the key any more.
    #[must_use]
    pub fn is_held(&self) -> bool {
        Arc::strong_count(&self.facts) > 1
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut own = self.facts.schemes.iter().copied();
        let scheme = own.find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { key: self.facts.id, scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.facts.public_key.as_ref()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.facts.algorithm
    }
}

/// One signature to come. It holds the key's name alone: no reference count that workers would share.
#[derive(Debug)]
struct TokenSigner {
    key: TokenKeyId,
    scheme: SignatureScheme,
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        // For the upstream's ears; outside a step there is nobody to tell.
        let _ = seam::report(Report::Signing(self.scheme));
        let (key, scheme, message) = (self.key, self.scheme, message.to_vec());
        match seam::hand_out(Work::SignByToken { key, scheme, message }) {
            Outcome::Signature(signature) => Ok(signature),
            other => Err(seam::undone(other)),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// What a key signs by, in the order in which rustls prefers them for software keys: moving a key into a
/// token changes nothing that a client sees.
fn kind(spki: &[u8]) -> Option<(SignatureAlgorithm, &'static [SignatureScheme])> {
    const RSA: &[SignatureScheme] = &[
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    const ED25519: &str = "1.3.101.112";
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    if spki.algorithm.algorithm.to_id_string() == ED25519 {
        return Some((SignatureAlgorithm::ED25519, &[SignatureScheme::ED25519]));
    }
    match spki.parsed().ok()? {
        PublicKey::RSA(_) => Some((SignatureAlgorithm::RSA, RSA)),
        PublicKey::EC(point) => {
            let scheme: &[_] = match point.key_size() {
                256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
                384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
                // Its coordinates fill 66 bytes.
                528 | 521 => &[SignatureScheme::ECDSA_NISTP521_SHA512],
                _ => return None,
            };
            Some((SignatureAlgorithm::ECDSA, scheme))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(kind: &'static rcgen::SignatureAlgorithm) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate_for(kind).expect("a key");
        let parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]);
        let certificate = parameters.expect("a name").self_signed(&key).expect("a certificate");
        certificate.der().clone()
    }

    #[test]
    fn a_key_signs_by_what_its_certificate_says() {
        for (made, algorithm, schemes) in [
            (
                &rcgen::PKCS_ECDSA_P256_SHA256,
                SignatureAlgorithm::ECDSA,
                &[SignatureScheme::ECDSA_NISTP256_SHA256][..],
            ),
            (
                &rcgen::PKCS_ECDSA_P384_SHA384,
                SignatureAlgorithm::ECDSA,
                &[SignatureScheme::ECDSA_NISTP384_SHA384],
            ),
            (
                &rcgen::PKCS_ECDSA_P521_SHA512,
                SignatureAlgorithm::ECDSA,
                &[SignatureScheme::ECDSA_NISTP521_SHA512],
            ),
            (&rcgen::PKCS_ED25519, SignatureAlgorithm::ED25519, &[SignatureScheme::ED25519]),
        ] {
            let key = TokenKey::of(TokenKeyId(1), &certificate(made)).expect("a key");
            assert_eq!((key.kind(), key.schemes()), (algorithm, schemes));
        }
        let rsa = TokenKey::of(TokenKeyId(1), &certificate(&rcgen::PKCS_RSA_SHA256));
        let rsa = rsa.expect("a key");
        assert_eq!((rsa.kind(), rsa.schemes().len()), (SignatureAlgorithm::RSA, 6));
    }

    #[test]
    fn a_token_may_know_fewer_schemes() {
        let key = TokenKey::of(TokenKeyId(1), &certificate(&rcgen::PKCS_RSA_SHA256));
        let key = key.expect("a key");
        let usable = [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PSS_SHA256];
        let fewer = key.registered(TokenKeyId(7), &usable).expect("some are left");
        let [first, second] = usable;
        assert_eq!((fewer.id(), fewer.schemes()), (TokenKeyId(7), &[second, first][..]));
        assert!(fewer.choose_scheme(&[SignatureScheme::RSA_PSS_SHA512]).is_none());
        assert!(matches!(
            key.registered(TokenKeyId(7), &[SignatureScheme::ED25519]),
            Err(TokenKeyError::NoScheme(_))
        ));
    }

    #[test]
    fn who_holds_a_key_is_known() {
        let key = TokenKey::of(TokenKeyId(1), &certificate(&rcgen::PKCS_ED25519)).expect("a key");
        assert!(!key.is_held());
        let other = key.clone();
        assert!(key.is_held() && other.is_held());
        drop(other);
        assert!(!key.is_held());
    }

    #[test]
    fn nothing_is_signed_in_software() {
        let key = TokenKey::of(TokenKeyId(1), &certificate(&rcgen::PKCS_ED25519)).expect("a key");
        let signer = key.choose_scheme(&[SignatureScheme::ED25519]).expect("a scheme in common");
        assert!(signer.sign(b"outside a step there is nobody to ask").is_err());
        let work = Work::SignByToken {
            key: key.id(),
            scheme: SignatureScheme::ED25519,
            message: Vec::new(),
        };
        assert!(matches!(work.perform(), Outcome::Failed(_)));
    }
}
