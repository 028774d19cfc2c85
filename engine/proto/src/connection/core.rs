//! What every phase of a connection shares, and the ways in which any of them can end.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Phase;
use super::close::Closing;
use super::standing::Standing;
use super::stream::Stream;
use super::timer::{Timer, Timers};
use crate::desk::Desk;
use crate::error::Reason;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::op::{CloseManner, Op, OperationId, Side};
use crate::policy::Verdict;
use crate::report::{Comparison, Event, Report, ShadowReport};
use crate::time::Now;
use crate::tls::plaintext_alert;

pub(super) struct Core {
    pub(super) now: Now,
    pub(super) listener: Arc<Listener>,
    pub(super) desk: Desk,
    pub(super) client: Stream,
    pub(super) upstream: Stream,
    pub(super) timers: Timers,
    /// Goes out before anything of the streams: a suspended step's work, or the dial.
    pub(super) urgent: Option<Op>,
    pub(super) events: VecDeque<Event>,
    pub(super) report: Report,
    /// Whereto the client has connected; where a balancer is in front, as told by that.
    pub(super) destination: SocketAddr,
    /// DER, from the end of the handshake until the upstream is told of it; only where it is to be told.
    pub(super) client_certificate: Option<Box<[u8]>>,
    pub(super) stopping: bool,
    pub(super) standing: Standing,
    operations: u64,
}

impl Core {
    pub(super) fn new(listener: Arc<Listener>, desk: Desk, client: SocketAddr, now: Now) -> Self {
        let connection = desk.name_connection();
        let report = Report::begin(Arc::clone(&listener.name), connection, client, now.moment);
        let standing = Standing::begin(&desk);
        Self {
            now,
            destination: listener.address,
            client_certificate: None,
            listener,
            client: Stream::open(Side::Client, desk.clone()),
            upstream: Stream::absent(Side::Upstream, desk.clone()),
            desk,
            timers: Timers::default(),
            urgent: None,
            events: VecDeque::new(),
            report,
            stopping: false,
            standing,
            operations: 0,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.listener.limits
    }

    pub(super) fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }

    /// Starts a timer for as long as the limits say.
    pub(super) fn start_timer(&mut self, timer: Timer) {
        let limits = self.limits();
        let duration = match timer {
            Timer::Handshake => limits.handshake_timeout,
            Timer::Operation => limits.operation_timeout,
            Timer::Connect => limits.connect_timeout,
            Timer::Idle => limits.idle_timeout,
            Timer::Drain => limits.drain_timeout,
            Timer::Expiry => super::standing::EXPIRY_LOOK,
            Timer::Withdrawal => limits.withdrawal_timeout,
        };
        self.timers.set(timer, self.now.moment + duration);
    }

    pub(super) fn next_operation(&mut self) -> OperationId {
        self.operations += 1;
        OperationId(self.operations)
    }

    /// Refuses the client with an alert of our own, which it may still get in plaintext.
    pub(super) fn refuse_in_plaintext(
        &mut self,
        reason: Reason,
        detail: impl Into<String>,
    ) -> Phase {
        if let Some(alert) = reason.alert() {
            self.client.out().extend_from_slice(&plaintext_alert(alert));
        }
        self.give_up(reason, detail)
    }

    /// Ends the connection for `reason`. What is queued for the client, such as an alert, reaches it,
    /// and then the end of the stream; nobody is told close_notify.
    pub(super) fn give_up(&mut self, reason: Reason, detail: impl Into<String>) -> Phase {
        self.note_end(reason, detail.into());
        // An upstream must not take what it got for complete.
        self.upstream.close(CloseManner::Reset);
        if reason == Reason::ClientReset {
            self.client.discard_unsent();
            self.client.close(CloseManner::Graceful);
            return Phase::Closing(Closing::without_drain());
        }
        Phase::Closing(Closing::begin(self))
    }

    /// Both directions have ended as they should.
    pub(super) fn end_cleanly(&mut self) -> Phase {
        self.timers.stop_all();
        self.upstream.close(CloseManner::Graceful);
        Phase::Closing(Closing::flush(self))
    }

    /// Everything was said to the client, which may not have noticed yet and still be sending.
    pub(super) fn end_after_last_word(&mut self) -> Phase {
        self.timers.stop_all();
        self.upstream.close(CloseManner::Graceful);
        Phase::Closing(Closing::begin(self))
    }

    /// Is what is under way to be finished, and nothing new to be begun?
    pub(super) fn is_finishing(&self) -> bool {
        self.stopping || self.standing.is_draining()
    }

    /// Ends the connection now: both sides see a reset, nobody is told close_notify.
    pub(super) fn abort(&mut self, reason: Reason, detail: impl Into<String>) -> Phase {
        self.note_end(reason, detail.into());
        self.upstream.close(CloseManner::Reset);
        self.client.close(CloseManner::Reset);
        Phase::Closing(Closing::without_drain())
    }

    /// Both sockets are released.
    pub(super) fn finish(&mut self) {
        self.timers.stop_all();
        self.urgent = None;
        let listener = Arc::clone(&self.listener.name);
        let Report { connection, client, .. } = self.report;
        let next = Report::begin(listener, connection, client, self.now.moment);
        let mut report = mem::replace(&mut self.report, next);
        report.ended_at = self.now.moment;
        report.client_traffic = self.client.traffic;
        report.upstream_traffic = self.upstream.traffic;
        self.events.push_back(Event::Ended(Box::new(report)));
    }

    /// What the shadow policy says about the client, if there is one, beside what the live policy says.
    pub(super) fn note_shadow(&mut self, verdict: Option<Verdict>, allowed: bool) {
        let Some(verdict) = verdict else { return };
        let comparison = match (allowed, verdict.allowed) {
            (true, false) => Comparison::WouldRefuse,
            (false, true) => Comparison::WouldAllow,
            _ => Comparison::Agrees,
        };
        self.events.push_back(Event::Shadow(comparison));
        self.report.shadow = Some(ShadowReport { verdict, comparison });
    }

    fn note_end(&mut self, reason: Reason, detail: String) {
        self.timers.stop_all();
        // A dial or an operation that has not gone out yet is not asked for any more.
        self.urgent = None;
        if self.report.reason.is_some() {
            return;
        }
        self.report.reason = Some(reason);
        self.report.detail = (!detail.is_empty()).then_some(detail);
        if !self.report.allowed {
            self.events.push_back(Event::Refused(reason));
        }
    }
}
