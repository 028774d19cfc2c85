//! The record layer of an established connection, behind a seam: the relay knows no TLS library.
//!
//! [`TrafficRecords`] is ours: it opens into the buffer that goes to the upstream, seals in the buffer
//! that goes to the client, and owns no buffer while the connection is idle. rustls' own stands behind
//! the same seam in the tests, as what ours is held against.

#[cfg(test)]
mod rustls_records;
mod traffic;

#[cfg(test)]
pub(crate) use rustls_records::RustlsRecords;
pub(crate) use traffic::TrafficRecords;

use crate::error::Reason;

/// Seals and opens the records of one connection after its handshake.
pub(crate) trait RecordLayer {
    /// Opens what arrived, whole records or not, and appends the application data to `plaintext`.
    /// What is to be answered (a KeyUpdate, an alert) is appended to `wire`, also on an error. What
    /// was opened before the record at fault stays in `plaintext`. After an error and after
    /// [`Opened::Complete`] nothing more is opened: calls repeat the outcome.
    fn open(
        &mut self,
        received: &[u8],
        plaintext: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<Opened, RecordError>;

    /// Seals application data into records and appends them to `wire`. Fails after close_notify, after
    /// an error of [`RecordLayer::open`], and where the key may seal no more.
    fn seal(&mut self, plaintext: &[u8], wire: &mut Vec<u8>) -> Result<(), RecordError>;

    /// Appends the close_notify alert (RFC 9846 §6.1). Nothing may be sealed afterwards; a second call
    /// does nothing. The peer's records are opened on: it may still be sending.
    fn close_notify(&mut self, wire: &mut Vec<u8>);
}

/// How far the peer's data has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// More may follow.
    More,
    /// close_notify: the data is complete.
    Complete,
}

/// A record could not be opened or sealed; the connection is over.
#[derive(Clone, Debug)]
pub(crate) struct RecordError {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}
