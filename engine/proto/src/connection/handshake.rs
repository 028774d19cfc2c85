//! From the ClientHello to the client's Finished: rustls runs, step by step, each on a stack of its
//! own that may be suspended.

use std::sync::Arc;

use countersign_fiber::{Fiber, NoStack, Panicked, Progress};
use rustls::server::UnbufferedServerConnection;
use rustls::{ServerConfig, SignatureScheme};
use rustls_pki_types::CertificateDer;

use super::Phase;
use super::authorize::Authorized;
use super::connect::ExpectUpstream;
use super::core::Core;
use super::resume::{self, Tickets};
use super::timer::Timer;
use super::verify::{VerifiedClient, known_chain};
use crate::desk::Place;
use crate::error::{Blame, Reason};
use crate::limits::HANDSHAKE_INPUT_BYTES_MAX;
use crate::listener::Announce;
use crate::op::{Op, OperationId};
use crate::policy::Policy;
use crate::proxy_protocol::Tlv;
use crate::record::{RecordError, TrafficRecords};
use crate::report::{Event, OcspFact, TlsFacts};
use crate::seam::{Known, Outcome, Presented, Reply, Report, Request, Verdict, WorkFailure};
use crate::tls::flight::{self, Advance, Flight};
use crate::tls::{ClientAuth, ClientHello, ServerCertificate, TlsVersion, VerifiedChain};

pub(super) struct ExpectFinished {
    step: Step,
    /// The start of a record, or received while a step was suspended; behind fragments of a message.
    unread: Vec<u8>,
    /// So many bytes of it, as [`Flight::read`] has them.
    read: usize,
    /// The client's chain, and as the client sent it.
    chain: Option<(Arc<VerifiedChain>, Vec<CertificateDer<'static>>)>,
    tickets: Tickets,
    authorized: Option<Authorized>,
    /// May the client come without a certificate?
    anonymous: Anonymous,
    /// What answers, and what it has signed with.
    certificate: ServerCertificate,
    signed_with: Option<SignatureScheme>,
    /// Why the step that runs is about to fail, as said by whoever makes it fail.
    problem: Option<(Reason, String)>,
    /// We have sent encrypted records: an alert of our own in plaintext would not be understood.
    encrypted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Anonymous {
    Never,
    Perhaps,
    Always,
}

enum Step {
    /// Waits for the client.
    Resting(Box<UnbufferedServerConnection>),
    /// Waits for the outcome of an operation.
    Suspended { fiber: Fiber<Request, Reply, StepEnd>, operation: OperationId, _place: Place },
    /// Only while a method runs.
    Running,
}

/// What a step leaves behind.
struct StepEnd {
    tls: Box<UnbufferedServerConnection>,
    flight: Flight,
    result: Result<Advance, rustls::Error>,
}

type StepProgress = Progress<Request, Reply, StepEnd>;

/// With which configuration a client is answered.
pub(super) struct Choice {
    config: Arc<ServerConfig>,
    anonymous: Anonymous,
    certificate: ServerCertificate,
    tickets: Tickets,
}

impl Choice {
    /// By what the client's hello asks for.
    ///
    /// # Errors
    /// The phase in which a client ends that is not to be answered.
    pub(super) fn make(core: &mut Core, hello: &ClientHello<'_>) -> Result<Self, Phase> {
        core.report.server_name = hello.server_name().map(str::to_ascii_lowercase);
        let listener = Arc::clone(&core.listener);
        let Some(identity) = listener.identities.choose(core.report.server_name.as_deref()) else {
            return Err(
                core.refuse_in_plaintext(Reason::UnknownServerName, "no identity answers to it")
            );
        };
        let anonymous = match identity.client_auth() {
            ClientAuth::Require => Anonymous::Never,
            ClientAuth::Optional => Anonymous::Perhaps,
            ClientAuth::None => Anonymous::Always,
        };
        if anonymous == Anonymous::Always && Authorized::anonymous(&listener.policy).is_none() {
            let detail =
                "no client is asked for a certificate, and no rule lets an anonymous one in";
            return Err(core.refuse_in_plaintext(Reason::DeniedByRule, detail));
        }
        let certificate = identity.certificate();
        let tickets = Tickets::of(identity);
        Ok(Self { config: identity.config_for(hello), anonymous, certificate, tickets })
    }
}

impl ExpectFinished {
    /// The ClientHello is complete. `wire` is what has arrived: its records and what came after them.
    pub(super) fn begin(core: &mut Core, choice: Choice, wire: Vec<u8>) -> Phase {
        let tls = match UnbufferedServerConnection::new(choice.config) {
            Ok(tls) => Box::new(tls),
            Err(error) => {
                return core.refuse_in_plaintext(Reason::Internal, error.to_string());
            }
        };
        let phase = Box::new(Self {
            step: Step::Running,
            unread: Vec::new(),
            read: 0,
            chain: None,
            tickets: choice.tickets,
            authorized: None,
            anonymous: choice.anonymous,
            certificate: choice.certificate,
            signed_with: None,
            problem: None,
            encrypted: false,
        });
        phase.read(core, tls, wire)
    }

    pub(super) fn is_suspended(&self) -> bool {
        matches!(self.step, Step::Suspended { .. })
    }

    pub(super) fn received(mut self: Box<Self>, core: &mut Core, bytes: &[u8]) -> Phase {
        match std::mem::replace(&mut self.step, Step::Running) {
            Step::Resting(tls) if !bytes.is_empty() => {
                let mut input = std::mem::take(&mut self.unread);
                input.extend_from_slice(bytes);
                self.read(core, tls, input)
            }
            Step::Resting(_) => {
                core.give_up(Reason::ClientClosed, "in the middle of the handshake")
            }
            // A receive was out when the step was suspended: one chunk, kept until it goes on.
            suspended => {
                if bytes.is_empty() {
                    return core.give_up(Reason::ClientClosed, "while its handshake was suspended");
                }
                self.unread.extend_from_slice(bytes);
                self.step = suspended;
                Phase::ExpectFinished(self)
            }
        }
    }

    /// The outcome of an operation; ignored unless the step waits for that very one.
    pub(super) fn performed(
        mut self: Box<Self>,
        core: &mut Core,
        operation: OperationId,
        outcome: Outcome,
    ) -> Phase {
        match std::mem::replace(&mut self.step, Step::Running) {
            Step::Suspended { fiber, operation: awaited, _place } if awaited == operation => {
                core.timers.stop(Timer::Operation);
                drop(_place);
                let progress = fiber.resume(Reply::Outcome(Box::new(outcome)));
                self.advance(core, progress)
            }
            other => {
                self.step = other;
                Phase::ExpectFinished(self)
            }
        }
    }

    pub(super) fn operation_timed_out(self: Box<Self>, core: &mut Core) -> Phase {
        match self.step {
            Step::Suspended { operation, .. } => {
                self.performed(core, operation, Outcome::Failed(WorkFailure::TimedOut))
            }
            _ => Phase::ExpectFinished(self),
        }
    }

    pub(super) fn handshake_timed_out(self, core: &mut Core) -> Phase {
        let detail = if self.is_suspended() { "while suspended" } else { "no complete Finished" };
        let encrypted = self.encrypted;
        // A suspended step is resumed with an error, and ended, here.
        drop(self);
        if encrypted {
            return core.give_up(Reason::HandshakeTimeout, detail);
        }
        core.refuse_in_plaintext(Reason::HandshakeTimeout, detail)
    }

    /// Runs a step over `input`.
    fn read(
        self: Box<Self>,
        core: &mut Core,
        mut tls: Box<UnbufferedServerConnection>,
        input: Vec<u8>,
    ) -> Phase {
        let read = self.read;
        self.start(core, move || {
            let (flight, result) = flight::run(&mut tls, input, read);
            StepEnd { tls, flight, result }
        })
    }

    fn start(self: Box<Self>, core: &mut Core, step: impl FnOnce() -> StepEnd + 'static) -> Phase {
        let stacks = core.desk.stacks().clone();
        match countersign_fiber::start(&stacks, step) {
            Ok(progress) => self.advance(core, progress),
            // The budgets keep one stack free for the step that runs.
            Err(NoStack) => {
                core.refuse_in_plaintext(Reason::SuspensionsExhausted, NoStack.to_string())
            }
        }
    }

    /// Goes on until the step has ended or waits for an operation.
    fn advance(mut self: Box<Self>, core: &mut Core, mut progress: StepProgress) -> Phase {
        loop {
            let (fiber, request) = match progress {
                Progress::Finished(Ok(end)) => return self.ended(core, end),
                Progress::Finished(Err(Panicked(message))) => {
                    return self.refuse(core, None, Vec::new(), Reason::Internal, message);
                }
                Progress::Suspended(fiber, request) => (fiber, request),
            };
            let work = match request {
                Request::Report(report) => {
                    let reply = self.answer(core, report);
                    progress = fiber.resume(reply);
                    continue;
                }
                Request::Work(work) => work,
            };
            let Some(place) = core.desk.suspension(work.kind()) else {
                let failed = Outcome::Failed(WorkFailure::Exhausted);
                progress = fiber.resume(Reply::Outcome(Box::new(failed)));
                continue;
            };
            let operation = core.next_operation();
            core.start_timer(Timer::Operation);
            core.urgent = Some(Op::Perform(operation, work));
            self.step = Step::Suspended { fiber, operation, _place: place };
            return Phase::ExpectFinished(self);
        }
    }

    /// What the step says is answered at once.
    fn answer(&mut self, core: &mut Core, report: Report) -> Reply {
        match report {
            Report::Time => Reply::Time(core.now.unix),
            Report::ServerName(name) if name == core.report.server_name => {
                Reply::Verdict(Verdict::Admitted)
            }
            Report::ServerName(name) => {
                let detail = format!("rustls has read another server name: {name:?}");
                self.problem.get_or_insert((Reason::Internal, detail));
                Reply::Verdict(Verdict::Denied)
            }
            Report::Signing(scheme) => {
                self.signed_with = Some(scheme);
                Reply::Noted
            }
            Report::Presented(key) => {
                let domain = self.tickets.domain();
                Reply::Chain(domain.and_then(|domain| known_chain(core, domain, &key)))
            }
            Report::Chain(Presented { key, chain, known, certificates }) => {
                core.report.chain_cached = Some(known == Known::Before);
                if known == Known::Now {
                    core.desk.remember_chain(key, &chain);
                }
                self.chain = Some((chain, certificates));
                Reply::Noted
            }
            Report::KnownStatus(key, freshness) => {
                let known = core.desk.known_answer(&key, freshness, core.now.unix);
                core.report.ocsp = known.map(OcspFact::Cached);
                Reply::Status(known)
            }
            Report::Status(key, answer) => {
                if let Some(answer) = answer {
                    core.desk.remember_answer(key, answer);
                }
                core.report.ocsp = Some(answer.map_or(OcspFact::NotAnswered, OcspFact::Asked));
                Reply::Noted
            }
            // Twice in a row the key is worth keeping.
            Report::ProvenChain if core.report.chain_cached == Some(true) => {
                Reply::Chain(self.chain.as_ref().map(|(chain, _)| Arc::clone(chain)))
            }
            Report::ProvenChain => Reply::Chain(None),
            Report::Problem(reason, detail) => {
                self.problem.get_or_insert((reason, detail));
                Reply::Noted
            }
            Report::Possession(possession) => {
                // Without a chain there is nothing whose possession could be proven.
                let Some((chain, certificates)) = self.chain.take() else {
                    return Reply::Verdict(Verdict::Denied);
                };
                let client = VerifiedClient::new(&chain, possession, core.now.unix);
                let verdict = self.authorize(core, client);
                if let Some(client) = self.authorized.as_ref().and_then(Authorized::client) {
                    self.tickets.note_proven(core, client, certificates);
                }
                Reply::Verdict(verdict)
            }
            Report::IssueTicket(session) => Reply::Ticket(self.tickets.issue(core, &session)),
            Report::TicketLifetime => Reply::TicketLifetime(self.tickets.lifetime_s()),
            Report::OpenTicket(ticket) => Reply::Session(self.tickets.open(core, &ticket)),
        }
    }

    fn authorize(&mut self, core: &mut Core, client: VerifiedClient) -> Verdict {
        core.report.identity = Some(client.identity().clone());
        core.report.evidence = Some(Arc::clone(client.evidence()));
        let shadow = core.listener.shadow.as_ref();
        let shadow = shadow.map(|shadow| shadow.verdict(&client.subject(core.now.unix)));
        let decided = Authorized::decide(&core.listener.policy, client, core.now.unix);
        core.note_shadow(shadow, decided.is_ok());
        match decided {
            Ok(authorized) => {
                self.authorized = Some(authorized);
                Verdict::Admitted
            }
            Err(denied) => {
                let detail = match &denied.rule {
                    Some(rule) => {
                        format!("{} is kept out by {rule}", denied.client.identity().subject())
                    }
                    None => format!("no rule lets {} in", denied.client.identity().subject()),
                };
                core.report.rule = denied.rule;
                self.problem = Some((Reason::DeniedByRule, detail));
                Verdict::Denied
            }
        }
    }

    fn ended(mut self: Box<Self>, core: &mut Core, end: StepEnd) -> Phase {
        let StepEnd { tls, flight: Flight { mut output, rest, read }, result } = end;
        self.read = read;
        self.note_facts(core, &tls);
        let advance = match result {
            Ok(advance) => advance,
            Err(error) => {
                let (reason, detail) = match self.problem.take() {
                    Some(problem) => problem,
                    None => (Reason::of(&error), error.to_string()),
                };
                return self.refuse(core, Some(&tls), output, reason, detail);
            }
        };
        self.encrypted |= has_encrypted_record(&output);
        core.client.out().append(&mut output);
        // What arrived while the step was suspended comes behind what it left over.
        let arrived = !self.unread.is_empty();
        let mut input = rest;
        input.append(&mut self.unread);
        match advance {
            Advance::Finished => self.finish(core, *tls, input),
            Advance::ClientClosed => {
                core.give_up(Reason::ClientClosed, "by close_notify in the middle of the handshake")
            }
            Advance::Waiting if input.len() > HANDSHAKE_INPUT_BYTES_MAX => {
                core.refuse_in_plaintext(Reason::MalformedMessage, "a message too large")
            }
            Advance::Waiting if arrived => self.read(core, tls, input),
            Advance::Waiting => {
                self.unread = input;
                self.step = Step::Resting(tls);
                Phase::ExpectFinished(self)
            }
        }
    }

    fn finish(
        mut self,
        core: &mut Core,
        tls: UnbufferedServerConnection,
        unread: Vec<u8>,
    ) -> Phase {
        core.timers.stop(Timer::Handshake);
        if let Err((reason, detail)) = self.conclude(core, &tls) {
            return core.give_up(reason, detail);
        }
        let presented = tls.peer_certificates().is_some_and(|chain| !chain.is_empty());
        let mut authorized = match self.authorized {
            Some(authorized) => authorized,
            None if self.anonymous != Anonymous::Never && !presented => {
                match Authorized::anonymous(&core.listener.policy) {
                    Some(authorized) => {
                        let shadow = core.listener.shadow.as_ref();
                        core.note_shadow(shadow.map(Policy::verdict_on_anonymous), true);
                        authorized
                    }
                    // rustls was told to refuse it before.
                    None => {
                        return core
                            .give_up(Reason::DeniedByRule, "no rule lets an anonymous client in");
                    }
                }
            }
            // rustls does not finish without our verifier's word; were it ever to, nobody gets in.
            None => {
                return core
                    .give_up(Reason::Internal, "a handshake finished without authorization");
            }
        };
        // What was published since the handshake began counts too.
        if let Err(lost) = core.ask_again(&mut authorized) {
            core.report.rule = lost.rule;
            return core.give_up(lost.reason, lost.detail);
        }
        core.report.rule = Some(Arc::clone(authorized.rule()));
        let resumed = authorized.client().is_some_and(VerifiedClient::is_resumed);
        core.report.resumed = resumed;
        core.report.authenticated_at = authorized.client().map(VerifiedClient::authenticated_at);
        core.report.alpn =
            tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        core.client_certificate = certificate_to_tell(core, &tls);
        let records = match records(tls) {
            Ok(records) => records,
            Err(error) => return core.give_up(error.reason, error.detail),
        };
        core.report.allowed = true;
        core.report.established_at = Some(core.now.moment);
        let handshake = core.now.moment - core.report.accepted_at;
        core.events.push_back(Event::Established { handshake, resumed });
        core.watch_expiry();
        ExpectUpstream::begin(core, authorized, Box::new(records), unread)
    }

    fn note_facts(&self, core: &mut Core, tls: &UnbufferedServerConnection) {
        let version = match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => return,
        };
        let Some(suite) = tls.negotiated_cipher_suite() else { return };
        core.report.tls = Some(TlsFacts {
            version,
            suite: suite.suite(),
            group: tls.negotiated_key_exchange_group().map(|group| group.name()),
            signature_scheme: self.signed_with,
            server_certificate: self.certificate,
        });
    }

    /// Of a full handshake only what Possession has authorized counts, of a resumed one only the ticket
    /// that has carried it: its client is authorized here, as of now.
    fn conclude(
        &mut self,
        core: &mut Core,
        tls: &UnbufferedServerConnection,
    ) -> Result<(), (Reason, String)> {
        let presented = tls.peer_certificates().unwrap_or_default();
        let session = self
            .tickets
            .conclude(core, tls.handshake_kind(), presented)
            .map_err(|(reason, detail)| (reason, detail.to_owned()))?;
        let Some(session) = session else { return Ok(()) };
        if self.authorized.take().is_some() {
            let detail = "a client was authorized before its session was resumed".to_owned();
            return Err((Reason::Internal, detail));
        }
        core.report.ocsp = session.ocsp().map(OcspFact::Cached);
        let client = VerifiedClient::resumed(&session);
        resume::still_holds(core, &client)?;
        match self.authorize(core, client) {
            Verdict::Admitted => Ok(()),
            Verdict::Denied => Err(self.problem.take().unwrap_or_else(|| {
                (Reason::DeniedByRule, "no rule lets the client in".to_owned())
            })),
        }
    }

    /// Ends the handshake with the right alert: rustls' own where it has chosen one; ours, in
    /// plaintext, where rustls has none and the client can still read it.
    fn refuse(
        &self,
        core: &mut Core,
        tls: Option<&UnbufferedServerConnection>,
        mut output: Vec<u8>,
        reason: Reason,
        detail: String,
    ) -> Phase {
        let version = tls.and_then(|tls| tls.protocol_version());
        // TLS 1.2 encrypts nothing of the handshake but Finished, which we send last.
        let plaintext = !self.encrypted || version == Some(rustls::ProtocolVersion::TLSv1_2);
        // After a failure on our side rustls leaves a ServerHello without its alert, or nothing.
        let ours = reason.blame() != Blame::Peer || output.is_empty();
        if plaintext && ours {
            return core.refuse_in_plaintext(reason, detail);
        }
        core.client.out().append(&mut output);
        core.give_up(reason, detail)
    }
}

/// The traffic of an established connection is sealed and opened by us from here on.
fn records(tls: UnbufferedServerConnection) -> Result<TrafficRecords, RecordError> {
    let (secrets, kernel) = tls
        .dangerous_into_kernel_connection()
        .map_err(|error| RecordError { reason: Reason::Internal, detail: error.to_string() })?;
    let version = match kernel.protocol_version() {
        rustls::ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    TrafficRecords::new(version, secrets, Some(Box::new(kernel)))
}

/// The client's certificate, where the upstream wants it: rustls and what it holds are about to go.
fn certificate_to_tell(core: &Core, tls: &UnbufferedServerConnection) -> Option<Box<[u8]>> {
    match core.listener.announce {
        Announce::ProxyV2(format) if format.tlvs.contains(Tlv::SslClientCert) => {
            tls.peer_certificates()?.first().map(|der| der.as_ref().into())
        }
        _ => None,
    }
}

/// Looks through whole records for one of type application_data, as TLS 1.3 disguises every encrypted
/// record (RFC 9846 §5.2).
fn has_encrypted_record(mut records: &[u8]) -> bool {
    const APPLICATION_DATA: u8 = 23;
    while let [content_type, _, _, high, low, rest @ ..] = records {
        if *content_type == APPLICATION_DATA {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records = rest.get(length..).unwrap_or_default();
    }
    false
}
