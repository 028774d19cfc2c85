//! One connection of the engine, driven in memory as a worker drives it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use countersign_proto::limits::RECEIVE_BYTES;
use countersign_proto::ticket::{KEY_BYTES_MIN, WORKER_BYTES};
use countersign_proto::{
    Announce, Blame, ChainCacheLimits, ClientAuth, Completion, Connection, Desk, Event, Identities,
    Identity, Limits, Listener, Moment, Now, Op, Policy, Resumption, Rule, Side, TicketKey,
    TicketKeys, TlsParameters, UpstreamAddress, Withdrawal,
};
use rustls::crypto::{GetRandomFailed, SecureRandom};
use rustls_pki_types::UnixTime;

use crate::outcome::note;
use crate::pki::{NOW_SECONDS, Pki, SERVER_NAME};

/// More operations than any connection has that ends.
const OPERATIONS_MAX: usize = 100_000;

#[derive(Debug)]
struct Randomness;

impl SecureRandom for Randomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        rand::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// One worker with one listener: two server names, every verified client let in, tickets.
pub(crate) struct Worker {
    pki: Pki,
    listener: Arc<Listener>,
    desk: Desk,
}

impl Worker {
    pub(crate) fn new() -> Self {
        let mut pki = Pki::new();
        let limits = Limits { signing_suspensions: 4, lookup_suspensions: 4, ..Limits::default() };
        let desk = Desk::new(&limits, ChainCacheLimits::default(), 1, 0).expect("stacks");
        let key = TicketKey::new(vec![1; KEY_BYTES_MIN].into()).expect("a key");
        desk.set_ticket_keys(TicketKeys::new(1, &[key], [1; WORKER_BYTES]));
        let resumption = Resumption::default();
        let parameters = TlsParameters { resumption, ..TlsParameters::new(&Randomness) };
        let server = pki.issue(SERVER_NAME, rcgen::ExtendedKeyUsagePurpose::ServerAuth);
        let identity = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
            let domain = Some(Arc::new(pki.trust_domain()));
            let auth = ClientAuth::Require;
            let identity =
                Identity::new(&pki.credentials(&server), domain, auth, false, &parameters);
            (names, identity.expect("a key and its certificate"))
        };
        let listener = Listener {
            name: "door".into(),
            address: SocketAddr::from(([127, 0, 0, 1], 8443)),
            generation: 1,
            identities: Identities::new(
                vec![identity(&[SERVER_NAME]), identity(&["*.other.example"])],
                false,
            ),
            policy: Policy::new(vec![Rule::parse_allow("any-verified").expect("a rule")]),
            shadow: None,
            upstream: UpstreamAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080))),
            announce: Announce::Nothing,
            withdrawal: Withdrawal::default(),
            proxy_from: Vec::new(),
            limits,
        };
        Self { pki, listener: Arc::new(listener), desk }
    }

    pub(crate) fn pki(&mut self) -> &mut Pki {
        &mut self.pki
    }

    pub(crate) fn accept(&self) -> Session {
        let now = Now {
            moment: Moment::from_nanos(1_000_000_000),
            unix: UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECONDS)),
        };
        let client = SocketAddr::from(([192, 0, 2, 7], 50_000));
        let desk = self.desk.clone();
        let connection = Connection::new(Arc::clone(&self.listener), desk, client, now);
        let mut session = Session {
            connection,
            desk: self.desk.clone(),
            now,
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            was_let_in: false,
            has_dialled: false,
            receives: Vec::new(),
            endings: Vec::new(),
        };
        session.drive();
        session
    }
}

/// One connection.
pub(crate) struct Session {
    connection: Connection,
    desk: Desk,
    now: Now,
    /// What was sent and not taken yet.
    pub(crate) to_client: Vec<u8>,
    pub(crate) to_upstream: Vec<u8>,
    /// The client has been let in.
    pub(crate) was_let_in: bool,
    has_dialled: bool,
    /// Who is listened to.
    receives: Vec<Side>,
    endings: Vec<String>,
}

impl Session {
    pub(crate) fn phase(&self) -> &'static str {
        self.connection.phase()
    }

    /// Bytes arrive, so many at a time, for as long as anybody listens.
    pub(crate) fn receive(&mut self, side: Side, bytes: &[u8], at_a_time: usize) {
        for chunk in bytes.chunks(at_a_time.clamp(1, RECEIVE_BYTES)) {
            self.arrive(side, chunk);
        }
    }

    fn arrive(&mut self, side: Side, bytes: &[u8]) {
        if self.receives.contains(&side) {
            self.receives.retain(|listening| *listening != side);
            self.complete(Completion::Received(side, bytes));
            self.drive();
        }
    }

    /// Both sides have said everything; time passes until the connection is over. Gives why it ended.
    ///
    /// # Panics
    /// If it does not end, or holds something beyond its end.
    pub(crate) fn end(mut self) -> String {
        self.arrive(Side::Client, &[]);
        self.arrive(Side::Upstream, &[]);
        let mut timers = 0;
        while let Some(moment) = self.connection.poll_timeout() {
            timers += 1;
            assert!(timers < OPERATIONS_MAX, "timers without an end in {}", self.phase());
            self.now.moment = self.now.moment.max(moment);
            self.connection.handle_timeout(self.now);
            self.drive();
        }
        assert_eq!(self.endings.len(), 1, "one end: {:?} in {}", self.endings, self.phase());
        let desk = self.desk.clone();
        let ending = self.endings.remove(0);
        drop(self);
        assert_eq!((desk.stacks_in_use(), desk.drains()), (0, 0), "what is held after the end");
        assert_eq!((desk.signing_suspensions(), desk.lookup_suspensions()), (0, 0));
        ending
    }

    /// Does what the connection asks for, until it asks for nothing more.
    fn drive(&mut self) {
        let mut operations = 0;
        while let Some(op) = self.connection.poll_op() {
            operations += 1;
            assert!(operations < OPERATIONS_MAX, "operations without an end in {}", self.phase());
            let completion = match op {
                // Answered when bytes arrive.
                Op::Receive(side) => {
                    assert!(!self.receives.contains(&side), "two receives from {side:?}");
                    self.receives.push(side);
                    continue;
                }
                Op::Send(side, mut buffer) => {
                    let sent = match side {
                        Side::Client => &mut self.to_client,
                        Side::Upstream => &mut self.to_upstream,
                    };
                    sent.extend_from_slice(buffer.remaining());
                    buffer.advance(buffer.remaining().len());
                    Completion::Sent(side, buffer)
                }
                Op::Shutdown(side) => Completion::ShutDown(side),
                Op::Connect(_) => {
                    self.has_dialled = true;
                    Completion::Connected(Ok(()))
                }
                Op::Close(side, _) => {
                    self.receives.retain(|listening| *listening != side);
                    Completion::Closed(side)
                }
                Op::Perform(operation, work) => {
                    Completion::Performed(operation, Box::new(work.perform()))
                }
            };
            self.complete(completion);
        }
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Established { .. } => self.was_let_in = true,
                Event::Ticket(event) => note(format_args!("{event:?}")),
                Event::Ended(report) => {
                    assert!(report.allowed || !self.has_dialled, "dialled for nobody");
                    assert!(report.allowed || self.to_upstream.is_empty(), "said for nobody");
                    // A panic in a handshake step ends only its connection, and would not be seen from here.
                    let detail = report.detail.as_deref().unwrap_or_default();
                    let is_bug = report.reason.is_some_and(|reason| reason.blame() == Blame::Bug);
                    assert!(!is_bug, "{:?}: {detail}", report.reason);
                    let reason = report.reason.map_or("clean", |reason| reason.label());
                    self.endings.push(format!("{reason} {}", report.detail.unwrap_or_default()));
                }
                _ => {}
            }
        }
    }

    fn complete(&mut self, completion: Completion<'_>) {
        self.connection.handle_completion(self.now, completion);
    }
}
