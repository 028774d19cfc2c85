//! Keys in tokens, and what is known of them.

mod facts;
mod find;
mod generate;
mod public;
mod ways;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use cryptoki::object::ObjectHandle;

use crate::mechanism::Way;
use crate::scheme::{KeyKind, Scheme};
use crate::token::Token;
use crate::uri::Uri;

pub(crate) use find::{keys, mac_key, private_key};
pub(crate) use generate::{key_pair, mac_key as generate_mac_key};

/// The kinds of objects that a URI can mean (RFC 7512, `type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyClass {
    /// A private key.
    Private,
    /// A public key.
    Public,
    /// A certificate.
    Certificate,
    /// A secret key.
    Secret,
    /// Data of an application.
    Data,
}

impl KeyClass {
    /// Its name in a URI.
    #[must_use]
    pub fn uri_name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
            Self::Certificate => "cert",
            Self::Secret => "secret-key",
            Self::Data => "data",
        }
    }

    pub(crate) fn from_uri(name: &str) -> Option<Self> {
        [Self::Private, Self::Public, Self::Certificate, Self::Secret, Self::Data]
            .into_iter()
            .find(|class| class.uri_name() == name)
    }
}

impl fmt::Display for KeyClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private key",
            Self::Public => "public key",
            Self::Certificate => "certificate",
            Self::Secret => "secret key",
            Self::Data => "data",
        })
    }
}

/// What a token tells about a key or certificate. What it does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its label, as text.
    pub label: String,
    /// Its `CKA_ID`.
    pub id: Vec<u8>,
    /// What it is.
    pub class: KeyClass,
    /// Its type in words: `EC P-256`, `RSA 2048`, `AES 256`, `generic secret 256`, `CKK_DSA`, ...
    pub description: String,
    /// Its kind, if it is one that signs for TLS.
    pub kind: Option<KeyKind>,
    /// Its value cannot be read in plain (`CKA_SENSITIVE`).
    pub sensitive: Option<bool>,
    /// It may leave the token, wrapped at least (`CKA_EXTRACTABLE`).
    pub extractable: Option<bool>,
    /// It may sign (`CKA_SIGN`).
    pub sign: Option<bool>,
    /// Each use needs the PIN again (`CKA_ALWAYS_AUTHENTICATE`).
    pub always_authenticate: Option<bool>,
    /// The URI that names it: token, label, id and type.
    pub uri: Uri,
}

/// A private key in a token: its handle, found once, and what it can sign. Cheap to clone; good for every session of
/// its token in this process, until the token goes or the login is lost.
#[derive(Clone)]
pub struct PrivateKey {
    found: Arc<FoundKey>,
}

pub(crate) struct FoundKey {
    pub(crate) token: Token,
    pub(crate) handle: ObjectHandle,
    pub(crate) uri: Uri,
    pub(crate) kind: KeyKind,
    pub(crate) spki: Option<Vec<u8>>,
    pub(crate) always_authenticate: bool,
    pub(crate) ways: Vec<Ways>,
    /// One bit for each of `ways`: the token lists the mechanism over a hash made here and refuses it.
    pub(crate) refused: AtomicU16,
}

/// How one scheme can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) scheme: Scheme,
    pub(crate) hashed_here: bool,
    pub(crate) hashed_there: bool,
}

impl PrivateKey {
    pub(crate) fn new(found: FoundKey) -> Self {
        Self { found: Arc::new(found) }
    }

    /// Its public key as SubjectPublicKeyInfo (DER), if the token tells it: then it has been compared with
    /// what was expected. If not, a signature has to prove that it is the right key.
    #[must_use]
    pub fn spki(&self) -> Option<&[u8]> {
        self.found.spki.as_deref()
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.found.kind
    }

    /// The schemes that its token can sign with it, the preferred first.
    #[must_use]
    pub fn schemes(&self) -> Vec<Scheme> {
        self.found.ways.iter().map(|ways| ways.scheme).collect()
    }

    /// Whether each signature needs the PIN again.
    #[must_use]
    pub fn always_authenticate(&self) -> bool {
        self.found.always_authenticate
    }

    /// The URI that names it: token, label and id.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.found.uri
    }

    pub(crate) fn found(&self) -> &FoundKey {
        &self.found
    }
}

impl FoundKey {
    /// How to sign, and whether there is another way; `None` where the token cannot.
    pub(crate) fn way(&self, scheme: Scheme) -> Option<(Way, bool)> {
        let index = self.ways.iter().position(|ways| ways.scheme == scheme)?;
        let ways = self.ways[index];
        let refused = self.refused.load(Ordering::Relaxed) & (1 << index) != 0;
        if ways.hashed_here && !(refused && ways.hashed_there) {
            Some((Way::HashedHere, ways.hashed_there))
        } else {
            Some((Way::HashedThere, false))
        }
    }

    /// The token insists on hashing by itself.
    pub(crate) fn refuses_hashes(&self, scheme: Scheme) {
        if let Some(index) = self.ways.iter().position(|ways| ways.scheme == scheme) {
            self.refused.fetch_or(1 << index, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("uri", &self.found.uri.to_string())
            .field("kind", &self.found.kind)
            .field("ways", &self.found.ways)
            .finish_non_exhaustive()
    }
}

/// How a [`MacKey`] authenticates messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacKind {
    /// `CKM_SHA256_HMAC` with a generic secret: 32 bytes.
    HmacSha256,
    /// `CKM_AES_CMAC` with an AES key: 16 bytes.
    AesCmac,
}

impl MacKind {
    /// The length of its result in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::AesCmac => 16,
        }
    }
}

/// A secret key in a token that authenticates messages. As good for sessions, and as long, as a [`PrivateKey`].
#[derive(Clone, Debug)]
pub struct MacKey {
    pub(crate) token: Token,
    pub(crate) handle: ObjectHandle,
    pub(crate) kind: MacKind,
    pub(crate) uri: Uri,
}

impl MacKey {
    /// How it authenticates.
    #[must_use]
    pub fn kind(&self) -> MacKind {
        self.kind
    }

    /// The URI that names it: token, label and id.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}
