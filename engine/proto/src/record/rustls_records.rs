//! rustls' own record layer behind the seam.

use std::io::{Read, Write};

use rustls::ServerConnection;

use super::{Opened, RecordError, RecordLayer};
use crate::error::Reason;

/// Bytes by which plaintext grows when it is taken out of rustls.
const READ_STEP_BYTES: usize = 16_384;

pub(crate) struct RustlsRecords {
    tls: Box<ServerConnection>,
    closed: bool,
}

impl RustlsRecords {
    /// `tls` has finished its handshake. It may hold application data that came with the client's
    /// Finished: the next [`RecordLayer::open`], also of nothing, gives it out.
    pub(crate) fn new(mut tls: Box<ServerConnection>) -> Self {
        debug_assert!(!tls.is_handshaking());
        // The relay bounds what is queued, before it seals.
        tls.set_buffer_limit(None);
        Self { tls, closed: false }
    }

    fn process(&mut self, plaintext: &mut Vec<u8>) -> Result<Opened, RecordError> {
        let state = self.tls.process_new_packets().map_err(|error| RecordError {
            reason: match Reason::of(&error) {
                Reason::Internal => Reason::MalformedMessage,
                reason => reason,
            },
            detail: error.to_string(),
        })?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let start = plaintext.len();
            plaintext.resize(start + left.min(READ_STEP_BYTES), 0);
            let read = self.tls.reader().read(&mut plaintext[start..]).unwrap_or(0);
            plaintext.truncate(start + read);
            if read == 0 {
                break;
            }
            left -= read;
        }
        Ok(if state.peer_has_closed() { Opened::Complete } else { Opened::More })
    }

    fn flush(&mut self, wire: &mut Vec<u8>) {
        let end = wire.len();
        while self.tls.wants_write() {
            // Writing to memory does not fail.
            if self.tls.write_tls(wire).unwrap_or(0) == 0 {
                break;
            }
        }
        if self.closed {
            // Nothing may follow close_notify; rustls would send an alert behind it.
            wire.truncate(end);
        }
    }
}

impl RecordLayer for RustlsRecords {
    fn open(
        &mut self,
        mut received: &[u8],
        plaintext: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<Opened, RecordError> {
        let mut opened = self.process(plaintext);
        while opened.is_ok() && !received.is_empty() {
            opened = match self.tls.read_tls(&mut received) {
                Ok(0) => break,
                Ok(_) => self.process(plaintext),
                Err(error) => {
                    Err(RecordError { reason: Reason::MalformedMessage, detail: error.to_string() })
                }
            };
        }
        self.flush(wire);
        opened
    }

    fn seal(&mut self, plaintext: &[u8], wire: &mut Vec<u8>) -> Result<(), RecordError> {
        let failed = |error: std::io::Error| RecordError {
            reason: Reason::Internal,
            detail: error.to_string(),
        };
        self.tls.writer().write_all(plaintext).map_err(failed)?;
        self.flush(wire);
        Ok(())
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.tls.send_close_notify();
        self.flush(wire);
        self.closed = true;
    }
}
