//! The other end: rustls as a client, TLS 1.3 with AES-128-GCM and X25519. Its time is nobody's concern.

use std::io::Write;
use std::sync::Arc;

use countersign_proto::Credentials;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::pki::{Pki, SERVER_NAME};

/// Makes connections with one certificate.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

/// One connection, as bytes.
pub struct ClientSide {
    tls: ClientConnection,
}

impl Client {
    /// A client that shows `credentials`.
    ///
    /// # Panics
    /// If key and certificate do not match.
    #[must_use]
    pub fn new(pki: &Pki, credentials: &Credentials) -> Self {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&TLS13])
            .expect("the suite is of TLS 1.3")
            .with_root_certificates(pki.roots())
            .with_client_auth_cert(
                credentials.chain.clone(),
                credentials.key.software().expect("a key of our own").clone_key(),
            )
            .expect("a key and its certificate");
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config) }
    }

    /// The same client, which offers the sessions that servers give it.
    #[must_use]
    pub fn resuming(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(16);
        Self { config: Arc::new(config) }
    }

    /// Asks for the server's own name.
    #[must_use]
    pub fn connect(&self) -> ClientSide {
        self.connect_to(SERVER_NAME)
    }

    /// Asks for `server_name`.
    ///
    /// # Panics
    /// If that is no DNS name.
    #[must_use]
    pub fn connect_to(&self, server_name: &'static str) -> ClientSide {
        let name = server_name.try_into().expect("a DNS name");
        let mut tls =
            ClientConnection::new(Arc::clone(&self.config), name).expect("a client's connection");
        tls.set_buffer_limit(None);
        ClientSide { tls }
    }
}

impl ClientSide {
    /// What it has to say now.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    pub fn say(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).expect("writing to memory");
        }
        wire
    }

    /// Hears what the server says.
    ///
    /// # Panics
    /// If it does not like it.
    pub fn hear(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            self.tls.read_tls(&mut wire).expect("reading from memory");
            self.tls.process_new_packets().expect("the server speaks TLS");
        }
    }

    /// Was its session resumed?
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Records of application data, each as large as can be.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(plaintext).expect("writing to memory");
        self.say()
    }
}
