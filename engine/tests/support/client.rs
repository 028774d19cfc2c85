//! A TLS client driven by hand over a blocking socket, so that it can stop anywhere.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion,
    RootCertStore,
};
use rustls_pki_types::ServerName;

use super::PATIENCE;
use super::pki::{CLIENT_NAME, PKI, SERVER_NAME};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The ways through a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// RFC 9846, figure 1.
    Tls13,
    /// With a HelloRetryRequest: the client's first share is for a group that the server does not speak.
    Tls13Retried,
    /// RFC 5246.
    Tls12,
}

impl Handshake {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Tls13, Self::Tls13Retried, Self::Tls12];

    fn version(self) -> ProtocolVersion {
        match self {
            Self::Tls13 | Self::Tls13Retried => ProtocolVersion::TLSv1_3,
            Self::Tls12 => ProtocolVersion::TLSv1_2,
        }
    }

    fn kind(self) -> HandshakeKind {
        match self {
            Self::Tls13 | Self::Tls12 => HandshakeKind::Full,
            Self::Tls13Retried => HandshakeKind::FullWithHelloRetryRequest,
        }
    }

    fn config(self) -> Arc<ClientConfig> {
        // A share goes out for the first group only, and the server does not speak MLKEM768 alone.
        let (version, kx_groups) = match self {
            Self::Tls13 => (&TLS13, vec![kx_group::X25519MLKEM768, kx_group::X25519]),
            Self::Tls13Retried => (&TLS13, vec![kx_group::MLKEM768, kx_group::X25519]),
            Self::Tls12 => (&TLS12, vec![kx_group::X25519]),
        };
        let provider = CryptoProvider { kx_groups, ..default_provider() };
        let mut roots = RootCertStore::empty();
        roots.add(PKI.root.clone()).expect("our own root");
        let client = PKI.client.clone();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("versions of this provider")
            .with_root_certificates(roots)
            .with_client_auth_cert(
                client.chain,
                client.key.software().expect("not in a token").clone_key(),
            )
            .expect("our own certificate");
        Arc::new(config)
    }
}

/// How a client leaves without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// With a FIN.
    Fin,
    /// With a RST.
    Reset,
}

impl Leave {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Fin, Self::Reset];
}

/// One connection to the engine.
pub(crate) struct Client {
    handshake: Handshake,
    tls: ClientConnection,
    socket: TcpStream,
    asked: bool,
}

/// What one turn brought.
enum Turn {
    Progress,
    Nothing,
    EndOfStream,
}

impl Client {
    /// Connects and sends a ClientHello.
    pub(crate) fn connect(address: SocketAddr, handshake: Handshake) -> Self {
        let name = ServerName::try_from(SERVER_NAME).expect("a server name");
        let tls = ClientConnection::new(handshake.config(), name).expect("a client");
        let socket = TcpStream::connect(address).expect("a connection to the engine");
        let mut client = Self { handshake, tls, socket, asked: false };
        client.write();
        client
    }

    /// Goes on until `done`, or until the server ends the connection: then `false`.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&ClientConnection) -> bool) -> bool {
        let begin = Instant::now();
        self.read_timeout(Duration::from_millis(2));
        while !done(&self.tls) {
            assert!(begin.elapsed() < PATIENCE, "{:?}: waited in vain", self.handshake);
            if !matches!(self.turn(), Ok(Turn::Progress | Turn::Nothing)) {
                return done(&self.tls);
            }
        }
        true
    }

    /// Completes the handshake, asks who it is, is told, and sees the stream end cleanly.
    pub(crate) fn ask(mut self) {
        let handshake = self.handshake;
        self.read_timeout(PATIENCE);
        let mut answer = Vec::new();
        loop {
            self.request();
            match self.turn() {
                Ok(Turn::Progress) => {}
                Ok(Turn::Nothing) => panic!("{handshake:?}: no answer within {PATIENCE:?}"),
                // What the reader makes of it is looked at below.
                Ok(Turn::EndOfStream) => {}
                Err(error) => panic!("{handshake:?}: {error}"),
            }
            match self.tls.reader().read_to_end(&mut answer) {
                Ok(_close_notify) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{handshake:?}: {error} after {} bytes", answer.len()),
            }
        }
        assert_eq!(self.tls.protocol_version(), Some(handshake.version()));
        assert_eq!(self.tls.handshake_kind(), Some(handshake.kind()));
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let facts: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(facts["client"]["common_name"], CLIENT_NAME, "{facts}");
    }

    /// Is refused: gives the fatal alert, after which the stream ended; it was not reset.
    pub(crate) fn refusal(mut self) -> AlertDescription {
        let handshake = self.handshake;
        self.read_timeout(PATIENCE);
        let alert = loop {
            // A client that believes to be done sends at once: input that nobody will read.
            self.request();
            match self.turn() {
                Ok(Turn::Progress) => {}
                Ok(Turn::Nothing) => panic!("{handshake:?}: no alert within {PATIENCE:?}"),
                Ok(Turn::EndOfStream) => panic!("{handshake:?}: the end without an alert"),
                Err(Error::AlertReceived(alert)) => break alert,
                Err(error) => panic!("{handshake:?}: {error} instead of an alert"),
            }
        };
        let mut rest = Vec::new();
        let end = self.socket.read_to_end(&mut rest);
        assert_eq!(end.expect("the end of the stream, no reset"), 0, "bytes after the alert");
        alert
    }

    /// Goes away, whatever was under way.
    pub(crate) fn leave(self, how: Leave) {
        match how {
            Leave::Fin => self.socket.shutdown(Shutdown::Both).expect("a connected socket"),
            Leave::Reset => {
                rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))
                    .expect("SO_LINGER");
            }
        }
    }

    /// Asks, as soon as the handshake is complete as far as the client knows.
    fn request(&mut self) {
        if !self.asked && !self.tls.is_handshaking() {
            self.asked = true;
            self.tls.writer().write_all(REQUEST).expect("room for a request");
        }
    }

    /// Sends what there is to send, then reads once.
    fn turn(&mut self) -> Result<Turn, Error> {
        self.write();
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => Ok(Turn::EndOfStream),
            Ok(_) => self.tls.process_new_packets().map(|_| Turn::Progress),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(Turn::Nothing)
            }
            Err(error) => panic!("{:?}: {error}", self.handshake),
        }
    }

    fn write(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket).expect("a server that reads");
        }
    }

    fn read_timeout(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).expect("SO_RCVTIMEO");
    }
}
