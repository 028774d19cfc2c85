//! The public half of a private key, from wherever its token tells it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::facts::{Facts, attributes};
use super::find::{SAME_NAME_MAX, objects};
use crate::error::Error;
use crate::scheme::KeyKind;
use crate::session::Session;
use crate::spki;

/// As the private key tells, or its public half, or the certificate it is for; a signature will prove it.
pub(super) fn kind(facts: &Facts, spki: Option<&[u8]>, expected: Option<&[u8]>) -> Option<KeyKind> {
    let fits = |kind: &KeyKind| match facts.key_type {
        Some(KeyType::RSA) => matches!(kind, KeyKind::Rsa { .. }),
        Some(KeyType::EC) => matches!(kind, KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521),
        Some(KeyType::EC_EDWARDS) => *kind == KeyKind::Ed25519,
        Some(_) => false,
        None => true,
    };
    let told = facts
        .kind()
        .or_else(|| spki.and_then(spki::kind))
        .or_else(|| expected.and_then(spki::kind));
    told.filter(fits)
}

/// The public key of a private key, from wherever the token tells it.
pub(super) fn public_half(
    session: &Session,
    private: ObjectHandle,
    facts: &Facts,
) -> Result<Option<Vec<u8>>, Error> {
    if let Some(spki) = spki_of(session, private, facts)? {
        return Ok(Some(spki));
    }
    // By its id, or its label where it has none: something must tie them together.
    let tie = match (facts.id.is_empty(), facts.label.is_empty()) {
        (false, _) => Attribute::Id(facts.id.clone()),
        (true, false) => Attribute::Label(facts.label.clone()),
        (true, true) => return Ok(None),
    };
    for class in [ObjectClass::PUBLIC_KEY, ObjectClass::CERTIFICATE] {
        for object in objects(session, &[Attribute::Class(class), tie.clone()], SAME_NAME_MAX)? {
            let public = Facts::read(session, object)?;
            // With several objects of one id, the one of the same type of key.
            if public.key_type.is_some() && public.key_type != facts.key_type {
                continue;
            }
            let told = match class {
                ObjectClass::PUBLIC_KEY => spki_of(session, object, &public)?,
                _ => certificate_spki(session, object)?,
            };
            if told.is_some() {
                return Ok(told);
            }
        }
    }
    Ok(None)
}

fn spki_of(
    session: &Session,
    object: ObjectHandle,
    facts: &Facts,
) -> Result<Option<Vec<u8>>, Error> {
    let asked: &[_] = match facts.key_type {
        Some(KeyType::RSA) => {
            &[AttributeType::PublicKeyInfo, AttributeType::Modulus, AttributeType::PublicExponent]
        }
        _ => &[AttributeType::PublicKeyInfo, AttributeType::EcPoint],
    };
    let mut modulus = Vec::new();
    let mut exponent = Vec::new();
    let mut made = None;
    for attribute in attributes(session, object, asked)? {
        match attribute {
            // Tokens are seen that tell an empty one, or their own idea of it.
            Attribute::PublicKeyInfo(spki) if spki::kind(&spki).is_some() => return Ok(Some(spki)),
            Attribute::Modulus(told) => modulus = told,
            Attribute::PublicExponent(told) => exponent = told,
            Attribute::EcPoint(point) => {
                made = facts.kind().and_then(|kind| spki::ec(kind, &point));
            }
            _ => {}
        }
    }
    Ok(made.or_else(|| spki::rsa(&modulus, &exponent)))
}

fn certificate_spki(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, Error> {
    let value =
        attributes(session, object, &[AttributeType::Value])?.into_iter().find_map(|attribute| {
            match attribute {
                Attribute::Value(certificate) => spki::of_certificate(&certificate),
                _ => None,
            }
        });
    Ok(value)
}
