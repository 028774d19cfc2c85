//! From accept to the ClientHello: nothing is known of the client yet, so nothing is spent on it.

use rustls::server::Acceptor;

use super::Phase;
use super::core::Core;
use super::handshake::{Choice, ExpectFinished};
use crate::error::Reason;
use crate::tls::{Arrival, ClientHello};

/// Record header (RFC 9846 §5.1) and handshake header (§4).
const HEADERS_BYTES: usize = 5 + 4;

#[derive(Default)]
pub(super) struct ExpectClientHello {
    /// What has arrived of a hello that did not arrive whole.
    received: Vec<u8>,
    /// Before there are so many bytes, another look cannot find more.
    needs: usize,
}

impl ExpectClientHello {
    pub(super) fn received(mut self: Box<Self>, core: &mut Core, bytes: &[u8]) -> Phase {
        if bytes.is_empty() {
            return core.give_up(Reason::ClientClosed, "before its ClientHello was complete");
        }
        let mut wire = std::mem::take(&mut self.received);
        wire.extend_from_slice(bytes);
        let limit = core.limits().client_hello_bytes;
        let announced = announced_bytes(&wire).unwrap_or(0);
        if announced > limit {
            let detail = format!("it announces {announced} bytes; at most {limit} are read");
            return core.refuse_in_plaintext(Reason::ClientHelloTooLarge, detail);
        }
        if wire.len() >= self.needs {
            match Arrival::of(&wire) {
                Arrival::Whole(message) => {
                    return match ClientHello::read(&message) {
                        Some(hello) if hello.predates_tls12() => core.refuse_in_plaintext(
                            Reason::ProtocolVersion,
                            "a ClientHello of a version before TLS 1.2",
                        ),
                        Some(hello) => match Choice::make(core, &hello) {
                            Ok(choice) => ExpectFinished::begin(core, choice, wire),
                            Err(phase) => phase,
                        },
                        None => refuse(core, &wire).unwrap_or_else(|| {
                            // Which identity it asks for is not known.
                            core.refuse_in_plaintext(Reason::MalformedMessage, "cannot be read")
                        }),
                    };
                }
                Arrival::Foreign => {
                    if let Some(phase) = refuse(core, &wire) {
                        return phase;
                    }
                }
                Arrival::Partial { needs } => self.needs = needs,
            }
        }
        // A hello in many small records announces little at a time.
        if wire.len() > limit {
            let detail = format!("not complete after {limit} bytes");
            return core.refuse_in_plaintext(Reason::ClientHelloTooLarge, detail);
        }
        self.received = wire;
        Phase::ExpectClientHello(self)
    }
}

/// Refuses what is no ClientHello, with the reason and the alert that rustls has for it; `None` while
/// rustls finds nothing wrong with it, or not yet.
fn refuse(core: &mut Core, mut wire: &[u8]) -> Option<Phase> {
    let mut acceptor = Acceptor::default();
    while !wire.is_empty() {
        if let Err(error) = acceptor.read_tls(&mut wire) {
            return Some(core.refuse_in_plaintext(Reason::MalformedMessage, error.to_string()));
        }
        let Err((error, mut alert)) = acceptor.accept() else { continue };
        // Writing to memory does not fail.
        let _ = alert.write_all(core.client.out());
        let reason = Reason::of(&error);
        return Some(match core.client.unsent() {
            0 => core.refuse_in_plaintext(reason, error.to_string()),
            _ => core.give_up(reason, error.to_string()),
        });
    }
    None
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
