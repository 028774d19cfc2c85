//! Making keys that never leave their token.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass};

use super::find::{self, objects};
use super::ways::signs_with;
use super::{MacKey, PrivateKey};
use crate::error::Error;
use crate::scheme::KeyKind;
use crate::session::Session;
use crate::spki;

/// 65537, as everybody has it.
const PUBLIC_EXPONENT: [u8; 3] = [1, 0, 1];
/// As long as the hash: RFC 2104, section 3.
const MAC_KEY_BYTES: u64 = 32;

/// Makes a key pair of `kind` and finds it.
pub(crate) fn key_pair(
    session: &Session,
    kind: KeyKind,
    label: &str,
    id: &[u8],
) -> Result<PrivateKey, Error> {
    expect_new(session, ObjectClass::PRIVATE_KEY, label, id)?;
    let (mechanism, key_type) = match kind {
        KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => {
            (Mechanism::EccKeyPairGen, KeyType::EC)
        }
        KeyKind::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, KeyType::EC_EDWARDS),
        KeyKind::Rsa { .. } => (Mechanism::RsaPkcsKeyPairGen, KeyType::RSA),
    };
    let mut public = named(label, id, key_type);
    public.extend([Attribute::Verify(true), Attribute::Private(false)]);
    if let KeyKind::Rsa { bits } = kind {
        public.push(Attribute::ModulusBits(u64::from(bits).into()));
        public.push(Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()));
    }
    public.extend(spki::ec_params(kind).map(Attribute::EcParams));
    let mut private = named(label, id, key_type);
    private.extend(kept_in());
    session
        .raw()
        .generate_key_pair(&mechanism, &public, &private)
        .map_err(|error| Error::of("C_GenerateKeyPair", error))?;
    find::private_key(session, &session.token().uri().with_object(label, id), None)
}

/// Makes a secret key for messages and finds it: a generic secret where the token has HMAC, else an AES key.
pub(crate) fn mac_key(session: &Session, label: &str, id: &[u8]) -> Result<MacKey, Error> {
    expect_new(session, ObjectClass::SECRET_KEY, label, id)?;
    let has_hmac = signs_with(session, MechanismType::SHA256_HMAC)?;
    let makes_secrets = session
        .token()
        .mechanism_list()?
        .iter()
        .any(|mechanism| mechanism.number == MechanismType::GENERIC_SECRET_KEY_GEN);
    let (mechanism, key_type) = if has_hmac && makes_secrets {
        (Mechanism::GenericSecretKeyGen, KeyType::GENERIC_SECRET)
    } else {
        (Mechanism::AesKeyGen, KeyType::AES)
    };
    let mut template = named(label, id, key_type);
    template.extend(kept_in());
    template.extend([Attribute::Verify(true), Attribute::ValueLen(MAC_KEY_BYTES.into())]);
    session
        .raw()
        .generate_key(&mechanism, &template)
        .map_err(|error| Error::of("C_GenerateKey", error))?;
    find::mac_key(session, &session.token().uri().with_object(label, id))
}

fn named(label: &str, id: &[u8], key_type: KeyType) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::KeyType(key_type),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ]
}

/// It signs, and neither it nor a wrapped copy of it ever leaves.
fn kept_in() -> [Attribute; 4] {
    [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ]
}

/// Two keys of one name could not be told apart afterwards.
fn expect_new(session: &Session, class: ObjectClass, label: &str, id: &[u8]) -> Result<(), Error> {
    if label.is_empty() || id.is_empty() {
        return Err(Error::fatal("C_FindObjects", "a new key needs a label and an id".into()));
    }
    let template = [
        Attribute::Class(class),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ];
    if objects(session, &template, 1)?.is_empty() {
        return Ok(());
    }
    let uri = session.token().uri().with_object(label, id);
    Err(Error::fatal(
        "C_FindObjects",
        format!("{uri} exists already; take another label or id, or delete it first"),
    ))
}
