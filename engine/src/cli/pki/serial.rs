//! Serial numbers: 128 random bits, so that two never meet (RFC 5280 §4.1.2.2 allows 160).

use std::fmt;

use aws_lc_rs::rand;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{PkiError, Result};

const BYTES: usize = 16;

/// In text as the engine's log has it: lowercase hex, two digits a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serial([u8; BYTES]);

impl Serial {
    /// A new one. Its first byte is not zero: every way of writing it has the same length.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; BYTES];
        while bytes[0] == 0 {
            rand::fill(&mut bytes).map_err(|_| PkiError::Crypto {
                doing: "make a serial number",
                problem: "the random number generator failed".into(),
            })?;
        }
        Ok(Self(bytes))
    }

    /// From a certificate's INTEGER, with or without the zero that DER puts before a set sign bit.
    pub(super) fn from_der(integer: &[u8]) -> Option<Self> {
        let bytes = integer.strip_prefix(&[0]).unwrap_or(integer);
        bytes.try_into().ok().map(Self)
    }

    /// Hex in either case, perhaps with colons, as tools show it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair[0] << 4 | pair[pair.len() - 1]).collect();
        if digits.len().is_multiple_of(2) { Self::from_der(&bytes) } else { None }
    }

    pub(super) fn bytes(self) -> [u8; BYTES] {
        self.0
    }

    pub(super) fn number(self) -> rcgen::SerialNumber {
        rcgen::SerialNumber::from_slice(&self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("'{text}' is no serial number of 32 hex digits"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_way_of_writing_a_serial_number_is_read() {
        let serial = Serial::parse("f0112233445566778899aabbccddeeff").expect("a serial number");
        for same in [
            "F0112233445566778899AABBCCDDEEFF",
            "f0:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
            "00f0112233445566778899aabbccddeeff",
        ] {
            assert_eq!(Serial::parse(same), Some(serial), "{same}");
        }
        assert_eq!(serial.to_string(), "f0112233445566778899aabbccddeeff");
        for wrong in ["", "f", "f0", "alice", "f0112233445566778899aabbccddeef", "ä"] {
            assert_eq!(Serial::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn serial_numbers_differ() {
        assert_ne!(Serial::random().expect("random"), Serial::random().expect("random"));
    }
}
