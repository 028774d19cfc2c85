//! The life of one connection, from accept to close, without I/O.
//!
//! ```text
//! (ExpectProxyHeader ->) ExpectClientHello -> ExpectFinished -> ExpectUpstream -> Relay -> Closing -> Closed
//! ```
//!
//! # How to drive it
//!
//! * Call [`Connection::poll_op`] until it gives `None`, after every call of a `handle_*` method, and
//!   do what it asks. Answer each [`Op`] with its [`Completion`] through
//!   [`Connection::handle_completion`], in any order.
//! * Call [`Connection::handle_timeout`] at or after [`Connection::poll_timeout`].
//! * Take what [`Connection::poll_event`] gives. After [`Event::Ended`] no socket is open, nothing is
//!   out any more, and the connection can be dropped.
//! * Every method that takes [`Now`] may be called with the same time again, never with an earlier one.

mod accept;
mod authorize;
mod close;
mod connect;
mod core;
mod handshake;
mod proxy_header;
mod relay;
mod resume;
mod standing;
mod stream;
mod timer;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;

pub use authorize::Authorized;
pub use verify::VerifiedClient;

use self::accept::ExpectClientHello;
use self::close::Closing;
use self::connect::ExpectUpstream;
use self::core::Core;
use self::handshake::ExpectFinished;
use self::proxy_header::ExpectProxyHeader;
use self::relay::Relay;
use self::timer::Timer;
use crate::desk::Desk;
use crate::error::Reason;
use crate::listener::Listener;
use crate::op::{Completion, Op, Side};
use crate::report::Event;
use crate::time::{Moment, Now};

/// One client's connection and what belongs to it. See [the module](self) for how to drive it.
pub struct Connection {
    core: Core,
    phase: Phase,
}

/// Named for what is waited for.
enum Phase {
    ExpectProxyHeader(Box<ExpectProxyHeader>),
    ExpectClientHello(Box<ExpectClientHello>),
    ExpectFinished(Box<ExpectFinished>),
    ExpectUpstream(ExpectUpstream),
    Relay(Relay),
    Closing(Closing),
    Closed,
    /// Only while a method of the phase runs.
    Changing,
}

impl Connection {
    /// A connection just accepted from `client` on `listener`, on the worker that `desk` belongs to.
    #[must_use]
    pub fn new(listener: Arc<Listener>, desk: Desk, client: SocketAddr, now: Now) -> Self {
        let mut core = Core::new(listener, desk, client, now);
        core.start_timer(Timer::Handshake);
        let phase = if core.listener.is_balancer(client.ip()) {
            core.report.balancer = Some(client);
            Phase::ExpectProxyHeader(Box::default())
        } else {
            Phase::ExpectClientHello(Box::default())
        };
        Self { core, phase }
    }

    /// Takes what came of an [`Op`].
    pub fn handle_completion(&mut self, now: Now, completion: Completion<'_>) {
        self.core.now = now;
        let phase = std::mem::replace(&mut self.phase, Phase::Changing);
        self.phase = match completion {
            Completion::Received(side, bytes) => {
                if self.core.stream(side).received(bytes.len()) {
                    phase.received(&mut self.core, side, bytes)
                } else {
                    phase
                }
            }
            Completion::ReceiveFailed(side, kind) => {
                if self.core.stream(side).received(0) {
                    phase.broken(&mut self.core, side, kind)
                } else {
                    phase
                }
            }
            Completion::Sent(side, buffer) => {
                if self.core.stream(side).sent(buffer) {
                    phase.sent(&mut self.core)
                } else {
                    phase
                }
            }
            Completion::SendFailed(side, kind) => {
                if self.core.stream(side).send_failed() {
                    phase.broken(&mut self.core, side, kind)
                } else {
                    phase
                }
            }
            Completion::ShutDown(_) => phase,
            Completion::Connected(result) => match phase {
                Phase::ExpectUpstream(phase) => phase.connected(&mut self.core, result),
                // It was closed in the meantime; the driver closes what it connected.
                phase => phase,
            },
            Completion::Performed(operation, outcome) => match phase {
                Phase::ExpectFinished(phase) => {
                    phase.performed(&mut self.core, operation, *outcome)
                }
                // Too late: the step was ended by its deadline or with its connection.
                phase => phase,
            },
            Completion::Closed(side) => {
                self.core.stream(side).closed();
                phase
            }
        };
        self.settle();
    }

    /// Handles every timer that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.core.now = now;
        while let Some(timer) = self.core.timers.take_due(now.moment) {
            let phase = std::mem::replace(&mut self.phase, Phase::Changing);
            self.phase = phase.timed_out(&mut self.core, timer);
        }
        self.settle();
    }

    /// The engine is about to stop: what is under way goes on, nothing new begins where that can be
    /// told.
    pub fn handle_stop(&mut self, now: Now) {
        self.core.now = now;
        self.core.stopping = true;
        let phase = std::mem::replace(&mut self.phase, Phase::Changing);
        self.phase = match phase {
            Phase::Relay(relay) => relay.stop(&mut self.core),
            phase => phase,
        };
        self.settle();
    }

    /// Something was published ([`Desk::publish`]): asks whether the client would still be let in, and does
    /// with the connection what its listener says if not. A handshake under way asks when it finishes.
    /// Gives whether there was a client to ask about, and it was not asked before.
    pub fn handle_publication(&mut self, now: Now) -> bool {
        if self.core.is_reconsidered() || !self.is_authorized() {
            return false;
        }
        self.core.now = now;
        let phase = std::mem::replace(&mut self.phase, Phase::Changing);
        self.phase = phase.reconsider(&mut self.core);
        self.settle();
        true
    }

    /// Ends the connection now, for `reason`, without any word to either side.
    pub fn handle_abort(&mut self, now: Now, reason: Reason) {
        self.core.now = now;
        let phase = std::mem::replace(&mut self.phase, Phase::Changing);
        self.phase = match phase {
            Phase::Closed => Phase::Closed,
            // Dropping a phase that holds a suspended step resumes it with an error to its end.
            _ => self.core.abort(reason, String::new()),
        };
        self.settle();
    }

    /// The next thing to do, if there is one.
    pub fn poll_op(&mut self) -> Option<Op> {
        if let Some(op) = self.core.urgent.take() {
            return Some(op);
        }
        let client = self.phase.receives(&self.core, Side::Client);
        let upstream = self.phase.receives(&self.core, Side::Upstream);
        self.core.client.poll_op(client).or_else(|| self.core.upstream.poll_op(upstream))
    }

    /// When to call [`Self::handle_timeout`], if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.core.timers.next()
    }

    /// The next thing to count or to log, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// The phase's name, for traces and status.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match &self.phase {
            Phase::ExpectProxyHeader(_) => "expect_proxy_header",
            Phase::ExpectClientHello(_) => "expect_client_hello",
            Phase::ExpectFinished(phase) if phase.is_suspended() => "suspended",
            Phase::ExpectFinished(_) => "expect_finished",
            Phase::ExpectUpstream(_) => "expect_upstream",
            Phase::Relay(_) => "relay",
            Phase::Closing(_) => "closing",
            Phase::Closed => "closed",
            Phase::Changing => "changing",
        }
    }

    /// Bytes queued towards `side` or out with the driver.
    #[must_use]
    pub fn unsent(&self, side: Side) -> usize {
        match side {
            Side::Client => self.core.client.unsent(),
            Side::Upstream => self.core.upstream.unsent(),
        }
    }

    /// Is the client let in? Nothing is sent to an upstream before.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        matches!(&self.phase, Phase::ExpectUpstream(_) | Phase::Relay(_))
    }

    /// Notices that the last socket has been released.
    fn settle(&mut self) {
        if let Phase::Closing(_) = self.phase
            && self.core.client.is_released()
            && self.core.upstream.is_released()
        {
            self.phase = Phase::Closed;
            self.core.finish();
        }
    }
}

impl Phase {
    fn received(self, core: &mut Core, side: Side, bytes: &[u8]) -> Self {
        match (self, side) {
            (Self::ExpectProxyHeader(phase), Side::Client) => phase.received(core, bytes),
            (Self::ExpectClientHello(phase), Side::Client) => phase.received(core, bytes),
            (Self::ExpectFinished(phase), Side::Client) => phase.received(core, bytes),
            (Self::Relay(phase), Side::Client) => phase.client_received(core, bytes),
            (Self::Relay(phase), Side::Upstream) => phase.upstream_received(core, bytes),
            (Self::Closing(phase), Side::Client) => phase.received(core, bytes),
            (phase, _) => phase,
        }
    }

    fn broken(self, core: &mut Core, side: Side, kind: std::io::ErrorKind) -> Self {
        match (self, side) {
            (Self::Closing(phase), side) => phase.broken(core, side),
            (Self::Closed, _) => Self::Closed,
            (Self::Relay(phase), side) => phase.broken(core, side, kind),
            // Dropping the phase ends a suspended step with an error.
            (_, Side::Client) => core.give_up(Reason::ClientReset, kind.to_string()),
            (_, Side::Upstream) => core.give_up(Reason::UpstreamReset, kind.to_string()),
        }
    }

    fn sent(self, core: &mut Core) -> Self {
        match self {
            Self::Relay(phase) => phase.sent(core),
            Self::Closing(phase) => phase.sent(core),
            phase => phase,
        }
    }

    fn timed_out(self, core: &mut Core, timer: Timer) -> Self {
        match (self, timer) {
            // Whoever has not spoken of TLS yet gets no alert.
            (Self::ExpectProxyHeader(_), Timer::Handshake) => {
                core.give_up(Reason::HandshakeTimeout, "no complete PROXY header")
            }
            (Self::ExpectClientHello(_), Timer::Handshake) => {
                core.refuse_in_plaintext(Reason::HandshakeTimeout, "no complete ClientHello")
            }
            (Self::ExpectFinished(phase), Timer::Handshake) => phase.handshake_timed_out(core),
            (Self::ExpectFinished(phase), Timer::Operation) => phase.operation_timed_out(core),
            (Self::ExpectUpstream(_), Timer::Connect) => {
                core.give_up(Reason::UpstreamConnectTimeout, String::new())
            }
            (Self::Relay(phase), Timer::Idle) => phase.idled(core),
            (Self::Closing(phase), Timer::Drain | Timer::Idle) => phase.timed_out(core),
            (phase, Timer::Expiry) if core.has_expired() => phase.reconsider(core),
            (phase @ (Self::ExpectUpstream(_) | Self::Relay(_)), Timer::Expiry) => {
                core.watch_expiry();
                phase
            }
            (Self::ExpectUpstream(_) | Self::Relay(_), Timer::Withdrawal) => core.end_withdrawal(),
            (phase, _) => phase,
        }
    }

    /// Asks whether who was let in still would be.
    fn reconsider(self, core: &mut Core) -> Self {
        match self {
            Self::ExpectUpstream(phase) => phase.reconsider(core),
            Self::Relay(phase) => phase.reconsider(core),
            phase => phase,
        }
    }

    /// Is there anything to be read from `side` now?
    fn receives(&self, core: &Core, side: Side) -> bool {
        match (self, side) {
            (Self::ExpectProxyHeader(_) | Self::ExpectClientHello(_), Side::Client) => true,
            (Self::ExpectFinished(phase), Side::Client) => !phase.is_suspended(),
            (Self::Relay(phase), side) => phase.receives(core, side),
            (Self::Closing(phase), Side::Client) => phase.is_draining(),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.phase())
    }
}
