//! What a station and its child process say to each other: frames over a stream socket.
//!
//! A frame is its length in four bytes (little-endian, at most [`FRAME_BYTES_MAX`]), a byte for its kind, and
//! fields: numbers little-endian, texts and bytes behind their length. Both ends are the same program, so
//! that there is one version; it is said all the same. What cannot be read ends the connection.

use std::io::{self, Read};

use countersign_hsm::{Remedy, Scheme};
use zeroize::{Zeroize as _, Zeroizing};

use super::crew::TokenName;
use super::{Refusal, RefusalReason, StationError, StationInfo};

/// Said first.
pub(super) const VERSION: u16 = 3;

/// The longest frame, without its length.
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024;

/// The longest text for people.
const TEXT_BYTES_MAX: usize = 2 * 1024;

/// Room for many frames, so that one call to the kernel brings all that have come.
const BUFFER_BYTES: usize = 4 * (4 + FRAME_BYTES_MAX);

/// What a child is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ToChild {
    /// First of all.
    Hello(Hello),
    /// What the child wanted to know of a token that it has found.
    Pin(Result<Option<Given>, StationError>),
    /// A key that is in use already, or is expected in a token that is not there yet.
    Known {
        key: Key,
    },
    /// Open the token.
    Begin,
    Sign {
        operation: u64,
        key: u64,
        scheme: Scheme,
        message: Vec<u8>,
    },
    Find {
        request: u64,
        key: Key,
    },
    Challenge {
        request: u64,
        key: u64,
        scheme: Scheme,
        message: Vec<u8>,
    },
    Derive {
        request: u64,
        uri: String,
        message: Vec<u8>,
    },
    Forget {
        key: u64,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) module: Vec<u8>,
    pub(super) token: String,
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) queue: u32,
    pub(super) deadline_us: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: u64,
    pub(super) uri: String,
    pub(super) spki: Vec<u8>,
}

/// A PIN that may be tried.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) pin: Secret,
    /// The token has refused another one before.
    pub(super) is_another: bool,
}

/// Text that is wiped when it is dropped, and not shown.
#[derive(PartialEq, Eq)]
pub(super) struct Secret(pub(super) Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What a child tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ToParent {
    /// A token was found; which PIN?
    Found(TokenName),
    /// The PIN was tried.
    PinTried {
        token: TokenName,
        is_refused: bool,
    },
    Up(StationInfo),
    Down {
        remedy: Remedy,
        /// It makes no further attempt.
        is_final: bool,
        problem: String,
    },
    Answer {
        operation: u64,
        result: Result<Vec<u8>, Refusal>,
    },
    Lanes {
        busy: u32,
        open: u32,
        waiting: u32,
    },
    Notice(String),
    Stuck(String),
    /// What was found of a key.
    Key {
        request: u64,
        schemes: Vec<Scheme>,
        spki: Option<Vec<u8>>,
    },
    /// A signature over a challenge, or what was derived.
    Bytes {
        request: u64,
        bytes: Zeroizing<Vec<u8>>,
    },
    /// An errand failed.
    Failed {
        request: u64,
        remedy: Remedy,
        problem: String,
    },
}

impl ToChild {
    /// Appends the frame to `frames`.
    pub(super) fn write(&self, frames: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => frame(frames, 0, |fields| {
                fields.number(u64::from(hello.version));
                fields.bytes(&hello.module);
                fields.bytes(hello.token.as_bytes());
                for number in [hello.least, hello.most, hello.queue] {
                    fields.number(u64::from(number));
                }
                fields.number(hello.deadline_us);
            }),
            Self::Pin(Ok(None)) => frame(frames, 1, |_| {}),
            Self::Pin(Ok(Some(given))) => frame(frames, 2, |fields| {
                fields.number(u64::from(given.is_another));
                fields.bytes(given.pin.0.as_bytes());
            }),
            Self::Pin(Err(error)) => frame(frames, 3, |fields| {
                fields.number(remedy_number(error.remedy));
                fields.text(&error.problem);
            }),
            Self::Known { key } => frame(frames, 4, |fields| fields.key(key)),
            Self::Begin => frame(frames, 5, |_| {}),
            Self::Sign { operation, key, scheme, message } => {
                write_sign(frames, *operation, *key, *scheme, message);
            }
            Self::Find { request, key } => frame(frames, 7, |fields| {
                fields.number(*request);
                fields.key(key);
            }),
            Self::Challenge { request, key, scheme, message } => frame(frames, 8, |fields| {
                fields.number(*request);
                fields.number(*key);
                fields.number(u64::from(scheme.code()));
                fields.bytes(message);
            }),
            Self::Derive { request, uri, message } => frame(frames, 9, |fields| {
                fields.number(*request);
                fields.bytes(uri.as_bytes());
                fields.bytes(message);
            }),
            Self::Forget { key } => frame(frames, 10, |fields| fields.number(*key)),
        }
    }

    /// Reads what a frame holds; None where it makes no sense.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let (kind, mut fields) = Fields::of(frame)?;
        let read = match kind {
            0 => Self::Hello(Hello {
                version: u16::try_from(fields.number()?).ok()?,
                module: fields.bytes()?.to_vec(),
                token: fields.text()?,
                least: fields.small()?,
                most: fields.small()?,
                queue: fields.small()?,
                deadline_us: fields.number()?,
            }),
            1 => Self::Pin(Ok(None)),
            2 => {
                let is_another = fields.number()? == 1;
                let pin = Secret(Zeroizing::new(fields.text()?));
                Self::Pin(Ok(Some(Given { pin, is_another })))
            }
            3 => {
                let remedy = fields.remedy()?;
                Self::Pin(Err(StationError { problem: fields.text()?, remedy }))
            }
            4 => Self::Known { key: fields.key()? },
            5 => Self::Begin,
            6 => Self::Sign {
                operation: fields.number()?,
                key: fields.number()?,
                scheme: fields.scheme()?,
                message: fields.bytes()?.to_vec(),
            },
            7 => Self::Find { request: fields.number()?, key: fields.key()? },
            8 => Self::Challenge {
                request: fields.number()?,
                key: fields.number()?,
                scheme: fields.scheme()?,
                message: fields.bytes()?.to_vec(),
            },
            9 => Self::Derive {
                request: fields.number()?,
                uri: fields.text()?,
                message: fields.bytes()?.to_vec(),
            },
            10 => Self::Forget { key: fields.number()? },
            _ => return None,
        };
        fields.is_empty().then_some(read)
    }
}

/// The frame for an operation, without a copy of the message.
pub(super) fn write_sign(
    frames: &mut Vec<u8>,
    operation: u64,
    key: u64,
    scheme: Scheme,
    message: &[u8],
) {
    frame(frames, 6, |fields| {
        fields.number(operation);
        fields.number(key);
        fields.number(u64::from(scheme.code()));
        fields.bytes(message);
    });
}

impl ToParent {
    /// Appends the frame to `frames`.
    pub(super) fn write(&self, frames: &mut Vec<u8>) {
        match self {
            Self::Found(name) => frame(frames, 0, |fields| fields.name(name)),
            Self::PinTried { token, is_refused } => frame(frames, 1, |fields| {
                fields.number(u64::from(*is_refused));
                fields.name(token);
            }),
            Self::Up(info) => frame(frames, 2, |fields| {
                for text in [&info.label, &info.serial, &info.manufacturer, &info.model] {
                    fields.text(text);
                }
                fields.number(info.lanes as u64);
                fields.number(info.max_sessions.map_or(0, |most| most.saturating_add(1)));
            }),
            Self::Down { remedy, is_final, problem } => frame(frames, 3, |fields| {
                fields.number(remedy_number(*remedy));
                fields.number(u64::from(*is_final));
                fields.text(problem);
            }),
            Self::Answer { operation, result: Ok(signature) } => frame(frames, 4, |fields| {
                fields.number(*operation);
                fields.bytes(signature);
            }),
            Self::Answer { operation, result: Err(refusal) } => frame(frames, 5, |fields| {
                fields.number(*operation);
                fields.number(reason_number(refusal.reason));
                fields.text(&refusal.problem);
            }),
            Self::Lanes { busy, open, waiting } => frame(frames, 6, |fields| {
                for number in [busy, open, waiting] {
                    fields.number(u64::from(*number));
                }
            }),
            Self::Notice(text) => frame(frames, 7, |fields| fields.text(text)),
            Self::Stuck(text) => frame(frames, 8, |fields| fields.text(text)),
            Self::Key { request, schemes, spki } => frame(frames, 9, |fields| {
                fields.number(*request);
                fields.number(schemes.len() as u64);
                for scheme in schemes {
                    fields.number(u64::from(scheme.code()));
                }
                fields.number(u64::from(spki.is_some()));
                fields.bytes(spki.as_deref().unwrap_or_default());
            }),
            Self::Bytes { request, bytes } => frame(frames, 10, |fields| {
                fields.number(*request);
                fields.bytes(bytes);
            }),
            Self::Failed { request, remedy, problem } => frame(frames, 11, |fields| {
                fields.number(*request);
                fields.number(remedy_number(*remedy));
                fields.text(problem);
            }),
        }
    }

    /// Reads what a frame holds; None where it makes no sense.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let (kind, mut fields) = Fields::of(frame)?;
        let read = match kind {
            0 => Self::Found(fields.name()?),
            1 => {
                let is_refused = fields.number()? != 0;
                Self::PinTried { token: fields.name()?, is_refused }
            }
            2 => Self::Up(StationInfo {
                label: fields.text()?,
                serial: fields.text()?,
                manufacturer: fields.text()?,
                model: fields.text()?,
                lanes: fields.small()? as usize,
                max_sessions: fields.number()?.checked_sub(1),
            }),
            3 => Self::Down {
                remedy: fields.remedy()?,
                is_final: fields.number()? != 0,
                problem: fields.text()?,
            },
            4 => Self::Answer { operation: fields.number()?, result: Ok(fields.bytes()?.to_vec()) },
            5 => Self::Answer {
                operation: fields.number()?,
                result: Err(Refusal { reason: fields.reason()?, problem: fields.text()? }),
            },
            6 => Self::Lanes {
                busy: fields.small()?,
                open: fields.small()?,
                waiting: fields.small()?,
            },
            7 => Self::Notice(fields.text()?),
            8 => Self::Stuck(fields.text()?),
            9 => {
                let request = fields.number()?;
                let count = fields.number()?;
                if count > Scheme::ALL.len() as u64 {
                    return None;
                }
                let schemes = (0..count).map(|_| fields.scheme()).collect::<Option<_>>()?;
                let is_told = fields.number()? == 1;
                let spki = fields.bytes()?;
                Self::Key { request, schemes, spki: is_told.then(|| spki.to_vec()) }
            }
            10 => Self::Bytes {
                request: fields.number()?,
                bytes: Zeroizing::new(fields.bytes()?.to_vec()),
            },
            11 => Self::Failed {
                request: fields.number()?,
                remedy: fields.remedy()?,
                problem: fields.text()?,
            },
            _ => return None,
        };
        fields.is_empty().then_some(read)
    }
}

/// Appends a frame. One that would be too long is a bug of the caller, who has checked what goes in.
fn frame(frames: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Filling<'_>)) {
    let start = frames.len();
    frames.extend_from_slice(&[0; 4]);
    frames.push(kind);
    fill(&mut Filling(frames));
    let length = frames.len() - start - 4;
    debug_assert!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    frames[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

struct Filling<'a>(&'a mut Vec<u8>);

impl Filling<'_> {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// For people: cut where it is too long.
    fn text(&mut self, text: &str) {
        let most = text.len().min(TEXT_BYTES_MAX);
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.bytes(&text.as_bytes()[..end]);
    }

    fn key(&mut self, key: &Key) {
        self.number(key.id);
        self.bytes(key.uri.as_bytes());
        self.bytes(&key.spki);
    }

    fn name(&mut self, name: &TokenName) {
        for text in [&name.label, &name.serial, &name.manufacturer, &name.model] {
            self.text(text);
        }
    }
}

/// What is left of a frame to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(frame: &'a [u8]) -> Option<(u8, Self)> {
        let (kind, rest) = frame.split_first()?;
        Some((*kind, Self(rest)))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Tokens say what they like: what is no UTF-8 is replaced.
    fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn scheme(&mut self) -> Option<Scheme> {
        Scheme::from_code(u16::try_from(self.number()?).ok()?)
    }

    fn key(&mut self) -> Option<Key> {
        Some(Key { id: self.number()?, uri: self.text()?, spki: self.bytes()?.to_vec() })
    }

    fn name(&mut self) -> Option<TokenName> {
        Some(TokenName {
            label: self.text()?,
            serial: self.text()?,
            manufacturer: self.text()?,
            model: self.text()?,
        })
    }

    fn remedy(&mut self) -> Option<Remedy> {
        let number = self.number()?;
        [Remedy::Retry, Remedy::Reopen, Remedy::Relogin, Remedy::Fatal]
            .into_iter()
            .find(|remedy| remedy_number(*remedy) == number)
    }

    fn reason(&mut self) -> Option<RefusalReason> {
        let number = self.number()?;
        [RefusalReason::Busy, RefusalReason::Lost, RefusalReason::Failed, RefusalReason::Key]
            .into_iter()
            .find(|reason| reason_number(*reason) == number)
    }
}

fn remedy_number(remedy: Remedy) -> u64 {
    match remedy {
        Remedy::Retry => 0,
        Remedy::Reopen => 1,
        Remedy::Relogin => 2,
        Remedy::Fatal => 3,
    }
}

fn reason_number(reason: RefusalReason) -> u64 {
    match reason {
        RefusalReason::Busy => 0,
        RefusalReason::Lost => 1,
        RefusalReason::Failed => 2,
        RefusalReason::Key => 3,
    }
}

/// Takes frames out of a stream.
pub(super) struct Frames {
    buffer: Box<[u8; BUFFER_BYTES]>,
    start: usize,
    end: usize,
}

/// The other end says what this program does not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl Frames {
    pub(super) fn new() -> Self {
        Self { buffer: Box::new([0; BUFFER_BYTES]), start: 0, end: 0 }
    }

    /// Reads once. 0 at the end of the stream. To be called when [`Self::next`] has no more.
    pub(super) fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        let kept = self.end - self.start;
        if kept > 0 && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.buffer[self.start.max(kept)..self.end].zeroize();
        }
        (self.start, self.end) = (0, kept);
        let length = stream.read(&mut self.buffer[kept..])?;
        self.end += length;
        Ok(length)
    }

    /// The next whole frame, read by `read`; None if it has not come yet.
    pub(super) fn next<T>(
        &mut self,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Garbled> {
        let held = &self.buffer[self.start..self.end];
        let Some((length, rest)) = held.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > FRAME_BYTES_MAX {
            return Err(Garbled);
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let read = read(frame).ok_or(Garbled)?;
        let next = self.start + 4 + length;
        self.start = next;
        Ok(Some(read))
    }

    /// Wipes what was read already: there was a PIN in it.
    pub(super) fn wipe(&mut self) {
        self.buffer[..self.start].zeroize();
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests;
