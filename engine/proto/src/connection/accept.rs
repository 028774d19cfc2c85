//! From accept to the ClientHello: nothing is known of the client yet, so nothing is spent on it.

use rustls::server::Acceptor;

use super::Phase;
use super::core::Core;
use super::handshake::ExpectFinished;
use crate::error::Reason;

/// Record header (RFC 9846 §5.1) and handshake header (§4).
const HEADERS_BYTES: usize = 5 + 4;

#[derive(Default)]
pub(super) struct ExpectClientHello {
    acceptor: Acceptor,
    received: usize,
    headers: Vec<u8>,
}

impl ExpectClientHello {
    pub(super) fn received(mut self: Box<Self>, core: &mut Core, bytes: &[u8]) -> Phase {
        if bytes.is_empty() {
            return core.give_up(Reason::ClientClosed, "before its ClientHello was complete");
        }
        self.received += bytes.len();
        let wanted = HEADERS_BYTES.saturating_sub(self.headers.len());
        self.headers.extend(bytes.iter().take(wanted));
        let limit = core.limits().client_hello_bytes;
        let announced = announced_bytes(&self.headers).unwrap_or(0);
        if announced > limit {
            let detail = format!("it announces {announced} bytes; at most {limit} are read");
            return core.refuse_in_plaintext(Reason::ClientHelloTooLarge, detail);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Err(error) = self.acceptor.read_tls(&mut rest) {
                return core.refuse_in_plaintext(Reason::MalformedMessage, error.to_string());
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return ExpectFinished::begin(core, accepted, rest),
                Err((error, mut alert)) => {
                    // Writing to memory does not fail.
                    let _ = alert.write_all(core.client.out());
                    let reason = Reason::of(&error);
                    return match core.client.unsent() {
                        0 => core.refuse_in_plaintext(reason, error.to_string()),
                        _ => core.give_up(reason, error.to_string()),
                    };
                }
            }
        }
        // A hello in many small records announces little at a time.
        if self.received > limit {
            let detail = format!("not complete after {limit} bytes");
            return core.refuse_in_plaintext(Reason::ClientHelloTooLarge, detail);
        }
        Phase::ExpectClientHello(self)
    }
}

/// The size of the ClientHello with its headers, as far as its first bytes tell.
fn announced_bytes(headers: &[u8]) -> Option<usize> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let &[HANDSHAKE, _, _, _, _, CLIENT_HELLO, high, middle, low] = headers else { return None };
    Some(HEADERS_BYTES + usize::from(high) * 65_536 + usize::from(middle) * 256 + usize::from(low))
}
