//! Distinguished names as text (RFC 4514).

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Class, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::printable::is_deceptive;
use super::{IdentityError, MAX_NAME_ATTRIBUTES, MAX_NAME_BYTES, hex};

/// A distinguished name: as one text for people and logs, and the attributes that are looked at on their own.
#[derive(Debug)]
pub(super) struct DistinguishedName {
    pub(super) text: String,
    pub(super) common_names: Vec<String>,
    pub(super) organizations: Vec<String>,
    pub(super) organizational_units: Vec<String>,
}

impl DistinguishedName {
    /// `role` is `subject` or `issuer`, for the errors.
    pub(super) fn read(
        role: &'static str,
        name: &X509Name<'_>,
    ) -> Result<DistinguishedName, IdentityError> {
        if name.iter_attributes().count() > MAX_NAME_ATTRIBUTES {
            return Err(IdentityError::TooManyAttributes { name: role });
        }
        let mut read = DistinguishedName {
            text: String::new(),
            common_names: Vec::new(),
            organizations: Vec::new(),
            organizational_units: Vec::new(),
        };
        let mut relative_names = Vec::new();
        let mut attributes = Vec::new();
        for relative_name in name.iter() {
            for attribute in relative_name.iter() {
                attributes.push(read.attribute(role, attribute)?);
            }
            relative_names.push(joined(&mut attributes));
            attributes.clear();
        }
        // RFC 4514 section 2.1: "starting with the last element of the sequence and moving backwards toward the first".
        relative_names.reverse();
        read.text = one_or(&mut relative_names, |names| names.join(","));
        Ok(read)
    }

    /// Remembers a CN, O or OU; gives the attribute as RFC 4514 section 2.3 writes it.
    fn attribute(
        &mut self,
        role: &'static str,
        attribute: &AttributeTypeAndValue<'_>,
    ) -> Result<String, IdentityError> {
        let oid = attribute.attr_type().as_bytes();
        let text = attribute_text(attribute.attr_value());
        let Some((_, short_name)) = SHORT_NAMES.iter().find(|(known, _)| *known == oid) else {
            return Ok(format!("{}={}", dotted(attribute)?, der_in_hex(attribute)?));
        };
        let singled_out = match *short_name {
            "CN" => Some(&mut self.common_names),
            "O" => Some(&mut self.organizations),
            "OU" => Some(&mut self.organizational_units),
            _ => None,
        };
        match (singled_out, text) {
            (Some(names), Some(text)) if text.len() <= MAX_NAME_BYTES => {
                let shown = format!("{short_name}={}", escape(&text));
                names.push(text);
                Ok(shown)
            }
            (Some(_), _) => {
                Err(IdentityError::UnreadableAttribute { name: role, attribute: short_name })
            }
            (None, Some(text)) => Ok(format!("{short_name}={}", escape(&text))),
            (None, None) => Ok(format!("{short_name}={}", der_in_hex(attribute)?)),
        }
    }
}

/// The attributes of a relative name as RFC 4514 section 2.2 joins them, which leaves their order open: sorted, so that
/// two texts of one name are the same. OpenSSL has them in the opposite order of the certificate's.
pub(super) fn joined(attributes: &mut [String]) -> String {
    attributes.sort_unstable();
    one_or(attributes, |attributes| attributes.join("+"))
}

/// The text that is alone, as most are, without a copy of it.
fn one_or(texts: &mut [String], join: impl FnOnce(&[String]) -> String) -> String {
    match texts {
        [only] => std::mem::take(only),
        several => join(several),
    }
}

/// The DER content of an attribute type's OID, and its short name.
///
/// The first nine are the table of RFC 4514 section 3, the others are the names OpenSSL gives what certificates carry.
pub(super) const SHORT_NAMES: [(&[u8], &str); 16] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "givenName"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// The characters of a string value; None if it is no string, or not a well-formed one of its kind.
pub(super) fn attribute_text(value: &Any<'_>) -> Option<String> {
    if value.header.is_constructed() || value.class() != Class::Universal {
        return None;
    }
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            bytes.is_ascii().then(|| latin_1(bytes))
        }
        // T.61 has shifts nobody uses; who still writes TeletexString means ISO 8859-1, and OpenSSL reads it so.
        Tag::TeletexString => Some(latin_1(bytes)),
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        Tag::UniversalString => {
            let (characters, rest) = bytes.as_chunks::<4>();
            let characters =
                characters.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| characters.collect())?
        }
        _ => None,
    }
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Escapes a value as RFC 4514 section 2.4 says; characters that would deceive a reader go as hex pairs of their UTF-8.
pub(super) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            '#' if index == 0 => escaped.push_str("\\#"),
            ' ' if index == 0 || index == last => escaped.push_str("\\ "),
            _ if is_deceptive(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(escaped, "\\{byte:02X}");
                }
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// An attribute type without a short name. No OID in use comes near the length refused here, and the decimal digits
/// of an arc thousands of bits long take time that grows with the square of them.
fn dotted(attribute: &AttributeTypeAndValue<'_>) -> Result<String, IdentityError> {
    const MAX_OID_BYTES: usize = 64;
    let oid = attribute.attr_type();
    if oid.as_bytes().is_empty() || oid.as_bytes().len() > MAX_OID_BYTES {
        return Err(IdentityError::Malformed {
            reason: "an attribute type is no usable OID".to_owned(),
        });
    }
    Ok(oid.to_id_string())
}

/// A value without a text: a number sign, and its BER encoding in hex (RFC 4514 section 2.4).
fn der_in_hex(attribute: &AttributeTypeAndValue<'_>) -> Result<String, IdentityError> {
    let der = attribute
        .attr_value()
        .to_der_vec()
        .map_err(|error| IdentityError::Malformed { reason: error.to_string() })?;
    Ok(format!("#{}", hex(&der)))
}
