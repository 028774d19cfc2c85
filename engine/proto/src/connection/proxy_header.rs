//! A balancer is in front: before anything else it says on whose behalf it has connected.

use super::Phase;
use super::accept::ExpectClientHello;
use super::core::Core;
use crate::error::Reason;
use crate::proxy_protocol::{self, Received};

/// Only for connections from an address that is trusted to speak for others: from anybody else a header is no TLS.
#[derive(Default)]
pub(super) struct ExpectProxyHeader {
    /// What has arrived of a header that did not arrive whole; bounded by what the parser takes for a beginning.
    received: Vec<u8>,
}

impl ExpectProxyHeader {
    pub(super) fn received(mut self: Box<Self>, core: &mut Core, bytes: &[u8]) -> Phase {
        if bytes.is_empty() {
            return match self.received.len() {
                // As balancers do that only look whether somebody listens.
                0 => core.give_up(Reason::ClientClosed, "before a PROXY header"),
                length => {
                    let detail = format!("the connection ended after {length} bytes of it");
                    core.give_up(Reason::ProxyHeader, detail)
                }
            };
        }
        let mut wire = std::mem::take(&mut self.received);
        wire.extend_from_slice(bytes);
        // What is no beginning is noticed at once, however little there is of it.
        match proxy_protocol::parse(&wire) {
            Ok(Received::Whole { length, addresses }) => {
                if let Some((source, destination)) = addresses {
                    core.report.client = source;
                    core.destination = destination;
                }
                let next = Box::<ExpectClientHello>::default();
                match &wire[length..] {
                    [] => Phase::ExpectClientHello(next),
                    rest => next.received(core, rest),
                }
            }
            Ok(Received::Partial { .. }) => {
                self.received = wire;
                Phase::ExpectProxyHeader(self)
            }
            Err(error) => core.give_up(Reason::ProxyHeader, error.to_string()),
        }
    }
}
