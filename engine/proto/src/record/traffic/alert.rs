//! Alerts: what the peer's mean, and the one of ours that ends a connection (§6; RFC 5246 §7.2).

use rustls::AlertDescription;

use super::TrafficRecords;
use super::framing::ALERT;
use crate::error::Reason;
use crate::record::RecordError;
use crate::tls::TlsVersion;

pub(super) const WARNING: u8 = 1;
pub(super) const FATAL: u8 = 2;

/// A connection has so many warnings; they ask for nothing and change nothing (BoringSSL and rustls
/// have the same bound).
const WARNINGS_MAX: u8 = 4;

/// Why a connection ends, and the alert that says so; no alert where the peer has ended it itself.
pub(super) struct Refusal {
    alert: Option<AlertDescription>,
    reason: Reason,
    detail: String,
}

impl Refusal {
    pub(super) fn unexpected(detail: impl Into<String>) -> Self {
        Self::new(AlertDescription::UnexpectedMessage, Reason::ProtocolViolation, detail)
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(AlertDescription::DecodeError, Reason::MalformedMessage, detail)
    }

    pub(super) fn illegal(detail: impl Into<String>) -> Self {
        Self::new(AlertDescription::IllegalParameter, Reason::ProtocolViolation, detail)
    }

    pub(super) fn overflow(detail: impl Into<String>) -> Self {
        Self::new(AlertDescription::RecordOverflow, Reason::MalformedMessage, detail)
    }

    pub(super) fn undecryptable() -> Self {
        let detail = "a record that cannot be decrypted: altered, repeated, lost or out of order";
        Self::new(AlertDescription::BadRecordMac, Reason::MalformedMessage, detail)
    }

    pub(super) fn key_exhausted(records: u64) -> Self {
        let detail =
            format!("{records} records were sealed under one key, which TLS 1.2 cannot change");
        Self::new(AlertDescription::InternalError, Reason::KeyExhausted, detail)
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(AlertDescription::InternalError, Reason::Internal, detail)
    }

    fn alerted(description: AlertDescription) -> Self {
        let detail = format!("the client sent the alert {description:?}");
        Self { alert: None, reason: Reason::ClientAlert, detail }
    }

    fn new(alert: AlertDescription, reason: Reason, detail: impl Into<String>) -> Self {
        Self { alert: Some(alert), reason, detail: detail.into() }
    }
}

impl TrafficRecords {
    /// An alert that the peer sent.
    pub(super) fn receive_alert(&mut self, content: &[u8]) -> Result<(), Refusal> {
        let &[level, description] = content else {
            return Err(Refusal::malformed(format!("an alert of {} bytes", content.len())));
        };
        if !matches!(level, WARNING | FATAL) {
            return Err(Refusal::illegal(format!("an alert of level {level}")));
        }
        let description = AlertDescription::from(description);
        match (self.version, description) {
            (_, AlertDescription::CloseNotify) => {
                self.peer_closed = true;
                Ok(())
            }
            // "Receiving implementations SHOULD continue to read data from the peer until a
            // "close_notify" is received" (§6.1).
            (TlsVersion::Tls13, AlertDescription::UserCanceled) => self.warned(),
            // "All the alerts listed in Section 6.2 [...] MUST be treated as error alerts when received
            // regardless of the AlertLevel in the message. Unknown Alert types MUST be treated as error
            // alerts" (§6).
            (TlsVersion::Tls13, _) => Err(Refusal::alerted(description)),
            (TlsVersion::Tls12, _) if level == WARNING => self.warned(),
            (TlsVersion::Tls12, _) => Err(Refusal::alerted(description)),
        }
    }

    fn warned(&mut self) -> Result<(), Refusal> {
        if self.warnings == WARNINGS_MAX {
            return Err(Refusal::unexpected(format!("more than {WARNINGS_MAX} warning alerts")));
        }
        self.warnings += 1;
        Ok(())
    }

    /// Ends the connection, and says why to the peer as far as that may still be said.
    pub(super) fn fail(&mut self, refusal: Refusal, wire: &mut Vec<u8>) -> RecordError {
        if let Some(alert) = refusal.alert {
            self.seal_alert(FATAL, alert, wire);
        }
        self.closed = true;
        self.pending.clear();
        let error = RecordError { reason: refusal.reason, detail: refusal.detail };
        self.failure = Some(Box::new(error.clone()));
        error
    }

    pub(super) fn seal_close_notify(&mut self, wire: &mut Vec<u8>) {
        self.seal_alert(WARNING, AlertDescription::CloseNotify, wire);
        self.closed = true;
    }

    /// Unlike data, an alert may exceed what a key should seal: by the few that a connection has.
    /// After close_notify none is sent: "Any data received after a closure alert has been received MUST
    /// be ignored" (§6.1).
    pub(super) fn seal_alert(
        &mut self,
        level: u8,
        description: AlertDescription,
        wire: &mut Vec<u8>,
    ) {
        if !self.closed {
            // Fails when the sequence numbers have come to their end; then nothing can be said.
            let _ = self.sealing.seal(ALERT, &[level, description.into()], wire);
        }
    }
}
