//! A file of revocation lists as it comes in pieces: DER, or PEM with any number of lists in it.

use super::list::RevocationList;
use super::parser::{ListError, Parser};

/// Lists in one PEM file.
const LISTS_MAX: usize = 4_096;

/// A line of PEM has 64 characters (RFC 7468 §2); what is no list may have longer ones.
const LINE_BYTES_MAX: usize = 64 * 1024;

const BEGIN: &[u8] = b"-----BEGIN X509 CRL-----";
const END: &[u8] = b"-----END X509 CRL-----";

/// Why a file of lists was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A list is not right.
    #[error("{}{error}", Nth(*.list))]
    List {
        /// Which list of a PEM file, counted from 1; 0 for DER.
        list: usize,
        /// What is wrong, and where in its DER.
        error: ListError,
    },
    /// The base64 of a list is not right.
    #[error("line {line}: it is not base64")]
    Base64 {
        /// Counted from 1.
        line: usize,
    },
    /// There is no list in it.
    #[error("there is no CRL in it: neither DER nor a section '-----BEGIN X509 CRL-----'")]
    Nothing,
    /// A list of a PEM file has no end.
    #[error("line {line}: the CRL that begins here has no end '-----END X509 CRL-----'")]
    Unfinished {
        /// Counted from 1.
        line: usize,
    },
    /// Too many lists in one file.
    #[error("there are more than {LISTS_MAX} CRLs in it")]
    TooMany,
}

struct Nth(usize);

impl std::fmt::Display for Nth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, "CRL {} of the file, ", self.0) }
    }
}

/// Reads lists out of bytes as they come, and holds nothing of them but what it makes.
pub struct ListReader {
    form: Form,
    /// Of the whole file, at most.
    expected_bytes: u64,
    lists: Vec<RevocationList>,
}

enum Form {
    Unknown,
    Der(Box<Parser>),
    Pem(Pem),
}

#[derive(Default)]
struct Pem {
    line: Vec<u8>,
    number: usize,
    list: Option<Section>,
}

struct Section {
    parser: Box<Parser>,
    first_line: usize,
    base64: Base64,
}

impl ListReader {
    /// Of a file of which at most so many bytes will come: no more room is made than those can fill.
    #[must_use]
    pub fn new(expected_bytes: u64) -> Self {
        Self { form: Form::Unknown, expected_bytes, lists: Vec::new() }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// See [`ReadError`]; there is no going on after it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        if let (Form::Unknown, Some(first)) = (&self.form, bytes.first()) {
            self.form = match first {
                0x30 => Form::Der(Box::new(Parser::new(self.expected_bytes))),
                _ => Form::Pem(Pem::default()),
            };
        }
        match &mut self.form {
            Form::Unknown => Ok(()),
            Form::Der(parser) => {
                parser.push(bytes).map_err(|error| ReadError::List { list: 0, error })
            }
            Form::Pem(pem) => pem.push(bytes, self.expected_bytes, &mut self.lists),
        }
    }

    /// The lists, when all bytes have come: at least one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn finish(mut self) -> Result<Vec<RevocationList>, ReadError> {
        match self.form {
            Form::Unknown => {}
            Form::Der(parser) => {
                let list = parser.finish().map_err(|error| ReadError::List { list: 0, error })?;
                self.lists.push(list);
            }
            Form::Pem(mut pem) => {
                // The last line may be without its end.
                pem.end_of_line(self.expected_bytes, &mut self.lists)?;
                if let Some(section) = pem.list {
                    return Err(ReadError::Unfinished { line: section.first_line });
                }
            }
        }
        if self.lists.is_empty() { Err(ReadError::Nothing) } else { Ok(self.lists) }
    }
}

impl Pem {
    fn push(
        &mut self,
        bytes: &[u8],
        expected_bytes: u64,
        lists: &mut Vec<RevocationList>,
    ) -> Result<(), ReadError> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..at]);
            self.end_of_line(expected_bytes, lists)?;
            rest = &rest[at + 1..];
        }
        if self.line.len() + rest.len() > LINE_BYTES_MAX {
            // Nothing that is meant has such lines.
            return Err(match &self.list {
                Some(_) => ReadError::Base64 { line: self.number + 1 },
                None => ReadError::Nothing,
            });
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    fn end_of_line(
        &mut self,
        expected_bytes: u64,
        lists: &mut Vec<RevocationList>,
    ) -> Result<(), ReadError> {
        self.number += 1;
        let line = self.line.trim_ascii();
        match &mut self.list {
            None if line == BEGIN => {
                if lists.len() >= LISTS_MAX {
                    return Err(ReadError::TooMany);
                }
                let parser = Box::new(Parser::new(expected_bytes));
                let base64 = Base64::default();
                self.list = Some(Section { parser, first_line: self.number, base64 });
            }
            // Text, or something else than a list.
            None => {}
            Some(section) if line == END => {
                if !section.base64.is_whole() {
                    return Err(ReadError::Base64 { line: self.number });
                }
                let wrong = |error| ReadError::List { list: lists.len() + 1, error };
                let Some(section) = self.list.take() else { return Ok(()) };
                let list = section.parser.finish().map_err(wrong)?;
                lists.push(list);
            }
            Some(section) => {
                let Some(bytes) = section.base64.decode(line) else {
                    return Err(ReadError::Base64 { line: self.number });
                };
                let wrong = |error| ReadError::List { list: lists.len() + 1, error };
                section.parser.push(bytes).map_err(wrong)?;
            }
        }
        self.line.clear();
        Ok(())
    }
}

/// Decodes base64 (RFC 4648 §4) line by line.
#[derive(Default)]
struct Base64 {
    group: u32,
    digits: u8,
    padding: u8,
    decoded: Vec<u8>,
}

impl Base64 {
    fn decode(&mut self, line: &[u8]) -> Option<&[u8]> {
        self.decoded.clear();
        for byte in line {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.digits >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return None,
            };
            if self.padding > 0 && *byte != b'=' {
                return None;
            }
            self.group = self.group << 6 | u32::from(digit);
            self.digits += 1;
            if self.digits == 4 {
                let bytes = self.group.to_be_bytes();
                self.decoded.extend_from_slice(&bytes[1..4 - usize::from(self.padding)]);
                self.digits = 0;
                self.group = 0;
            }
        }
        Some(&self.decoded)
    }

    fn is_whole(&self) -> bool {
        self.digits == 0
    }
}

impl std::fmt::Debug for ListReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListReader({} lists so far)", self.lists.len())
    }
}
