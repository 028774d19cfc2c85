//! Reading the attributes of an object (section 4), from tokens that know them and from those that do not.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::{KeyClass, KeyInfo};
use crate::error::{Error, Remedy};
use crate::scheme::KeyKind;
use crate::session::Session;
use crate::spki;

/// What is asked of every object.
const ASKED: [AttributeType; 12] = [
    AttributeType::Class,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::Sign,
    AttributeType::AlwaysAuthenticate,
    AttributeType::EcParams,
    AttributeType::Modulus,
    AttributeType::ModulusBits,
    AttributeType::ValueLen,
];

/// What a token tells of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) class: Option<ObjectClass>,
    pub(super) key_type: Option<KeyType>,
    pub(super) label: Vec<u8>,
    pub(super) id: Vec<u8>,
    sensitive: Option<bool>,
    extractable: Option<bool>,
    pub(super) sign: Option<bool>,
    pub(super) always_authenticate: Option<bool>,
    ec_params: Option<Vec<u8>>,
    modulus_bits: Option<u32>,
    value_bytes: Option<u64>,
}

impl Facts {
    /// Asks the token.
    ///
    /// # Errors
    /// When the session or the token is gone.
    pub(super) fn read(session: &Session, object: ObjectHandle) -> Result<Self, Error> {
        let mut facts = Self::default();
        for attribute in attributes(session, object, &ASKED)? {
            match attribute {
                Attribute::Class(class) => facts.class = Some(class),
                Attribute::KeyType(key_type) => facts.key_type = Some(key_type),
                Attribute::Label(label) => facts.label = label,
                Attribute::Id(id) => facts.id = id,
                Attribute::Sensitive(told) => facts.sensitive = Some(told),
                Attribute::Extractable(told) => facts.extractable = Some(told),
                Attribute::Sign(told) => facts.sign = Some(told),
                Attribute::AlwaysAuthenticate(told) => facts.always_authenticate = Some(told),
                Attribute::EcParams(params) => facts.ec_params = Some(params),
                Attribute::Modulus(modulus) => {
                    facts.modulus_bits = spki::bits(&modulus).or(facts.modulus_bits);
                }
                Attribute::ModulusBits(bits) => {
                    let told = u32::try_from(*bits).ok().filter(|bits| *bits > 0);
                    facts.modulus_bits = facts.modulus_bits.or(told);
                }
                Attribute::ValueLen(bytes) => facts.value_bytes = Some(*bytes),
                _ => {}
            }
        }
        Ok(facts)
    }

    /// The kind of key, as far as its own attributes tell.
    pub(super) fn kind(&self) -> Option<KeyKind> {
        match self.key_type? {
            KeyType::RSA => self.modulus_bits.map(|bits| KeyKind::Rsa { bits }),
            KeyType::EC | KeyType::EC_EDWARDS => {
                let kind = spki::kind_of_ec_params(self.ec_params.as_deref()?)?;
                // A Montgomery key or a mistake: an Edwards curve has a key type of its own.
                let is_edwards = self.key_type == Some(KeyType::EC_EDWARDS);
                (is_edwards == (kind == KeyKind::Ed25519)).then_some(kind)
            }
            _ => None,
        }
    }

    pub(super) fn label(&self) -> String {
        String::from_utf8_lossy(&self.label).trim_end_matches('\0').to_owned()
    }

    /// Its type in words.
    pub(super) fn description(&self) -> String {
        if let Some(kind) = self.kind() {
            return kind.to_string();
        }
        let bits = self
            .value_bytes
            .map(|bytes| format!(" {}", bytes.saturating_mul(8)))
            .unwrap_or_default();
        match self.key_type {
            Some(KeyType::RSA) => "RSA".to_owned(),
            Some(KeyType::EC) => "EC, another curve".to_owned(),
            Some(KeyType::EC_EDWARDS) => "Edwards curve, not Ed25519".to_owned(),
            Some(KeyType::AES) => format!("AES{bits}"),
            Some(KeyType::GENERIC_SECRET) => format!("generic secret{bits}"),
            Some(other) => other.to_string(),
            None => "unknown".to_owned(),
        }
    }

    /// For a list; `None` for objects that are neither keys nor certificates.
    pub(super) fn info(self, session: &Session) -> Option<KeyInfo> {
        let class = match self.class? {
            ObjectClass::PRIVATE_KEY => KeyClass::Private,
            ObjectClass::PUBLIC_KEY => KeyClass::Public,
            ObjectClass::SECRET_KEY => KeyClass::Secret,
            ObjectClass::CERTIFICATE => KeyClass::Certificate,
            _ => return None,
        };
        let description =
            if class == KeyClass::Certificate { "X.509".into() } else { self.description() };
        let uri = session.token().uri().with_object(&self.label(), &self.id).with_class(class);
        Some(KeyInfo {
            label: self.label(),
            kind: self.kind(),
            description,
            class,
            sensitive: self.sensitive,
            extractable: self.extractable,
            sign: self.sign,
            always_authenticate: self.always_authenticate,
            uri,
            id: self.id,
        })
    }
}

/// The attributes that the token tells, of those asked for.
///
/// Some tokens refuse the whole question for one attribute that they do not know; then each is asked alone.
///
/// # Errors
/// When the session, the login or the token is gone.
pub(super) fn attributes(
    session: &Session,
    object: ObjectHandle,
    asked: &[AttributeType],
) -> Result<Vec<Attribute>, Error> {
    if let Ok(attributes) = session.raw().get_attributes(object, asked) {
        return Ok(attributes);
    }
    let mut told = Vec::new();
    for one in asked {
        match session.raw().get_attributes(object, &[*one]) {
            Ok(attributes) => told.extend(attributes),
            Err(error) => {
                let error = Error::of("C_GetAttributeValue", error);
                // A value that makes no sense (no code) is no reason to give up on the others.
                if error.code().is_some()
                    && matches!(error.remedy(), Remedy::Reopen | Remedy::Relogin)
                {
                    return Err(error);
                }
            }
        }
    }
    Ok(told)
}
