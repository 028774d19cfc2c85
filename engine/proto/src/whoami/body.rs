//! Request bodies, thrown away as they come: nothing is held but the place in the grammar.

use crate::whoami::MAX_HEAD_BYTES;
use crate::whoami::request::Framing;

/// Longest size line of one chunk, in bytes: 16 digits and some extensions nobody sends.
const MAX_CHUNK_LINE_BYTES: usize = 1024;

/// A body not yet received to its end.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyProgress {
    Incomplete,
    Complete,
    Refused(&'static str),
}

impl Body {
    pub(super) fn new(framing: Framing) -> Body {
        match framing {
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunked::Size { size: 0, digits: 0 }),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Body::Length(0))
    }

    /// Takes bytes up to the end of the body, or all; says how many.
    pub(super) fn discard(&mut self, bytes: &[u8]) -> (usize, BodyProgress) {
        match self {
            Body::Length(left) => {
                let read = skip(left, bytes);
                let progress =
                    if *left == 0 { BodyProgress::Complete } else { BodyProgress::Incomplete };
                (read, progress)
            }
            Body::Chunked(state) => discard_chunked(state, bytes),
        }
    }
}

/// The next thing expected in a chunked body (RFC 9112 section 7.1).
///
/// Lines end in CRLF and in nothing else: a lone LF is only tolerated in heads, and chunk lines are where two parsers
/// disagree to somebody's advantage.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunked {
    Size { size: u64, digits: usize },
    Extension { size: u64, length: usize },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer { line: usize, length: usize },
    TrailerLf { line: usize, length: usize },
}

fn discard_chunked(state: &mut Chunked, bytes: &[u8]) -> (usize, BodyProgress) {
    let mut read = 0;
    while read < bytes.len() {
        if let Chunked::Data { left } = state {
            read += skip(left, &bytes[read..]);
            if *left == 0 {
                *state = Chunked::DataCr;
            }
            continue;
        }
        let byte = bytes[read];
        read += 1;
        match after(*state, byte) {
            Ok(Some(next)) => *state = next,
            Ok(None) => return (read, BodyProgress::Complete),
            Err(reason) => return (read, BodyProgress::Refused(reason)),
        }
    }
    (read, BodyProgress::Incomplete)
}

/// Where one byte that is not chunk data leads; None is the end of the body.
fn after(state: Chunked, byte: u8) -> Result<Option<Chunked>, &'static str> {
    const MALFORMED_SIZE: &str = "a chunk's size line is malformed";
    const MALFORMED_DATA: &str = "a chunk is not as long as it says";
    const MALFORMED_TRAILER: &str = "the trailer section is malformed";
    const LONG_TRAILER: &str = "the trailer section is too long";
    let next = match (state, byte) {
        (Chunked::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
            if digits == 16 {
                return Err("a chunk's size has more than 16 digits");
            }
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            Chunked::Size { size: size << 4 | digit, digits: digits + 1 }
        }
        (Chunked::Size { digits: 0, .. }, _) => return Err(MALFORMED_SIZE),
        (Chunked::Size { size, .. } | Chunked::Extension { size, .. }, b'\r') => {
            Chunked::SizeLf { size }
        }
        (Chunked::Size { size, .. }, b';') => Chunked::Extension { size, length: 0 },
        (Chunked::Extension { size, length }, b'\t' | b' '..=b'~' | 0x80..) => {
            if length == MAX_CHUNK_LINE_BYTES {
                return Err("a chunk's extensions are too long");
            }
            Chunked::Extension { size, length: length + 1 }
        }
        (Chunked::SizeLf { size: 0 }, b'\n') => Chunked::Trailer { line: 0, length: 0 },
        (Chunked::SizeLf { size }, b'\n') => Chunked::Data { left: size },
        (Chunked::Size { .. } | Chunked::Extension { .. } | Chunked::SizeLf { .. }, _) => {
            return Err(MALFORMED_SIZE);
        }

        (Chunked::DataCr, b'\r') => Chunked::DataLf,
        (Chunked::DataLf, b'\n') => Chunked::Size { size: 0, digits: 0 },
        (Chunked::Data { .. } | Chunked::DataCr | Chunked::DataLf, _) => {
            return Err(MALFORMED_DATA);
        }

        (Chunked::Trailer { line, length }, b'\r') => Chunked::TrailerLf { line, length },
        (Chunked::Trailer { length: MAX_HEAD_BYTES.., .. }, _) => return Err(LONG_TRAILER),
        (Chunked::Trailer { line, length }, b'\t' | b' '..=b'~' | 0x80..) => {
            Chunked::Trailer { line: line + 1, length: length + 1 }
        }
        (Chunked::TrailerLf { line: 0, .. }, b'\n') => return Ok(None),
        (Chunked::TrailerLf { length, .. }, b'\n') => Chunked::Trailer { line: 0, length },
        (Chunked::Trailer { .. } | Chunked::TrailerLf { .. }, _) => return Err(MALFORMED_TRAILER),
    };
    Ok(Some(next))
}

/// Takes from `left` as many bytes as there are; says how many.
fn skip(left: &mut u64, bytes: &[u8]) -> usize {
    let read = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= read as u64;
    read
}
