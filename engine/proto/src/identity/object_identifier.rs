//! Object identifiers, and the extensions that list them.

use std::fmt;
use std::str::FromStr;

use super::certificate::{Der, OBJECT_IDENTIFIER, SEQUENCE};
use super::printable::shown;

/// Longest object identifier that is read, in bytes of DER without its header.
const MAX_BYTES: usize = 64;

/// Most identifiers that an extension may list.
pub(super) const MAX_LISTED: usize = 64;

/// An object identifier (X.660), as `1.3.6.1.5.5.7.3.2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectIdentifier {
    /// The content of its DER (X.690 section 8.19).
    content: Box<[u8]>,
}

impl ObjectIdentifier {
    /// The content of its DER, without tag and length.
    pub fn as_bytes(&self) -> &[u8] {
        &self.content
    }
}

impl From<&[u8]> for ObjectIdentifier {
    /// Of the content of DER, which is taken as it is.
    fn from(content: &[u8]) -> ObjectIdentifier {
        ObjectIdentifier { content: content.into() }
    }
}

impl FromStr for ObjectIdentifier {
    type Err = OidError;

    fn from_str(text: &str) -> Result<ObjectIdentifier, OidError> {
        let refused = || OidError { text: shown(text) };
        let arc = |arc: &str| {
            let is_number = arc.bytes().all(|byte| byte.is_ascii_digit())
                && (arc.len() == 1 || !arc.starts_with('0'));
            arc.parse::<u64>().ok().filter(|_| is_number).ok_or_else(refused)
        };
        let mut arcs = text.split('.');
        let mut next = || arcs.next().map(arc).ok_or_else(refused)?;
        let (first, second) = (next()?, next()?);
        if first > 2 || (first < 2 && second > 39) {
            return Err(refused());
        }
        let mut content = Vec::with_capacity(16);
        push_arc(&mut content, (first * 40).checked_add(second).ok_or_else(refused)?);
        for text in arcs {
            push_arc(&mut content, arc(text)?);
            if content.len() > MAX_BYTES {
                return Err(refused());
            }
        }
        Ok(ObjectIdentifier { content: content.into() })
    }
}

/// Seven bits a byte, most significant first, each byte but the last with its first bit set.
fn push_arc(content: &mut Vec<u8>, arc: u64) {
    let groups = (u64::BITS - arc.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let bits = (arc >> (group * 7) & 0x7f) as u8;
        content.push(if group == 0 { bits } else { bits | 0x80 });
    }
}

impl fmt::Display for ObjectIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc: u128 = 0;
        let mut is_first = true;
        for byte in &self.content {
            // No more than MAX_BYTES: what does not fit is no identifier in use, and shown wrong.
            arc = arc.wrapping_shl(7) | u128::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let top = (arc / 40).min(2);
                write!(f, "{top}.{}", arc - top * 40)?;
            } else {
                write!(f, ".{arc}")?;
            }
            (is_first, arc) = (false, 0);
        }
        Ok(())
    }
}

/// A text that is no object identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no object identifier: write it in digits and dots, as 1.3.6.1.5.5.7.3.2")]
pub struct OidError {
    /// The beginning of the text.
    text: String,
}

/// An extension that lists object identifiers, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// The certificate does not have the extension.
    #[default]
    Absent,
    /// The extension is malformed, or lists more than 64 identifiers, or one of more than 64 bytes.
    Unreadable,
    /// What it lists; at least one.
    These(Identifiers),
}

/// A list of object identifiers, one after the other in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifiers(Box<[u8]>);

impl Identifiers {
    /// The content of each one's DER, without tag and length, in the certificate's order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            // As `collect` has written them: tag, a length of one byte, content.
            let [_, length, after @ ..] = rest else { return None };
            let (content, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(content)
        })
    }

    /// Is this one among them?
    pub fn contains(&self, oid: &ObjectIdentifier) -> bool {
        self.iter().any(|listed| listed == &*oid.content)
    }
}

impl Listed {
    /// ExtKeyUsageSyntax (RFC 5280 section 4.2.1.12).
    pub(super) fn purposes(extension: Option<&[u8]>) -> Listed {
        Listed::read(extension, |list| list.whole(OBJECT_IDENTIFIER, MALFORMED))
    }

    /// CertificatePolicies (RFC 5280 section 4.2.1.4): qualifiers are passed over.
    pub(super) fn policies(extension: Option<&[u8]>) -> Listed {
        Listed::read(extension, |list| {
            let mut information = list.expect(SEQUENCE, MALFORMED)?;
            let oid = information.whole(OBJECT_IDENTIFIER, MALFORMED)?;
            if !information.0.is_empty() {
                information.expect(SEQUENCE, MALFORMED)?;
            }
            information.end(MALFORMED)?;
            Ok(oid)
        })
    }

    fn read<'a>(
        extension: Option<&'a [u8]>,
        next: impl FnMut(&mut Der<'a>) -> Result<&'a [u8], &'static str>,
    ) -> Listed {
        let Some(extension) = extension else { return Listed::Absent };
        collect(extension, next).map_or(Listed::Unreadable, Listed::These)
    }
}

const MALFORMED: &str = "the extension is malformed";

fn collect<'a>(
    extension: &'a [u8],
    mut next: impl FnMut(&mut Der<'a>) -> Result<&'a [u8], &'static str>,
) -> Result<Identifiers, &'static str> {
    let mut outer = Der(extension);
    let mut list = outer.expect(SEQUENCE, MALFORMED)?;
    outer.end(MALFORMED)?;
    let mut oids = Vec::with_capacity(16);
    let mut count = 0;
    loop {
        let oid = next(&mut list)?;
        count += 1;
        // Two bytes are its header, the last of a content ends an arc.
        let is_whole = oid.len() > 2 && oid.last().is_some_and(|byte| byte & 0x80 == 0);
        if !is_whole || oid.len() - 2 > MAX_BYTES || count > MAX_LISTED {
            return Err(MALFORMED);
        }
        oids.extend_from_slice(oid);
        if list.0.is_empty() {
            return Ok(Identifiers(oids.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_written_as_they_are_read() {
        for (text, content) in [
            ("1.3.6.1.5.5.7.3.2", &[0x2b, 6, 1, 5, 5, 7, 3, 2][..]),
            ("2.5.29.32.0", &[0x55, 0x1d, 0x20, 0]),
            ("2.999.3", &[0x88, 0x37, 3]),
            ("0.0", &[0]),
            ("1.2.840.113549", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]),
            (
                "2.1.18446744073709551615",
                &[0x51, 0x81, 255, 255, 255, 255, 255, 255, 255, 255, 127],
            ),
        ] {
            let oid: ObjectIdentifier = text.parse().expect(text);
            assert_eq!(oid.as_bytes(), content, "{text}");
            assert_eq!(oid.to_string(), text);
        }
        let long = format!("1.2{}", ".1".repeat(MAX_BYTES));
        for text in ["", "1", "1.", ".1", "3.1", "1.40", "1.2.x", "1.+2", "1.02", "1. 2", &long] {
            assert!(text.parse::<ObjectIdentifier>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_read_or_said_to_be_unreadable() {
        let purposes = |der: &[u8]| Listed::purposes(Some(der));
        let client_auth = "1.3.6.1.5.5.7.3.2".parse().expect("an identifier");
        let read = purposes(&[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2]);
        let Listed::These(these) = read else { panic!("{read:?}") };
        assert!(these.contains(&client_auth));
        assert_eq!(these.iter().count(), 1);
        assert_eq!(Listed::purposes(None), Listed::Absent);
        let many = |count: usize| {
            let content = [6, 1, 0x2a].repeat(count);
            let length = u16::try_from(content.len()).expect("short").to_be_bytes();
            let header = if content.len() < 128 {
                vec![0x30, length[1]]
            } else if content.len() < 256 {
                vec![0x30, 0x81, length[1]]
            } else {
                vec![0x30, 0x82, length[0], length[1]]
            };
            [header, content].concat()
        };
        assert!(matches!(purposes(&many(MAX_LISTED)), Listed::These(_)));
        for wrong in [
            &[][..],
            &[0x30, 0],
            &[0x30, 2, 6, 0],
            &[0x30, 3, 6, 1, 0x80],
            &[0x30, 3, 4, 1, 1],
            &[0x30, 3, 6, 1, 1, 0],
            &many(MAX_LISTED + 1),
        ] {
            assert_eq!(purposes(wrong), Listed::Unreadable, "{wrong:?}");
        }
    }

    #[test]
    fn policies_are_read_past_their_qualifiers() {
        let policies = |der: &[u8]| Listed::policies(Some(der));
        let read = policies(&[0x30, 11, 0x30, 3, 6, 1, 0x2a, 0x30, 4, 6, 0, 0x30, 0]);
        assert_eq!(read, Listed::Unreadable, "an empty identifier");
        let read = policies(&[0x30, 12, 0x30, 3, 6, 1, 0x2a, 0x30, 5, 6, 1, 0x2b, 0x30, 0]);
        let Listed::These(these) = read else { panic!("{read:?}") };
        assert_eq!(these.iter().collect::<Vec<_>>(), [[0x2a], [0x2b]]);
        assert_eq!(policies(&[0x30, 5, 0x30, 3, 6, 1, 0x2a, 0]), Listed::Unreadable);
        assert_eq!(policies(&[0x30, 7, 0x30, 5, 6, 1, 0x2a, 5, 0]), Listed::Unreadable);
    }
}
