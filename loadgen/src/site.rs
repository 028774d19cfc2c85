//! What the slots of one runtime share: the plan, the clock's phases, the clients, the figures.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, HandshakeKind};
use tokio::task::coop::consume_budget;

use crate::arrivals::Arrivals;
use crate::board::{Live, Schedule, Signal};
use crate::clients::{Exhausted, Supply};
use crate::failure::Failure;
use crate::plan::{Plan, TlsPlan, Work};
use crate::socket::Sockets;
use crate::tally::{self, Negotiated, Tally};
use crate::wire::{Stopped, Watch};

/// See the module.
pub(crate) struct Site {
    pub(crate) plan: Arc<Plan>,
    pub(crate) schedule: Schedule,
    pub(crate) sockets: Sockets,
    pub(crate) live: Arc<Live>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) tally: RefCell<Tally>,
    pub(crate) arrivals: Option<Rc<Arrivals>>,
    pub(crate) watches: Vec<Rc<Watch>>,
    supply: RefCell<Option<Supply>>,
    /// What may still be started, in a closed loop with an end.
    left: Cell<Option<u64>>,
    is_over: Cell<bool>,
}

/// A TLS connection that was just begun.
pub(crate) struct Begun {
    pub(crate) tls: Box<ClientConnection>,
    pub(crate) offered: bool,
}

/// A handshake that has ended as far as the client can tell, and is no sample before the server agrees.
pub(crate) struct Ended {
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    pub(crate) offered: bool,
}

/// What fails with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Handshake,
    Request,
    /// A flood or a transfer: an error, but neither of those.
    Other,
}

impl Site {
    pub(crate) fn new(
        plan: Arc<Plan>,
        runtime: usize,
        supply: Option<Supply>,
        (live, signal): (Arc<Live>, Arc<Signal>),
        schedule: Schedule,
    ) -> Self {
        let connections = plan.connections_of(runtime);
        let open_loop = plan.arguments.rate.is_some();
        Self {
            schedule,
            sockets: Sockets::new(plan.target, plan.arguments.connections),
            live,
            signal,
            tally: RefCell::default(),
            arrivals: open_loop.then(Rc::default),
            watches: (0..connections).map(|_| Rc::default()).collect(),
            supply: RefCell::new(supply),
            left: Cell::new(if open_loop { None } else { plan.count_of(runtime) }),
            is_over: Cell::new(false),
            plan,
        }
    }

    /// When the slot's next start was due; `None` when there is nothing more to start.
    pub(crate) async fn next_start(&self) -> Option<Instant> {
        // A start may fail before it waits for anything. Whoever does nothing but fail lets the others run,
        // also the one who looks at the time.
        consume_budget().await;
        if self.is_over.get() {
            return None;
        }
        if let Some(arrivals) = &self.arrivals {
            let due = arrivals.next().await?;
            let now = Instant::now();
            if self.schedule.is_steady(now) {
                tally::record(&mut self.tally.borrow_mut().begun_late, now - due);
            }
            return Some(due);
        }
        if let Some(left) = self.left.get() {
            self.left.set(Some(left.checked_sub(1)?));
        }
        Some(Instant::now())
    }

    /// Ends everything that is under way.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
        if let Some(arrivals) = &self.arrivals {
            arrivals.close();
        }
        for watch in &self.watches {
            watch.end();
        }
    }

    /// Whether nothing is started any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The TLS of the next connection, with the client whose turn it is.
    pub(crate) fn begin_tls(&self, plan: &TlsPlan) -> Result<Begun, Stopped> {
        let mut supply = self.supply.borrow_mut();
        let supply = supply.as_mut().expect("a plan with TLS has clients");
        let chosen = supply.choose().map_err(|Exhausted| {
            self.signal.stop_early(
                "the pool of clients is used up: no certificate is left that was never used; give more \
                 --clients, or less --unseen or --duration",
            );
            // At once: until somebody looks at the signal, slots would ask for clients in vain.
            self.end();
            Stopped::Over
        })?;
        let tls = ClientConnection::new(chosen.config, plan.name.clone())
            .map_err(|error| Failure::tls(&error))?;
        let offered = chosen.stock.is_some_and(|stock| stock.was_offered());
        Ok(Begun { tls: Box::new(tls), offered })
    }

    /// A TCP connection was made.
    pub(crate) fn opened(&self) {
        self.tally.borrow_mut().opened += 1;
    }

    /// The server has shown that it accepts the client.
    pub(crate) fn handshake_confirmed(&self, ended: &Ended, tls: &ClientConnection) {
        let now = Instant::now();
        self.live.handshakes.add(1);
        let tally = &mut *self.tally.borrow_mut();
        tally.second(self.schedule.since_start(now)).handshakes += 1;
        let is_steady = self.schedule.is_steady(now);
        // Connections that are kept shake hands before the steady phase.
        if is_steady || !matches!(self.plan.work, Work::Handshake { .. }) {
            tally.count_negotiated(negotiated(tls), 1);
        }
        if !is_steady {
            return;
        }
        let second = tally.second(self.schedule.since_start(now));
        if self.wants_log() && matches!(self.plan.work, Work::Handshake { .. }) {
            second.record(ended.handshake);
        }
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        *if resumed { &mut tally.resumed } else { &mut tally.full } += 1;
        tally.offered += u64::from(ended.offered);
        tally::record(&mut tally.connect, ended.connect);
        tally::record(&mut tally.handshake, ended.handshake);
    }

    /// A request was answered, or a script played to its end.
    pub(crate) fn request_completed(&self, latency: Duration, body_bytes: u64) {
        let now = Instant::now();
        self.live.requests.add(1);
        let tally = &mut *self.tally.borrow_mut();
        let second = tally.second(self.schedule.since_start(now));
        second.requests += 1;
        second.bytes += body_bytes;
        if !self.schedule.is_steady(now) {
            return;
        }
        if self.wants_log() && !matches!(self.plan.work, Work::Handshake { .. }) {
            second.record(latency);
        }
        tally.requests += 1;
        tally.received_bytes += body_bytes;
        tally::record(&mut tally.request, latency);
    }

    /// A plain connection was made that nothing else is counted for.
    pub(crate) fn connected(&self, connect: Duration) {
        if self.schedule.is_steady(Instant::now()) {
            tally::record(&mut self.tally.borrow_mut().connect, connect);
        }
    }

    /// A flood was answered.
    pub(crate) fn answered(&self, latency: Duration) {
        let now = Instant::now();
        self.live.others.add(1);
        let tally = &mut *self.tally.borrow_mut();
        let second = tally.second(self.schedule.since_start(now));
        second.requests += 1;
        if self.schedule.is_steady(now) {
            tally.answered += 1;
            tally::record(&mut tally.request, latency);
        }
    }

    /// Application data went one way or the other.
    pub(crate) fn moved(&self, sent: u64, received: u64) {
        let now = Instant::now();
        self.live.bytes.add(sent + received);
        let tally = &mut *self.tally.borrow_mut();
        tally.second(self.schedule.since_start(now)).bytes += sent + received;
        if self.schedule.is_steady(now) {
            tally.sent_bytes += sent;
            tally.received_bytes += received;
        }
    }

    /// Counts a kept connection that lived until the run was over.
    pub(crate) fn note_alive(&self, stopped: &Stopped) {
        if matches!(stopped, Stopped::Over) {
            self.tally.borrow_mut().alive += 1;
        }
    }

    /// Something went wrong, unless the run is just over.
    pub(crate) fn stopped(&self, stage: Stage, stopped: Stopped) {
        let Stopped::Failed(failure) = stopped else { return };
        let now = Instant::now();
        self.live.errors.add(1);
        let tally = &mut *self.tally.borrow_mut();
        tally.second(self.schedule.since_start(now)).errors += 1;
        if self.schedule.is_steady(now) {
            match stage {
                Stage::Handshake => tally.handshakes_failed += 1,
                Stage::Request => tally.requests_failed += 1,
                Stage::Other => {}
            }
        }
        tally.count_error(failure);
    }

    fn wants_log(&self) -> bool {
        self.plan.arguments.hdr_log.is_some()
    }
}

fn negotiated(tls: &ClientConnection) -> Negotiated {
    let group = tls.negotiated_key_exchange_group().map(|group| group.name());
    Negotiated {
        version: tls.protocol_version(),
        suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
        // None where a TLS 1.2 session was resumed.
        group,
    }
}
