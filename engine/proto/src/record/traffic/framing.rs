//! Where a record ends, and what is held of one that is not whole yet.

use super::alert::Refusal;
use crate::limits::RECORD_WIRE_BYTES;
use crate::tls::TlsVersion;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

pub(super) const HEADER_BYTES: usize = 5;

/// What every record says, of TLS 1.2 and of 1.3 (§5.2).
pub(super) const LEGACY_VERSION: [u8; 2] = [3, 3];

/// "The length MUST NOT exceed 2^14 bytes" (§5.1; RFC 5246 §6.2.1).
pub(super) const CONTENT_BYTES_MAX: usize = 1 << 14;

/// By how much a record may be longer than its content: §5.2 and RFC 5246 §6.2.3.
const EXPANSION_TLS13: usize = 256;
const EXPANSION_TLS12: usize = 2_048;

const _: () = assert!(HEADER_BYTES + CONTENT_BYTES_MAX + EXPANSION_TLS12 == RECORD_WIRE_BYTES);

/// A whole record as it came.
pub(super) struct Record<'a> {
    pub(super) header: [u8; HEADER_BYTES],
    pub(super) fragment: &'a [u8],
}

impl Record<'_> {
    pub(super) fn outer_type(&self) -> u8 {
        self.header[0]
    }
}

/// Takes the first record off `received`; `None` if it is not whole.
pub(super) fn split(
    version: TlsVersion,
    received: &[u8],
) -> Result<Option<(Record<'_>, &[u8])>, Refusal> {
    let Some((header, rest)) = received.split_first_chunk() else { return Ok(None) };
    let length = fragment_bytes(version, *header)?;
    Ok(rest
        .split_at_checked(length)
        .map(|(fragment, rest)| (Record { header: *header, fragment }, rest)))
}

/// What the header says is refused before the rest is waited for.
fn fragment_bytes(version: TlsVersion, header: [u8; HEADER_BYTES]) -> Result<usize, Refusal> {
    let [outer_type, major, _, high, low] = header;
    // "If a TLS implementation receives an unexpected record type, it MUST terminate the connection with
    // an "unexpected_message" alert" (§5; RFC 5246 §6). TLS 1.3 sends nothing but opaque records once
    // there are keys; both versions are past their change_cipher_spec.
    let expected = match version {
        TlsVersion::Tls13 => outer_type == APPLICATION_DATA,
        TlsVersion::Tls12 => matches!(outer_type, ALERT | HANDSHAKE | APPLICATION_DATA),
    };
    if !expected {
        return Err(Refusal::unexpected(format!("a record of type {outer_type}")));
    }
    // The minor version is authenticated with the header.
    if major != LEGACY_VERSION[0] {
        return Err(Refusal::malformed(format!("a record of version {major}.x")));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    // "The length MUST NOT exceed 2^14 + 256 bytes. An endpoint that receives a record that exceeds this
    // length MUST terminate the connection with a "record_overflow" alert" (§5.2; RFC 5246 §7.2.2).
    let most = CONTENT_BYTES_MAX
        + match version {
            TlsVersion::Tls13 => EXPANSION_TLS13,
            TlsVersion::Tls12 => EXPANSION_TLS12,
        };
    if length > most {
        return Err(Refusal::overflow(format!("a record of {length} bytes, more than {most}")));
    }
    Ok(length)
}

/// The beginning of one record. It grows with what has arrived, never with what a header promises, never
/// past that one record, and is freed when the record is whole.
#[derive(Default)]
pub(super) struct Pending(Vec<u8>);

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds `received`, which [`split`] found to be no whole record.
    pub(super) fn hold(&mut self, version: TlsVersion, received: &[u8]) -> Result<(), Refusal> {
        let whole = whole_bytes(version, received)?;
        self.push(received, whole);
        Ok(())
    }

    /// Adds what is missing from the front of `received`, and returns the record if it is whole now. What
    /// stands behind it stays in `received`.
    pub(super) fn complete(
        &mut self,
        version: TlsVersion,
        received: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, Refusal> {
        // Once for the header, if that is not whole yet, and once for the rest.
        loop {
            let whole = whole_bytes(version, &self.0)?;
            let missing = whole - self.0.len();
            let (taken, rest) = received.split_at(missing.min(received.len()));
            self.push(taken, whole);
            *received = rest;
            if self.0.len() < whole {
                return Ok(None);
            }
            if whole_bytes(version, &self.0)? == whole {
                return Ok(Some(std::mem::take(&mut self.0)));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    fn push(&mut self, bytes: &[u8], whole: usize) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let capacity = needed.max(2 * self.0.capacity()).min(whole);
            self.0.reserve_exact(capacity - self.0.len());
        }
        self.0.extend_from_slice(bytes);
    }
}

/// Bytes of the record that begins with `start`: of its header, as long as that is not whole.
fn whole_bytes(version: TlsVersion, start: &[u8]) -> Result<usize, Refusal> {
    match start.first_chunk() {
        Some(header) => Ok(HEADER_BYTES + fragment_bytes(version, *header)?),
        None => Ok(HEADER_BYTES),
    }
}

#[cfg(test)]
impl Pending {
    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}
