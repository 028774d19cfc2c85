//! What has come of a list and is not read yet.

use super::{ListError, Text};

/// The bytes that have come, with what is known of where they stand.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// What of `bytes` is read.
    consumed: usize,
    /// The offset in the list of `bytes`' first.
    offset: u64,
    /// The offset of the list's end, once known.
    pub(super) end: u64,
    signed: Signed,
}

/// How far the signed part of the list is hashed.
#[derive(Default)]
enum Signed {
    /// It has not begun.
    #[default]
    Before,
    /// It begins at this offset; the algorithm is not known yet.
    Since(u64),
    /// Hashed up to this offset.
    Hashing(u64, Text),
    /// All of it.
    Whole(Text),
    /// It has been taken.
    Taken,
}

#[derive(Clone, Copy)]
pub(super) struct Header {
    tag_and_length: usize,
    /// Of the content.
    pub(super) length: u64,
}

pub(super) struct Element<'a> {
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The offset in the list of what is read next.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.consumed as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.consumed == self.bytes.len()
    }

    pub(super) fn tag(&self) -> Option<u8> {
        self.bytes.get(self.consumed).copied()
    }

    /// Reads a header; `None` if more must come.
    pub(super) fn header(
        &self,
        tag: u8,
        otherwise: &'static str,
    ) -> Result<Option<Header>, ListError> {
        let wrong = || Err(ListError { offset: self.position(), problem: otherwise.into() });
        let rest = &self.bytes[self.consumed..];
        let Some(&found) = rest.first() else { return Ok(None) };
        if found != tag {
            return wrong();
        }
        let (length, tag_and_length) = match rest.get(1) {
            None => return Ok(None),
            Some(&short @ 0..=0x7f) => (u64::from(short), 2),
            Some(&long @ 0x81..=0x84) => {
                let count = usize::from(long & 0x7f);
                let Some(bytes) = rest.get(2..2 + count) else { return Ok(None) };
                let length = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                if length < 0x80 || bytes[0] == 0 {
                    return wrong();
                }
                (length, 2 + count)
            }
            Some(_) => return wrong(),
        };
        // Before the list's own header is read its end is not known.
        let known_end = if self.end == 0 { u64::MAX } else { self.end };
        if self.position() + tag_and_length as u64 + length > known_end {
            return wrong();
        }
        Ok(Some(Header { tag_and_length, length }))
    }

    /// Reads an element; `None` if more must come.
    pub(super) fn element(
        &self,
        tag: u8,
        most: usize,
        otherwise: &'static str,
    ) -> Result<Option<Element<'_>>, ListError> {
        let Some(header) = self.header(tag, otherwise)? else { return Ok(None) };
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > most {
            let problem = format!("a field has {length} bytes; {most} are read at most").into();
            return Err(ListError { offset: self.position(), problem });
        }
        let whole = self.bytes.get(self.consumed..self.consumed + header.tag_and_length + length);
        Ok(whole.map(|whole| Element { content: &whole[header.tag_and_length..], whole }))
    }

    /// Goes past a header.
    pub(super) fn enter(&mut self, header: Header) {
        self.skip(header.tag_and_length);
    }

    /// Goes past bytes that have come.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.consumed += bytes;
    }

    /// What is signed begins here.
    pub(super) fn begin_signed(&mut self) {
        self.signed = Signed::Since(self.position());
    }

    /// It is signed so.
    pub(super) fn hash_with(&mut self, text: Text) {
        if let Signed::Since(offset) = self.signed {
            self.signed = Signed::Hashing(offset, text);
        }
    }

    /// What is signed ends here; `false` if it is too long.
    pub(super) fn end_signed(&mut self) -> bool {
        if !self.hash() {
            return false;
        }
        self.signed = match std::mem::take(&mut self.signed) {
            Signed::Hashing(_, text) => Signed::Whole(text),
            other => other,
        };
        true
    }

    pub(super) fn take_signed(&mut self) -> Option<Text> {
        match std::mem::replace(&mut self.signed, Signed::Taken) {
            Signed::Whole(text) => Some(text),
            _ => None,
        }
    }

    /// Lets go of what is read and hashed; `None` if what is signed is too long.
    pub(super) fn forget_consumed(&mut self) -> Option<()> {
        if !self.hash() {
            return None;
        }
        // Until the algorithm is known, what is signed must be kept: that is a few bytes.
        if !matches!(self.signed, Signed::Since(_)) {
            self.bytes.drain(..self.consumed);
            self.offset += self.consumed as u64;
            self.consumed = 0;
        }
        Some(())
    }

    /// Hashes what has been read; `false` if it is too long.
    fn hash(&mut self) -> bool {
        let position = self.offset + self.consumed as u64;
        let Signed::Hashing(hashed, text) = &mut self.signed else { return true };
        let from = usize::try_from(*hashed - self.offset).unwrap_or(usize::MAX);
        *hashed = position;
        self.bytes.get(from..self.consumed).is_none_or(|bytes| text.update(bytes))
    }
}
