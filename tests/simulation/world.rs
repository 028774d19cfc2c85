//! A world: workers, their connections and everyone around them, stepped through virtual time by one
//! thread. It is the driver that `proto` asks for, with a seed in place of a kernel.

mod agenda;
mod driver;
mod publications;
mod session;
mod surroundings;
mod worker;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::{
    Completion, Connection, Consequence, Event, Moment, Now, Op, Reason, TlsVersion,
};
use rustls_pki_types::UnixTime;

use self::agenda::{Agenda, Happening};
use self::session::Session;
use self::worker::{Worker, tcp_upstream, worker};
use crate::front::BALANCER;
use crate::invariants::{Crowding, Ledger, Verdict};
use crate::pki::{EPOCH_SECONDS, Regime};
use crate::plan::{MILLISECOND, SECOND, WorldPlan};
use crate::provider;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::trace::{Kind, Trace};

/// Every connection has ended this long after the last one came, or never will.
const HORIZON_NANOS: u64 = 900 * SECOND;

/// So much can happen at one time; beyond that somebody turns in circles.
const TURNS_AT_ONCE_MAX: u64 = 100_000;

/// What came of a world that kept every invariant.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) hash: [u8; 32],
    pub(crate) entries: u64,
    pub(crate) connections: usize,
    pub(crate) virtual_nanos: u64,
    pub(crate) seen: Coverage,
}

/// What happened, and how often.
pub(crate) type Coverage = BTreeMap<&'static str, u64>;

/// An invariant that did not hold.
#[derive(Debug)]
pub(crate) struct Objection {
    pub(crate) seed: u64,
    pub(crate) connection: Option<usize>,
    pub(crate) nanos: u64,
    pub(crate) said: String,
    pub(crate) plan: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, connection, nanos, said, plan } = self;
        let at = Moment::from_nanos(*nanos);
        write!(f, "seed {seed}, connection {connection:?}, at {at}: {said}\n  {plan}\n")?;
        write!(
            f,
            "  replay: COUNTERSIGN_SEED={seed} cargo test --profile checked -p countersign-tests \
             --test simulation -- one_seed --ignored --nocapture"
        )
    }
}

/// Runs the world of `seed` to its end. `aloud` writes its trace to standard error.
///
/// # Errors
/// The first invariant that did not hold.
pub(crate) fn run(seed: u64, sabotage: Sabotage, aloud: bool) -> Result<Run, Objection> {
    provider::reseed(seed);
    let mut world = World::new(seed, sabotage, aloud);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    match lived.unwrap_or_else(|panic| Err(format!("a panic: {}", said_by(&*panic)))) {
        Ok(()) => Ok(Run {
            connections: world.sessions.len(),
            virtual_nanos: world.agenda.now,
            entries: world.trace.entries(),
            hash: world.trace.finish(),
            seen: world.seen,
        }),
        Err(said) => Err(Objection {
            seed,
            connection: world.touched,
            nanos: world.agenda.now,
            said,
            plan: world.touched.map_or_else(String::new, |index| {
                format!("{:?} {:?}", world.sessions[index].plan, world.plan)
            }),
        }),
    }
}

fn said_by(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

struct World {
    plan: WorldPlan,
    sabotage: Sabotage,
    agenda: Agenda,
    workers: Vec<Worker>,
    sessions: Vec<Session>,
    trace: Trace,
    seen: Coverage,
    stopping: bool,
    regime: Regime,
    /// How many of the plan's publications there were.
    published: usize,
    clock_step: i64,
    expired_since: Option<u64>,
    has_expired: bool,
    touched: Option<usize>,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage, aloud: bool) -> Self {
        let mut random = Random::from_seed(seed);
        let plan = WorldPlan::draw(&mut random);
        plan.limits.check().expect("limits within their bounds");
        let workers =
            (0..plan.workers).map(|number| worker(&plan, number as u64, sabotage)).collect();
        let sessions: Vec<_> =
            (0..plan.connections).map(|_| Session::draw(&mut random, &plan)).collect();
        let mut agenda = Agenda::default();
        for (index, session) in sessions.iter().enumerate() {
            agenda.after(session.plan.accepted_at, Happening::Accept(index));
            if let Some(at) = session.plan.aborted_at {
                agenda.after(at, Happening::Abort(index));
            }
        }
        if let Some((at, patience)) = plan.stop {
            agenda.after(at, Happening::Stop);
            agenda.after(at + patience, Happening::AbortAll);
        }
        for (number, (at, _)) in plan.publications.iter().enumerate() {
            agenda.after(*at, Happening::Publish(number));
        }
        if let Some((at, seconds)) = plan.clock_step {
            agenda.after(at, Happening::SetClock(seconds));
        }
        Self {
            plan,
            sabotage,
            agenda,
            workers,
            sessions,
            trace: Trace::new(aloud),
            seen: Coverage::new(),
            stopping: false,
            regime: Regime::Usual,
            published: 0,
            clock_step: 0,
            expired_since: None,
            has_expired: false,
            touched: None,
        }
    }

    fn live(&mut self) -> Verdict {
        let horizon = self.plan.arrivals_nanos + HORIZON_NANOS;
        while let Some(happening) = self.agenda.next() {
            if self.agenda.now > horizon {
                return Err(format!(
                    "{happening:?} beyond the time in which all should have ended"
                ));
            }
            if self.agenda.turns_at_once > TURNS_AT_ONCE_MAX {
                return Err(format!("time stands still: {happening:?}"));
            }
            self.note_expiry();
            self.happen(happening)?;
            self.check_desks()?;
        }
        for index in 0..self.sessions.len() {
            self.touched = Some(index);
            let session = &self.sessions[index];
            if !session.was_accepted {
                continue;
            }
            if let Some(connection) = &session.connection {
                return Err(format!(
                    "nothing more can happen, and it is in {}",
                    connection.phase()
                ));
            }
            session.ledger.check_afterwards(&session.client, session.upstream.as_ref())?;
        }
        self.touched = None;
        for worker in &self.workers {
            let desk = &worker.desk;
            if desk.stacks_in_use() + desk.drains() > 0 {
                return Err(format!("{desk:?} and {} drains after the end", desk.drains()));
            }
        }
        Ok(())
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn note(&mut self, index: usize, kind: Kind, length: usize, more: &dyn fmt::Debug) {
        self.trace.note(self.agenda.now, index, kind, length, more);
    }

    fn now(&self) -> Now {
        Now {
            moment: Moment::from_nanos(self.agenda.now),
            unix: UnixTime::since_unix_epoch(Duration::from_secs(match self.sabotage {
                Sabotage::ForgetsExpiry => EPOCH_SECONDS,
                _ => self.wall_seconds(),
            })),
        }
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        match happening {
            Happening::Accept(index) => self.accept(index),
            Happening::Arrive(index, side) => self.arrive(index, side),
            Happening::ClientTurn(index) => self.client_turn(index),
            Happening::UpstreamTurn(index) => self.upstream_turn(index),
            Happening::ReceiveNow(index, side) => self.receive_now(index, side),
            Happening::SendNow(index, side) => self.send_now(index, side),
            Happening::Sent(index, side) => self.sent(index, side),
            Happening::ShutDownNow(index, side) => self.shut_down_now(index, side),
            Happening::ConnectAnswered(index) => self.connect_answered(index),
            Happening::Performed(index, operation, answer) => {
                self.performed(index, operation, answer)
            }
            Happening::LateReceive(index, side) => {
                self.see("late_completion");
                self.sessions[index].ledger.receive_failed(side);
                self.complete(index, Completion::ReceiveFailed(side, ErrorKind::Other))
            }
            Happening::LateSend(index, side) => {
                self.see("late_completion");
                self.sessions[index].ledger.send_failed(side);
                self.complete(index, Completion::SendFailed(side, ErrorKind::Other))
            }
            Happening::Closed(index, side) => {
                self.note(index, Kind::Closed, 0, &side);
                self.sessions[index].ledger.closed(side);
                self.complete(index, Completion::Closed(side))
            }
            Happening::Timer(index) => self.timer(index),
            Happening::Abort(index) => self.abort(index),
            Happening::Stop => self.stop(),
            Happening::Publish(number) => self.publish(number),
            Happening::Reconsider(index) => self.reconsider(index),
            Happening::Reconsidered(number) => self.check_survivors(number, Consequence::Close),
            Happening::Finished(number) => self.check_survivors(number, Consequence::Drain),
            Happening::SetClock(seconds) => self.set_clock(seconds),
            Happening::AbortAll => (0..self.sessions.len()).try_for_each(|index| self.abort(index)),
        }
    }

    fn accept(&mut self, index: usize) -> Verdict {
        if self.stopping {
            // Nobody accepts any more.
            return Ok(());
        }
        let now = self.now();
        self.note(index, Kind::Accepted, 0, &());
        let session = &mut self.sessions[index];
        let worker = &self.workers[session.plan.worker];
        let which = match &session.plan.upstream {
            Some(plan) => usize::from(plan.key % 4 == 0),
            None => 2,
        };
        let listener = Arc::clone(&worker.listeners[which]);
        let from = if session.plan.client.front.is_some() { BALANCER } else { [192, 0, 2, 1] };
        let client = SocketAddr::from((from, 1_024 + u16::try_from(index).unwrap_or(0)));
        session.connection = Some(Connection::new(listener, worker.desk.clone(), client, now));
        session.was_accepted = true;
        let is_behind = session.plan.client.front.is_some();
        session.ledger = Ledger::new(
            self.agenda.now,
            session.plan.client.may_enter(),
            self.regime,
            session.upstream.is_some(),
            &self.plan.limits,
        );
        session.client_turn = true;
        if is_behind {
            self.see("balancer_in_front");
        }
        self.agenda.after(0, Happening::ClientTurn(index));
        self.pump(index)?;
        if self.sabotage == Sabotage::DialsBeforeAuthorization {
            self.submit(index, Op::Connect(tcp_upstream()))?;
        }
        Ok(())
    }

    /// Hands a completion to the connection, unless it is over.
    fn complete(&mut self, index: usize, completion: Completion<'_>) -> Verdict {
        let now = self.now();
        let session = &mut self.sessions[index];
        let Some(connection) = &mut session.connection else {
            return Err(format!("{completion:?} after the end"));
        };
        connection.handle_completion(now, completion);
        self.pump(index)
    }

    /// Takes everything that the connection has to say, and checks what must hold between two steps.
    fn pump(&mut self, index: usize) -> Verdict {
        self.touched = Some(index);
        while let Some(event) = self.connection(index)?.poll_event() {
            self.hear(index, event)?;
        }
        while let Some(op) = self.connection(index)?.poll_op() {
            self.submit(index, op)?;
        }
        self.check_expiry(index)?;
        let session = &mut self.sessions[index];
        let Some(connection) = &session.connection else { return Ok(()) };
        session.ledger.check_step(connection)?;
        if session.ledger.ended.is_some() {
            let idle = connection.poll_timeout().is_none() && connection.phase() == "closed";
            session.connection = None;
            self.over(index)?;
            return if idle { Ok(()) } else { Err("it is over, and still waits".to_owned()) };
        }
        self.arm(index)
    }

    fn connection(&mut self, index: usize) -> Result<&mut Connection, String> {
        self.sessions[index].connection.as_mut().ok_or_else(|| "it is gone".to_owned())
    }

    fn hear(&mut self, index: usize, event: Event) -> Verdict {
        let crowding = self.crowding(index);
        match &event {
            Event::Established { handshake, .. } => {
                self.note(index, Kind::Established, 0, handshake);
                self.see("established");
            }
            Event::Ticket(_) => self.see("ticket"),
            Event::Refused(reason) => self.note(index, Kind::Refused, *reason as usize, reason),
            Event::Shadow(_) => self.see("shadow"),
            Event::Withdrawn(withdrawn) => {
                let more = (withdrawn.reason, withdrawn.consequence);
                self.note(index, Kind::Withdrawn, withdrawn.reason as usize, &more);
                self.see(match withdrawn.consequence {
                    Consequence::Close => "withdrawn_and_closed",
                    Consequence::Drain => "withdrawn_and_drained",
                    Consequence::Keep => "withdrawn_and_kept",
                });
            }
            Event::Ended(report) => {
                let length = report.reason.map_or(0, |reason| 1 + reason as usize);
                let more = (report.reason, report.detail.clone());
                self.note(index, Kind::Ended, length, &more);
                self.see(report.reason.map_or("clean", Reason::label));
                if report.allowed && report.balancer.is_some() {
                    self.see("let_in_through_a_balancer");
                }
                match report.tls.as_ref().map(|tls| tls.version) {
                    Some(TlsVersion::Tls12) => self.see("tls12"),
                    Some(TlsVersion::Tls13) => self.see("tls13"),
                    None => {}
                }
            }
        }
        let ends = matches!(event, Event::Ended(_));
        self.sessions[index].ledger.heard(event, &crowding)?;
        if ends && self.sabotage == Sabotage::EndsTwice {
            let report = self.sessions[index].ledger.ended.clone();
            let again = report.map(Event::Ended).ok_or("no report")?;
            self.sessions[index].ledger.heard(again, &crowding)?;
        }
        Ok(())
    }

    fn crowding(&self, index: usize) -> Crowding {
        let desk = &self.workers[self.sessions[index].plan.worker].desk;
        let limits = &self.plan.limits;
        Crowding {
            drains_are_full: desk.drains() >= limits.drains,
            suspensions_are_full: desk.signing_suspensions() >= limits.signing_suspensions
                || desk.lookup_suspensions() >= limits.lookup_suspensions,
        }
    }

    /// The connection says that it is over.
    fn over(&mut self, index: usize) -> Verdict {
        let session = &self.sessions[index];
        session.ledger.check_end(
            self.agenda.now,
            &session.client,
            session.upstream.as_ref(),
            &session.signer,
        )
    }

    fn arm(&mut self, index: usize) -> Verdict {
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        let Some(due) = session.connection.as_ref().and_then(Connection::poll_timeout) else {
            return Ok(());
        };
        let due = due.as_nanos();
        if session.timer_at.is_none_or(|at| at > due) {
            // At or after, says the contract.
            let at = due.max(now) + session.random.within(0..=2 * MILLISECOND);
            session.timer_at = Some(at);
            self.agenda.after(at - now, Happening::Timer(index));
        }
        Ok(())
    }

    fn timer(&mut self, index: usize) -> Verdict {
        let now = self.now();
        let session = &mut self.sessions[index];
        if session.timer_at != Some(self.agenda.now) {
            return Ok(());
        }
        session.timer_at = None;
        let Some(connection) = &mut session.connection else { return Ok(()) };
        if self.sabotage == Sabotage::LosesTimers {
            return Ok(());
        }
        if connection.poll_timeout().is_some_and(|due| due <= now.moment) {
            connection.handle_timeout(now);
            if connection.poll_timeout().is_some_and(|due| due <= now.moment) {
                return Err("a timer is due again at once".to_owned());
            }
            self.note(index, Kind::TimedOut, 0, &());
        }
        self.pump(index)
    }

    fn stop(&mut self) -> Verdict {
        self.stopping = true;
        let now = self.now();
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            if let Some(connection) = &mut session.connection {
                session.ledger.stopped = true;
                connection.handle_stop(now);
                self.see("stopped_under_load");
                self.note(index, Kind::Stopped, 0, &());
                self.pump(index)?;
            }
        }
        Ok(())
    }

    fn abort(&mut self, index: usize) -> Verdict {
        let now = self.now();
        let session = &mut self.sessions[index];
        let Some(connection) = &mut session.connection else { return Ok(()) };
        let was = connection.phase();
        session.ledger.aborted = true;
        connection.handle_abort(now, Reason::Stopped);
        self.see("aborted");
        if was == "suspended" {
            self.see("aborted_while_suspended");
        }
        self.note(index, Kind::Aborted, 0, &was);
        self.pump(index)
    }

    /// As many places are taken as steps are suspended, and no more than there are.
    fn check_desks(&self) -> Verdict {
        for (which, worker) in self.workers.iter().enumerate() {
            let suspended = self.sessions.iter().filter(|session| {
                session.plan.worker == which
                    && session.connection.as_ref().is_some_and(|it| it.phase() == "suspended")
            });
            let suspended = suspended.count();
            let desk = &worker.desk;
            let (signing, lookup) = (desk.signing_suspensions(), desk.lookup_suspensions());
            if signing + lookup != suspended || desk.stacks_in_use() != suspended {
                return Err(format!(
                    "{suspended} connections are suspended, {signing} for signing and {lookup} for \
                     look-ups are counted, {desk:?}"
                ));
            }
            let limits = &self.plan.limits;
            let too_many = signing > limits.signing_suspensions
                || lookup > limits.lookup_suspensions
                || desk.drains() > limits.drains;
            if too_many {
                return Err(format!("{signing}, {lookup}, {}: over a limit", desk.drains()));
            }
        }
        Ok(())
    }
}
