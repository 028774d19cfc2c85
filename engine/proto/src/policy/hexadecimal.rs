//! Hexadecimal digits as people paste them: either case, with or without colons.

/// The digits in lower case, without the colons. At least one.
pub(super) fn digits(text: &str) -> Result<String, HexError> {
    let mut digits = String::with_capacity(text.len());
    for character in text.chars().filter(|&character| character != ':') {
        if !character.is_ascii_hexdigit() {
            return Err(HexError::Character { character });
        }
        digits.push(character.to_ascii_lowercase());
    }
    if digits.is_empty() {
        return Err(HexError::Empty);
    }
    Ok(digits)
}

/// Why a text is not hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// Neither a hexadecimal digit nor a colon.
    #[error(
        "{character:?} is no hex digit: write 0-9 and a-f, with or without colons, nothing before them"
    )]
    Character {
        /// The first such character.
        character: char,
    },
    /// No digit at all.
    #[error("the hex digits are missing")]
    Empty,
}
