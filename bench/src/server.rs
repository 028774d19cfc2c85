//! The engine's side: a listener, and its connections driven as a worker drives them, in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::randomness::WORKER_RANDOM;
use countersign_proto::limits::RECEIVE_BYTES;
use countersign_proto::ticket::{KEY_BYTES_MIN, WORKER_BYTES};
use countersign_proto::{
    Announce, ChainCacheLimits, ClientAuth, Completion, Connection, Desk, Identities, Identity,
    Limits, Listener, Moment, Now, Op, Policy, Resumption, Rule, Side, TicketKey, TicketKeys,
    TlsParameters, UpstreamAddress, Withdrawal,
};
use rustls_pki_types::UnixTime;

use crate::client::{Client, ClientSide};
use crate::pki::Pki;

/// 2025-06-15: certificates of the benches are valid.
pub const NOW: Now = Now {
    moment: Moment::from_nanos(1_000_000_000),
    unix: UnixTime::since_unix_epoch(Duration::from_secs(1_750_000_000)),
};

/// One worker's listener and desk.
pub struct Server {
    listener: Arc<Listener>,
    desk: Desk,
}

/// One connection, with the time that the server spent on it if that is taken.
pub struct Session {
    connection: Connection,
    /// What was sent, for whoever takes it.
    to_client: Vec<u8>,
    to_upstream: Vec<u8>,
    stopwatch: Stopwatch,
}

#[derive(Default)]
struct Stopwatch {
    is_on: bool,
    total: Duration,
}

impl Server {
    /// A server of the engine's defaults that asks for a certificate, lets in every verified client, and
    /// has never seen any. Its identity answers to `names`, and to all others unless there are some.
    ///
    /// # Panics
    /// If the kernel has no memory for stacks.
    #[must_use]
    pub fn new(pki: &Pki, names: &[String]) -> Self {
        let desk =
            Desk::new(&Limits::default(), ChainCacheLimits::default(), 1, 0).expect("stacks");
        Self { listener: Arc::new(listener(pki, names)), desk }
    }

    /// A server that gives every client so many session tickets, and resumes them. Its ticket keys are of no
    /// use to anybody else.
    ///
    /// # Panics
    /// If the kernel has no memory for stacks.
    #[must_use]
    pub fn with_tickets(pki: &Pki, tickets: usize) -> Self {
        let desk =
            Desk::new(&Limits::default(), ChainCacheLimits::default(), 1, 0).expect("stacks");
        let key = TicketKey::new(vec![1; KEY_BYTES_MIN].into()).expect("a key");
        desk.set_ticket_keys(TicketKeys::new(1, &[key], [1; WORKER_BYTES]));
        let resumption = Resumption { tickets, ..Resumption::default() };
        let parameters = TlsParameters { resumption, ..TlsParameters::new(&WORKER_RANDOM) };
        Self { listener: Arc::new(listener_by(pki, &[], &parameters)), desk }
    }

    /// Another that has never seen a client, on this one's stacks: those of a new desk would have to be
    /// faulted in at first, and that would be timed.
    #[must_use]
    pub fn forgetful(&self, pki: &Pki) -> Self {
        self.desk.forget_chains();
        Self { listener: Arc::new(listener(pki, &[])), desk: self.desk.clone() }
    }

    /// Publishes what is served once more: every session is to be asked again.
    pub fn publish(&self) {
        self.desk.publish(vec![Arc::clone(&self.listener)]);
    }

    /// The identities that a client's server name chooses from.
    #[must_use]
    pub fn identities(&self) -> &Identities {
        &self.listener.identities
    }

    /// A connection from `client`.
    #[must_use]
    pub fn accept(&self) -> Session {
        self.session(Stopwatch::default())
    }

    /// As [`Self::accept`], with the time taken.
    #[must_use]
    pub fn accept_timed(&self) -> Session {
        self.session(Stopwatch { is_on: true, total: Duration::ZERO })
    }

    fn session(&self, mut stopwatch: Stopwatch) -> Session {
        let client = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let (listener, desk) = (Arc::clone(&self.listener), self.desk.clone());
        let connection = stopwatch.time(|| Connection::new(listener, desk, client, NOW));
        let mut session =
            Session { connection, to_client: Vec::new(), to_upstream: Vec::new(), stopwatch };
        session.drive();
        session
    }

    /// A whole handshake with `client`, from accept until its bytes are relayed; both of its ends.
    ///
    /// # Panics
    /// If it is not let in.
    #[must_use]
    pub fn shake_hands(&self, client: &Client) -> (Session, ClientSide) {
        Self::shake(self.accept_timed(), client)
    }

    /// As [`Self::shake_hands`], without the time taken.
    ///
    /// # Panics
    /// If it is not let in.
    #[must_use]
    pub fn relay(&self, client: &Client) -> (Session, ClientSide) {
        Self::shake(self.accept(), client)
    }

    fn shake(mut session: Session, client: &Client) -> (Session, ClientSide) {
        let mut far = client.connect();
        session.client_says(&far.say());
        far.hear(&session.take_sent(Side::Client));
        session.client_says(&far.say());
        assert_eq!(session.phase(), "relay", "the client was let in");
        (session, far)
    }
}

impl Session {
    /// What the server has spent: its own calls, and nothing of the client's. Zero where it is not taken.
    #[must_use]
    pub fn server_time(&self) -> Duration {
        self.stopwatch.total
    }

    /// Where the connection stands.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        self.connection.phase()
    }

    /// Asks whether the client would still be let in, if something was published since it was asked last.
    pub fn reconsider(&mut self) -> bool {
        self.connection.handle_publication(NOW)
    }

    /// Bytes arrive from the client, as many at a time as a receive buffer holds.
    pub fn client_says(&mut self, bytes: &[u8]) {
        self.received(Side::Client, bytes);
    }

    /// Bytes arrive from the upstream, likewise.
    pub fn upstream_says(&mut self, bytes: &[u8]) {
        self.received(Side::Upstream, bytes);
    }

    /// What was sent to `side` since it was taken last.
    #[must_use]
    pub fn take_sent(&mut self, side: Side) -> Vec<u8> {
        std::mem::take(self.sent(side))
    }

    /// How much was sent to `side` since this or [`Self::take_sent`] was asked last; drops it.
    pub fn drop_sent(&mut self, side: Side) -> usize {
        let sent = self.sent(side);
        let count = sent.len();
        sent.clear();
        count
    }

    fn sent(&mut self, side: Side) -> &mut Vec<u8> {
        match side {
            Side::Client => &mut self.to_client,
            Side::Upstream => &mut self.to_upstream,
        }
    }

    fn received(&mut self, side: Side, bytes: &[u8]) {
        for chunk in bytes.chunks(RECEIVE_BYTES) {
            self.complete(Completion::Received(side, chunk));
            self.drive();
        }
    }

    /// Does what the connection asks for, until it asks for nothing more.
    fn drive(&mut self) {
        while let Some(op) = self.stopwatch.time(|| self.connection.poll_op()) {
            let completion = match op {
                // Answered when bytes arrive.
                Op::Receive(_) => continue,
                Op::Send(side, mut buffer) => {
                    self.sent(side).extend_from_slice(buffer.remaining());
                    buffer.advance(buffer.remaining().len());
                    Completion::Sent(side, buffer)
                }
                Op::Shutdown(side) => Completion::ShutDown(side),
                Op::Connect(_) => Completion::Connected(Ok(())),
                Op::Close(side, _) => Completion::Closed(side),
                Op::Perform(operation, work) => {
                    let outcome = self.stopwatch.time(|| Box::new(work.perform()));
                    Completion::Performed(operation, outcome)
                }
            };
            self.complete(completion);
        }
        self.stopwatch.time(|| {
            while self.connection.poll_event().is_some() {}
            self.connection.poll_timeout()
        });
    }

    fn complete(&mut self, completion: Completion<'_>) {
        self.stopwatch.time(|| self.connection.handle_completion(NOW, completion));
    }
}

/// Asks for a certificate and lets in every verified client.
fn listener(pki: &Pki, names: &[String]) -> Listener {
    listener_by(pki, names, &TlsParameters::new(&WORKER_RANDOM))
}

fn listener_by(pki: &Pki, names: &[String], parameters: &TlsParameters) -> Listener {
    let identity = Identity::new(
        &pki.server(),
        Some(Arc::new(pki.trust_domain())),
        ClientAuth::Require,
        false,
        parameters,
    );
    let identity = identity.expect("a key and its certificate");
    let address = SocketAddr::from(([127, 0, 0, 1], 8443));
    Listener {
        name: "bench".into(),
        address,
        generation: 1,
        identities: Identities::new(vec![(names.to_vec(), identity)], !names.is_empty()),
        policy: Policy::new(vec![Rule::parse_allow("any-verified").expect("a rule")]),
        shadow: None,
        upstream: UpstreamAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080))),
        announce: Announce::Nothing,
        withdrawal: Withdrawal::default(),
        proxy_from: Vec::new(),
        limits: Limits::default(),
    }
}

impl Stopwatch {
    fn time<T>(&mut self, timed: impl FnOnce() -> T) -> T {
        if !self.is_on {
            return timed();
        }
        let start = Instant::now();
        let result = timed();
        self.total += start.elapsed();
        result
    }
}
