//! What goes out: data, and KeyUpdates when the peer asks, when a key has sealed enough, and when the
//! peer's key has.

use super::TrafficRecords;
use super::aead::{SEALED_EXTRA_BYTES, TrafficKey};
use super::alert::Refusal;
use super::framing::{APPLICATION_DATA, CONTENT_BYTES_MAX, HANDSHAKE};
use super::messages::{KEY_UPDATE, KEY_UPDATE_BYTES};
use crate::tls::TlsVersion;

/// What a KeyUpdate asks of the peer (§4.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    NotRequested = 0,
    Requested = 1,
}

impl TrafficRecords {
    pub(super) fn seal_data(
        &mut self,
        plaintext: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if plaintext.is_empty() {
            return Ok(());
        }
        let records = plaintext.len().div_ceil(CONTENT_BYTES_MAX);
        wire.reserve(
            plaintext.len() + records * SEALED_EXTRA_BYTES + KEY_UPDATE_BYTES + SEALED_EXTRA_BYTES,
        );
        for content in plaintext.chunks(CONTENT_BYTES_MAX) {
            self.update_before_sealing(wire)?;
            self.sealing
                .seal(APPLICATION_DATA, content, wire)
                .map_err(|_| Refusal::internal("a record could not be sealed"))?;
        }
        self.key_updates_since_data = 0;
        Ok(())
    }

    /// Sees to it that the next record of data may be sealed under the key then current.
    fn update_before_sealing(&mut self, wire: &mut Vec<u8>) -> Result<(), Refusal> {
        let sealed = self.sealing.sequence();
        match self.version {
            TlsVersion::Tls12 if sealed >= self.key_records => {
                Err(Refusal::key_exhausted(self.key_records))
            }
            TlsVersion::Tls12 => Ok(()),
            // "If the request_update field is set to "update_requested", then the receiver MUST send a
            // KeyUpdate of its own with request_update set to "update_not_requested" prior to sending
            // its next Application Data record" (§4.7.3).
            TlsVersion::Tls13 if self.update_due => {
                self.update_sealing(Request::NotRequested, wire)
            }
            // The KeyUpdate is the last record of its key.
            TlsVersion::Tls13 if sealed >= self.key_records - 1 => {
                self.update_sealing(self.wished(), wire)
            }
            TlsVersion::Tls13 => Ok(()),
        }
    }

    /// Answers the KeyUpdates that [`open`](super::RecordLayer::open) met with one, and asks for one where
    /// the peer's key has done its work: "Receiving implementations SHOULD NOT enforce these limits"
    /// (§5.5).
    ///
    /// A key that has sealed nothing yet is as good as its successor: the answer then waits for our next
    /// data. Otherwise a client that only asks, and reads nothing, would make us queue an answer for every
    /// few bytes that it sends.
    pub(super) fn update_after_opening(&mut self, wire: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.closed || self.version == TlsVersion::Tls12 {
            return Ok(());
        }
        if self.update_due && self.sealing.sequence() > 0 {
            return self.update_sealing(Request::NotRequested, wire);
        }
        if self.opening.sequence() >= self.key_records && !self.update_awaited {
            return self.update_sealing(Request::Requested, wire);
        }
        Ok(())
    }

    /// "Until receiving a subsequent KeyUpdate from the peer, the sender MUST NOT send another KeyUpdate
    /// with request_update set to "update_requested"" (§4.7.3).
    pub(super) fn wished(&self) -> Request {
        if self.update_awaited { Request::NotRequested } else { Request::Requested }
    }

    /// Sends a KeyUpdate under the old key and goes on under the next: "Both sender and receiver MUST
    /// encrypt their KeyUpdate messages with the old keys" (§4.7.3). The same section forbids more than
    /// 2^48 - 1 of them: at a million a second that is nine years.
    pub(super) fn update_sealing(
        &mut self,
        request: Request,
        wire: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let Some(updates) = &mut self.updates else {
            return Err(Refusal::internal("no source of keys for a KeyUpdate"));
        };
        // Derived first: once the KeyUpdate is out there is no way back.
        let next = updates.next_sealing().map_err(|error| Refusal::internal(error.to_string()))?;
        let next =
            TrafficKey::new(self.version, next).map_err(|error| Refusal::internal(error.detail))?;
        let message: [u8; KEY_UPDATE_BYTES] = [KEY_UPDATE, 0, 0, 1, request as u8];
        self.sealing
            .seal(HANDSHAKE, &message, wire)
            .map_err(|_| Refusal::internal("a KeyUpdate could not be sealed"))?;
        self.sealing = next;
        match request {
            Request::NotRequested => self.update_due = false,
            Request::Requested => self.update_awaited = true,
        }
        Ok(())
    }
}
