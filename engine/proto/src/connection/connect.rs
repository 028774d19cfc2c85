//! The client is let in; its upstream is dialled.

use super::Phase;
use super::authorize::Authorized;
use super::core::Core;
use super::relay::Relay;
use super::standing::Prospect;
use super::timer::Timer;
use crate::error::Reason;
use crate::listener::Announce;
use crate::op::{ConnectError, Op, UpstreamAddress};
use crate::proxy_protocol::{self, CertificateState, ProxyTls};
use crate::record::RecordLayer;

pub(super) struct ExpectUpstream {
    authorized: Authorized,
    records: Box<dyn RecordLayer>,
    /// Received behind the client's Finished, still sealed.
    unread: Vec<u8>,
}

impl ExpectUpstream {
    pub(super) fn begin(
        core: &mut Core,
        authorized: Authorized,
        records: Box<dyn RecordLayer>,
        unread: Vec<u8>,
    ) -> Phase {
        let address = core.listener.upstream.clone();
        if address == UpstreamAddress::Whoami {
            return Relay::with_whoami(core, authorized, records, &unread);
        }
        core.urgent = Some(Op::Connect(address));
        core.start_timer(Timer::Connect);
        Phase::ExpectUpstream(Self { authorized, records, unread })
    }

    pub(super) fn reconsider(mut self, core: &mut Core) -> Phase {
        match core.reconsider(&mut self.authorized) {
            Prospect::Over(phase) => phase,
            // Nothing of it has gone to the upstream yet; what it has to say, it may still say.
            Prospect::Finishes | Prospect::GoesOn => Phase::ExpectUpstream(self),
        }
    }

    pub(super) fn connected(self, core: &mut Core, result: Result<(), ConnectError>) -> Phase {
        core.timers.stop(Timer::Connect);
        match result {
            Ok(()) => {
                core.upstream.opened();
                announce(core, &self.authorized);
                Relay::with_socket(core, self.authorized, self.records, &self.unread)
            }
            Err(ConnectError::Full(detail)) => core.give_up(Reason::ConnectionTableFull, detail),
            Err(ConnectError::Failed(detail)) => {
                core.give_up(Reason::UpstreamConnectFailed, detail)
            }
        }
    }
}

/// Tells the upstream who is coming, before its first byte, if it wants to hear it.
fn announce(core: &mut Core, authorized: &Authorized) {
    if core.listener.announce == Announce::Nothing {
        return;
    }
    let identity = authorized.client().map(|client| client.identity());
    let common_name = identity.and_then(|identity| match identity.common_names() {
        [only] => Some(only.as_str()),
        _ => None,
    });
    let certificate = match identity {
        Some(_) => CertificateState::Verified,
        None => CertificateState::None,
    };
    let tls = core.report.tls.as_ref().map(|facts| ProxyTls {
        version: facts.version.name(),
        cipher: facts.suite_name(),
        common_name,
        certificate,
    });
    let (source, destination) = (core.report.client, core.listener.address);
    proxy_protocol::header(core.upstream.out(), source, destination, tls.as_ref());
}
