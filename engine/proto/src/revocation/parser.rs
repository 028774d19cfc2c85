//! A revocation list's DER (RFC 5280 §5.1), read as it comes: never held whole, hashed on the way.

mod extensions;
mod input;

use std::borrow::Cow;

use self::extensions::{Entry, ListExtensions};
use self::input::{Element, Input};
use super::list::{CrlNumber, Only, RevocationList, RevocationReason, Scope};
use super::serials::{SERIAL_BYTES_MAX, Serials};
use super::signature::{ED25519_BYTES_MAX, Signature, SignatureAlgorithm, Text};
use crate::identity::Der;

/// The largest list that is read, in bytes of DER.
pub const LIST_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Everything before the entries, each on its own: an issuer's name is the largest.
const FIELD_BYTES_MAX: usize = 16 * 1024;

/// One entry with its extensions.
const ENTRY_BYTES_MAX: usize = 4 * 1024;

/// All extensions of a list.
const EXTENSIONS_BYTES_MAX: usize = 64 * 1024;

/// An entry has a serial number of a byte and a time of 13 at least.
const ENTRY_BYTES_MIN: usize = 17;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa0;

/// What a list was not read for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct ListError {
    /// Where in the DER, counted from 0.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Cow<'static, str>,
}

/// Reads one list out of its DER. Never panics, and holds no more than one field of it at a time,
/// beside the set that it makes.
pub(crate) struct Parser {
    input: Input,
    expects: Expects,
    tbs_end: u64,
    revoked_end: u64,
    has_version: bool,
    algorithm: Option<SignatureAlgorithm>,
    identifier: Vec<u8>,
    issuer: Box<[u8]>,
    this_update: i64,
    next_update: Option<i64>,
    serials: Serials,
    /// Bytes that are yet to come at most: no more room is made than they can fill.
    expected_bytes: u64,
    has_entries: bool,
    removal: Option<u64>,
    extensions: ListExtensions,
    list: Option<RevocationList>,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    List,
    Tbs,
    Version,
    Algorithm,
    Issuer,
    ThisUpdate,
    NextUpdate,
    Revoked,
    Entry,
    Extensions,
    OuterAlgorithm,
    Value,
    Nothing,
}

/// Whether there was enough to go on.
enum Step {
    Done,
    NeedsMore,
}

impl Parser {
    /// Of a list of which at most so many bytes will come.
    pub(crate) fn new(expected_bytes: u64) -> Self {
        Self {
            input: Input::default(),
            expects: Expects::List,
            tbs_end: 0,
            revoked_end: 0,
            has_version: false,
            algorithm: None,
            identifier: Vec::new(),
            issuer: Box::default(),
            this_update: 0,
            next_update: None,
            serials: Serials::default(),
            expected_bytes,
            has_entries: false,
            removal: None,
            extensions: ListExtensions::default(),
            list: None,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        self.input.push(bytes);
        while let Step::Done = self.step()? {}
        self.input.forget_consumed().ok_or_else(|| self.too_long_for_ed25519())
    }

    pub(crate) fn finish(self) -> Result<RevocationList, ListError> {
        let offset = self.input.position();
        self.list.ok_or(ListError { offset, problem: "it ends in the middle".into() })
    }

    fn step(&mut self) -> Result<Step, ListError> {
        match self.expects {
            Expects::List => self.list(),
            Expects::Tbs => self.tbs(),
            Expects::Version => self.version(),
            Expects::Algorithm => self.algorithm(),
            Expects::Issuer => self.issuer(),
            Expects::ThisUpdate => self.this_update(),
            Expects::NextUpdate => self.next_update(),
            Expects::Revoked => self.revoked(),
            Expects::Entry => self.entries(),
            Expects::Extensions => self.extensions(),
            Expects::OuterAlgorithm => self.outer_algorithm(),
            Expects::Value => self.value(),
            Expects::Nothing if self.input.is_empty() => Ok(Step::NeedsMore),
            Expects::Nothing => Err(self.wrong("something follows the list")),
        }
    }

    fn list(&mut self) -> Result<Step, ListError> {
        let Some(header) = self.input.header(SEQUENCE, "it is no CRL: no SEQUENCE")? else {
            return Ok(Step::NeedsMore);
        };
        if header.length > LIST_BYTES_MAX {
            return Err(self.wrong(format!("it is larger than {LIST_BYTES_MAX} bytes")));
        }
        self.input.enter(header);
        self.input.end = self.input.position() + header.length;
        self.expects = Expects::Tbs;
        Ok(Step::Done)
    }

    fn tbs(&mut self) -> Result<Step, ListError> {
        let Some(header) = self.input.header(SEQUENCE, "it is no CRL: no tbsCertList")? else {
            return Ok(Step::NeedsMore);
        };
        self.input.begin_signed();
        self.input.enter(header);
        self.tbs_end = self.input.position() + header.length;
        if self.tbs_end > self.input.end {
            return Err(self.wrong("its tbsCertList is longer than the list"));
        }
        self.expects = Expects::Version;
        Ok(Step::Done)
    }

    fn version(&mut self) -> Result<Step, ListError> {
        match self.input.tag() {
            None => return Ok(Step::NeedsMore),
            // Version 1 has none.
            Some(tag) if tag != INTEGER => {}
            Some(_) => {
                let Some(Element { content, .. }) =
                    self.field(INTEGER, "its version is malformed")?
                else {
                    return Ok(Step::NeedsMore);
                };
                if content != [1] {
                    return Err(self.wrong("it is of an unknown version"));
                }
                self.has_version = true;
                self.consume();
            }
        }
        self.expects = Expects::Algorithm;
        Ok(Step::Done)
    }

    fn algorithm(&mut self) -> Result<Step, ListError> {
        let Some(Element { content, .. }) =
            self.field(SEQUENCE, "it has no signature algorithm; is it a certificate?")?
        else {
            return Ok(Step::NeedsMore);
        };
        let Some(algorithm) = SignatureAlgorithm::read(content) else {
            return Err(self.wrong(
                "it is signed with an algorithm that is not accepted; accepted are ECDSA, RSA (PKCS#1 and PSS) with SHA-2, and Ed25519",
            ));
        };
        self.identifier = content.to_vec();
        self.algorithm = Some(algorithm);
        self.input.hash_with(algorithm.begin());
        self.consume();
        self.expects = Expects::Issuer;
        Ok(Step::Done)
    }

    fn issuer(&mut self) -> Result<Step, ListError> {
        let Some(Element { whole, .. }) = self.field(SEQUENCE, "it has no issuer")? else {
            return Ok(Step::NeedsMore);
        };
        self.issuer = whole.into();
        self.consume();
        self.expects = Expects::ThisUpdate;
        Ok(Step::Done)
    }

    fn this_update(&mut self) -> Result<Step, ListError> {
        let Some(tag) = self.input.tag() else { return Ok(Step::NeedsMore) };
        let Some(Element { whole, .. }) = self.field(tag, "its thisUpdate is malformed")? else {
            return Ok(Step::NeedsMore);
        };
        let Some(time) = Der(whole).time() else {
            return Err(self.wrong("its thisUpdate is malformed"));
        };
        self.this_update = time;
        self.consume();
        self.expects = Expects::NextUpdate;
        Ok(Step::Done)
    }

    fn next_update(&mut self) -> Result<Step, ListError> {
        if self.input.position() < self.tbs_end {
            match self.input.tag() {
                None => return Ok(Step::NeedsMore),
                Some(tag @ (UTC_TIME | GENERALIZED_TIME)) => {
                    let Some(Element { whole, .. }) =
                        self.field(tag, "its nextUpdate is malformed")?
                    else {
                        return Ok(Step::NeedsMore);
                    };
                    let Some(time) = Der(whole).time() else {
                        return Err(self.wrong("its nextUpdate is malformed"));
                    };
                    self.next_update = Some(time);
                    self.consume();
                }
                Some(_) => {}
            }
        }
        if self.next_update.is_none() {
            return Err(self.wrong(
                "it has no nextUpdate: nobody could tell when it is out of date (RFC 5280 section 5.1.2.5 requires it)",
            ));
        }
        self.expects = Expects::Revoked;
        Ok(Step::Done)
    }

    fn revoked(&mut self) -> Result<Step, ListError> {
        self.expects = Expects::Extensions;
        if self.input.position() == self.tbs_end {
            return Ok(Step::Done);
        }
        match self.input.tag() {
            Some(SEQUENCE) => {}
            Some(_) => return Ok(Step::Done),
            None => {
                self.expects = Expects::Revoked;
                return Ok(Step::NeedsMore);
            }
        }
        let Some(header) = self.input.header(SEQUENCE, "its revokedCertificates are malformed")?
        else {
            self.expects = Expects::Revoked;
            return Ok(Step::NeedsMore);
        };
        self.input.enter(header);
        self.revoked_end = self.input.position() + header.length;
        if self.revoked_end > self.tbs_end {
            return Err(self.wrong("its revokedCertificates are longer than the list"));
        }
        self.expects = Expects::Entry;
        Ok(Step::Done)
    }

    /// As many entries as there are.
    fn entries(&mut self) -> Result<Step, ListError> {
        while self.input.position() < self.revoked_end {
            let Some(element) =
                self.input.element(SEQUENCE, ENTRY_BYTES_MAX, "an entry is malformed")?
            else {
                return Ok(Step::NeedsMore);
            };
            let size = element.whole.len();
            let entry = match Entry::read(element.content) {
                Ok(entry) => entry,
                Err(problem) => return Err(self.wrong(problem)),
            };
            if !std::mem::replace(&mut self.has_entries, true) {
                let left = (self.revoked_end - self.input.position()).min(self.expected_bytes);
                let each = size.max(ENTRY_BYTES_MIN) as u64;
                self.serials.expect(usize::try_from(left / each + 1).unwrap_or(0));
            }
            if entry.reason == RevocationReason::RemoveFromCrl {
                self.removal.get_or_insert(self.input.position());
            }
            if !self.serials.push(entry.serial, entry.reason as u8) {
                return Err(self.wrong(format!(
                    "a serial number has {} bytes; they have 1 to {SERIAL_BYTES_MAX}",
                    entry.serial.len()
                )));
            }
            self.input.skip(size);
        }
        if self.input.position() > self.revoked_end {
            return Err(self.wrong("an entry is longer than the revokedCertificates"));
        }
        self.expects = Expects::Extensions;
        Ok(Step::Done)
    }

    fn extensions(&mut self) -> Result<Step, ListError> {
        if self.input.position() < self.tbs_end {
            let Some(element) = self.input.element(
                EXTENSIONS,
                EXTENSIONS_BYTES_MAX,
                "there is something else where its extensions should be",
            )?
            else {
                return Ok(Step::NeedsMore);
            };
            if !self.has_version {
                return Err(self.wrong("it has extensions, and is of version 1, which has none"));
            }
            self.extensions = match ListExtensions::read(element.content) {
                Ok(extensions) => extensions,
                Err(problem) => return Err(self.wrong(problem)),
            };
            self.consume_up_to(EXTENSIONS_BYTES_MAX);
        }
        if self.input.position() != self.tbs_end {
            return Err(self.wrong("its tbsCertList has another length than what is in it"));
        }
        if let (Some(offset), None) = (self.removal, self.extensions.base) {
            let problem =
                "an entry is for removal (removeFromCRL), and the list is no delta".into();
            return Err(ListError { offset, problem });
        }
        if !self.input.end_signed() {
            return Err(self.too_long_for_ed25519());
        }
        self.expects = Expects::OuterAlgorithm;
        Ok(Step::Done)
    }

    fn outer_algorithm(&mut self) -> Result<Step, ListError> {
        let Some(Element { content, .. }) = self.field(SEQUENCE, "it has no signatureAlgorithm")?
        else {
            return Ok(Step::NeedsMore);
        };
        if content != self.identifier {
            return Err(self.wrong("the signature algorithms in it and behind it differ"));
        }
        self.consume();
        self.expects = Expects::Value;
        Ok(Step::Done)
    }

    fn value(&mut self) -> Result<Step, ListError> {
        let Some(Element { content, .. }) = self.field(BIT_STRING, "it has no signature")? else {
            return Ok(Step::NeedsMore);
        };
        let [0, value @ ..] = content else {
            return Err(self.wrong("its signature is malformed"));
        };
        let value = value.to_vec();
        self.consume();
        if self.input.position() != self.input.end {
            return Err(self.wrong("the list has another length than what is in it"));
        }
        let (Some(algorithm), Some(text)) = (self.algorithm, self.input.take_signed()) else {
            return Err(self.wrong("it has no signature algorithm"));
        };
        self.serials.seal();
        let extensions = std::mem::take(&mut self.extensions);
        self.list = Some(RevocationList {
            issuer: std::mem::take(&mut self.issuer),
            this_update: self.this_update,
            next_update: self.next_update.unwrap_or(i64::MIN),
            number: extensions.number,
            base: extensions.base,
            authority_key: extensions.authority_key,
            scope: extensions.scope,
            serials: std::mem::take(&mut self.serials),
            signature: Signature::new(algorithm, text, &value),
            verdicts: Default::default(),
            der_bytes: self.input.position(),
        });
        self.expects = Expects::Nothing;
        Ok(Step::Done)
    }

    fn field(&self, tag: u8, otherwise: &'static str) -> Result<Option<Element<'_>>, ListError> {
        self.input.element(tag, FIELD_BYTES_MAX, otherwise)
    }

    /// Goes past the element that was just looked at.
    fn consume(&mut self) {
        self.consume_up_to(FIELD_BYTES_MAX);
    }

    fn consume_up_to(&mut self, most: usize) {
        let tag = self.input.tag().unwrap_or_default();
        if let Ok(Some(element)) = self.input.element(tag, most, "") {
            let size = element.whole.len();
            self.input.skip(size);
        }
    }

    fn wrong(&self, problem: impl Into<Cow<'static, str>>) -> ListError {
        ListError { offset: self.input.position(), problem: problem.into() }
    }

    fn too_long_for_ed25519(&self) -> ListError {
        self.wrong(format!(
            "it is signed with Ed25519 and larger than {ED25519_BYTES_MAX} bytes: only smaller ones are read, since Ed25519 signs no digest"
        ))
    }
}

#[cfg(test)]
mod tests;
