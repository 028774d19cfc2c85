//! Objects and their attributes.

use std::collections::HashMap;
use std::sync::Arc;

use cryptoki_sys::*;

use crate::key::{ED25519_OID, Key, octets};
use crate::settings;

/// Something that can be found.
pub(crate) struct Object {
    pub(crate) key: Arc<Key>,
    pub(crate) class: CK_OBJECT_CLASS,
    /// Not to be found without a login.
    pub(crate) private: bool,
    pub(crate) always_authenticate: bool,
    attributes: HashMap<CK_ATTRIBUTE_TYPE, Vec<u8>>,
}

/// What keeps its handle when the settings are read again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    class: CK_OBJECT_CLASS,
    label: String,
    id: String,
    /// So many of the same stand before it.
    pub(crate) occurrence: usize,
}

/// What an attribute has to say.
pub(crate) enum Attribute<'a> {
    Value(&'a [u8]),
    Sensitive,
    Unknown,
}

impl Object {
    /// The objects of a key: a secret key, or a private one and, unless hidden, the public one.
    pub(crate) fn all_of(
        settings: &settings::Key,
        key: &Arc<Key>,
    ) -> Result<Vec<(Name, Self)>, String> {
        let classes = match **key {
            Key::Secret(..) | Key::Aes(..) => &[CKO_SECRET_KEY][..],
            _ if settings.public_object => &[CKO_PRIVATE_KEY, CKO_PUBLIC_KEY],
            _ => &[CKO_PRIVATE_KEY],
        };
        let id = octets(&settings.id)?;
        let named = |class| Name {
            class,
            label: settings.label.clone(),
            id: settings.id.clone(),
            occurrence: 0,
        };
        Ok(classes
            .iter()
            .map(|class| (named(*class), Self::new(settings, key, *class, &id)))
            .collect())
    }

    fn new(settings: &settings::Key, key: &Arc<Key>, class: CK_OBJECT_CLASS, id: &[u8]) -> Self {
        let is_public = class == CKO_PUBLIC_KEY;
        let private = settings.private && !is_public;
        let mut attributes = Attributes::default();
        attributes.long(CKA_CLASS, class);
        attributes.long(CKA_KEY_TYPE, key_type(key));
        attributes.bytes(CKA_LABEL, settings.label.as_bytes());
        attributes.bytes(CKA_ID, id);
        attributes.flags(true, &[CKA_TOKEN, CKA_LOCAL, CKA_DESTROYABLE]);
        attributes.flags(private, &[CKA_PRIVATE]);
        attributes.flags(false, &[CKA_MODIFIABLE, CKA_COPYABLE, CKA_DERIVE]);
        for date in [CKA_START_DATE, CKA_END_DATE] {
            attributes.bytes(date, &[]);
        }
        if is_public {
            attributes.flags(true, &[CKA_VERIFY]);
            attributes.flags(false, &[CKA_ENCRYPT, CKA_VERIFY_RECOVER, CKA_WRAP, CKA_TRUSTED]);
        } else {
            attributes.flags(true, &[CKA_SIGN, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE]);
            attributes.flags(true, &[CKA_NEVER_EXTRACTABLE]);
            attributes.flags(false, &[CKA_EXTRACTABLE, CKA_DECRYPT, CKA_UNWRAP]);
            attributes.flags(false, &[CKA_WRAP_WITH_TRUSTED]);
        }
        if class == CKO_PRIVATE_KEY {
            attributes.flags(false, &[CKA_SIGN_RECOVER]);
            attributes.flags(settings.always_authenticate, &[CKA_ALWAYS_AUTHENTICATE]);
        }
        attributes.key(key, is_public, settings.public_key_info);
        Self {
            key: Arc::clone(key),
            class,
            private,
            always_authenticate: settings.always_authenticate && !is_public,
            attributes: attributes.0,
        }
    }

    pub(crate) fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Attribute<'_> {
        const SECRETS: [CK_ATTRIBUTE_TYPE; 7] = [
            CKA_VALUE,
            CKA_PRIVATE_EXPONENT,
            CKA_PRIME_1,
            CKA_PRIME_2,
            CKA_EXPONENT_1,
            CKA_EXPONENT_2,
            CKA_COEFFICIENT,
        ];
        match self.attributes.get(&kind) {
            Some(value) => Attribute::Value(value),
            None if self.class != CKO_PUBLIC_KEY && SECRETS.contains(&kind) => Attribute::Sensitive,
            None => Attribute::Unknown,
        }
    }

    /// Does it have all of these?
    pub(crate) fn matches(&self, template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> bool {
        template.iter().all(|(kind, value)| self.attributes.get(kind) == Some(value))
    }
}

fn key_type(key: &Key) -> CK_KEY_TYPE {
    match key {
        Key::Ec(..) => CKK_EC,
        Key::Rsa(_) => CKK_RSA,
        Key::Ed25519(_) => CKK_EC_EDWARDS,
        Key::Secret(..) => CKK_GENERIC_SECRET,
        Key::Aes(..) => CKK_AES,
    }
}

#[derive(Default)]
struct Attributes(HashMap<CK_ATTRIBUTE_TYPE, Vec<u8>>);

impl Attributes {
    fn bytes(&mut self, kind: CK_ATTRIBUTE_TYPE, value: &[u8]) {
        self.0.insert(kind, value.to_vec());
    }

    fn long(&mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    fn flags(&mut self, value: bool, kinds: &[CK_ATTRIBUTE_TYPE]) {
        for kind in kinds {
            self.bytes(*kind, &[if value { CK_TRUE } else { CK_FALSE }]);
        }
    }

    /// What depends on the key's type.
    fn key(&mut self, key: &Key, is_public: bool, with_info: bool) {
        match key {
            Key::Ec(_, curve, _) => self.bytes(CKA_EC_PARAMS, curve.oid),
            Key::Ed25519(_) => self.bytes(CKA_EC_PARAMS, &ED25519_OID),
            Key::Rsa(_) => {}
            Key::Secret(_, length) | Key::Aes(_, length) => {
                self.long(CKA_VALUE_LEN, *length as CK_ULONG);
                self.flags(true, &[CKA_VERIFY]);
                self.flags(false, &[CKA_ENCRYPT, CKA_WRAP, CKA_TRUSTED]);
            }
        }
        if let Some((modulus, exponent)) = key.modulus_and_exponent() {
            self.bytes(CKA_MODULUS, modulus);
            self.bytes(CKA_PUBLIC_EXPONENT, exponent);
            if is_public {
                self.long(CKA_MODULUS_BITS, (modulus.len() * 8) as CK_ULONG);
            }
        }
        if let Some(point) = key.point().filter(|_| is_public) {
            self.bytes(CKA_EC_POINT, &point);
        }
        if let Some(spki) = key.spki().filter(|_| is_public || with_info) {
            self.bytes(CKA_PUBLIC_KEY_INFO, &spki);
        }
    }
}
