//! Percent-encoding (RFC 3986, section 2.1) with the characters that RFC 7512 lets stand.

use std::fmt;

use super::{UriError, VALUE_BYTES_MAX};

/// Beside letters, digits and `-._~`, what may stand unescaped in the path (`pk11-pchar`).
pub(super) const PATH: &str = ":[]@!$'()*+,=&";
/// And in the query (`pk11-qchar`).
pub(super) const QUERY: &str = ":[]@!$'()*+,=/?|";

fn stands(byte: u8, also: &str) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte)
}

pub(super) fn decode(name: &str, value: &str, also: &str) -> Result<Vec<u8>, UriError> {
    let wrong = |problem: &str| UriError::attribute(name, problem);
    let mut decoded = Vec::with_capacity(value.len().min(VALUE_BYTES_MAX));
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if decoded.len() == VALUE_BYTES_MAX {
            return Err(wrong(&format!("is longer than {VALUE_BYTES_MAX} bytes")));
        }
        decoded.push(if byte == b'%' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            let digits = digit().zip(digit());
            let (high, low) =
                digits.ok_or_else(|| wrong("has a '%' without two hexadecimal digits"))?;
            u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte")
        } else if stands(byte, also) {
            byte
        } else {
            // Not the character itself: the value may be a secret in the wrong place.
            return Err(wrong(
                "has a character that must be percent-encoded, such as a blank as %20",
            ));
        });
    }
    Ok(decoded)
}

/// Bytes with everything escaped that RFC 7512 does not let stand, and more than it must where `also` is less.
pub(super) struct Encoded<'a>(pub(super) &'a [u8], pub(super) &'static str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.1.is_empty();
        for byte in self.0 {
            if !all && stands(*byte, self.1) {
                write!(f, "{}", char::from(*byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}
