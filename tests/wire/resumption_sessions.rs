//! A client's sessions, kept so that a test can offer them where a client of good manners would not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::http::{GET_AND_CLOSE, names, read_response};
use countersign_tests::pki::{Identity, Pki, SERVER_NAME};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup};

/// The metric that counts why tickets were declined.
pub(crate) const DECLINED: &str = "countersign_tickets_declined_total";

/// A client with a store of sessions: it offers the session that it saved last to whomever it talks to.
pub(crate) struct Visitor {
    config: Arc<ClientConfig>,
    sessions: Arc<Sessions>,
}

/// What a visit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    /// Did the server resume?
    pub(crate) resumed: bool,
    /// TLS 1.3 tickets that it sent.
    pub(crate) tickets: u32,
    /// The client's address: what the log knows it by.
    pub(crate) client: SocketAddr,
}

impl Visitor {
    pub(crate) fn new(pki: &Pki, identity: Option<&Identity>, version: Version) -> Self {
        Self::with(config(pki, identity, version))
    }

    pub(crate) fn with(mut config: ClientConfig) -> Self {
        let sessions = Arc::new(Sessions::default());
        config.resumption = Resumption::store(Arc::<Sessions>::clone(&sessions))
            .tls12_resumption(Tls12Resumption::SessionIdOrTickets);
        Self { config: Arc::new(config), sessions }
    }

    /// Asks the built-in upstream who it is, offering the session that was saved last.
    ///
    /// # Errors
    ///
    /// How it ended, where it was not let in.
    pub(crate) fn visit(&self, address: SocketAddr) -> Result<Visit, Ending> {
        self.visit_as(SERVER_NAME, address)
    }

    /// The same, for another server name.
    pub(crate) fn visit_as(&self, name: &str, address: SocketAddr) -> Result<Visit, Ending> {
        let mut client = Client::connect_to(name, address, &self.config);
        let local = client.address();
        client.handshake()?;
        client.send(GET_AND_CLOSE);
        let answer = read_response(&mut client)?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let (rest, ending) = client.ending();
        assert_eq!((rest.len(), &ending), (0, &Ending::CloseNotify));
        client.close_notify();
        let resumed = client.tls().handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Visit { resumed, tickets: client.tls().tls13_tickets_received(), client: local })
    }

    /// A visit that must be let in; whether it was resumed.
    #[track_caller]
    pub(crate) fn resumes(&self, address: SocketAddr) -> bool {
        self.resumes_as(SERVER_NAME, address)
    }

    #[track_caller]
    pub(crate) fn resumes_as(&self, name: &str, address: SocketAddr) -> bool {
        match self.visit_as(name, address) {
            Ok(visit) => visit.resumed,
            Err(ending) => panic!("{name} at {address} did not let it in: {ending:?}"),
        }
    }

    /// Takes out what is saved now, to be put back with [`Self::restore`].
    pub(crate) fn saved(&self) -> Saved {
        std::mem::take(&mut *self.sessions.saved())
    }

    /// Only one session of `saved` is offered from now on, until another is saved.
    #[track_caller]
    pub(crate) fn restore(&self, saved: &mut Saved) {
        let one =
            Saved { tls12: saved.tls12.clone(), tls13: saved.tls13.pop().into_iter().collect() };
        assert!(one.tls12.is_some() || !one.tls13.is_empty(), "nothing is left to offer");
        *self.sessions.saved() = one;
    }
}

/// Asserts that the built-in upstream takes the client for `name`.
#[track_caller]
pub(crate) fn is_taken_for(visitor: &Visitor, address: SocketAddr, name: &str) {
    let mut client = Client::established(address, &visitor.config);
    client.send(GET_AND_CLOSE);
    let answer = read_response(&mut client).expect("an answer").json();
    assert!(names(&answer, name), "{answer}");
    client.ending();
    client.close_notify();
}

/// The sessions saved last. A TLS 1.3 ticket is offered once, that of TLS 1.2 again and again.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
}

/// Offers what was saved last, to whomever. Remembers no groups, so that a server that
/// wants another than the first is always met with a HelloRetryRequest.
#[derive(Debug, Default)]
struct Sessions(Mutex<Saved>);

impl Sessions {
    fn saved(&self) -> std::sync::MutexGuard<'_, Saved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.saved().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.saved().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.saved().tls13.push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.saved().tls13.pop()
    }
}
