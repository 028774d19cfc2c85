//! Our own record layer: traffic secrets in, records out. The handshake is rustls'.
//!
//! * `framing.rs`: where a record ends; what is held of one that is not whole
//! * `aead.rs`: one direction's key, nonces, additional data
//! * `opening.rs`: what a record may be, and what becomes of it
//! * `sealing.rs`: data, KeyUpdate and alerts on their way out; how much a key may seal
//! * `messages.rs`: handshake messages after the handshake
//! * `alert.rs`: alerts in, and the one alert out that ends a connection
//!
//! Sections are RFC 9846 (TLS 1.3) where no other document is named.

mod aead;
mod alert;
mod framing;
mod messages;
mod opening;
mod sealing;

use rustls::kernel::KernelConnection;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use self::aead::TrafficKey;
use self::framing::Pending;
use self::messages::PartialMessage;
use super::{Opened, RecordError, RecordLayer};
use crate::error::Reason;
use crate::tls::TlsVersion;

/// Where the keys after a KeyUpdate come from (§7.2): the next generation of traffic secrets, with the
/// sequence number that they begin at.
pub(crate) trait KeyUpdates {
    fn next_sealing(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error>;
    fn next_opening(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error>;
}

impl<Side> KeyUpdates for KernelConnection<Side> {
    fn next_sealing(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        self.update_tx_secret()
    }

    fn next_opening(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        self.update_rx_secret()
    }
}

/// The records of one connection in both directions.
pub(crate) struct TrafficRecords {
    version: TlsVersion,
    sealing: TrafficKey,
    opening: TrafficKey,
    /// Always there in TLS 1.3, never in 1.2.
    updates: Option<Box<dyn KeyUpdates>>,
    /// Records that one key may seal; a field so that tests reach it.
    key_records: u64,
    pending: Pending,
    message: PartialMessage,
    /// The peer wants us to change keys before our next data.
    update_due: bool,
    /// We asked the peer to change its keys, and it has not done so yet.
    update_awaited: bool,
    key_updates_since_data: u16,
    empty_records_running: u8,
    warnings: u8,
    renegotiations: u8,
    /// The peer said close_notify.
    peer_closed: bool,
    /// We said close_notify or sent a fatal alert: nothing may follow.
    closed: bool,
    /// Why the connection is over.
    failure: Option<Box<RecordError>>,
}

impl TrafficRecords {
    /// Takes over where the handshake ended: `secrets` with their sequence numbers, and in TLS 1.3
    /// where their successors come from.
    ///
    /// # Errors
    /// The secrets are of an AEAD that is not known here, or `updates` are missing in TLS 1.3.
    pub(crate) fn new(
        version: TlsVersion,
        secrets: ExtractedSecrets,
        updates: Option<Box<dyn KeyUpdates>>,
    ) -> Result<Self, RecordError> {
        let updates = match version {
            TlsVersion::Tls13 if updates.is_none() => {
                return Err(internal("TLS 1.3 without a source of keys for KeyUpdate"));
            }
            TlsVersion::Tls13 => updates,
            TlsVersion::Tls12 => None,
        };
        let key_records = aead::records_per_key(&secrets.tx.1);
        Ok(Self {
            version,
            sealing: TrafficKey::new(version, secrets.tx)?,
            opening: TrafficKey::new(version, secrets.rx)?,
            updates,
            key_records,
            pending: Pending::default(),
            message: PartialMessage::default(),
            update_due: false,
            update_awaited: false,
            key_updates_since_data: 0,
            empty_records_running: 0,
            warnings: 0,
            renegotiations: 0,
            peer_closed: false,
            closed: false,
            failure: None,
        })
    }
}

impl RecordLayer for TrafficRecords {
    fn open(
        &mut self,
        received: &[u8],
        plaintext: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<Opened, RecordError> {
        if let Some(failure) = &self.failure {
            return Err((**failure).clone());
        }
        let opened = self
            .open_records(received, plaintext, wire)
            .and_then(|()| self.update_after_opening(wire));
        match opened {
            Ok(()) if self.peer_closed => Ok(Opened::Complete),
            Ok(()) => Ok(Opened::More),
            Err(refusal) => Err(self.fail(refusal, wire)),
        }
    }

    fn seal(&mut self, plaintext: &[u8], wire: &mut Vec<u8>) -> Result<(), RecordError> {
        if let Some(failure) = &self.failure {
            return Err((**failure).clone());
        }
        if self.closed {
            return Err(internal("data to seal after close_notify"));
        }
        self.seal_data(plaintext, wire).map_err(|refusal| self.fail(refusal, wire))
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        if !self.closed {
            self.seal_close_notify(wire);
        }
    }
}

fn internal(detail: impl Into<String>) -> RecordError {
    RecordError { reason: Reason::Internal, detail: detail.into() }
}

#[cfg(test)]
mod tests;
