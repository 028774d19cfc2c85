//! SHA-256 fingerprints.

use std::fmt;
use std::str::FromStr;

use crate::policy::hexadecimal::{self, HexError};

/// A SHA-256. Written as 64 hex digits; read in either case, with or without colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let digits = hexadecimal::digits(text)?;
        let mut value = [0; 32];
        if digits.len() != 2 * value.len() {
            return Err(FingerprintError::Length { digits: digits.len() });
        }
        for (byte, pair) in value.iter_mut().zip(digits.as_bytes().as_chunks::<2>().0) {
            let nibble =
                |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
            *byte = nibble(pair[0]).unwrap_or(0) << 4 | nibble(pair[1]).unwrap_or(0);
        }
        Ok(Fingerprint(value))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is not a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Not hexadecimal.
    #[error(transparent)]
    Hex(#[from] HexError),
    /// Too short or too long.
    #[error("{digits} hex digits are no SHA-256, which has 64{}", of_another_hash(*digits))]
    Length {
        /// How many there are.
        digits: usize,
    },
}

fn of_another_hash(digits: usize) -> &'static str {
    match digits {
        32 => " (32 are an MD5)",
        40 => " (40 are a SHA-1)",
        96 => " (96 are a SHA-384)",
        128 => " (128 are a SHA-512)",
        _ => "",
    }
}
