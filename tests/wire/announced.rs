//! An engine that tells its backend of its clients, and a backend that reads what it is told.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_tests::backend::{Backend, Connection};
use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::pki::{Identity, KeyKind, Pki};
use countersign_tests::proxy::Header;

use crate::configured::Configured;

/// An engine that announces its clients to a backend which reads what it is told.
pub(crate) struct Scene {
    pub(crate) configured: Configured,
    pub(crate) backend: Announced,
    pub(crate) address: SocketAddr,
    pub(crate) pki: Pki,
}

impl Scene {
    pub(crate) fn new(identity: impl FnOnce(&Pki) -> IdentitySection, allow: &[&str]) -> Self {
        Self::with(identity, allow, |listener| listener)
    }

    /// With further keys of the listener.
    pub(crate) fn with(
        identity: impl FnOnce(&Pki) -> IdentitySection,
        allow: &[&str],
        further: impl FnOnce(ListenerSection) -> ListenerSection,
    ) -> Self {
        Self::of(Pki::new(KeyKind::EcdsaP256), identity, allow, further)
    }

    /// With a PKI of the test's own.
    pub(crate) fn of(
        pki: Pki,
        identity: impl FnOnce(&Pki) -> IdentitySection,
        allow: &[&str],
        further: impl FnOnce(ListenerSection) -> ListenerSection,
    ) -> Self {
        let backend = Announced::new();
        let address = own_address();
        let listener = ListenerSection::new("door", address)
            .set("upstream", backend.backend.upstream())
            .set("proxy_protocol", "v2")
            .set("allow", allow.to_vec())
            .identity(identity(&pki));
        let configuration = Configuration::new().listener(further(listener));
        let configured = Configured::start(&pki, configuration);
        Self { configured, backend, address, pki }
    }

    /// A client that has not said anything yet, and what the backend was told of it.
    #[track_caller]
    pub(crate) fn tells_of(&self, identity: Option<&Identity>, version: Version) -> (Client, Told) {
        let config = Arc::new(config(&self.pki, identity, version));
        let client = Client::established(self.address, &config);
        (client, self.backend.next())
    }
}

/// What a backend was told of one connection, and what came behind it.
pub(crate) struct Told {
    pub(crate) header: Header,
    pub(crate) raw: Vec<u8>,
    rest: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Told {
    /// All that followed the header.
    #[track_caller]
    pub(crate) fn rest(&self) -> Vec<u8> {
        wait_for("the end of the backend's connection", || {
            self.rest.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }
}

/// A backend that reads a header, and then everything.
pub(crate) struct Announced {
    pub(crate) backend: Backend,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Announced {
    pub(crate) fn new() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let backend = Backend::tcp(move |mut connection: Connection| {
            let (header, raw) = match Header::read(&mut connection) {
                Ok(read) => read,
                Err(error) => panic!("no PROXY header: {error}"),
            };
            let rest = Arc::new(Mutex::new(None));
            let told = Told { header, raw, rest: Arc::clone(&rest) };
            tell.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            let mut bytes = Vec::new();
            drop(connection.read_to_end(&mut bytes));
            *rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        });
        Self { backend, told }
    }

    /// What it was told first and nobody has looked at yet.
    #[track_caller]
    pub(crate) fn next(&self) -> Told {
        wait_for("the backend to be told", || {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            (!told.is_empty()).then(|| told.remove(0))
        })
    }
}

#[track_caller]
pub(crate) fn finish(client: &mut Client) {
    client.close_notify();
    assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
}
