//! Finding keys, once.

use std::sync::atomic::AtomicU16;

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};

use super::facts::Facts;
use super::public::{kind, public_half};
use super::ways::{signs_with, ways};
use super::{FoundKey, KeyClass, KeyInfo, MacKey, MacKind, PrivateKey};
use crate::error::Error;
use crate::session::Session;
use crate::spki;
use crate::uri::Uri;

/// The most objects of a token that are listed.
const LISTED_MAX: usize = 4096;
/// The most objects that are looked at for one name. Whoever has more of one name gets an error anyway.
pub(super) const SAME_NAME_MAX: usize = 64;
/// As many as fit into a message.
const SHOWN: usize = 8;

/// Keys and certificates that the session sees.
pub(crate) fn keys(session: &Session) -> Result<Vec<KeyInfo>, Error> {
    let mut keys = Vec::new();
    for object in objects(session, &[], LISTED_MAX)? {
        keys.extend(Facts::read(session, object)?.info(session));
    }
    Ok(keys)
}

/// The private key that `uri` names.
pub(crate) fn private_key(
    session: &Session,
    uri: &Uri,
    expected: Option<&[u8]>,
) -> Result<PrivateKey, Error> {
    expect_class(uri, KeyClass::Private)?;
    let mut found = Vec::new();
    for object in named(session, uri, ObjectClass::PRIVATE_KEY)? {
        found.push((object, Facts::read(session, object)?));
    }
    if found.len() > 1 {
        found = told_apart(session, found, expected)?;
    }
    let (handle, facts) = only(session, uri, KeyClass::Private, found)?;
    let key_uri = session.token().uri().with_object(&facts.label(), &facts.id);
    let name = key_uri.to_string();
    if facts.sign == Some(false) {
        return Err(Error::fatal(
            "C_FindObjects",
            format!("{name} may not sign (CKA_SIGN is false)"),
        ));
    }
    let spki = public_half(session, handle, &facts)?;
    if let (Some(told), Some(expected)) = (&spki, expected)
        && told != expected
    {
        return Err(mismatch(&name, told, expected));
    }
    let kind = kind(&facts, spki.as_deref(), expected).ok_or_else(|| {
        let known = "EC P-256, P-384, P-521, RSA and Ed25519";
        Error::fatal(
            "C_FindObjects",
            format!("{name} is of type {}; keys that sign are {known}", facts.description()),
        )
    })?;
    let always_authenticate = facts.always_authenticate == Some(true);
    let ways = ways(session, handle, kind, &name)?;
    Ok(PrivateKey::new(FoundKey {
        token: session.token().clone(),
        handle,
        uri: key_uri,
        kind,
        spki,
        always_authenticate,
        ways,
        refused: AtomicU16::new(0),
    }))
}

/// The secret key that `uri` names.
pub(crate) fn mac_key(session: &Session, uri: &Uri) -> Result<MacKey, Error> {
    expect_class(uri, KeyClass::Secret)?;
    let mut found = Vec::new();
    for object in named(session, uri, ObjectClass::SECRET_KEY)? {
        found.push((object, Facts::read(session, object)?));
    }
    let (handle, facts) = only(session, uri, KeyClass::Secret, found)?;
    let key_uri = session.token().uri().with_object(&facts.label(), &facts.id);
    let wrong = |problem: String| Error::fatal("C_FindObjects", format!("{key_uri} {problem}"));
    if facts.sign == Some(false) {
        return Err(wrong("may not authenticate messages (CKA_SIGN is false)".into()));
    }
    let (kind, mechanism) = match facts.key_type {
        Some(KeyType::GENERIC_SECRET | KeyType::SHA256_HMAC) => {
            (MacKind::HmacSha256, MechanismType::SHA256_HMAC)
        }
        Some(KeyType::AES) => (MacKind::AesCmac, MechanismType::AES_CMAC),
        _ => {
            return Err(wrong(format!(
                "is of type {}; a generic secret or an AES key is needed",
                facts.description()
            )));
        }
    };
    if !signs_with(session, mechanism)? {
        return Err(wrong(format!(
            "is of type {}, and the token has no {mechanism} for it",
            facts.description()
        )));
    }
    Ok(MacKey { token: session.token().clone(), handle, kind, uri: key_uri })
}

/// Handles that match, at most `most`.
pub(super) fn objects(
    session: &Session,
    template: &[Attribute],
    most: usize,
) -> Result<Vec<ObjectHandle>, Error> {
    let found = session
        .raw()
        .iter_objects(template)
        .map_err(|error| Error::of("C_FindObjectsInit", error))?;
    let handles: Result<_, _> = found.take(most).collect();
    handles.map_err(|error| Error::of("C_FindObjects", error))
}

fn named(session: &Session, uri: &Uri, class: ObjectClass) -> Result<Vec<ObjectHandle>, Error> {
    let mut template = vec![Attribute::Class(class)];
    template.extend(uri.object().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
    objects(session, &template, SAME_NAME_MAX)
}

fn expect_class(uri: &Uri, class: KeyClass) -> Result<(), Error> {
    match uri.class() {
        Some(other) if other != class => {
            let problem = format!(
                "{uri} has type={}, and a {class} is needed: type={}",
                other.uri_name(),
                class.uri_name()
            );
            Err(Error::fatal("C_FindObjects", problem))
        }
        _ => Ok(()),
    }
}

/// Of several keys with one name, as after a rotation, those that the certificate can belong to.
fn told_apart(
    session: &Session,
    found: Vec<(ObjectHandle, Facts)>,
    expected: Option<&[u8]>,
) -> Result<Vec<(ObjectHandle, Facts)>, Error> {
    let Some(expected) = expected else { return Ok(found) };
    let mut belonging = Vec::new();
    for (object, facts) in &found {
        if public_half(session, *object, facts)?.as_deref() == Some(expected) {
            belonging.push((*object, facts.clone()));
        }
    }
    Ok(if belonging.is_empty() { found } else { belonging })
}

fn only(
    session: &Session,
    uri: &Uri,
    class: KeyClass,
    mut found: Vec<(ObjectHandle, Facts)>,
) -> Result<(ObjectHandle, Facts), Error> {
    let label = &session.token().info().label;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let wanted =
                uri.token_only().with_object(uri.object().unwrap_or(""), uri.id().unwrap_or(&[]));
            let there = present(session, class)?;
            let problem = format!("token '{label}' has no {class} {wanted}; it has {there}");
            Err(Error::fatal("C_FindObjects", problem))
        }
        several => {
            let list = listed(session, found.into_iter().map(|(_, facts)| facts));
            let problem = format!(
                "token '{label}' has {several} {class}s that match; add the id of one of: {list}"
            );
            Err(Error::fatal("C_FindObjects", problem))
        }
    }
}

/// What stands there instead of what was looked for.
fn present(session: &Session, class: KeyClass) -> Result<String, Error> {
    let wanted = match class {
        KeyClass::Secret => ObjectClass::SECRET_KEY,
        _ => ObjectClass::PRIVATE_KEY,
    };
    let mut there = Vec::new();
    for object in objects(session, &[Attribute::Class(wanted)], SHOWN + 1)? {
        there.push(Facts::read(session, object)?);
    }
    Ok(if there.is_empty() {
        "none at all that this login sees".to_owned()
    } else {
        listed(session, there.into_iter())
    })
}

fn listed(session: &Session, keys: impl ExactSizeIterator<Item = Facts>) -> String {
    let count = keys.len();
    let mut list: Vec<_> = keys
        .take(SHOWN)
        .map(|facts| {
            let uri = session.token().uri().with_object(&facts.label(), &facts.id);
            format!("{uri} ({})", facts.description())
        })
        .collect();
    if count > SHOWN {
        list.push("and more".to_owned());
    }
    list.join(", ")
}

fn mismatch(name: &str, told: &[u8], expected: &[u8]) -> Error {
    let problem = format!(
        "{name} is not the key of the certificate: SHA-256 of its SPKI is {}, of the certificate's {}",
        spki::fingerprint(told),
        spki::fingerprint(expected)
    );
    Error::fatal("C_GetAttributeValue", problem)
}
