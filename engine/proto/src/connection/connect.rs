//! The client is let in; its upstream is dialled.

use super::Phase;
use super::authorize::Authorized;
use super::core::Core;
use super::relay::Relay;
use super::timer::Timer;
use crate::error::Reason;
use crate::op::{ConnectError, Op, UpstreamAddress};
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

    pub(super) fn connected(self, core: &mut Core, result: Result<(), ConnectError>) -> Phase {
        core.timers.stop(Timer::Connect);
        match result {
            Ok(()) => {
                core.upstream.opened();
                Relay::with_socket(core, self.authorized, self.records, &self.unread)
            }
            Err(ConnectError::Full(detail)) => core.give_up(Reason::ConnectionTableFull, detail),
            Err(ConnectError::Failed(detail)) => {
                core.give_up(Reason::UpstreamConnectFailed, detail)
            }
        }
    }
}
