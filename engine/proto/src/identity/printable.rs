//! Text from a certificate, made safe to show.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

/// Shows text that someone else chose: what could break a line, move a cursor or turn the reading direction is
/// written `\u{..}`; a backslash is doubled, so that what
/// only looks escaped is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                _ if is_deceptive(character) => write!(f, "{}", character.escape_unicode())?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// As it is shown.
impl Serialize for Printable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The beginning of a text that was refused, for the error that says so.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let beginning: String = text.chars().take(LONGEST).collect();
    Printable(&beginning).to_string()
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the invisible ones that join, hide or
/// reorder their neighbours (Unicode TR 36, section 3).
pub(super) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}
