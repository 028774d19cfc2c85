//! A worker's share of the work: its connections between the ring and `proto`.

use std::sync::Arc;
use std::time::Duration;

use countersign_proto::{
    CloseManner, Completion, ConnectError, Connection, Desk, Event, Moment, Now, Op, Outcome,
    Reason, SendBuffer, Side, UpstreamAddress, WorkFailure,
};
use countersign_ring::{Close, ConnectAddress, ConnectRefused, Event as RingEvent, Ring, Socket};

use super::clock::Clock;
use super::inbox::{Address, Inbox, InboxSender, Message, Publication};
use super::listening::{Bound, HeldBack, Listening, Room, Served};
use super::reconsideration::Reconsideration;
use super::table::{Key, Table};
use super::timers::Timers;
use super::{WorkerEnd, WorkerPlan};
use crate::signing::{Job, Performer};
use crate::telemetry::{Gauges, LIMITS, Limit, Notice, Recorder};

/// After the process or the host has run out of something, accepts wait so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// After a deadline without a connection: the time that cancelled accepts have to end.
const CUT_OFF_AGAIN: Duration = Duration::from_secs(1);

/// A limit that is reached again and again is told of no more often than this.
const NOTICE_PAUSE: Duration = Duration::from_secs(1);

/// Operations whose end interests nobody carry this; no connection has it, since generations start at 1.
const NOBODY: u64 = 0;

pub(super) struct Shard {
    pub(super) ring: Ring,
    clock: Clock,
    now: Now,
    number: usize,
    generation: u64,
    listening: Listening,
    desk: Desk,
    table: Table,
    max_connections: usize,
    handshakes: usize,
    max_handshakes: usize,
    timers: Timers,
    reconsideration: Reconsideration,
    inbox: Inbox,
    performer: Arc<dyn Performer>,
    recorder: Recorder,
    accepts_paused_until: Option<Moment>,
    held_back: HeldBack,
    noticed_at: [Option<Moment>; LIMITS.len()],
    life: Life,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Serving,
    /// Told to stop: what the kernel has queued is taken in, then the sockets are closed; waits for
    /// connections to end.
    Draining {
        deadline: Moment,
    },
    /// Past the deadline, everything was cut off.
    CuttingOff,
}

impl Shard {
    pub(super) fn new(plan: WorkerPlan, desk: Desk, ring: Ring) -> Self {
        let clock = Clock::new();
        desk.set_ticket_keys(plan.ticket_keys);
        let mut listening = Listening::default();
        let listener = |bound: &Bound| Arc::clone(&bound.served.listener);
        desk.publish(plan.sockets.iter().map(listener).collect());
        for bound in plan.sockets {
            listening.add(bound);
        }
        Self {
            now: clock.now(),
            clock,
            number: plan.number,
            generation: 1,
            listening,
            desk,
            table: Table::default(),
            max_connections: plan.max_connections,
            handshakes: 0,
            max_handshakes: plan.max_handshakes,
            timers: Timers::default(),
            reconsideration: Reconsideration::default(),
            inbox: Inbox::new(ring.waker()),
            ring,
            performer: plan.performer,
            recorder: plan.recorder,
            accepts_paused_until: None,
            held_back: HeldBack::default(),
            noticed_at: [None; LIMITS.len()],
            life: Life::Serving,
        }
    }

    pub(super) fn inbox_sender(&self) -> InboxSender {
        self.inbox.sender()
    }

    pub(super) fn read_clock(&mut self) {
        self.now = self.clock.now();
    }

    pub(super) fn read_inbox(&mut self) {
        while let Some(message) = self.inbox.take() {
            match message {
                Message::Stop { deadline } => self.stop(self.clock.moment(deadline)),
                Message::Publish(publication) => self.publish(*publication),
                Message::TicketKeys(keys) => self.desk.set_ticket_keys(*keys),
                Message::Revocations(revocations, feeds) => {
                    feeds.iter().for_each(|feed| feed.publish(Arc::clone(&revocations)));
                    self.desk.publish_again();
                    self.reconsideration.begin();
                }
                Message::Staple(cell, stapled) => cell.publish(stapled),
                Message::Status(key, answer) => self.desk.remember_answer(key, answer),
                Message::Performed(Address { connection, operation }, outcome) => {
                    let completion = Completion::Performed(operation, outcome);
                    self.complete(Key::from_tag(connection), completion);
                }
            }
        }
    }

    pub(super) fn fire_timers(&mut self) {
        let now = self.now;
        while let Some((due, key)) = self.timers.take_due(now.moment) {
            let Some(entry) = self.table.get(key) else { continue };
            if entry.timer != Some(due) {
                continue;
            }
            entry.timer = None;
            entry.connection.handle_timeout(now);
            self.drive(key);
        }
        match self.life {
            Life::Draining { deadline } if deadline <= now.moment => self.cut_off(),
            _ => {}
        }
    }

    pub(super) fn time_to_next_timer(&self) -> Option<Duration> {
        let deadline = match self.life {
            Life::Draining { deadline } => Some(deadline),
            Life::Serving | Life::CuttingOff => None,
        };
        // A turn without an accept says that the kernel's queue is empty; it must come soon.
        let retiring = self.listening.is_deciding().then_some(self.now.moment);
        let asking = self.reconsideration.is_under_way().then_some(self.now.moment);
        [self.timers.next(), deadline, retiring, asking, self.accepts_paused_until]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due - self.now.moment)
    }

    /// Asks a slice of the open connections whether their clients would still be let in, while there are
    /// some that were not asked since something was published.
    pub(super) fn reconsider(&mut self) {
        let now = self.now;
        self.reconsideration.next_slice();
        while let Some(key) = self.reconsideration.next(&self.table) {
            let Some(entry) = self.table.get(key) else { continue };
            if !entry.connection.handle_publication(now) {
                continue;
            }
            if !entry.connection.is_authorized() {
                self.reconsideration.note_end();
            }
            self.recorder.reconsidered();
            self.drive(key);
        }
    }

    /// Keeps accepts armed, never more than there is room for.
    pub(super) fn arm_accepts(&mut self) {
        if self.accepts_paused_until.is_some_and(|until| until > self.now.moment) {
            return;
        }
        self.accepts_paused_until = None;
        let room = Room {
            connections: self.max_connections.saturating_sub(self.table.len()),
            handshakes: self.max_handshakes.saturating_sub(self.handshakes),
        };
        let held_back = self.listening.arm(&mut self.ring, room);
        self.notice_held_back(held_back);
    }

    /// Counts each time that there is no room any more, and says so once a second at most.
    fn notice_held_back(&mut self, held_back: HeldBack) {
        let before = std::mem::replace(&mut self.held_back, held_back);
        let (worker, open) = (self.number, self.table.len());
        let limits = [
            (
                Limit::Connections,
                held_back.by_table && !before.by_table,
                Notice::ConnectionTableFull { worker, open },
            ),
            (
                Limit::Handshakes,
                held_back.by_handshakes && !before.by_handshakes,
                Notice::HandshakesFull { worker, under_way: self.handshakes },
            ),
            (
                Limit::ListenerConnections,
                held_back.by_listener && !before.by_listener,
                Notice::ListenerFull { worker, open },
            ),
        ];
        for (limit, reached, notice) in limits {
            if !reached {
                continue;
            }
            self.recorder.limit_reached(limit);
            let noticed_at = &mut self.noticed_at[limit as usize];
            if noticed_at.is_none_or(|at| self.now.moment - at >= NOTICE_PAUSE) {
                *noticed_at = Some(self.now.moment);
                self.recorder.notice(notice);
            }
        }
    }

    /// Is everything over?
    pub(super) fn end(&self) -> Option<WorkerEnd> {
        if self.table.len() > 0 || !self.listening.is_empty() {
            return None;
        }
        match self.life {
            Life::Serving => None,
            Life::Draining { .. } => Some(WorkerEnd::Clean),
            Life::CuttingOff => Some(WorkerEnd::TimedOut),
        }
    }

    pub(super) fn publish_gauges(&self) {
        self.recorder.gauges(&Gauges {
            generation: self.generation,
            connections_open: self.table.len(),
            handshakes: self.handshakes,
            stacks_suspended: self.desk.signing_suspensions() + self.desk.lookup_suspensions(),
            drains: self.desk.drains(),
            chain_cache: self.desk.chain_cache(),
            ocsp_answers: self.desk.statuses(),
            slots_free: self.ring.slots_free() as usize,
            operations_in_flight: self.ring.in_flight(),
            reconsiderations_outstanding: self.reconsideration.outstanding(&self.table),
        });
    }

    pub(super) fn dispatch(&mut self, event: RingEvent) {
        match event {
            RingEvent::Accepted { tag, socket, peer } => self.accepted(tag, socket, peer),
            RingEvent::AcceptFailed { tag, error } => self.accept_failed(tag, &error),
            RingEvent::AcceptCancelled { tag } => self.listening.not_accepted(tag),
            RingEvent::Received { tag, socket, received } => {
                let key = Key::from_tag(tag);
                let now = self.now;
                if let Some((entry, side)) = find(&mut self.table, key, socket) {
                    entry.note_received(side, received.len());
                    let bytes = self.ring.bytes(&received);
                    entry.connection.handle_completion(now, Completion::Received(side, bytes));
                }
                self.ring.recycle(received);
                self.drive(key);
            }
            RingEvent::ReceiveFailed { tag, socket, error } => {
                self.complete_for(tag, socket, |side| {
                    Completion::ReceiveFailed(side, error.kind())
                });
            }
            RingEvent::Sent { tag, socket, bytes, offset, result } => {
                self.complete_for(tag, socket, |side| match result {
                    Ok(count) => {
                        Completion::Sent(side, SendBuffer::from_parts(bytes, offset + count))
                    }
                    Err(error) => Completion::SendFailed(side, error.kind()),
                });
            }
            RingEvent::ShutDown { tag, socket, .. } => {
                self.complete_for(tag, socket, Completion::ShutDown);
            }
            RingEvent::Connected { tag, socket, result } => self.connected(tag, socket, result),
            RingEvent::Closed { tag, socket } => self.closed(tag, socket),
            RingEvent::Woken => self.read_inbox(),
        }
    }

    fn accepted(&mut self, tag: u64, socket: Socket, peer: std::net::SocketAddr) {
        // An accept keeps its listening socket until it has ended.
        let Some(listener) = self.listening.accepted(tag) else {
            self.ring.close(socket, Close::Reset, NOBODY);
            return;
        };
        self.recorder.accepted();
        self.handshakes += 1;
        let mut connection = Connection::new(listener, self.desk.clone(), peer, self.now);
        match self.life {
            Life::Serving => {}
            Life::CuttingOff => connection.handle_abort(self.now, Reason::Stopped),
            Life::Draining { .. } => connection.handle_stop(self.now),
        }
        let key = self.table.insert(connection, socket, tag);
        self.drive(key);
    }

    fn accept_failed(&mut self, tag: u64, error: &std::io::Error) {
        self.listening.not_accepted(tag);
        // The client is gone already: nothing to worry about, and nothing to wait for.
        if error.kind() == std::io::ErrorKind::ConnectionAborted {
            return;
        }
        if self.accepts_paused_until.is_none() {
            self.recorder
                .notice(Notice::AcceptFailed { worker: self.number, error: error.to_string() });
        }
        self.accepts_paused_until = Some(self.now.moment + ACCEPT_PAUSE);
    }

    fn connected(&mut self, tag: u64, socket: Socket, result: std::io::Result<()>) {
        let key = Key::from_tag(tag);
        let completion = match result {
            Ok(()) => Completion::Connected(Ok(())),
            Err(error) => {
                // A failed attempt still has its slot.
                self.ring.close(socket, Close::Gracefully, NOBODY);
                if let Some(entry) = self.table.get(key) {
                    entry.upstream = None;
                }
                Completion::Connected(Err(ConnectError::Failed(error.to_string())))
            }
        };
        self.complete(key, completion);
    }

    fn closed(&mut self, tag: u64, socket: Socket) {
        let key = Key::from_tag(tag);
        let Some((entry, side)) = find(&mut self.table, key, socket) else { return };
        match side {
            Side::Client => entry.client = None,
            Side::Upstream => entry.upstream = None,
        }
        self.complete(key, Completion::Closed(side));
    }

    fn complete_for<'a>(
        &mut self,
        tag: u64,
        socket: Socket,
        completion: impl FnOnce(Side) -> Completion<'a>,
    ) {
        let key = Key::from_tag(tag);
        let now = self.now;
        if let Some((entry, side)) = find(&mut self.table, key, socket) {
            entry.connection.handle_completion(now, completion(side));
            self.drive(key);
        }
    }

    fn complete(&mut self, key: Key, completion: Completion<'_>) {
        let now = self.now;
        if let Some(entry) = self.table.get(key) {
            entry.connection.handle_completion(now, completion);
            self.drive(key);
        }
    }

    /// Does what the connection asks for, until it asks for nothing more.
    fn drive(&mut self, key: Key) {
        loop {
            let Some(entry) = self.table.get(key) else { return };
            let Some(op) = entry.connection.poll_op() else { break };
            if let Some(completion) = self.perform(key, op) {
                self.complete_now(key, completion);
            }
        }
        self.record_events(key);
        self.update_timer(key);
    }

    fn complete_now(&mut self, key: Key, completion: Completion<'_>) {
        let now = self.now;
        if let Some(entry) = self.table.get(key) {
            entry.connection.handle_completion(now, completion);
        }
    }

    /// Starts one operation; gives its completion if that is known already.
    fn perform(&mut self, key: Key, op: Op) -> Option<Completion<'static>> {
        let tag = key.tag();
        let entry = self.table.get(key)?;
        let socket = |side| match side {
            Side::Client => entry.client,
            Side::Upstream => entry.upstream,
        };
        match op {
            Op::Receive(side) if entry.receives_bulk(side) => {
                self.ring.receive_bulk(socket(side)?, tag);
            }
            Op::Receive(side) => self.ring.receive(socket(side)?, tag),
            Op::Send(side, buffer) => {
                let (bytes, sent) = buffer.into_parts();
                self.ring.send(socket(side)?, bytes, sent, tag);
            }
            Op::Shutdown(side) => self.ring.shutdown_write(socket(side)?, tag),
            Op::Close(side, manner) => {
                let manner = match manner {
                    CloseManner::Graceful => Close::Gracefully,
                    CloseManner::Reset => Close::Reset,
                };
                self.ring.close(socket(side)?, manner, tag);
            }
            Op::Connect(address) => match self.ring.connect(&connect_address(address)?, tag) {
                Ok(socket) => entry.upstream = Some(socket),
                Err(refused) => return Some(Completion::Connected(Err(self.refused(refused)))),
            },
            Op::Perform(operation, work) => {
                let address = Address { connection: tag, operation };
                let job = Job { work, address, inbox: self.inbox.sender() };
                if self.performer.submit(job).is_err() {
                    let outcome = Box::new(Outcome::Failed(WorkFailure::Exhausted));
                    return Some(Completion::Performed(operation, outcome));
                }
            }
        }
        None
    }

    fn refused(&self, refused: ConnectRefused) -> ConnectError {
        match refused {
            ConnectRefused::Full(full) => ConnectError::Full(full.to_string()),
            ConnectRefused::Os(error) => {
                let error = error.to_string();
                self.recorder
                    .notice(Notice::ConnectFailed { worker: self.number, error: error.clone() });
                ConnectError::Failed(error)
            }
        }
    }

    fn record_events(&mut self, key: Key) {
        let Some(entry) = self.table.get(key) else { return };
        let mut over = false;
        while let Some(event) = entry.connection.poll_event() {
            // Its handshake is no longer under way. Tickets and a shadow's verdict come while it is.
            if let Event::Established { .. } | Event::Refused(_) | Event::Ended(_) = event {
                self.handshakes -= usize::from(std::mem::take(&mut entry.handshaking));
            }
            over |= matches!(event, Event::Ended(_));
            self.recorder.event(event);
        }
        if over && let Some(entry) = self.table.remove(key) {
            self.listening.released(entry.through);
            // Dialled, and given up before the upstream had answered.
            if let Some(upstream) = entry.upstream {
                self.ring.close(upstream, Close::Reset, NOBODY);
            }
            self.recorder.released();
        }
    }

    fn update_timer(&mut self, key: Key) {
        let Some(entry) = self.table.get(key) else { return };
        let Some(due) = entry.connection.poll_timeout() else { return };
        // An earlier entry serves as well: when it comes due, the real time is looked at.
        if entry.timer.is_none_or(|timer| due < timer) {
            entry.timer = Some(due);
            self.timers.insert(due, key);
        }
    }

    fn publish(&mut self, publication: Publication) {
        if self.life != Life::Serving {
            return;
        }
        self.generation = publication.generation;
        let mut served = publication.served;
        let listener = |(_, served): &(_, Served)| Arc::clone(&served.listener);
        self.desk.publish(served.iter().map(listener).collect());
        self.reconsideration.begin();
        self.listening.publish(|address| {
            let index = served.iter().position(|(known, _)| *known == address)?;
            Some(served.swap_remove(index).1)
        });
        for bound in publication.added {
            self.listening.add(bound);
        }
    }

    fn stop(&mut self, deadline: Moment) {
        match &mut self.life {
            Life::Serving => {
                self.life = Life::Draining { deadline };
                self.listening.retire_all();
                self.for_each(|connection, now| connection.handle_stop(now));
            }
            // Told again: the deadline may only come nearer.
            Life::Draining { deadline: known } => *known = deadline.min(*known),
            Life::CuttingOff => {}
        }
    }

    fn cut_off(&mut self) {
        self.listening.cut_off(&mut self.ring);
        let open = self.table.len();
        self.life = Life::CuttingOff;
        if open == 0 {
            // Only accepts are left; nobody is cut off.
            self.life = Life::Draining { deadline: self.now.moment + CUT_OFF_AGAIN };
            return;
        }
        self.recorder.notice(Notice::CutOff { worker: self.number, open });
        self.for_each(|connection, now| connection.handle_abort(now, Reason::Stopped));
    }

    fn for_each(&mut self, mut tell: impl FnMut(&mut Connection, Now)) {
        let now = self.now;
        for key in self.table.keys() {
            if let Some(entry) = self.table.get(key) {
                tell(&mut entry.connection, now);
            }
            self.drive(key);
        }
    }
}

/// The connection that a completion belongs to, and the side of it that `socket` is.
fn find(table: &mut Table, key: Key, socket: Socket) -> Option<(&mut super::table::Entry, Side)> {
    let entry = table.get(key)?;
    if entry.client == Some(socket) {
        Some((entry, Side::Client))
    } else if entry.upstream == Some(socket) {
        Some((entry, Side::Upstream))
    } else {
        None
    }
}

/// What the ring is to connect to; the built-in upstream is never dialled.
fn connect_address(address: UpstreamAddress) -> Option<ConnectAddress> {
    match address {
        UpstreamAddress::Tcp(address) => Some(ConnectAddress::Tcp(address)),
        UpstreamAddress::Unix(path) => Some(ConnectAddress::Unix(path)),
        UpstreamAddress::Whoami => None,
    }
}
