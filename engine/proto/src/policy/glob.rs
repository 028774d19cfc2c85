//! Patterns over names: `*` within a segment, `**` across segments, and no other metacharacter.

use crate::policy::matcher::Field;

/// Longest pattern, in bytes: the longest SPIFFE ID.
pub const MAX_PATTERN_BYTES: usize = 2048;

/// A compiled pattern. One without stars matches exactly its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    separator: Option<u8>,
    folds_case: bool,
    /// What stands before the first star: everything, if there is none.
    prefix: Vec<u8>,
    /// From the first star to the last one. Empty if there is none.
    middle: Vec<Token>,
    /// What stands after the last star.
    suffix: Vec<u8>,
}

/// What the names are that a pattern is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syntax {
    /// What stands between two segments.
    pub(super) separator: Option<u8>,
    /// Is `A` the same as `a`? Of ASCII letters only.
    pub(super) folds_case: bool,
    /// Are its segments labels, of which none is empty?
    pub(super) has_labels: bool,
    /// The characters of such a name, and the star.
    pub(super) fits: fn(char) -> bool,
    /// The same in words, as `a URI takes ...`.
    pub(super) takes: &'static str,
}

impl Syntax {
    /// An attribute of a distinguished name.
    pub(super) const ATTRIBUTE: Syntax = Syntax {
        separator: None,
        folds_case: false,
        has_labels: false,
        fits: |character| !character.is_control(),
        takes: "an attribute of a name takes anything but control characters",
    };
    /// A domain name.
    pub(super) const DOMAIN: Syntax = Syntax {
        separator: Some(b'.'),
        folds_case: true,
        has_labels: true,
        fits: |character| character.is_ascii_alphanumeric() || "-_.*".contains(character),
        takes: "a domain name takes letters, digits, `-`, `_` and dots (IDN as `xn--`)",
    };
    /// A URI.
    pub(super) const URI: Syntax = Syntax {
        separator: Some(b'/'),
        folds_case: false,
        has_labels: false,
        fits: |character| character.is_ascii_graphic(),
        takes: "a URI takes printable ASCII without blanks (the rest percent-encoded)",
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Token {
    Byte(u8),
    WithinSegment,
    AcrossSegments,
}

impl Glob {
    /// Compiles a pattern for one field.
    ///
    /// # Errors
    ///
    /// A [`GlobError`] if the pattern is malformed or could match no name of that field.
    pub fn new(field: Field, text: &str) -> Result<Glob, GlobError> {
        Glob::compile(field.syntax(), text)
    }

    pub(super) fn compile(syntax: Syntax, text: &str) -> Result<Glob, GlobError> {
        check(syntax, text)?;
        let tokens = tokens(text, syntax.folds_case);
        let is_star = |token: &Token| !matches!(token, Token::Byte(_));
        let first_star = tokens.iter().position(is_star).unwrap_or(tokens.len());
        let after_last_star =
            tokens.iter().rposition(is_star).map_or(tokens.len(), |last| last + 1);
        Ok(Glob {
            text: text.to_owned(),
            separator: syntax.separator,
            folds_case: syntax.folds_case,
            prefix: bytes(&tokens[..first_star]),
            middle: tokens[first_star..after_last_star].to_vec(),
            suffix: bytes(&tokens[after_last_star..]),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The only name that fits, in lower case where case does not matter; None if there is a star.
    pub(super) fn literal(&self) -> Option<String> {
        let name = || {
            if self.folds_case { self.text.to_ascii_lowercase() } else { self.text.clone() }
        };
        self.middle.is_empty().then(name)
    }

    /// The whole pattern, in lower case where case does not matter. Where a name has no segments, every star reaches
    /// across them.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        let across = self.separator.is_none();
        let byte = |byte: &u8| {
            Token::Byte(if self.folds_case { byte.to_ascii_lowercase() } else { *byte })
        };
        let star = move |token: &Token| match token {
            Token::WithinSegment if across => Token::AcrossSegments,
            token => *token,
        };
        let prefix = self.prefix.iter().map(byte);
        prefix.chain(self.middle.iter().map(star)).chain(self.suffix.iter().map(byte))
    }

    /// Whether the whole name fits.
    ///
    /// Whatever the pattern and the name are, it costs at most the product of their lengths, and only the length of
    /// the prefix or suffix where these differ.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let Some(fixed) = name.len().checked_sub(self.prefix.len() + self.suffix.len()) else {
            return false;
        };
        let (prefix, rest) = name.split_at(self.prefix.len());
        let (between, suffix) = rest.split_at(fixed);
        self.same(prefix, &self.prefix)
            && self.same(suffix, &self.suffix)
            && self.middle_matches(between)
    }

    fn same(&self, name: &[u8], pattern: &[u8]) -> bool {
        if self.folds_case { name.eq_ignore_ascii_case(pattern) } else { name == pattern }
    }

    /// Runs all ways of matching side by side: `reached[p]` says that the first p tokens fit what was read so far.
    ///
    /// That is slower than backtracking on kind inputs and has no unkind ones.
    fn middle_matches(&self, text: &[u8]) -> bool {
        if self.middle.is_empty() {
            return text.is_empty();
        }
        let mut reached = vec![false; self.middle.len() + 1];
        reached[0] = true;
        self.skip_stars(&mut reached);
        for &byte in text {
            let byte = if self.folds_case { byte.to_ascii_lowercase() } else { byte };
            let mut any = false;
            // Downwards, so that each place is computed from what its left neighbour was before this byte.
            for place in (0..reached.len()).rev() {
                let stays = reached[place] && self.star_takes(place, byte);
                let arrives =
                    place > 0 && reached[place - 1] && self.middle[place - 1] == Token::Byte(byte);
                reached[place] = stays || arrives;
                any |= reached[place];
            }
            if !any {
                return false;
            }
            self.skip_stars(&mut reached);
        }
        reached[self.middle.len()]
    }

    fn star_takes(&self, place: usize, byte: u8) -> bool {
        match self.middle.get(place) {
            Some(Token::AcrossSegments) => true,
            Some(Token::WithinSegment) => self.separator != Some(byte),
            Some(Token::Byte(_)) | None => false,
        }
    }

    /// A star fits an empty run: who stands before it may also stand behind it.
    fn skip_stars(&self, reached: &mut [bool]) {
        for (place, token) in self.middle.iter().enumerate() {
            if reached[place] && !matches!(token, Token::Byte(_)) {
                reached[place + 1] = true;
            }
        }
    }
}

/// The tokens of a text in which stars are stars.
pub(super) fn tokens(text: &str, folds_case: bool) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match (byte, tokens.last_mut()) {
            (b'*', Some(star @ Token::WithinSegment)) => *star = Token::AcrossSegments,
            (b'*', _) => tokens.push(Token::WithinSegment),
            (byte, _) => {
                tokens.push(Token::Byte(if folds_case { byte.to_ascii_lowercase() } else { byte }));
            }
        }
    }
    tokens
}

fn bytes(tokens: &[Token]) -> Vec<u8> {
    let byte = |token: &Token| match token {
        Token::Byte(byte) => Some(*byte),
        Token::WithinSegment | Token::AcrossSegments => None,
    };
    tokens.iter().filter_map(byte).collect()
}

/// Refuses what is no pattern, and what is one but could never match a name: a rule that does nothing is a mistake.
fn check(syntax: Syntax, text: &str) -> Result<(), GlobError> {
    if text.is_empty() {
        return Err(GlobError::Empty);
    }
    if text.len() > MAX_PATTERN_BYTES {
        return Err(GlobError::TooLong { length: text.len() });
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(GlobError::OuterBlank);
    }
    if text.contains("***") {
        return Err(GlobError::ThreeStars);
    }
    if let Some(character) = text.chars().find(|&character| !(syntax.fits)(character)) {
        return Err(GlobError::Character { character, takes: syntax.takes });
    }
    if syntax.has_labels && text.split('.').any(str::is_empty) {
        return Err(GlobError::EmptyLabel);
    }
    Ok(())
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// Nothing after the `=`.
    #[error("the pattern is empty: write `*` within a segment or `**` for any name")]
    Empty,
    /// Longer than [`MAX_PATTERN_BYTES`].
    #[error("the pattern has {length} bytes, more than {MAX_PATTERN_BYTES}")]
    TooLong {
        /// Length of the pattern in bytes.
        length: usize,
    },
    /// Blanks around the pattern.
    #[error("the pattern begins or ends with a blank")]
    OuterBlank,
    /// Three or more stars in a row.
    #[error("`***` means nothing: write `*` (within one segment) or `**` (across segments)")]
    ThreeStars,
    /// A character that no name of this field has.
    #[error("{character:?} never occurs in such a name: {takes}")]
    Character {
        /// The first such character.
        character: char,
        /// What the characters are that do.
        takes: &'static str,
    },
    /// A DNS pattern that begins or ends with a dot, or has two in a row.
    #[error("a DNS label is empty: write names without a leading or trailing dot")]
    EmptyLabel,
}

#[cfg(test)]
mod tests;
