//! Bytes in both directions, with bounded buffers, backpressure and half-close.

mod facts;

use std::time::Duration;
use std::{io, mem};

use self::facts::Facts;
use super::Phase;
use super::authorize::Authorized;
use super::core::Core;
use super::standing::Prospect;
use super::timer::Timer;
use crate::error::Reason;
use crate::op::{CloseManner, Side};
use crate::record::{Opened, RecordError, RecordLayer};
use crate::whoami::Whoami;

/// A request that the client had already sent when the engine was told to stop arrives within this.
const STOP_GRACE: Duration = Duration::from_millis(500);

pub(super) struct Relay {
    /// Who is let in: held for as long as bytes flow.
    authorized: Authorized,
    records: Box<dyn RecordLayer>,
    backend: Backend,
    /// The client has said close_notify.
    client_complete: bool,
    /// The upstream has ended its stream, and the client was told close_notify.
    upstream_complete: bool,
}

enum Backend {
    Socket,
    BuiltIn {
        whoami: Box<Whoami>,
        /// Opened, not yet taken by the built-in upstream.
        requests: Vec<u8>,
    },
}

impl Relay {
    pub(super) fn with_socket(
        core: &mut Core,
        authorized: Authorized,
        records: Box<dyn RecordLayer>,
        unread: &[u8],
    ) -> Phase {
        Self::begin(core, authorized, records, Backend::Socket, unread)
    }

    pub(super) fn with_whoami(
        core: &mut Core,
        authorized: Authorized,
        records: Box<dyn RecordLayer>,
        unread: &[u8],
    ) -> Phase {
        let whoami = Box::new(Whoami::new(&Facts::of(&core.report, &authorized)));
        let backend = Backend::BuiltIn { whoami, requests: Vec::new() };
        Self::begin(core, authorized, records, backend, unread)
    }

    fn begin(
        core: &mut Core,
        authorized: Authorized,
        records: Box<dyn RecordLayer>,
        backend: Backend,
        unread: &[u8],
    ) -> Phase {
        let relay =
            Self { authorized, records, backend, client_complete: false, upstream_complete: false };
        let phase = relay.open(core, unread);
        match phase {
            Phase::Relay(relay) if core.is_finishing() => relay.stop(core),
            phase => phase,
        }
    }

    pub(super) fn receives(&self, core: &Core, side: Side) -> bool {
        let most = core.limits().relay_bytes;
        match side {
            Side::Client => {
                let ahead = match &self.backend {
                    Backend::Socket => core.upstream.unsent(),
                    Backend::BuiltIn { requests, .. } => requests.len() + core.client.unsent(),
                };
                !self.client_complete && ahead < most
            }
            Side::Upstream => !self.upstream_complete && core.client.unsent() < most,
        }
    }

    pub(super) fn client_received(self, core: &mut Core, bytes: &[u8]) -> Phase {
        if !bytes.is_empty() {
            return self.open(core, bytes);
        }
        // The end of the stream without close_notify: whoever reads on must not take it for complete.
        if self.upstream_complete {
            // The client has all that it will get, and was told so: for it this is an end like another.
            let phase = core.end_cleanly();
            core.upstream.close(CloseManner::Reset);
            return phase;
        }
        core.give_up(Reason::ClientTruncated, "no close_notify before the end of the stream")
    }

    pub(super) fn upstream_received(mut self, core: &mut Core, bytes: &[u8]) -> Phase {
        if bytes.is_empty() {
            self.complete_upstream(core);
            return self.go_on(core);
        }
        match self.records.seal(bytes, core.client.out()) {
            Ok(()) => self.go_on(core),
            Err(error) => fail(core, error),
        }
    }

    pub(super) fn sent(self, core: &mut Core) -> Phase {
        // The built-in upstream may have waited for room.
        self.serve(core)
    }

    pub(super) fn broken(self, core: &mut Core, side: Side, kind: io::ErrorKind) -> Phase {
        match side {
            Side::Client => core.give_up(Reason::ClientReset, kind.to_string()),
            Side::Upstream => core.give_up(Reason::UpstreamReset, kind.to_string()),
        }
    }

    pub(super) fn idled(mut self, core: &mut Core) -> Phase {
        if self.upstream_complete {
            // The client was told that this was all, and had its time to say more.
            let phase = core.end_after_last_word();
            // It has not said that it is done: the upstream must not take what it got for complete.
            core.upstream.close(CloseManner::Reset);
            return phase;
        }
        if core.is_finishing() && matches!(self.backend, Backend::BuiltIn { .. }) {
            self.complete_upstream(core);
            return core.end_after_last_word();
        }
        core.give_up(Reason::IdleTimeout, String::new())
    }

    pub(super) fn reconsider(mut self, core: &mut Core) -> Phase {
        let was_finishing = core.is_finishing();
        let prospect = core.reconsider(&mut self.authorized);
        core.adopt();
        match prospect {
            // It need not finish after all, and has its whole patience again.
            Prospect::GoesOn if was_finishing => self.go_on(core),
            Prospect::GoesOn => Phase::Relay(self),
            Prospect::Finishes => self.stop(core),
            Prospect::Over(phase) => phase,
        }
    }

    /// A built-in upstream answers what is under way and what arrives within a short grace, and then
    /// says that it closes. What another upstream and its client still have to say only they know.
    pub(super) fn stop(mut self, core: &mut Core) -> Phase {
        if let Backend::BuiltIn { whoami, .. } = &mut self.backend {
            whoami.close_after_next();
            core.timers.set(Timer::Idle, core.now.moment + STOP_GRACE);
        }
        Phase::Relay(self)
    }

    /// Opens what the client sent and passes it on.
    fn open(mut self, core: &mut Core, bytes: &[u8]) -> Phase {
        let plaintext = match &mut self.backend {
            Backend::Socket => core.upstream.out(),
            Backend::BuiltIn { requests, .. } => {
                if requests.capacity() == 0 {
                    *requests = core.desk.buffer();
                }
                requests
            }
        };
        match self.records.open(bytes, plaintext, core.client.out()) {
            Ok(Opened::More) => {}
            Ok(Opened::Complete) => self.client_complete = true,
            Err(error) => return fail(core, error),
        }
        if self.client_complete && matches!(self.backend, Backend::Socket) {
            core.upstream.shut_down();
        }
        self.serve(core)
    }

    /// Lets the built-in upstream answer as much as there is room for.
    fn serve(mut self, core: &mut Core) -> Phase {
        if let Backend::BuiltIn { whoami, requests } = &mut self.backend
            && !self.upstream_complete
        {
            let mut answers = Vec::new();
            if core.client.unsent() < core.listener.limits.relay_bytes {
                let taken = whoami.receive(requests, &mut answers);
                requests.drain(..taken);
                if requests.is_empty() {
                    // An idle connection owns no buffer.
                    core.desk.spare(mem::take(requests));
                }
            }
            if self.client_complete && requests.is_empty() {
                whoami.end_of_stream();
            }
            let finished = whoami.is_finished();
            if !answers.is_empty()
                && let Err(error) = self.records.seal(&answers, core.client.out())
            {
                return fail(core, error);
            }
            if finished {
                self.complete_upstream(core);
                return core.end_after_last_word();
            }
        }
        self.go_on(core)
    }

    fn complete_upstream(&mut self, core: &mut Core) {
        if !self.upstream_complete {
            self.upstream_complete = true;
            self.records.close_notify(core.client.out());
        }
    }

    fn go_on(self, core: &mut Core) -> Phase {
        if self.client_complete && self.upstream_complete {
            return core.end_cleanly();
        }
        core.start_timer(Timer::Idle);
        if core.is_finishing() && matches!(self.backend, Backend::BuiltIn { .. }) {
            core.timers.set(Timer::Idle, core.now.moment + STOP_GRACE);
        }
        if self.client_complete || self.upstream_complete {
            let limits = core.limits();
            let patience = limits.half_closed_timeout.min(limits.idle_timeout);
            core.timers.set(Timer::Idle, core.now.moment + patience);
        }
        Phase::Relay(self)
    }
}

/// A record was not what it should be. What the record layer has to say, such as an alert, is queued.
fn fail(core: &mut Core, error: RecordError) -> Phase {
    core.give_up(error.reason, error.detail)
}
