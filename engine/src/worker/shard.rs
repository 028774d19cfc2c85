//! A worker's share of the work: its connections between the ring and `proto`.

use std::sync::Arc;
use std::time::Duration;

use countersign_proto::{
    CloseManner, Completion, ConnectError, Connection, Desk, Event, Moment, Now, Op, Outcome,
    Reason, SendBuffer, Side, Snapshot, UpstreamAddress, WorkFailure,
};
use countersign_ring::{
    Close, ConnectAddress, ConnectRefused, Event as RingEvent, Listener, Ring, Socket,
};

use super::clock::Clock;
use super::inbox::{Address, Inbox, InboxSender, Message};
use super::table::{Key, Table};
use super::timers::Timers;
use super::{WorkerEnd, WorkerPlan};
use crate::signing::{Job, Performer};
use crate::telemetry::{Gauges, Notice, Recorder};

/// Accepts armed ahead for each listener: what one turn of the loop can take in at once.
const ACCEPTS_AHEAD: usize = 64;

/// After the process or the host has run out of something, accepts wait so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A table that fills up again and again is told of no more often than this.
const NOTICE_PAUSE: Duration = Duration::from_secs(1);

/// Operations whose end interests nobody carry this; no connection has it, since generations start at 1.
const NOBODY: u64 = 0;

pub(super) struct Shard {
    pub(super) ring: Ring,
    clock: Clock,
    now: Now,
    number: usize,
    sockets: Vec<Listener>,
    armed: Vec<usize>,
    snapshot: Snapshot,
    desk: Desk,
    table: Table,
    max_connections: usize,
    timers: Timers,
    inbox: Inbox,
    performer: Arc<dyn Performer>,
    recorder: Recorder,
    accepts_paused_until: Option<Moment>,
    table_was_full: bool,
    full_noticed_at: Option<Moment>,
    life: Life,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Serving,
    /// Told to stop: takes in what the kernel has queued already, until a turn brings nothing.
    Emptying {
        deadline: Moment,
        accepted: bool,
    },
    /// No more accepts are armed anew; waits for those that are cancelled, and for connections.
    Draining {
        deadline: Moment,
    },
    /// Past the deadline, everything was cut off.
    CuttingOff,
}

impl Shard {
    pub(super) fn new(plan: WorkerPlan, snapshot: Snapshot, desk: Desk, ring: Ring) -> Self {
        let clock = Clock::new();
        Self {
            now: clock.now(),
            clock,
            number: plan.number,
            armed: vec![0; plan.sockets.len()],
            sockets: plan.sockets,
            snapshot,
            desk,
            table: Table::default(),
            max_connections: plan.max_connections,
            timers: Timers::default(),
            inbox: Inbox::new(ring.waker()),
            ring,
            performer: plan.performer,
            recorder: plan.recorder,
            accepts_paused_until: None,
            table_was_full: false,
            full_noticed_at: None,
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
            Life::Draining { deadline } | Life::Emptying { deadline, .. }
                if deadline <= now.moment =>
            {
                self.cut_off();
            }
            _ => {}
        }
    }

    pub(super) fn time_to_next_timer(&self) -> Option<Duration> {
        let deadline = match self.life {
            Life::Draining { deadline } | Life::Emptying { deadline, .. } => Some(deadline),
            Life::Serving | Life::CuttingOff => None,
        };
        // A turn without an accept says that the kernel's queue is empty; it must come soon.
        let emptying = matches!(self.life, Life::Emptying { .. }).then_some(self.now.moment);
        [self.timers.next(), deadline, emptying, self.accepts_paused_until]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due - self.now.moment)
    }

    /// Keeps accepts armed, never more than there is room for.
    pub(super) fn arm_accepts(&mut self) {
        match &mut self.life {
            Life::Serving => {}
            Life::Emptying { accepted: accepted @ true, .. } => *accepted = false,
            Life::Emptying { deadline, .. } => {
                self.life = Life::Draining { deadline: *deadline };
                self.ring.cancel_accepts();
                return;
            }
            Life::Draining { .. } | Life::CuttingOff => return,
        }
        if self.accepts_paused_until.is_some_and(|until| until > self.now.moment) {
            return;
        }
        self.accepts_paused_until = None;
        // Round-robin, so that no listener takes all the room that is left.
        'arming: loop {
            let mut progress = false;
            for (index, socket) in self.sockets.iter().enumerate() {
                if self.armed[index] >= ACCEPTS_AHEAD {
                    continue;
                }
                let taken = self.table.len() + self.armed.iter().sum::<usize>();
                if taken >= self.max_connections || self.ring.accept(socket, index as u64).is_err()
                {
                    break 'arming;
                }
                self.armed[index] += 1;
                progress = true;
            }
            if !progress {
                break;
            }
        }
        self.notice_full_table();
    }

    fn notice_full_table(&mut self) {
        let full = self.armed.contains(&0);
        let quiet = self.full_noticed_at.is_none_or(|at| self.now.moment - at >= NOTICE_PAUSE);
        if full && !self.table_was_full && quiet {
            self.full_noticed_at = Some(self.now.moment);
            let open = self.table.len();
            self.recorder.notice(Notice::ConnectionTableFull { worker: self.number, open });
        }
        self.table_was_full = full;
    }

    /// Is everything over?
    pub(super) fn end(&self) -> Option<WorkerEnd> {
        if self.table.len() > 0 || self.ring.accepts_armed() > 0 {
            return None;
        }
        match self.life {
            Life::Serving | Life::Emptying { .. } => None,
            Life::Draining { .. } => Some(WorkerEnd::Clean),
            Life::CuttingOff => Some(WorkerEnd::TimedOut),
        }
    }

    pub(super) fn publish_gauges(&self) {
        self.recorder.gauges(&Gauges {
            connections_open: self.table.len(),
            stacks_suspended: self.desk.signing_suspensions() + self.desk.lookup_suspensions(),
            drains: self.desk.drains(),
            slots_free: self.ring.slots_free() as usize,
            operations_in_flight: self.ring.in_flight(),
        });
    }

    pub(super) fn dispatch(&mut self, event: RingEvent) {
        match event {
            RingEvent::Accepted { tag, socket, peer } => self.accepted(tag as usize, socket, peer),
            RingEvent::AcceptFailed { tag, error } => self.accept_failed(tag as usize, &error),
            RingEvent::AcceptCancelled { tag } => self.armed[tag as usize] -= 1,
            RingEvent::Received { tag, socket, received } => {
                let key = Key::from_tag(tag);
                let now = self.now;
                if let Some((entry, side)) = find(&mut self.table, key, socket) {
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

    fn accepted(&mut self, listener: usize, socket: Socket, peer: std::net::SocketAddr) {
        self.armed[listener] -= 1;
        if let Life::Emptying { accepted, .. } = &mut self.life {
            *accepted = true;
        }
        self.recorder.accepted();
        let config = self.snapshot.listeners[listener].clone();
        let mut connection = Connection::new(config, self.desk.clone(), peer, self.now);
        match self.life {
            Life::Serving => {}
            Life::CuttingOff => connection.handle_abort(self.now, Reason::Stopped),
            Life::Emptying { .. } | Life::Draining { .. } => connection.handle_stop(self.now),
        }
        let key = self.table.insert(connection, socket);
        self.drive(key);
    }

    fn accept_failed(&mut self, listener: usize, error: &std::io::Error) {
        self.armed[listener] -= 1;
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
            over |= matches!(event, Event::Ended(_));
            self.recorder.event(event);
        }
        if over && let Some(entry) = self.table.remove(key) {
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

    fn stop(&mut self, deadline: Moment) {
        match &mut self.life {
            Life::Serving => {
                self.life = Life::Emptying { deadline, accepted: true };
                self.for_each(|connection, now| connection.handle_stop(now));
            }
            // Told again: the deadline may only come nearer.
            Life::Emptying { deadline: known, .. } | Life::Draining { deadline: known } => {
                *known = deadline.min(*known);
            }
            Life::CuttingOff => {}
        }
    }

    fn cut_off(&mut self) {
        self.ring.cancel_accepts();
        let open = self.table.len();
        self.life =
            if open == 0 { Life::Draining { deadline: self.now.moment } } else { Life::CuttingOff };
        if open > 0 {
            self.recorder.notice(Notice::CutOff { worker: self.number, open });
        }
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
