//! PINs: where they come from, and keeping them out of everything else.

mod source;

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::{constant_time, digest, rand};
use zeroize::Zeroizing;

pub use source::PinSource;

/// The longest PIN in bytes: what fits into the one byte that smart cards have for it.
const BYTES_MAX: usize = 255;

/// A user's PIN. Its memory is overwritten when it is dropped; it is not shown by `Debug`, and has no `Display`.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

/// What is wrong with a PIN or with where it should have come from. Never holds the PIN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It has no characters.
    #[error("the PIN is empty")]
    Empty,
    /// It is too long for any token.
    #[error("the PIN is longer than {BYTES_MAX} bytes; does the file hold something else?")]
    TooLong,
    /// PKCS#11 wants UTF-8 (section 3.1), and a line break or a zero byte is a mistake in the file.
    #[error(
        "the PIN has a character that is none: it must be UTF-8 without control characters, on one line"
    )]
    Characters,
    /// The source could not be read.
    #[error("the PIN cannot be read from {source_name}: {problem}")]
    Unreadable {
        /// The source, such as `file:/run/secrets/pin`.
        source_name: String,
        /// Why, and what would be right.
        problem: String,
    },
    /// The text names no source of a PIN.
    #[error("{0}")]
    NoSource(String),
}

impl Pin {
    /// The PIN `text`, of which one trailing newline is cut.
    ///
    /// # Errors
    /// When no token can have it.
    pub fn new(text: &[u8]) -> Result<Self, PinError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return Err(PinError::Empty);
        }
        if text.len() > BYTES_MAX {
            return Err(PinError::TooLong);
        }
        let text = str::from_utf8(text).map_err(|_| PinError::Characters)?;
        if text.chars().any(char::is_control) {
            return Err(PinError::Characters);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The PIN itself, to be given to a token or to the process that has the token.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells "the same PIN again" without keeping the PIN: SHA-256 over a salt that this process drew and the PIN.
    /// It means nothing in another process.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        static SALT: OnceLock<[u8; 32]> = OnceLock::new();
        let salt = SALT.get_or_init(|| {
            let mut salt = [0; 32];
            rand::fill(&mut salt).expect("the system has randomness");
            salt
        });
        let mut salted = digest::Context::new(&digest::SHA256);
        salted.update(salt);
        salted.update(self.0.as_bytes());
        salted.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Pin {}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_not_shown() {
        let pin = Pin::new(b"1234-secret").expect("a PIN");
        assert_eq!(format!("{pin:?} {:?}", Some(&pin)), "Pin(not shown) Some(Pin(not shown))");
    }

    #[test]
    fn one_newline_is_cut_and_no_more() {
        assert_eq!(Pin::new(b"1234\n").expect("a PIN").expose(), "1234");
        assert_eq!(Pin::new(b"1234\r\n").expect("a PIN").expose(), "1234");
        assert_eq!(Pin::new(b" 12 34 ").expect("a PIN").expose(), " 12 34 ");
        assert_eq!(Pin::new(b"1234\n\n"), Err(PinError::Characters));
    }

    #[test]
    fn what_no_token_can_have_is_refused() {
        assert_eq!(Pin::new(b""), Err(PinError::Empty));
        assert_eq!(Pin::new(b"\n"), Err(PinError::Empty));
        assert_eq!(Pin::new(&[b'1'; 256]), Err(PinError::TooLong));
        assert_eq!(Pin::new(&[0xff, b'1']), Err(PinError::Characters));
        assert_eq!(Pin::new(b"12\x0034"), Err(PinError::Characters));
    }

    #[test]
    fn a_fingerprint_tells_the_same_pin_again() {
        let pin = |text: &str| Pin::new(text.as_bytes()).expect("a PIN");
        assert_eq!(pin("1234").fingerprint(), pin("1234").fingerprint());
        assert_ne!(pin("1234").fingerprint(), pin("1235").fingerprint());
        assert_eq!(pin("1234"), pin("1234"));
        assert_ne!(pin("1234"), pin("12345"));
    }
}
