//! The checker: what must be true of a connection whatever happens, seen from outside of it.

use countersign_proto::limits::{RECEIVE_BYTES, RECORD_WIRE_BYTES};
use countersign_proto::whoami::MAX_PENDING_OUTPUT_BYTES;
use countersign_proto::{
    CloseManner, Connection, Consequence, Event, Limits, Op, Reason, Report, Side, TicketEvent,
    TlsVersion,
};
use rustls::AlertDescription;

use crate::client::{self, Client, ClientPlan, REQUEST};
use crate::front::Front;
use crate::pki::Regime;
use crate::plan::nanos;
use crate::signer::Signer;
use crate::upstream::{self, Manner, Upstream};

/// What one sealed chunk adds to its plaintext at most: two records, and an alert behind them.
const SEALING_BYTES: usize = 3 * (5 + 8 + 16 + 2);
/// One answer of the built-in upstream, generously.
const ANSWER_BYTES: usize = 4_096;

pub(crate) type Verdict = Result<(), String>;

macro_rules! demand {
    ($holds:expr, $($said:tt)*) => {
        if !$holds {
            return Err(format!($($said)*));
        }
    };
}

/// The operations of one side that are out.
#[derive(Default)]
struct Account {
    receiving: bool,
    sending: bool,
    shut_down: bool,
    close_asked: Option<CloseManner>,
    closed: bool,
    received: u64,
    sent: u64,
    broke: bool,
    /// The last send was partial: the next begins in the middle of a record.
    resumes: bool,
}

/// One connection's account.
pub(crate) struct Ledger {
    may_enter: bool,
    /// By which its handshake began.
    began_under: Regime,
    /// What was published since.
    published: Vec<Regime>,
    /// It has been told to finish since.
    drained: bool,
    /// Its certificate has expired, be it for a moment.
    pub(crate) has_expired: bool,
    has_upstream: bool,
    limits: Limits,
    accounts: [Account; 2],
    accepted_at: u64,
    connect_asked_at: Option<u64>,
    connected: bool,
    performing: bool,
    /// The engine has sent records of TLS 1.3 that are encrypted.
    encrypted: bool,
    established: bool,
    moved_at: u64,
    /// The longest time without a byte.
    quiet_nanos: u64,
    refused: Option<Refusal>,
    pub(crate) aborted: bool,
    pub(crate) stopped: bool,
    pub(crate) ended: Option<Box<Report>>,
}

struct Refusal {
    reason: Reason,
    received: u64,
    drains_were_full: bool,
    suspensions_were_full: bool,
}

/// What of its worker a connection's end depends on.
pub(crate) struct Crowding {
    pub(crate) drains_are_full: bool,
    pub(crate) suspensions_are_full: bool,
}

impl Ledger {
    pub(crate) fn new(
        now: u64,
        may_enter: bool,
        began_under: Regime,
        has_upstream: bool,
        limits: &Limits,
    ) -> Self {
        Self {
            may_enter: may_enter && began_under.lets_friends_in(),
            began_under,
            published: Vec::new(),
            drained: false,
            has_expired: false,
            has_upstream,
            limits: limits.clone(),
            accounts: Default::default(),
            accepted_at: now,
            connect_asked_at: None,
            connected: false,
            performing: false,
            encrypted: false,
            established: false,
            moved_at: now,
            quiet_nanos: 0,
            refused: None,
            aborted: false,
            stopped: false,
            ended: None,
        }
    }

    /// Something was published while it was open.
    pub(crate) fn published(&mut self, regime: Regime) {
        self.published.push(regime);
    }

    fn account(&mut self, side: Side) -> &mut Account {
        &mut self.accounts[side as usize]
    }

    /// An operation that the connection asks for.
    pub(crate) fn asked(&mut self, now: u64, authorized: bool, op: &Op) -> Verdict {
        demand!(self.ended.is_none(), "{op:?} after the end");
        if let Op::Receive(side) | Op::Send(side, _) | Op::Shutdown(side) | Op::Close(side, _) = op
        {
            let exists = *side == Side::Client || self.connected;
            demand!(exists, "{op:?} without a connected upstream");
            let account = self.account(*side);
            demand!(account.close_asked.is_none(), "{op:?} after the close of its socket");
        }
        match op {
            Op::Receive(side) => {
                let account = self.account(*side);
                demand!(!account.receiving, "a second receive is out for {side:?}");
                account.receiving = true;
            }
            Op::Send(side, buffer) => {
                let account = self.account(*side);
                demand!(!account.sending, "a second send is out for {side:?}");
                demand!(!account.shut_down, "a send after the shutdown of {side:?}");
                demand!(!buffer.remaining().is_empty(), "a send of nothing");
                account.sending = true;
                let resumes = account.resumes;
                if *side == Side::Upstream {
                    demand!(self.may_enter, "bytes to an upstream for whom policy keeps out");
                    demand!(self.established, "bytes to an upstream before authorization");
                } else if !resumes {
                    self.encrypted |= has_encrypted_record(buffer.remaining());
                }
            }
            Op::Shutdown(side) => {
                let account = self.account(*side);
                demand!(!account.shut_down, "a second shutdown of {side:?}");
                account.shut_down = true;
            }
            Op::Connect(_) => {
                demand!(self.may_enter, "the upstream is dialled for whom policy keeps out");
                demand!(authorized, "the upstream is dialled before authorization");
                demand!(self.connect_asked_at.is_none(), "the upstream is dialled twice");
                self.connect_asked_at = Some(now);
            }
            Op::Perform(..) => {
                demand!(!self.performing, "a second operation is out");
                self.performing = true;
            }
            Op::Close(side, manner) => {
                let account = self.account(*side);
                let cuts_off = *manner == CloseManner::Graceful && account.sending;
                demand!(!cuts_off, "{side:?} is closed gracefully in the middle of a send");
                account.close_asked = Some(*manner);
            }
        }
        Ok(())
    }

    pub(crate) fn received(&mut self, side: Side, now: u64, count: usize) {
        let account = self.account(side);
        account.receiving = false;
        account.received += count as u64;
        self.moved(now);
    }

    /// `rest` bytes of the same buffer were not taken.
    pub(crate) fn sent(&mut self, side: Side, now: u64, count: usize, rest: usize) {
        let account = self.account(side);
        account.sending = false;
        account.resumes = rest > 0;
        account.sent += count as u64;
        self.moved(now);
    }

    fn moved(&mut self, now: u64) {
        self.quiet_nanos = self.quiet_nanos.max(now - self.moved_at);
        self.moved_at = now;
    }

    pub(crate) fn broke(&mut self, side: Side) {
        self.account(side).broke = true;
    }

    pub(crate) fn receive_failed(&mut self, side: Side) {
        self.account(side).receiving = false;
    }

    pub(crate) fn send_failed(&mut self, side: Side) {
        self.account(side).sending = false;
    }

    pub(crate) fn performed(&mut self) {
        self.performing = false;
    }

    pub(crate) fn connected(&mut self) {
        self.connected = true;
    }

    pub(crate) fn closed(&mut self, side: Side) {
        self.account(side).closed = true;
    }

    /// What the connection says.
    pub(crate) fn heard(&mut self, event: Event, crowding: &Crowding) -> Verdict {
        match event {
            Event::Ticket(TicketEvent::Issued) => {
                demand!(self.may_enter, "a ticket for whom policy keeps out");
            }
            Event::Ticket(_) => demand!(false, "a ticket is offered that nobody has kept"),
            Event::Established { resumed, .. } => {
                demand!(self.may_enter, "established for whom policy keeps out");
                let now = self.published.last().unwrap_or(&self.began_under);
                demand!(now.lets_friends_in(), "let in, and {now:?} was published before");
                demand!(!resumed, "resumed without a ticket");
                demand!(!self.established, "established twice");
                self.established = true;
            }
            Event::Refused(reason) => {
                demand!(self.refused.is_none(), "refused twice");
                demand!(!self.established, "refused ({reason:?}) after it was let in");
                self.refused = Some(Refusal {
                    reason,
                    received: self.accounts[Side::Client as usize].received,
                    drains_were_full: crowding.drains_are_full,
                    suspensions_were_full: crowding.suspensions_are_full,
                });
            }
            Event::Shadow(_) => {
                demand!(!self.established, "a shadow policy was asked after the client was let in");
            }
            Event::Withdrawn(withdrawn) => {
                demand!(
                    self.established,
                    "withdrawn ({:?}) before it was let in",
                    withdrawn.reason
                );
                self.drained |= withdrawn.consequence == Consequence::Drain;
            }
            Event::Ended(report) => {
                demand!(self.ended.is_none(), "ended twice");
                self.ended = Some(report);
            }
        }
        Ok(())
    }

    /// What must hold after every step.
    pub(crate) fn check_step(&self, connection: &Connection) -> Verdict {
        let relay = self.limits.relay_bytes;
        let to_client = relay
            + match self.has_upstream {
                true => RECEIVE_BYTES + SEALING_BYTES,
                false => MAX_PENDING_OUTPUT_BYTES + ANSWER_BYTES + RECEIVE_BYTES,
            };
        let to_upstream = relay + RECEIVE_BYTES + RECORD_WIRE_BYTES;
        for (side, most) in [(Side::Client, to_client), (Side::Upstream, to_upstream)] {
            let unsent = connection.unsent(side);
            demand!(
                unsent <= most,
                "{unsent} bytes are queued towards {side:?}, at most {most} may be"
            );
        }
        demand!(
            !connection.is_authorized() || self.may_enter,
            "authorized, and policy keeps it out"
        );
        Ok(())
    }

    /// What must hold when the connection says that it is over.
    pub(crate) fn check_end(
        &self,
        now: u64,
        client: &Client,
        upstream: Option<&Upstream>,
        signer: &Signer,
    ) -> Verdict {
        let Some(report) = &self.ended else { return Err("not ended".to_owned()) };
        for (side, traffic) in
            [(Side::Client, report.client_traffic), (Side::Upstream, report.upstream_traffic)]
        {
            let account = &self.accounts[side as usize];
            let exists = side == Side::Client || self.connected;
            demand!(account.closed == exists, "the socket of {side:?} is still open at the end");
            let (received, sent) = (account.received, account.sent);
            demand!(
                (traffic.received, traffic.sent) == (received, sent),
                "{side:?} counted {traffic:?}, it was {received} received and {sent} sent"
            );
        }
        demand!(report.allowed == self.established, "allowed and established differ");
        demand!(
            report.allowed || self.refused.is_some(),
            "neither let in nor refused: {:?}",
            report.reason
        );
        if let Some(refusal) = &self.refused {
            demand!(
                report.reason == Some(refusal.reason),
                "refused for {:?}, ended for {:?}",
                refusal.reason,
                report.reason
            );
        }
        // Where TLS began, whoever stands in front had been heard out.
        let ClientPlan { front, key, .. } = client.plan;
        if front.is_some() && report.tls.is_some() {
            let told = Front::client(key);
            demand!(report.client == told, "{} came, {told} was told", report.client);
        }
        demand!(report.balancer.is_some() == front.is_some(), "the balancer is mistaken");
        self.check_reason(now, report, client, upstream, signer)
    }

    /// No reason without its cause.
    fn check_reason(
        &self,
        now: u64,
        report: &Report,
        client: &Client,
        upstream: Option<&Upstream>,
        signer: &Signer,
    ) -> Verdict {
        let detail = report.detail.as_deref().unwrap_or_default();
        let Some(reason) = report.reason else {
            return self.check_clean_end(now, client, upstream);
        };
        let manner = upstream.map(|upstream| upstream.plan.manner);
        let since = |from: u64| now.saturating_sub(from);
        let has_cause = match reason {
            Reason::Internal => false,
            Reason::Stopped => self.aborted,
            Reason::ClientReset => self.accounts[Side::Client as usize].broke,
            Reason::UpstreamReset => self.accounts[Side::Upstream as usize].broke,
            Reason::ClientClosed => client.finished && !report.allowed,
            Reason::ClientTruncated => client.finished && !client.said_close_notify,
            Reason::UpstreamConnectFailed => manner == Some(Manner::Refuses),
            Reason::ConnectionTableFull => manner == Some(Manner::FindsNoRoom),
            Reason::UpstreamConnectTimeout => self
                .connect_asked_at
                .is_some_and(|at| since(at) >= nanos(self.limits.connect_timeout)),
            Reason::HandshakeTimeout => {
                since(self.accepted_at) >= nanos(self.limits.handshake_timeout)
            }
            Reason::OperationTimeout => {
                signer.asked_at.is_some_and(|at| since(at) >= nanos(self.limits.operation_timeout))
            }
            Reason::IdleTimeout => self.was_quiet(now),
            Reason::SigningFailed => signer.failed.is_some(),
            Reason::SuspensionsExhausted => {
                self.refused.as_ref().is_some_and(|refusal| refusal.suspensions_were_full)
            }
            Reason::ClientNoLongerAllowed => {
                self.published.iter().any(|it| matches!(it, Regime::NoRule | Regime::Denied))
            }
            Reason::ClientCaNoLongerTrusted => self.published.contains(&Regime::OtherCa),
            Reason::ClientCertificateExpired if self.has_expired => true,
            Reason::DeniedByRule if matches!(self.began_under, Regime::NoRule | Regime::Denied) => {
                true
            }
            Reason::UnknownIssuer if self.began_under == Regime::OtherCa => true,
            // It left in the middle of the header.
            Reason::ProxyHeader if client.plan.front.is_some() && client.finished => true,
            // Also in one piece with its Finished: then it was not let in yet.
            Reason::MalformedMessage if client.tampered => true,
            reason => client.plan.refusal().is_some_and(|(of_plan, _)| of_plan == reason),
        };
        demand!(has_cause, "it ended for {reason:?} ({detail}) without a cause");
        Ok(())
    }

    /// Was there a time without a byte for which somebody may lose patience?
    fn was_quiet(&self, now: u64) -> bool {
        let patience = self.limits.idle_timeout.min(self.limits.half_closed_timeout);
        self.quiet_nanos.max(now.saturating_sub(self.moved_at)) >= nanos(patience)
    }

    /// Both sides have ended as they should, or there was nobody left to do so.
    fn check_clean_end(&self, now: u64, client: &Client, upstream: Option<&Upstream>) -> Verdict {
        demand!(self.established, "a clean end without having been let in");
        let upstream_is_done = upstream.is_none_or(|upstream| upstream.finished);
        demand!(upstream_is_done, "a clean end, and the upstream has not ended its stream");
        let was_stopped = (self.stopped || self.drained) && !self.has_upstream;
        demand!(
            client.said_close_notify || client.finished || was_stopped || self.was_quiet(now),
            "a clean end, and the client has not ended its stream"
        );
        Ok(())
    }

    /// What must hold when nothing is in flight any more.
    pub(crate) fn check_afterwards(&self, client: &Client, upstream: Option<&Upstream>) -> Verdict {
        let Some(report) = &self.ended else { return Err("it never ended".to_owned()) };
        if !report.allowed {
            demand!(
                upstream.is_none_or(|upstream| upstream.received == 0),
                "the upstream has bytes of a client that was not let in"
            );
            return self.check_alert(report, client);
        }
        if report.reason.is_none() && client.plan.reads_to_the_end() {
            let account = &self.accounts[Side::Client as usize];
            // Where no drain was free and all was sent, only what the client still says is answered so.
            let undrained =
                !account.shut_down && account.close_asked == Some(CloseManner::Graceful);
            let saw_the_end = client.ended == Some(client::Ending::Eof) || undrained;
            demand!(
                saw_the_end && client.heard_close_notify,
                "a clean end, and the client heard {:?}, close_notify: {}",
                client.ended,
                client.heard_close_notify
            );
        }
        if report.reason.is_none() && client.said_close_notify {
            self.check_complete(client, upstream)?;
        }
        Ok(())
    }

    /// Both sides said that they have said everything: everything has arrived.
    fn check_complete(&self, client: &Client, upstream: Option<&Upstream>) -> Verdict {
        let Some(upstream) = upstream else {
            let asked = client.plan.bytes / REQUEST.len() as u64;
            let answered = count(&client.answers, b"HTTP/1.1 200 OK\r\n");
            demand!(
                answered == asked || self.stopped || self.drained || client.plan.reads_slowly,
                "{asked} requests have {answered} answers"
            );
            return Ok(());
        };
        demand!(
            upstream.received == client.sent,
            "the upstream got {} of {} bytes",
            upstream.received,
            client.sent
        );
        demand!(
            client.received == upstream.sent || client.has_reset,
            "the client got {} of {} bytes",
            client.received,
            upstream.sent
        );
        Ok(())
    }

    /// A refused client that reads on hears why, and then the end of the stream.
    fn check_alert(&self, report: &Report, client: &Client) -> Verdict {
        let Some(refusal) = &self.refused else { return Ok(()) };
        let account = &self.accounts[Side::Client as usize];
        let drained = account.received - refusal.received;
        let is_excused = !client.plan.reads_to_the_end()
            || self.aborted
            || account.broke
            || drained >= self.limits.drain_bytes as u64
            || (refusal.drains_were_full && !account.shut_down);
        if is_excused {
            return Ok(());
        }
        let expected = self.expected_alert(report, refusal.reason, client);
        demand!(
            client.alert == expected,
            "refused for {:?}, it heard {:?} instead of {expected:?} (its error: {:?})",
            refusal.reason,
            client.alert,
            client.error
        );
        demand!(
            client.ended == Some(client::Ending::Eof),
            "refused for {:?}, it saw {:?} instead of the end of the stream",
            refusal.reason,
            client.ended
        );
        Ok(())
    }

    fn expected_alert(
        &self,
        report: &Report,
        reason: Reason,
        client: &Client,
    ) -> Option<AlertDescription> {
        let is_tls13 = report.tls.as_ref().is_some_and(|tls| tls.version == TlsVersion::Tls13);
        match reason {
            // In TLS 1.3 only rustls can send an alert once its flight is out, and it does not here.
            Reason::HandshakeTimeout if self.encrypted => None,
            // What is left then is the verifier's work. rustls says handshake_failure for a verifier
            // that has nothing to say about the certificate, and no error makes it say internal_error.
            Reason::SigningFailed | Reason::OperationTimeout | Reason::SuspensionsExhausted
                if is_tls13 && self.encrypted =>
            {
                Some(AlertDescription::HandshakeFailure)
            }
            Reason::MalformedMessage if client.tampered => Some(AlertDescription::BadRecordMac),
            reason => match client.plan.refusal() {
                Some((of_plan, alert)) if of_plan == reason => alert,
                _ => reason.alert(),
            },
        }
    }
}

/// A byte or an end that reached the upstream.
pub(crate) fn check_upstream(client: &Client, upstream: &Upstream) -> Verdict {
    demand!(upstream.received <= client.sent, "the upstream got more than the client sent");
    if upstream.ended == Some(upstream::Ending::Clean) {
        demand!(
            client.said_close_notify,
            "the upstream saw a clean end, and the client has not said close_notify"
        );
        demand!(
            upstream.received == client.sent,
            "the upstream saw a clean end after {} of {} bytes",
            upstream.received,
            client.sent
        );
    }
    Ok(())
}

/// A byte or an end that reached the client.
pub(crate) fn check_client(client: &Client, upstream: Option<&Upstream>) -> Verdict {
    let Some(upstream) = upstream else {
        return Ok(());
    };
    demand!(client.received <= upstream.sent, "the client got more than the upstream sent");
    if client.heard_close_notify {
        demand!(
            upstream.finished,
            "the client heard close_notify, and the upstream has not ended its stream"
        );
        demand!(
            client.received == upstream.sent,
            "the client heard close_notify after {} of {} bytes",
            client.received,
            upstream.sent
        );
    }
    Ok(())
}

fn has_encrypted_record(mut records: &[u8]) -> bool {
    while let [content_type, 3, _, high, low, rest @ ..] = records {
        if *content_type == 23 {
            return true;
        }
        records = rest.get(usize::from(*high) * 256 + usize::from(*low)..).unwrap_or_default();
    }
    false
}

fn count(text: &[u8], wanted: &[u8]) -> u64 {
    text.windows(wanted.len()).filter(|window| *window == wanted).count() as u64
}
