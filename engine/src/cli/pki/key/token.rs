//! A CA's key in a PKCS#11 token.

use std::cell::RefCell;

use countersign_hsm::{KeyClass, KeyKind as InToken, PrivateKey, Remedy, Scheme, Session, Uri};
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{CaSigning, KeyKind};
use crate::cli::login;
use crate::cli::pki::error::{PkiError, Result};

/// A PKCS#11 URI (RFC 7512) is no path.
pub(in crate::cli::pki) fn is_token(place: &str) -> bool {
    place.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"))
}

/// Where in a token a CA's key is, or shall be.
#[derive(Clone, Debug)]
pub(in crate::cli::pki) struct Place(Uri);

impl Place {
    pub(in crate::cli::pki) fn parse(text: &str) -> Result<Self> {
        let uri = Uri::parse(text).map_err(|error| PkiError::Refused(error.to_string()))?;
        if uri.class().is_some_and(|class| class != KeyClass::Private) {
            return Err(PkiError::Refused(format!(
                "{uri} names no private key; write `type=private`, or leave the type out"
            )));
        }
        Ok(Self(uri))
    }

    /// Is the token there, and does it take the PIN?
    pub(in crate::cli::pki) fn reach(&self) -> Result<()> {
        self.session(false).map(drop)
    }

    /// Does it name a key, or a token alone?
    pub(in crate::cli::pki) fn names_key(&self) -> bool {
        self.0.object().is_some() || self.0.id().is_some()
    }

    /// As the index remembers it: with the module, and where the PIN comes from.
    pub(in crate::cli::pki) fn text(&self) -> String {
        self.0.to_string()
    }

    /// The key that is there, which must be of this public key (SPKI, DER).
    pub(super) fn open(&self, spki: &[u8]) -> Result<TokenKey> {
        let session = self.session(false)?;
        let key = session.private_key(&self.0, Some(spki)).map_err(self.failed())?;
        TokenKey::new(self, session, key, Some(spki))
    }

    /// The key that is there, or a new one, which has this label and `CKA_ID` as far as the place does not say otherwise. Gives
    /// the place by which it is found again, and whether the key is new.
    pub(in crate::cli::pki) fn open_or_make(
        &self,
        kind: KeyKind,
        label: &str,
        id: &[u8],
    ) -> Result<(TokenKey, Self, bool)> {
        if self.names_key() {
            let session = self.session(false)?;
            match session.private_key(&self.0, None) {
                Ok(key) => {
                    let found = key.uri();
                    let named = self.with(found.object(), found.id());
                    return Ok((TokenKey::new(&named, session, key, None)?, named, false));
                }
                // Several keys, or one that cannot sign, are no reason to make one more.
                Err(error) if !self.is_absent(&session) => return Err(self.failed()(error)),
                Err(_) => {}
            }
        }
        let label = self.0.object().unwrap_or(label);
        let id = self.0.id().unwrap_or(id);
        let named = self.with(Some(label), Some(id));
        let session = named.session(true)?;
        let key = session.generate_key_pair(kind.in_token(), label, id).map_err(named.failed())?;
        Ok((TokenKey::new(&named, session, key, None)?, named, true))
    }

    fn with(&self, label: Option<&str>, id: Option<&[u8]>) -> Self {
        let uri = self.0.with_object(label.unwrap_or_default(), id.unwrap_or_default());
        Self(uri.with_class(KeyClass::Private))
    }

    /// Is there no private key of that name at all?
    fn is_absent(&self, session: &Session) -> bool {
        let (label, id) = (self.0.object(), self.0.id());
        session.keys().is_ok_and(|mut keys| {
            keys.retain(|key| key.class == KeyClass::Private);
            !keys.iter().any(|key| {
                label.is_none_or(|label| label == key.label) && id.is_none_or(|id| id == key.id)
            })
        })
    }

    fn session(&self, writable: bool) -> Result<Session> {
        login::session(&self.0, writable).map_err(PkiError::Refused)
    }

    /// For `map_err` on what the token answers.
    fn failed(&self) -> impl FnOnce(countersign_hsm::Error) -> PkiError {
        let name = self.text();
        move |error| PkiError::Refused(format!("{name}: {error}"))
    }
}

/// A key in a token, open to sign.
pub(in crate::cli::pki) struct TokenKey {
    name: String,
    session: Session,
    key: PrivateKey,
    spki: Vec<u8>,
    /// What stands in the SPKI behind the algorithm.
    public_key: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
    scheme: Scheme,
    problem: RefCell<Option<String>>,
}

impl TokenKey {
    fn new(place: &Place, session: Session, key: PrivateKey, spki: Option<&[u8]>) -> Result<Self> {
        let name = place.text();
        let refused = |problem: &str| PkiError::Refused(format!("{name}: {problem}"));
        if key.always_authenticate() {
            return Err(refused(
                "the token wants the PIN anew for each signature of this key (CKA_ALWAYS_AUTHENTICATE); choose another for a CA",
            ));
        }
        let (algorithm, scheme) = match key.kind() {
            InToken::EcP256 => (&PKCS_ECDSA_P256_SHA256, Scheme::EcdsaP256Sha256),
            InToken::EcP384 => (&PKCS_ECDSA_P384_SHA384, Scheme::EcdsaP384Sha384),
            InToken::EcP521 => (&PKCS_ECDSA_P521_SHA512, Scheme::EcdsaP521Sha512),
            InToken::Ed25519 => (&PKCS_ED25519, Scheme::Ed25519),
            InToken::Rsa { .. } => (&PKCS_RSA_SHA256, Scheme::RsaPkcs1Sha256),
        };
        if !key.schemes().contains(&scheme) {
            return Err(refused(&format!(
                "the token has no mechanism for {scheme}, with which a CA's key of its kind signs"
            )));
        }
        let spki = key.spki().or(spki).map(<[u8]>::to_vec).ok_or_else(|| {
            refused("the token does not tell the public key, and there is no certificate yet that does; put the public key into the token too")
        })?;
        let public_key = SubjectPublicKeyInfo::from_der(&spki)
            .map(|(_, parsed)| parsed.subject_public_key.data.to_vec())
            .map_err(|_| refused("its public key cannot be read"))?;
        let problem = RefCell::default();
        Ok(Self { name, session, key, spki, public_key, algorithm, scheme, problem })
    }

    fn signature(&self, message: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let sign = || self.session.sign(&self.key, self.scheme, message, None);
        let signature = match sign() {
            Err(error) if error.remedy() == Remedy::Retry => sign(),
            result => result,
        };
        let signature = signature.map_err(|error| error.to_string())?;
        // A CA that signs wrongly would be noticed by those whom it locks out.
        if self.scheme.verifies(&self.spki, message, &signature) {
            return Ok(signature);
        }
        Err("the token's signature does not verify with the key's own public half; nothing that it signs can be used until its vendor has found out why".into())
    }
}

impl PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for TokenKey {
    fn sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|problem| {
            *self.problem.borrow_mut() = Some(format!("{}: {problem}", self.name));
            rcgen::Error::RemoteKeyError
        })
    }
}

impl CaSigning for TokenKey {
    fn problem(&self) -> Option<String> {
        self.problem.borrow_mut().take()
    }
}
