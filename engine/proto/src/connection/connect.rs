//! The client is let in; its upstream is dialled.

use super::Phase;
use super::authorize::Authorized;
use super::core::Core;
use super::relay::Relay;
use super::standing::Prospect;
use super::timer::Timer;
use super::verify::VerifiedClient;
use crate::error::Reason;
use crate::listener::Announce;
use crate::op::{ConnectError, Op, UpstreamAddress};
use crate::proxy_protocol::{self, Announcement, CertificateState, ProxyClient, ProxyTls};
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
    let (source, destination) = (core.report.client, core.destination);
    let certificate = core.client_certificate.take();
    let format = match &core.listener.announce {
        Announce::Nothing => return,
        Announce::ProxyV1 => {
            return proxy_protocol::write_v1(core.upstream.out(), source, destination);
        }
        Announce::ProxyV2(format) => format,
    };
    let client = authorized.client();
    let told = client.map_or_else(ProxyClient::default, |client| ProxyClient {
        signature_scheme: client.signature_scheme_name(),
        certificate: certificate.as_deref(),
        ..ProxyClient::of(client.identity())
    });
    let report = &core.report;
    let key = report.tls.as_ref().and_then(|facts| facts.server_certificate.key_name());
    let tls = report.tls.as_ref().map(|facts| ProxyTls {
        version: facts.version.name(),
        cipher: facts.suite_name(),
        group: facts.group_name(),
        certificate_signature: facts.server_certificate.signature_name(),
        certificate_key: key.as_deref(),
        signature_scheme: facts.signature_scheme_name(),
        certificate: certificate_state(client),
        client: told,
    });
    let announcement = Announcement {
        source,
        destination,
        connection: Some(report.connection),
        authority: report.server_name.as_deref(),
        alpn: report.alpn.as_deref(),
        tls,
    };
    core.report.untold = proxy_protocol::write_v2(core.upstream.out(), &announcement, format);
}

/// What a client has proven over this connection. Every handshake is a full one.
fn certificate_state(client: Option<&VerifiedClient>) -> CertificateState {
    match client {
        Some(client) if client.is_resumed() => CertificateState::Resumed,
        Some(_) => CertificateState::Verified,
        None => CertificateState::None,
    }
}
