//! Real handshakes in memory, by rustls, with the engine's own server configuration.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{Accepted, Acceptor, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::DefaultTimeProvider;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite};

use super::Forger;
use crate::record::traffic::TrafficRecords;
use crate::record::{RecordLayer, RustlsRecords};
use crate::tls::{
    Arrival, ClientAuth, ClientHello, Credentials, Identity, TlsParameters, TlsVersion,
};

/// A cipher suite and its version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite(pub(super) SupportedCipherSuite);

/// One of every AEAD in both versions.
pub(super) const SUITES: [Suite; 6] = [
    Suite(cipher_suite::TLS13_AES_128_GCM_SHA256),
    Suite(cipher_suite::TLS13_AES_256_GCM_SHA384),
    Suite(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    Suite(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    Suite(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    Suite(cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

impl Suite {
    pub(super) fn version(self) -> TlsVersion {
        match self.0 {
            SupportedCipherSuite::Tls13(_) => TlsVersion::Tls13,
            SupportedCipherSuite::Tls12(_) => TlsVersion::Tls12,
        }
    }

    pub(super) fn is_tls13(self) -> bool {
        self.version() == TlsVersion::Tls13
    }
}

/// A client and a server who will agree on one suite, as often as they are asked to.
pub(super) struct Peers {
    suite: Suite,
    client: Arc<ClientConfig>,
    server: Identity,
    resolver: Arc<dyn ResolvesServerCert>,
}

/// Bytes under way in one direction.
type Wire = Vec<u8>;

impl Peers {
    pub(super) fn new(suite: Suite) -> Self {
        let key = rcgen::KeyPair::generate().expect("a P-256 key");
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .and_then(|parameters| parameters.self_signed(&key))
            .expect("a certificate");
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: vec![suite.0],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut parameters = TlsParameters::new(provider.secure_random);
        parameters.suites = vec![suite.0];
        parameters.versions = vec![suite.version()];
        parameters.groups = vec![kx_group::X25519];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = any_supported_type(&key).expect("a key that signs");
        let credentials = Credentials { chain: vec![certificate.der().clone()], key: key.into() };
        let server = Identity::new(&credentials, None, ClientAuth::None, true, &parameters)
            .expect("a server's identity");
        let certified = CertifiedKey::new(credentials.chain, signer);
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[match suite.version() {
                TlsVersion::Tls13 => &rustls::version::TLS13,
                TlsVersion::Tls12 => &rustls::version::TLS12,
            }])
            .expect("suite and version go together")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Self { suite, client: Arc::new(client), server, resolver }
    }

    /// rustls' buffered client and our server.
    pub(super) fn rustls_and_ours(&self) -> (ClientConnection, TrafficRecords) {
        let name = "localhost".try_into().expect("a name");
        let mut client = ClientConnection::new(Arc::clone(&self.client), name).expect("a client");
        let (mut up, mut down) = (Wire::new(), Wire::new());
        client.write_tls(&mut up).expect("memory");
        let mut server = self.unbuffered_server(&up);
        while !step_server(&mut server, &mut up, &mut down) || client.is_handshaking() {
            client.read_tls(&mut &*std::mem::take(&mut down)).expect("memory");
            client.process_new_packets().expect("a handshake");
            while client.wants_write() {
                client.write_tls(&mut up).expect("memory");
            }
        }
        (client, self.ours(server))
    }

    /// A client that can send anything, and our server.
    pub(super) fn forger_and_ours(&self) -> (Forger, TrafficRecords) {
        let (mut up, mut down) = (Wire::new(), Wire::new());
        let mut client = self.unbuffered_client();
        step_client(&mut client, &mut down, &mut up);
        let mut server = self.unbuffered_server(&up);
        loop {
            let server_done = step_server(&mut server, &mut up, &mut down);
            let client_done = step_client(&mut client, &mut down, &mut up);
            if server_done && client_done && up.is_empty() {
                break;
            }
        }
        (self.forger(client), self.ours(server))
    }

    /// The same client, and rustls' own records.
    pub(super) fn forger_and_rustls(&self) -> (Forger, RustlsRecords) {
        let (mut up, mut down) = (Wire::new(), Wire::new());
        let mut client = self.unbuffered_client();
        step_client(&mut client, &mut down, &mut up);
        let (accepted, config) = self.accept(&up);
        up.clear();
        let Ok(mut server) = accepted.into_connection(config) else { panic!("no server") };
        loop {
            while server.wants_write() {
                server.write_tls(&mut down).expect("memory");
            }
            let client_done = step_client(&mut client, &mut down, &mut up);
            server.read_tls(&mut &*std::mem::take(&mut up)).expect("memory");
            server.process_new_packets().expect("a handshake");
            if client_done && !server.is_handshaking() && !server.wants_write() {
                break;
            }
        }
        (self.forger(client), RustlsRecords::new(Box::new(server)))
    }

    fn unbuffered_client(&self) -> UnbufferedClientConnection {
        let name = "localhost".try_into().expect("a name");
        UnbufferedClientConnection::new(Arc::clone(&self.client), name).expect("a client")
    }

    fn unbuffered_server(&self, hello: &[u8]) -> UnbufferedServerConnection {
        UnbufferedServerConnection::new(self.accept(hello).1).expect("a server")
    }

    /// The engine's configuration for this ClientHello, with the clock of the world.
    fn accept(&self, hello: &[u8]) -> (Accepted, Arc<ServerConfig>) {
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut { hello }).expect("memory");
        let accepted = acceptor.accept().ok().flatten().expect("a ClientHello");
        let Arrival::Whole(message) = Arrival::of(hello) else { panic!("a part of a hello") };
        let hello = ClientHello::read(&message).expect("a ClientHello");
        let mut config = ServerConfig::clone(&self.server.config_for(&hello));
        // The engine's own ask the connection whose step runs: here there is none.
        config.cert_resolver = Arc::clone(&self.resolver);
        config.time_provider = Arc::new(DefaultTimeProvider);
        (accepted, Arc::new(config))
    }

    fn ours(&self, server: UnbufferedServerConnection) -> TrafficRecords {
        let (secrets, kernel) = server.dangerous_into_kernel_connection().expect("secrets");
        TrafficRecords::new(self.suite.version(), secrets, Some(Box::new(kernel)))
            .map_err(|error| error.detail)
            .expect("traffic")
    }

    fn forger(&self, client: UnbufferedClientConnection) -> Forger {
        let (secrets, kernel) = client.dangerous_into_kernel_connection().expect("secrets");
        Forger::new(self.suite.version(), secrets, Box::new(kernel))
    }
}

/// A layer of ours at both ends: the client's end, and the server's.
pub(super) fn ours_and_ours(suite: Suite) -> (TrafficRecords, TrafficRecords) {
    let (forger, server) = Peers::new(suite).forger_and_ours();
    (forger.into_records(), server)
}

/// Whatever stands behind the seam.
pub(super) fn boxed(records: impl RecordLayer + 'static) -> Box<dyn RecordLayer> {
    Box::new(records)
}

macro_rules! step {
    ($name:ident, $connection:ty) => {
        /// Takes what came, gives what is to be sent; whether the handshake is over.
        fn $name(connection: &mut $connection, incoming: &mut Wire, outgoing: &mut Wire) -> bool {
            loop {
                let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
                let done = match state.expect("a handshake") {
                    ConnectionState::EncodeTlsData(mut data) => {
                        let mut buffer = vec![0; 20_000];
                        let length = data.encode(&mut buffer).expect("room");
                        outgoing.extend_from_slice(&buffer[..length]);
                        None
                    }
                    ConnectionState::TransmitTlsData(data) => {
                        data.done();
                        None
                    }
                    ConnectionState::WriteTraffic(_) => Some(true),
                    ConnectionState::BlockedHandshake => Some(false),
                    other => panic!("{other:?}"),
                };
                incoming.drain(..discard);
                if let Some(done) = done {
                    return done;
                }
            }
        }
    };
}

step!(step_client, UnbufferedClientConnection);
step!(step_server, UnbufferedServerConnection);
