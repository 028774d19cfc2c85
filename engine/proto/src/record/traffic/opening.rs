//! What may arrive after the handshake, and what becomes of it.

use super::TrafficRecords;
use super::alert::Refusal;
use super::framing::{
    self, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, CONTENT_BYTES_MAX, HANDSHAKE, Record,
};
use crate::tls::TlsVersion;

/// Empty records in a row: they cost us a decryption and bring nothing (OpenSSL, BoringSSL and rustls
/// have the same bound).
const EMPTY_RECORDS_MAX: u8 = 32;

impl TrafficRecords {
    /// Opens every whole record, and holds the beginning of one that is not.
    pub(super) fn open_records(
        &mut self,
        mut received: &[u8],
        plaintext: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        // "Any data received after a closure alert has been received MUST be ignored" (§6.1).
        while !received.is_empty() && !self.peer_closed {
            if self.pending.is_empty() {
                let Some((record, rest)) = framing::split(self.version, received)? else {
                    return self.pending.hold(self.version, received);
                };
                // Enough for all that is left: only the first record can make it grow.
                plaintext.reserve(received.len());
                received = rest;
                self.open_record(&record, plaintext, wire)?;
                continue;
            }
            let Some(held) = self.pending.complete(self.version, &mut received)? else {
                return Ok(());
            };
            plaintext.reserve(held.len() + received.len());
            if let Some((record, _)) = framing::split(self.version, &held)? {
                self.open_record(&record, plaintext, wire)?;
            }
        }
        Ok(())
    }

    /// Leaves application data in `plaintext`, and nothing else.
    fn open_record(
        &mut self,
        record: &Record<'_>,
        plaintext: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let start = plaintext.len();
        let accepted = match self.decrypt(record, plaintext) {
            Ok((APPLICATION_DATA, length)) => {
                plaintext.truncate(start + length);
                self.accept_data(length)
            }
            Ok((content_type, length)) => {
                let accepted = self.accept(content_type, &plaintext[start..start + length], wire);
                plaintext.truncate(start);
                accepted
            }
            Err(refusal) => Err(refusal),
        };
        if accepted.is_err() {
            plaintext.truncate(start);
        }
        accepted
    }

    /// Appends a record's plaintext; returns its type and how much of what was appended is content.
    fn decrypt(
        &mut self,
        record: &Record<'_>,
        plaintext: &mut Vec<u8>,
    ) -> Result<(u8, usize), Refusal> {
        let start = plaintext.len();
        // "If the decryption fails, the receiver MUST terminate the connection with a "bad_record_mac"
        // alert" (§5.2; RFC 5246 §7.2.2).
        self.opening
            .open(record.header, record.fragment, plaintext)
            .map_err(|_| Refusal::undecryptable())?;
        let inner = &plaintext[start..];
        let (content_type, length, most) = match self.version {
            // "The presence of padding does not change the overall record size limitations: the full
            // encoded TLSInnerPlaintext MUST NOT exceed 2^14 + 1 octets" (§5.4).
            TlsVersion::Tls13 => {
                let (content_type, length) = without_padding(inner).unwrap_or_default();
                (content_type, length, CONTENT_BYTES_MAX + 1)
            }
            TlsVersion::Tls12 => (record.outer_type(), inner.len(), CONTENT_BYTES_MAX),
        };
        if inner.len() > most {
            return Err(Refusal::overflow(format!("a record of {} plaintext bytes", inner.len())));
        }
        Ok((content_type, length))
    }

    fn accept_data(&mut self, length: usize) -> Result<(), Refusal> {
        self.refuse_interleaving()?;
        // "Zero-length fragments of Application Data MAY be sent, as they are potentially useful as a
        // traffic analysis countermeasure" (§5.1; RFC 5246 §6.2.1).
        if length == 0 {
            if self.empty_records_running == EMPTY_RECORDS_MAX {
                return Err(Refusal::unexpected(format!(
                    "more than {EMPTY_RECORDS_MAX} empty records in a row"
                )));
            }
            self.empty_records_running += 1;
            return Ok(());
        }
        self.empty_records_running = 0;
        self.key_updates_since_data = 0;
        Ok(())
    }

    fn accept(
        &mut self,
        content_type: u8,
        content: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match content_type {
            ALERT | HANDSHAKE if content.is_empty() => {
                // "if such a message is received, the receiving implementation MUST terminate the
                // connection with an "unexpected_message" alert" (§5.4; forbidden by RFC 5246 §6.2.1).
                return Err(Refusal::unexpected("an alert or handshake record without content"));
            }
            ALERT | HANDSHAKE => {}
            // "If a receiving implementation does not find a non-zero octet in the cleartext, it MUST
            // terminate the connection with an "unexpected_message" alert" (§5.4).
            0 => return Err(Refusal::unexpected("a record of nothing but padding")),
            // "An implementation [...] which receives a protected change_cipher_spec record MUST abort
            // the handshake with an "unexpected_message" alert" (§5).
            CHANGE_CIPHER_SPEC => return Err(Refusal::unexpected("a protected ChangeCipherSpec")),
            other => {
                return Err(Refusal::unexpected(format!("a record with content of type {other}")));
            }
        }
        self.empty_records_running = 0;
        if content_type == HANDSHAKE {
            return self.receive_message(content, wire);
        }
        self.refuse_interleaving()?;
        self.receive_alert(content)
    }

    /// "Handshake messages MUST NOT be interleaved with other record types" (§5.1).
    fn refuse_interleaving(&self) -> Result<(), Refusal> {
        if self.message.is_empty() {
            return Ok(());
        }
        Err(Refusal::unexpected("another record between the fragments of a handshake message"))
    }
}

/// The content type and the length of the content before it: "the receiving implementation scans the field
/// from the end toward the beginning until it finds a non-zero octet" (§5.4).
fn without_padding(inner: &[u8]) -> Option<(u8, usize)> {
    const STEP: usize = 32;
    let mut end = inner.len();
    while end >= STEP && inner[end - STEP..end] == [0; STEP] {
        end -= STEP;
    }
    let last = inner[..end].iter().rposition(|octet| *octet != 0)?;
    Some((inner[last], last))
}
