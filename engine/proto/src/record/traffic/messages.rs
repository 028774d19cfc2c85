//! Handshake messages after the handshake: KeyUpdate in TLS 1.3 (§4.7.3), a wish to renegotiate in
//! TLS 1.2 (RFC 5246 §7.4.1). There is no other: clients get no tickets and are asked for a certificate
//! only in the handshake.

use rustls::AlertDescription;

use super::TrafficRecords;
use super::aead::TrafficKey;
use super::alert::{Refusal, WARNING};
use crate::tls::TlsVersion;

const CLIENT_HELLO: u8 = 1;
pub(super) const KEY_UPDATE: u8 = 24;

const HEADER_BYTES: usize = 4;
pub(super) const KEY_UPDATE_BYTES: usize = HEADER_BYTES + 1;

/// The largest handshake message that is waited for, as in rustls.
const CLIENT_HELLO_BYTES_MAX: u32 = 0xffff;

/// KeyUpdates since data went in either direction. Each costs us a key derivation, about as much as
/// opening 6 KiB. A client that renews its keys eagerly through a long download or upload is never counted
/// up to this, since data comes between. It must exceed what one receive can hold, as data of ours can only
/// come between receives: 16,384 bytes hold 606 KeyUpdates, in records of 27 bytes. And it must end a client
/// that sends nothing else.
pub(super) const KEY_UPDATES_MAX: u16 = 1_024;

const _: () = assert!(crate::limits::RECEIVE_BYTES / 27 < KEY_UPDATES_MAX as usize);

/// A handshake message that may span records. Of a ClientHello only the header is looked at.
#[derive(Default)]
pub(super) struct PartialMessage {
    bytes: [u8; KEY_UPDATE_BYTES],
    held: u8,
    /// Bytes of a ClientHello that are still to come.
    to_skip: u32,
}

impl PartialMessage {
    /// Whether no message has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes bytes off `content` until `most` are held; `None` if there are not enough.
    fn fill(&mut self, most: usize, content: &mut &[u8]) -> Option<()> {
        let held = usize::from(self.held);
        let missing = most.saturating_sub(held);
        let (taken, rest) = content.split_at(missing.min(content.len()));
        self.bytes[held..held + taken.len()].copy_from_slice(taken);
        self.held += taken.len() as u8;
        *content = rest;
        (taken.len() == missing).then_some(())
    }

    fn length(&self) -> u32 {
        let [_, high, middle, low, _] = self.bytes;
        u32::from_be_bytes([0, high, middle, low])
    }
}

impl TrafficRecords {
    /// The content of one handshake record.
    pub(super) fn receive_message(
        &mut self,
        content: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match self.version {
            TlsVersion::Tls13 => self.receive_key_update(content),
            TlsVersion::Tls12 => self.receive_renegotiation(content, wire),
        }
    }

    fn receive_key_update(&mut self, mut content: &[u8]) -> Result<(), Refusal> {
        let message = &mut self.message;
        let header = message.fill(HEADER_BYTES, &mut content);
        let message_type = message.bytes[0];
        if message_type != KEY_UPDATE {
            return Err(Refusal::unexpected(format!(
                "a handshake message of type {message_type} after the handshake"
            )));
        }
        if header.is_none() {
            return Ok(());
        }
        if message.length() != 1 {
            return Err(Refusal::malformed(format!("a KeyUpdate of {} bytes", message.length())));
        }
        if message.fill(KEY_UPDATE_BYTES, &mut content).is_none() {
            return Ok(());
        }
        let [.., request] = message.bytes;
        // "Implementations MUST verify that all messages immediately preceding a key change align with a
        // record boundary; if not, then they MUST terminate the connection with an "unexpected_message"
        // alert" (§5.1).
        if !content.is_empty() {
            return Err(Refusal::unexpected("a KeyUpdate that does not end its record"));
        }
        self.message = PartialMessage::default();
        self.update_opening(request)
    }

    fn update_opening(&mut self, request: u8) -> Result<(), Refusal> {
        if self.key_updates_since_data == KEY_UPDATES_MAX {
            return Err(Refusal::unexpected(format!(
                "more than {KEY_UPDATES_MAX} KeyUpdates without data in either direction"
            )));
        }
        self.key_updates_since_data += 1;
        match request {
            0 => {}
            1 => self.update_due = true,
            // "If an implementation receives any other value, it MUST terminate the connection with an
            // "illegal_parameter" alert" (§4.7.3).
            other => return Err(Refusal::illegal(format!("a KeyUpdate that requests {other}"))),
        }
        let Some(updates) = &mut self.updates else {
            return Err(Refusal::internal("no source of keys for a KeyUpdate"));
        };
        // "Upon receiving a KeyUpdate, the receiver MUST update its receiving keys" (§4.7.3).
        let next = updates.next_opening().map_err(|error| Refusal::internal(error.to_string()))?;
        self.opening =
            TrafficKey::new(self.version, next).map_err(|error| Refusal::internal(error.detail))?;
        self.update_awaited = false;
        Ok(())
    }

    /// There is no renegotiation: "when that is not appropriate, the recipient should respond with this
    /// alert", which is no_renegotiation (RFC 5246 §7.2.2). A second wish ends the connection, as in
    /// rustls.
    fn receive_renegotiation(
        &mut self,
        mut content: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        while !content.is_empty() {
            let message = &mut self.message;
            if message.to_skip == 0 {
                let header = message.fill(HEADER_BYTES, &mut content);
                let message_type = message.bytes[0];
                if message_type != CLIENT_HELLO {
                    return Err(Refusal::unexpected(format!(
                        "a handshake message of type {message_type} after the handshake"
                    )));
                }
                if header.is_none() {
                    return Ok(());
                }
                message.to_skip = message.length();
                if message.to_skip > CLIENT_HELLO_BYTES_MAX {
                    let length = message.to_skip;
                    return Err(Refusal::malformed(format!("a ClientHello of {length} bytes")));
                }
            }
            let skipped = content.len().min(message.to_skip as usize);
            content = &content[skipped..];
            message.to_skip -= skipped as u32;
            if message.to_skip == 0 {
                self.message = PartialMessage::default();
                self.decline_renegotiation(wire)?;
            }
        }
        Ok(())
    }

    fn decline_renegotiation(&mut self, wire: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.renegotiations > 0 {
            return Err(Refusal::unexpected("a second ClientHello after no_renegotiation"));
        }
        self.renegotiations += 1;
        self.seal_alert(WARNING, AlertDescription::NoRenegotiation, wire);
        Ok(())
    }
}
