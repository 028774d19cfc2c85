//! The sockets that a worker listens on: which of them accept, how much, and how one is given up
//! without losing what the kernel has queued on it.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_proto::Listener;
use countersign_ring as ring;

/// Accepts armed ahead for each socket: what one turn of the loop can take in at once.
const ACCEPTS_AHEAD: usize = 64;

/// A listening socket with what is served on it.
pub struct Bound {
    /// The address of the configuration: what the socket is known by through reloads.
    pub address: SocketAddr,
    /// The worker's own socket.
    pub socket: ring::Listener,
    /// What is served on it.
    pub served: Served,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bound({})", self.address)
    }
}

/// What is served on a socket.
#[derive(Clone, Debug)]
pub struct Served {
    /// The worker's own listener.
    pub listener: Arc<Listener>,
    /// Connections at one time.
    pub max_connections: usize,
}

/// All sockets of a worker.
#[derive(Default)]
pub(super) struct Listening {
    /// A few; found by their ids, which are never used again.
    sockets: Vec<Socket>,
    ids: u64,
    /// Something was told to be given up: accepts that wait are to be cancelled soon.
    retiring: usize,
}

struct Socket {
    id: u64,
    bound: Bound,
    armed: usize,
    open: usize,
    retiring: Option<Retiring>,
}

/// A socket that is given up: what is queued on it is still taken in, since closing it would reset it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retiring {
    /// The last turn brought a connection, or has not been yet: there may be more.
    Emptying,
    /// This turn brings none so far.
    Quiet,
    /// Its accepts were cancelled.
    Cancelled,
}

/// What held back accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldBack {
    /// The worker has as many connections as it may have.
    pub(super) by_table: bool,
    /// The worker has as many handshakes under way as it may have.
    pub(super) by_handshakes: bool,
    /// A listener has as many connections as it may have.
    pub(super) by_listener: bool,
}

/// How many more connections there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
}

impl Listening {
    pub(super) fn add(&mut self, bound: Bound) {
        self.ids += 1;
        self.sockets.push(Socket { id: self.ids, bound, armed: 0, open: 0, retiring: None });
    }

    /// Serves anew what is listened on already; gives up the rest. `served` gives what an address
    /// serves from now on.
    pub(super) fn publish(&mut self, mut served: impl FnMut(SocketAddr) -> Option<Served>) {
        for socket in &mut self.sockets {
            if socket.retiring.is_some() {
                continue;
            }
            match served(socket.bound.address) {
                Some(served) => socket.bound.served = served,
                None => {
                    socket.retiring = Some(Retiring::Emptying);
                    self.retiring += 1;
                }
            }
        }
    }

    /// Gives up every socket.
    pub(super) fn retire_all(&mut self) {
        self.publish(|_| None);
    }

    /// Cancels all accepts of sockets that are given up, whatever is queued.
    pub(super) fn cut_off(&mut self, ring: &mut ring::Ring) {
        self.retire_all();
        for socket in &mut self.sockets {
            socket.retiring = Some(Retiring::Cancelled);
        }
        ring.cancel_accepts();
    }

    /// Are all sockets given up and closed?
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Does the next turn decide whether a socket that is given up is empty? Then it must come soon.
    pub(super) fn is_deciding(&self) -> bool {
        let decides = |socket: &Socket| {
            socket.armed > 0
                && matches!(socket.retiring, Some(Retiring::Emptying | Retiring::Quiet))
        };
        self.retiring > 0 && self.sockets.iter().any(decides)
    }

    /// An accept has brought a connection: what it is served with.
    pub(super) fn accepted(&mut self, id: u64) -> Option<Arc<Listener>> {
        let socket = self.socket(id)?;
        socket.armed -= 1;
        socket.open += 1;
        if socket.retiring == Some(Retiring::Quiet) {
            socket.retiring = Some(Retiring::Emptying);
        }
        Some(Arc::clone(&socket.bound.served.listener))
    }

    /// An accept has brought nothing.
    pub(super) fn not_accepted(&mut self, id: u64) {
        if let Some(socket) = self.socket(id) {
            socket.armed -= 1;
        }
    }

    /// A connection that came in through this socket is over.
    pub(super) fn released(&mut self, id: u64) {
        if let Some(socket) = self.socket(id) {
            socket.open -= 1;
        }
    }

    fn socket(&mut self, id: u64) -> Option<&mut Socket> {
        self.sockets.iter_mut().find(|socket| socket.id == id)
    }

    /// Keeps accepts armed while there is room, and closes what is given up and empty.
    ///
    /// An accept that waits on a socket without clients must not keep others out: while there is room
    /// for one connection, every socket has an accept armed. The last place may so be taken more than
    /// once, by one connection for each socket but one; the accepts that are left are then cancelled.
    pub(super) fn arm(&mut self, ring: &mut ring::Ring, room: Room) -> HeldBack {
        self.advance_retiring(ring);
        let is_full = room.connections == 0 || room.handshakes == 0;
        let mut armed: usize = self.sockets.iter().map(|socket| socket.armed).sum();
        let mut held_back = HeldBack::default();
        if is_full {
            if armed > 0 {
                ring.cancel_accepts();
            }
            held_back.by_table = room.connections == 0;
            held_back.by_handshakes = room.handshakes == 0;
            return held_back;
        }
        let shared = room.connections.min(room.handshakes);
        // Round-robin, so that no socket takes all the room that is left.
        loop {
            let mut progress = false;
            for socket in &mut self.sockets {
                if socket.retiring == Some(Retiring::Cancelled) || socket.armed >= ACCEPTS_AHEAD {
                    continue;
                }
                if socket.open + socket.armed >= socket.bound.served.max_connections {
                    held_back.by_listener |= socket.armed == 0;
                    continue;
                }
                if socket.armed > 0 && armed >= shared {
                    continue;
                }
                if ring.accept(&socket.bound.socket, socket.id).is_err() {
                    held_back.by_table |= socket.armed == 0;
                    continue;
                }
                socket.armed += 1;
                armed += 1;
                progress = true;
            }
            if !progress {
                return held_back;
            }
        }
    }

    fn advance_retiring(&mut self, ring: &mut ring::Ring) {
        if self.retiring == 0 {
            return;
        }
        let mut cancel = false;
        for socket in &mut self.sockets {
            socket.retiring = match socket.retiring {
                // Only an accept that was armed and found nothing proves that nothing is queued.
                Some(Retiring::Quiet) if socket.armed > 0 => {
                    cancel = true;
                    Some(Retiring::Cancelled)
                }
                Some(Retiring::Emptying) => Some(Retiring::Quiet),
                other => other,
            };
        }
        if cancel {
            // It cancels everybody's; those that go on are armed again at once.
            ring.cancel_accepts();
        }
        self.sockets.retain(|socket| {
            let over = socket.retiring == Some(Retiring::Cancelled) && socket.armed == 0;
            self.retiring -= usize::from(over);
            !over
        });
    }
}
