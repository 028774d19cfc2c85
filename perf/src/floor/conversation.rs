//! The TCP conversation of a full handshake without TLS, on the engine's own ring: accept, read, write,
//! read, write, close.

use std::collections::HashMap;
use std::net::SocketAddr;

use countersign_ring::{BufferPool, Close, Event, ListenOptions, Listener, Ring, Settings, Socket};

use crate::problem::{During, Problem, Result};

/// What the client sends, then the server, and so on: about a ClientHello; ServerHello to Finished; the
/// client's Certificate to Finished; a ticket and a response.
pub(crate) const SCRIPT: [usize; 4] = [517, 2100, 1400, 600];

const SLOTS: u32 = 1024;
/// Accepts armed at one time, as many as the engine has.
const ACCEPTS: u32 = 16;
const SETTINGS: Settings = Settings {
    submission_entries: 256,
    slots: SLOTS,
    buffers: BufferPool { count: 1024, bytes: 4096 },
    large_buffers: BufferPool { count: 1, bytes: 4096 },
};

/// Serves until it is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let mut ring = Ring::open(&SETTINGS).during("io_uring")?;
    let listener = Listener::bind(address, &ListenOptions::default()).during(address)?;
    let mut server = Server { ring: &mut ring, listener: &listener, open: HashMap::new() };
    for _ in 0..ACCEPTS {
        server.accept();
    }
    loop {
        while let Some(event) = server.ring.next_event() {
            server.take(event)?;
        }
        server.ring.submit_and_wait(None).during("io_uring")?;
    }
}

struct Server<'a> {
    ring: &'a mut Ring,
    listener: &'a Listener,
    /// How many bytes of the client's each connection has had.
    open: HashMap<Socket, usize>,
}

impl Server<'_> {
    fn accept(&mut self) {
        // No slot free: armed again when a connection has been closed.
        let _ = self.ring.accept(self.listener, 0);
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Accepted { socket, .. } => {
                self.open.insert(socket, 0);
                self.ring.receive(socket, 0);
                self.accept();
            }
            Event::AcceptFailed { error, .. } => {
                return Err(Problem::new(format!("accept: {error}")));
            }
            Event::Received { socket, received, .. } => {
                let count = self.ring.bytes(&received).len();
                self.ring.recycle(received);
                if count == 0 {
                    self.close(socket);
                } else {
                    self.answer(socket, count);
                }
            }
            Event::ReceiveFailed { socket, .. } => self.close(socket),
            Event::Sent { socket, result, .. } => match result {
                Ok(_) => self.ring.receive(socket, 0),
                Err(_) => self.close(socket),
            },
            Event::Closed { .. } if self.ring.accepts_armed() < ACCEPTS as usize => self.accept(),
            _ => {}
        }
        Ok(())
    }

    /// Sends the next part when the client's part is complete.
    fn answer(&mut self, socket: Socket, count: usize) {
        let Some(had) = self.open.get_mut(&socket) else { return };
        let before = *had;
        *had += count;
        let (first, second) = (SCRIPT[0], SCRIPT[0] + SCRIPT[2]);
        let reached = |mark: usize| before < mark && *had >= mark;
        if reached(first) {
            self.ring.send(socket, vec![7; SCRIPT[1]], 0, 0);
        } else if reached(second) {
            self.ring.send(socket, vec![7; SCRIPT[3]], 0, 0);
        } else {
            self.ring.receive(socket, 0);
        }
    }

    fn close(&mut self, socket: Socket) {
        self.open.remove(&socket);
        self.ring.close(socket, Close::Reset, 0);
    }
}
