//! Distinguished names as people write them (RFC 4514), brought into the form that [`super::ClientIdentity`] has.

use x509_parser::asn1_rs::{Any, FromDer, Oid};

use super::distinguished_name::{SHORT_NAMES, attribute_text, escape, joined};
use super::hex;
use super::printable::shown;

/// The string that [`super::ClientIdentity::issuer`] gives for the name that `text` is an RFC 4514 string of.
///
/// Other short names, cases and escapes of the same name are accepted, and any order among those of a multi-valued
/// attribute. Otherwise the order stays: the most specific attribute first.
///
/// # Errors
///
/// A [`NameTextError`] where it is not such a string, or one that no certificate's name is ever given as.
pub fn canonical_name(text: &str) -> Result<String, NameTextError> {
    if text.is_empty() {
        return Err(NameTextError::Empty);
    }
    let mut canonical = String::with_capacity(text.len());
    let mut relative_name = Vec::new();
    let mut rest = text;
    loop {
        let (attribute, after) = rest.split_at(attribute_end(rest));
        relative_name.push(canonical_attribute(attribute)?);
        let mut after = after.chars();
        let separator = after.next();
        rest = after.as_str();
        if separator == Some('+') {
            continue;
        }
        canonical.push_str(&joined(&mut relative_name));
        relative_name.clear();
        match separator {
            Some(separator) => canonical.push(separator),
            None => return Ok(canonical),
        }
    }
}

/// Where the first attribute ends: at a `,` or `+` that is not escaped.
fn attribute_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' | '+' => return place,
            _ => {}
        }
    }
    text.len()
}

fn canonical_attribute(attribute: &str) -> Result<String, NameTextError> {
    let Some((kind, value)) = attribute.split_once('=') else {
        return Err(NameTextError::NoType { text: shown(attribute) });
    };
    if kind.starts_with(' ') || kind.ends_with(' ') || value.starts_with(' ') {
        return Err(NameTextError::Blank);
    }
    let kind = attribute_type(kind)?;
    let value = match value.strip_prefix('#') {
        Some(digits) => encoded_value(kind, digits)?,
        None if is_dotted(kind) => return Err(NameTextError::Encoding { text: shown(value) }),
        None => escape(&unescaped(value)?),
    };
    Ok(format!("{kind}={value}"))
}

/// Names that others give to types which [`SHORT_NAMES`] has under another one.
const ALIASES: [(&str, &str); 4] =
    [("GN", "givenName"), ("E", "emailAddress"), ("EMAIL", "emailAddress"), ("S", "ST")];

fn attribute_type(text: &str) -> Result<&str, NameTextError> {
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text));
    let name = alias.map_or(text, |(_, name)| name);
    for (oid, short_name) in &SHORT_NAMES {
        let is_its_oid = || is_dotted(name) && Oid::new((*oid).into()).to_id_string() == name;
        if short_name.eq_ignore_ascii_case(name) || is_its_oid() {
            return Ok(short_name);
        }
    }
    if is_dotted(name) { Ok(name) } else { Err(NameTextError::UnknownType { name: shown(text) }) }
}

/// A numericoid of RFC 4512 section 1.4.
fn is_dotted(name: &str) -> bool {
    let is_number = |arc: &str| {
        !arc.is_empty()
            && arc.bytes().all(|byte| byte.is_ascii_digit())
            && (arc == "0" || !arc.starts_with('0'))
    };
    name.contains('.') && name.split('.').all(is_number)
}

/// A value given by its DER encoding: as text where the type has a short name and the value is a string.
fn encoded_value(kind: &str, digits: &str) -> Result<String, NameTextError> {
    let refused = || NameTextError::Encoding { text: shown(digits) };
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))
    };
    let der: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    let der = der.filter(|_| odd.is_empty()).ok_or_else(refused)?;
    let (trailing, value) = Any::from_der(&der).map_err(|_| refused())?;
    if !trailing.is_empty() {
        return Err(refused());
    }
    match attribute_text(&value) {
        Some(text) if !is_dotted(kind) => Ok(escape(&text)),
        _ => Ok(format!("#{}", hex(&der))),
    }
}

/// Takes the escapes of RFC 4514 section 2.4 out of a value.
fn unescaped(value: &str) -> Result<String, NameTextError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut ends_in_blank = false;
    let mut rest = value.chars();
    while let Some(character) = rest.next() {
        ends_in_blank = character == ' ';
        match character {
            '\\' => bytes.push(escape_sequence(&mut rest)?),
            '"' | ';' | '<' | '>' | '\0' => return Err(NameTextError::Unescaped { character }),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if ends_in_blank {
        return Err(NameTextError::Blank);
    }
    String::from_utf8(bytes).map_err(|_| NameTextError::NotUtf8 { text: shown(value) })
}

/// What stands behind a backslash: one special character, or two hex digits of a byte.
fn escape_sequence(rest: &mut std::str::Chars<'_>) -> Result<u8, NameTextError> {
    match (rest.next(), rest.clone().next()) {
        (Some(special), _) if "\"+,;<>\\ #=".contains(special) => {
            u8::try_from(special).map_err(|_| NameTextError::Escape)
        }
        (Some(high), Some(low)) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            rest.next();
            u8::from_str_radix(&format!("{high}{low}"), 16).map_err(|_| NameTextError::Escape)
        }
        _ => Err(NameTextError::Escape),
    }
}

/// Why a text is not the RFC 4514 string of a certificate's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameTextError {
    /// No attribute at all.
    #[error("the name is empty: write it as CN=Example CA,O=Example")]
    Empty,
    /// No `=` in what should be an attribute.
    #[error(
        "`{text}` is no attribute: a name is written as CN=Example CA,O=Example, with `\\,` for a comma within a value"
    )]
    NoType {
        /// The beginning of the text.
        text: String,
    },
    /// An attribute type by an unknown name.
    #[error(
        "`{name}` is no attribute type: the names are {}; another goes by its dotted OID",
        short_names()
    )]
    UnknownType {
        /// The beginning of the name.
        name: String,
    },
    /// A blank after a separator, before or after an `=`, or at the end of a value.
    #[error(
        "a blank stands beside a `,`, `+` or `=`, or ends the name: that is how OpenSSL prints names by default, with the \
         attributes in the opposite order too; take it from `openssl x509 -noout -issuer -nameopt RFC2253,-esc_msb` \
         (a blank that belongs to a value is written `\\ `)"
    )]
    Blank,
    /// A character that must be escaped in a value.
    #[error(
        "{character:?} within a value is written with a backslash before it, or as `\\` and two hex digits"
    )]
    Unescaped {
        /// The character.
        character: char,
    },
    /// A backslash before something that needs none.
    #[error("after a backslash stands one of `\"+,;<>\\#=`, a blank, or two hex digits")]
    Escape,
    /// Escaped bytes that make no text.
    #[error("the escaped bytes of `{text}` are not UTF-8")]
    NotUtf8 {
        /// The beginning of the value.
        text: String,
    },
    /// A value that had to be the DER of one element in hex, and is not.
    #[error(
        "`{text}`: the value of a dotted OID is written as `#` and the hex digits of its DER encoding"
    )]
    Encoding {
        /// The beginning of the value.
        text: String,
    },
}

fn short_names() -> String {
    SHORT_NAMES.map(|(_, name)| name).join(", ")
}

#[cfg(test)]
mod tests;
