//! The text of a configuration file, with its lines.

use std::ops::Range;

use countersign_proto::identity::Printable;

use super::errors::without_pin;

/// The longest excerpt of a line, in characters.
const EXCERPT_CHARACTERS: usize = 100;

/// What stands before the marked part of a line that is too long to be shown whole, in characters.
const EXCERPT_BEFORE: usize = 30;

/// A configuration file's text.
pub(super) struct Source {
    /// As it was given.
    pub(super) path: String,
    pub(super) text: String,
    /// The offset of each line's first byte.
    lines: Vec<usize>,
    /// The text's length without the line ends at its end.
    written: usize,
}

impl Source {
    pub(super) fn new(path: String, text: String) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(starts.map(|(offset, _)| offset + 1)).collect();
        // Asked for with every error: a text may have an error for each of its bytes.
        let written = text.trim_end_matches(['\n', '\r']).len();
        Self { path, text, lines, written }
    }

    /// The line of a byte, counted from 1. What lies behind the end is on the last line that has
    /// something on it: nobody looks for an error below the text.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_index(offset) + 1
    }

    fn line_index(&self, offset: usize) -> usize {
        let index = self.lines.partition_point(|start| *start <= offset.min(self.written));
        index.saturating_sub(1)
    }

    /// The text of a line counted from 0, without its end.
    fn line_text(&self, index: usize) -> &str {
        let start = self.lines[index];
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text[start..end].trim_end_matches('\r')
    }

    /// The bytes of the line of a byte, without its end.
    pub(super) fn line_span(&self, offset: usize) -> Range<usize> {
        let index = self.line_index(offset);
        self.lines[index]..self.lines[index] + self.line_text(index).len()
    }

    /// The lines, counted from 1, from that of `offset` to the last before the next table's header.
    pub(super) fn to_next_header(&self, offset: usize) -> Range<usize> {
        let first = self.line_index(offset);
        let mut next = (first + 1..self.lines.len())
            .skip_while(|index| !self.line_text(*index).trim_start().starts_with('['));
        first + 1..next.next().unwrap_or(self.lines.len()) + 1
    }

    /// Is there a table's header on the line?
    pub(super) fn is_header(&self, offset: usize) -> bool {
        self.line_text(self.line_index(offset)).trim_start().starts_with('[')
    }

    /// Line and column of a byte, both counted from 1, the column in characters; and the line with the
    /// span marked below it.
    pub(super) fn locate(&self, span: &Range<usize>) -> (usize, usize, Vec<String>) {
        let index = self.line_index(span.start);
        let start = self.lines[index];
        let line = self.line_text(index);
        let before = characters(line, span.start.saturating_sub(start));
        let marked = characters(line, span.end.saturating_sub(start)).saturating_sub(before).max(1);
        let number = (index + 1).to_string();
        let margin = " ".repeat(number.len());
        let (text, caret) = window(line, before);
        let marked = marked.min(EXCERPT_CHARACTERS + 1 - caret.min(EXCERPT_CHARACTERS));
        let excerpt = vec![
            format!("  {number} | {text}"),
            format!("  {margin} | {}{}", " ".repeat(caret), "^".repeat(marked)),
        ];
        (index + 1, before + 1, excerpt)
    }
}

/// How many characters stand in the first `bytes` bytes.
fn characters(line: &str, bytes: usize) -> usize {
    line.char_indices().take_while(|(offset, _)| *offset < bytes).count()
}

/// The part of a line around a character, safe to show, and where the character stands in it.
fn window(line: &str, character: usize) -> (String, usize) {
    let line = without_pin(line);
    let from = if line.chars().count() <= EXCERPT_CHARACTERS {
        0
    } else {
        character.saturating_sub(EXCERPT_BEFORE)
    };
    // One for one, so that the mark stays below what it marks.
    let shown = line.chars().skip(from).take(EXCERPT_CHARACTERS).map(|c| {
        let is_safe = Printable(c.encode_utf8(&mut [0; 4])).to_string().chars().eq([c]);
        match c {
            '\t' => ' ',
            '"' | '\\' => c,
            c if is_safe => c,
            _ => '\u{fffd}',
        }
    });
    (shown.collect(), character - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("a.toml".into(), text.into())
    }

    #[test]
    fn columns_count_characters() {
        let source = source("a = 1\nname = \"\u{e4}\u{e4}\" x\r\n\n");
        let x = source.text.find('x').expect("it is there");
        let (line, column, excerpt) = source.locate(&(x..x + 1));
        assert_eq!((line, column), (2, 13));
        assert_eq!(excerpt, ["  2 | name = \"\u{e4}\u{e4}\" x", "    |             ^"]);
    }

    #[test]
    fn what_lies_behind_the_end_is_on_the_last_line() {
        let source = source("a = [1,\n\n\n");
        assert_eq!(source.locate(&(10..10)).0, 1);
        assert_eq!(self::source("").locate(&(0..0)).0, 1);
    }

    #[test]
    fn a_long_line_is_cut_and_the_mark_stays_in_it() {
        let source = source(&format!("{}x = \u{1b}{}", " ".repeat(500), "y".repeat(500)));
        let (_, column, excerpt) = source.locate(&(500..1_005));
        assert_eq!(column, 501);
        assert!(excerpt.iter().all(|line| line.chars().count() < 120), "{excerpt:?}");
        assert!(!excerpt[0].contains('\u{1b}'), "{excerpt:?}");
    }
}
