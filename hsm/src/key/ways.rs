//! How a key can sign.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use super::Ways;
use super::facts::attributes;
use crate::error::Error;
use crate::mechanism::{self, Way};
use crate::scheme::KeyKind;
use crate::session::Session;

/// What the token's mechanisms and the key's own list of them (`CKA_ALLOWED_MECHANISMS`) let it sign.
pub(super) fn ways(
    session: &Session,
    key: ObjectHandle,
    kind: KeyKind,
    name: &str,
) -> Result<Vec<Ways>, Error> {
    let listed = attributes(session, key, &[AttributeType::AllowedMechanisms])?;
    let allowed = listed.into_iter().find_map(|attribute| match attribute {
        Attribute::AllowedMechanisms(allowed) if !allowed.is_empty() => Some(allowed),
        _ => None,
    });
    let mut ways = Vec::new();
    for scheme in kind.schemes().iter().copied() {
        let possible = |way| -> Result<bool, Error> {
            let Some(number) = mechanism::number(scheme, way) else { return Ok(false) };
            let is_allowed = allowed.as_ref().is_none_or(|allowed| allowed.contains(&number));
            Ok(is_allowed && signs_with(session, number)?)
        };
        let hashed_here = possible(Way::HashedHere)?;
        let hashed_there = possible(Way::HashedThere)?;
        if hashed_here || hashed_there {
            ways.push(Ways { scheme, hashed_here, hashed_there });
        }
    }
    if ways.is_empty() { Err(none(kind, name)) } else { Ok(ways) }
}

/// With the names of the mechanisms that would do.
fn none(kind: KeyKind, name: &str) -> Error {
    let mut wanted: Vec<String> = Vec::new();
    for scheme in kind.schemes() {
        let numbers =
            [Way::HashedHere, Way::HashedThere].map(|way| mechanism::number(*scheme, way));
        for number in numbers.into_iter().flatten().map(|number| number.to_string()) {
            if !wanted.contains(&number) {
                wanted.push(number);
            }
        }
    }
    let wanted = wanted.join(", ");
    let problem = format!(
        "{name} ({kind}) cannot sign: the token has none of its mechanisms, which are {wanted}"
    );
    Error::fatal("C_GetMechanismList", problem)
}

/// Whether the token signs with a mechanism.
pub(super) fn signs_with(session: &Session, number: MechanismType) -> Result<bool, Error> {
    let mechanisms = session.token().mechanism_list()?;
    Ok(mechanisms.iter().any(|mechanism| mechanism.number == number && mechanism.signs))
}
