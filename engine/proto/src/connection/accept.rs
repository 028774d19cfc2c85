//! From accept to the ClientHello: nothing is known of the client yet, so nothing is spent on it.

use std::borrow::Cow;

use rustls::server::Acceptor;

use super::Phase;
use super::core::Core;
use super::handshake::ExpectFinished;
use crate::error::Reason;
use crate::tls::predates_tls12;

/// Record header (RFC 9846 §5.1) and handshake header (§4).
const HEADERS_BYTES: usize = 5 + 4;

#[derive(Default)]
pub(super) struct ExpectClientHello {
    acceptor: Acceptor,
    /// What has arrived of a hello that did not arrive whole.
    received: Vec<u8>,
}

impl ExpectClientHello {
    pub(super) fn received(mut self: Box<Self>, core: &mut Core, bytes: &[u8]) -> Phase {
        if bytes.is_empty() {
            return core.give_up(Reason::ClientClosed, "before its ClientHello was complete");
        }
        // The usual hello arrives whole and is not copied.
        let wire = if self.received.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            self.received.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(&mut self.received))
        };
        let limit = core.limits().client_hello_bytes;
        let announced = announced_bytes(&wire).unwrap_or(0);
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
                Ok(Some(accepted)) => return ExpectFinished::begin(core, accepted, &wire, rest),
                Err((error, _)) if predates_tls12(&wire) => {
                    return core.refuse_in_plaintext(Reason::ProtocolVersion, error.to_string());
                }
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
        if wire.len() > limit {
            let detail = format!("not complete after {limit} bytes");
            return core.refuse_in_plaintext(Reason::ClientHelloTooLarge, detail);
        }
        self.received = wire.into_owned();
        Phase::ExpectClientHello(self)
    }
}

/// The size of the ClientHello with its headers, as far as its first record tells; one so short that
/// the handshake header is cut tells nothing.
fn announced_bytes(wire: &[u8]) -> Option<usize> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let &[HANDSHAKE, _, _, record_high, record_low, CLIENT_HELLO, high, middle, low, ..] = wire
    else {
        return None;
    };
    if u16::from_be_bytes([record_high, record_low]) < 4 {
        return None;
    }
    Some(HEADERS_BYTES + usize::from(high) * 65_536 + usize::from(middle) * 256 + usize::from(low))
}
