//! Application data in and out of a byte stream: through TLS, or as it is. No I/O.

use std::io::{BufRead, Write};

use rustls::ClientConnection;

use crate::failure::Failure;

/// One side of a connection.
pub(crate) enum Channel {
    Plain,
    Tls(Box<ClientConnection>),
}

impl Channel {
    /// Appends to `output` what must be sent to say `data`.
    pub(crate) fn seal(&mut self, data: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Plain => output.extend_from_slice(data),
            Self::Tls(tls) => {
                tls.writer().write_all(data).map_err(|error| in_memory(&error))?;
                self.flush(output)?;
            }
        }
        Ok(())
    }

    /// Appends to `output` what TLS itself has to say.
    pub(crate) fn flush(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        if let Self::Tls(tls) = self {
            while tls.wants_write() {
                tls.write_tls(output).map_err(|error| in_memory(&error))?;
            }
        }
        Ok(())
    }

    /// Takes what came and gives the application data in it to `sink`. True if the peer has said
    /// close_notify.
    pub(crate) fn open(
        &mut self,
        mut input: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let tls = match self {
            Self::Plain => return sink(input).map(|()| false),
            Self::Tls(tls) => tls,
        };
        while !input.is_empty() {
            tls.read_tls(&mut input).map_err(|error| in_memory(&error))?;
            let state = tls.process_new_packets().map_err(|error| Failure::tls(&error))?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = tls.reader();
                let data = reader.fill_buf().map_err(|error| in_memory(&error))?;
                let length = data.len();
                sink(data)?;
                reader.consume(length);
                left = left.saturating_sub(length.max(1));
            }
            if state.peer_has_closed() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Neither side of these copies can fail but by a limit of rustls'.
fn in_memory(error: &std::io::Error) -> Failure {
    Failure::new("tls", format!("rustls takes no more: {error}"))
}
