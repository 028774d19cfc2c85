//! A TLS client driven by hand: rustls over a blocking socket, one flight at a time, so that a test can
//! stop, cut, reset or look at any point, and see the alert and the very end of the stream apart.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;
use socket2::SockRef;

use crate::deadline::PATIENCE;
use crate::pki::{Identity, Pki, SERVER_NAME};
use crate::seeded::{Digest, Fingerprint, Source};

/// The protocol versions the engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    /// Both, newest first.
    pub const ALL: [Self; 2] = [Self::Tls13, Self::Tls12];

    fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

/// A configuration that trusts the PKI's servers, speaks `version` alone and shows `identity`, or no
/// certificate. Resumption is off; a test of resumption turns it on.
#[must_use]
pub fn config(pki: &Pki, identity: Option<&Identity>, version: Version) -> ClientConfig {
    config_with(aws_lc_rs::default_provider(), pki, identity, version)
}

/// Like [`config`], with a provider of the test's own (its suites, its groups).
#[must_use]
pub fn config_with(
    provider: CryptoProvider,
    pki: &Pki,
    identity: Option<&Identity>,
    version: Version,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(pki.server_root.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version.supported()])
        .expect("suites for the version")
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .expect("a client identity"),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config
}

/// How the peer's side of a TLS connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// A close_notify: the peer said that it has said everything.
    CloseNotify,
    /// The stream ended without a close_notify.
    Truncated,
    /// A fatal alert, and what came after it.
    Alert {
        /// `AlertDescription`.
        description: AlertDescription,
        /// The raw stream after the alert.
        then: StreamEnd,
    },
    /// The socket was reset before any alert was read.
    Reset,
    /// The peer broke the protocol.
    Broken(rustls::Error),
    /// Nothing came for [`PATIENCE`]: the peer neither spoke nor closed.
    Silence,
}

impl Ending {
    /// What a refusal must look like: the alert, then a clean end of the stream, no reset ever.
    #[must_use]
    pub fn refused_with(description: AlertDescription) -> Self {
        Self::Alert { description, then: StreamEnd::Eof }
    }
}

/// How the bytes of a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// FIN, and no reset behind it.
    Eof,
    /// A reset, instead of the FIN or after it.
    Reset,
    /// This many bytes more, where nothing was expected, before the FIN.
    MoreBytes(u64),
    /// Neither data nor an end for [`PATIENCE`].
    Silence,
}

/// Connects with a read and write timeout of [`PATIENCE`] and no delay.
///
/// # Panics
///
/// When nobody listens.
#[track_caller]
pub fn dial(address: SocketAddr) -> TcpStream {
    let socket =
        TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    prepare(&socket);
    socket
}

fn prepare(socket: &TcpStream) {
    socket.set_nodelay(true).expect("TCP_NODELAY");
    socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    socket.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
}

/// Closes with a reset: SO_LINGER of zero (socket(7)), then close.
pub fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(socket);
}

/// Reads `socket` to its end, whatever it says.
///
/// A reset that arrives shortly after the FIN counts as a reset: on another kernel, or over a real
/// network, it would have destroyed what was not read yet. The wait for it can only find more failures.
pub fn stream_end(mut socket: &TcpStream) -> StreamEnd {
    const LATE_RESET_WAIT: Duration = Duration::from_millis(50);
    let mut more = 0;
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => more += length as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return StreamEnd::Silence,
            Err(_) => return StreamEnd::Reset,
        }
    }
    thread::sleep(LATE_RESET_WAIT);
    match SockRef::from(socket).take_error() {
        Ok(None) if more == 0 => StreamEnd::Eof,
        Ok(None) => StreamEnd::MoreBytes(more),
        _ => StreamEnd::Reset,
    }
}

/// Reads `socket` to its end and gives what it said, and how it ended.
pub fn read_to_end(mut socket: &TcpStream) -> (Vec<u8>, StreamEnd) {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => (bytes, stream_end(socket)),
        Err(error) if is_timeout(&error) => (bytes, StreamEnd::Silence),
        Err(_) => (bytes, StreamEnd::Reset),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Where a handshake that was allowed only so many bytes stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The budget is spent; the handshake is open.
    Cut,
    /// The client's side of the handshake is complete.
    Finished {
        /// Bytes that the client sent for it.
        sent: usize,
    },
}

/// One connection.
pub struct Client {
    /// The socket below. Reading from it or writing to it directly is how a test breaks the protocol.
    pub socket: TcpStream,
    tls: ClientConnection,
}

impl Client {
    /// A TCP connection to `address`, and TLS state that has said nothing yet.
    ///
    /// # Panics
    ///
    /// When nobody listens.
    #[must_use]
    #[track_caller]
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::over(dial(address), config)
    }

    /// The same, to a server of another name than [`SERVER_NAME`].
    ///
    /// # Panics
    ///
    /// When nobody listens, or it is no name.
    #[must_use]
    #[track_caller]
    pub fn connect_to(server_name: &str, address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::named(server_name, dial(address), config)
    }

    /// TLS state over a socket that is already connected.
    #[must_use]
    pub fn over(socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        Self::named(SERVER_NAME, socket, config)
    }

    fn named(server_name: &str, socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        prepare(&socket);
        let name = ServerName::try_from(server_name.to_owned()).expect("a server name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client connection");
        Self { socket, tls }
    }

    /// A connection whose handshake is complete on this side. A TLS 1.3 server may still refuse it.
    ///
    /// # Panics
    ///
    /// When the handshake fails.
    #[must_use]
    #[track_caller]
    pub fn established(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut client = Self::connect(address, config);
        if let Err(ending) = client.handshake() {
            panic!("the handshake with {address} ended: {ending:?}");
        }
        client
    }

    /// The rustls connection, to ask what was negotiated.
    #[must_use]
    pub fn tls(&self) -> &ClientConnection {
        &self.tls
    }

    /// This side's address: what the engine's log calls `client`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a local address")
    }

    /// Completes this side of the handshake.
    ///
    /// # Errors
    ///
    /// How it ended, where the server ended it.
    pub fn handshake(&mut self) -> Result<(), Ending> {
        match self.handshake_up_to(usize::MAX)? {
            Progress::Finished { .. } => Ok(()),
            Progress::Cut => unreachable!("an endless budget was spent"),
        }
    }

    /// Handshakes until `budget` bytes of this side's stream have been sent, or this side is complete.
    ///
    /// # Errors
    ///
    /// How it ended, where the server ended it.
    pub fn handshake_up_to(&mut self, budget: usize) -> Result<Progress, Ending> {
        let mut sent = 0;
        loop {
            let pending = self.take_pending();
            let allowed = pending.len().min(budget - sent);
            self.write_raw(&pending[..allowed]);
            sent += allowed;
            if sent == budget {
                return Ok(Progress::Cut);
            }
            if !self.tls.is_handshaking() {
                return Ok(Progress::Finished { sent });
            }
            self.read_records()?;
        }
    }

    /// Completes this side of the handshake and gives every byte this side sent for it.
    ///
    /// # Errors
    ///
    /// How it ended, where the server ended it.
    pub fn recorded_handshake(&mut self) -> Result<Vec<u8>, Ending> {
        let mut stream = Vec::new();
        loop {
            let pending = self.take_pending();
            self.write_raw(&pending);
            stream.extend(pending);
            if !self.tls.is_handshaking() {
                return Ok(stream);
            }
            self.read_records()?;
        }
    }

    /// Sends this side's last flight (certificate to Finished) without waiting for an answer to it.
    ///
    /// # Errors
    ///
    /// How it ended, where the server ended it before.
    pub fn send_last_flight(&mut self) -> Result<(), Ending> {
        let mut flights = 0;
        loop {
            let pending = self.take_pending();
            flights += usize::from(!pending.is_empty());
            self.write_raw(&pending);
            // In TLS 1.3 the compatibility CCS may leave as a flight of its own; this side is complete after
            // the last. In TLS 1.2 it waits for the server's Finished after its second flight.
            let tls12_done = flights == 2
                && self.tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2);
            if tls12_done || !self.tls.is_handshaking() {
                return Ok(());
            }
            self.read_records()?;
        }
    }

    /// Reads the socket below TLS to its end, then gives rustls what came: the bytes as they were on the wire, and
    /// what they mean.
    pub fn last_bytes(&mut self) -> (Vec<u8>, Ending) {
        let (bytes, end) = read_to_end(&self.socket);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let taken = self.tls.read_tls(&mut rest).expect("reading from memory");
            match self.tls.process_new_packets() {
                Ok(_) if taken > 0 => {}
                Ok(_) => break,
                Err(rustls::Error::AlertReceived(description)) => {
                    return (bytes, Ending::Alert { description, then: end });
                }
                Err(error) => return (bytes, Ending::Broken(error)),
            }
        }
        let ending = match end {
            StreamEnd::Eof | StreamEnd::MoreBytes(_) => Ending::Truncated,
            StreamEnd::Reset => Ending::Reset,
            StreamEnd::Silence => Ending::Silence,
        };
        (bytes, ending)
    }

    /// What this side wants to send, taken out of rustls.
    #[must_use]
    pub fn take_pending(&mut self) -> Vec<u8> {
        let mut pending = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut pending).expect("writing to memory");
        }
        pending
    }

    /// Writes to the socket below TLS. A server that has closed is found out by reading, not here.
    pub fn write_raw(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes));
    }

    /// Sends application data. A server that has closed is found out by reading, not here.
    pub fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(16 * 1024) {
            self.tls.writer().write_all(piece).expect("room in rustls for one record");
            let records = self.take_pending();
            self.write_raw(&records);
        }
    }

    /// Reads some application data.
    ///
    /// # Errors
    ///
    /// How the server's side ended, where it did.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Ending> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(0) => return Err(Ending::CloseNotify),
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.read_records()?,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(Ending::Truncated);
                }
                Err(error) => panic!("rustls' reader: {error}"),
            }
        }
    }

    /// Reads exactly `length` bytes of application data.
    ///
    /// # Panics
    ///
    /// When the server's side ends before.
    #[track_caller]
    pub fn receive_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.receive(&mut bytes[filled..]) {
                Ok(more) => filled += more,
                Err(ending) => panic!("{filled} of {length} bytes, then {ending:?}"),
            }
        }
        bytes
    }

    /// Reads until the server's side ends: what it still said, and how it ended.
    pub fn ending(&mut self) -> (Vec<u8>, Ending) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.receive(&mut buffer) {
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(ending) => return (bytes, ending),
            }
        }
    }

    /// Reads until the server's side ends and gives only a fingerprint of what it said.
    pub fn fingerprint(&mut self) -> (Fingerprint, Ending) {
        let mut digest = Digest::default();
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.receive(&mut buffer) {
                Ok(length) => digest.update(&buffer[..length]),
                Err(ending) => return (digest.finish(), ending),
            }
        }
    }

    /// Sends a KeyUpdate that asks for one in return.
    ///
    /// # Panics
    ///
    /// In TLS 1.2, which has none.
    pub fn update_keys(&mut self) {
        self.tls.refresh_traffic_keys().expect("TLS 1.3");
        let update = self.take_pending();
        self.write_raw(&update);
    }

    /// Says close_notify and leaves the socket open: this side will send nothing more.
    pub fn close_notify(&mut self) {
        self.tls.send_close_notify();
        let alert = self.take_pending();
        self.write_raw(&alert);
    }

    /// Sends FIN without a close_notify.
    pub fn truncate(&mut self) {
        // Fails only if the server has reset the connection; reading tells that.
        drop(self.socket.shutdown(Shutdown::Write));
    }

    /// Closes with a reset.
    pub fn reset(self) {
        reset(self.socket);
    }

    /// Sends all of `source` and receives until `expected_length` bytes have come, both at once, as fast as the
    /// server takes and gives; then says close_notify.
    ///
    /// # Errors
    ///
    /// How the server's side ended, where it ended early.
    pub fn exchange(
        &mut self,
        mut source: Source,
        expected_length: u64,
    ) -> Result<Fingerprint, Ending> {
        self.socket.set_nonblocking(true).expect("O_NONBLOCK");
        let mut received = Digest::default();
        let mut pending = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while received.length() < expected_length
            || !pending.is_empty()
            || !source.ready().is_empty()
        {
            let wrote = self.push(&mut source, &mut pending);
            let read = self.pull(&mut received, &mut buffer)?;
            if !wrote && !read {
                self.await_readiness(!pending.is_empty())?;
            }
        }
        self.socket.set_nonblocking(false).expect("O_NONBLOCK off");
        self.close_notify();
        Ok(received.finish())
    }

    /// Seals and writes what the socket takes; whether anything moved.
    fn push(&mut self, source: &mut Source, pending: &mut Vec<u8>) -> bool {
        if pending.is_empty() {
            let ready = source.ready();
            let taken = self.tls.writer().write(ready).expect("rustls' own buffer");
            source.consume(taken);
            *pending = self.take_pending();
        }
        match self.socket.write(pending) {
            Ok(length) => {
                pending.drain(..length);
                length > 0
            }
            // A failure shows on the reading side, where the alert is.
            Err(_) => false,
        }
    }

    /// Reads and opens what has come; whether anything moved.
    fn pull(&mut self, received: &mut Digest, buffer: &mut [u8]) -> Result<bool, Ending> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(Ending::Truncated),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(Ending::Reset),
        }
        self.open_records()?;
        loop {
            match self.tls.reader().read(buffer) {
                Ok(0) => return Err(Ending::CloseNotify),
                Ok(length) => received.update(&buffer[..length]),
                Err(_) => return Ok(true),
            }
        }
    }

    fn await_readiness(&self, writable: bool) -> Result<(), Ending> {
        let interest = if writable { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let patience = PATIENCE.try_into().expect("a timespec");
        match poll(&mut [PollFd::new(&self.socket, interest)], Some(&patience)) {
            Ok(0) => Err(Ending::Silence),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => panic!("poll: {error}"),
        }
    }

    /// One read from the socket into rustls, and whatever it means.
    fn read_records(&mut self) -> Result<(), Ending> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) if self.tls.is_handshaking() => Err(Ending::Truncated),
            // EOF: the reader tells whether a close_notify came before.
            Ok(_) => self.open_records(),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if is_timeout(&error) => Err(Ending::Silence),
            Err(_) => Err(Ending::Reset),
        }
    }

    fn open_records(&mut self) -> Result<(), Ending> {
        match self.tls.process_new_packets() {
            Ok(_) => Ok(()),
            Err(rustls::Error::AlertReceived(description)) => {
                self.socket.set_nonblocking(false).expect("O_NONBLOCK off");
                Err(Ending::Alert { description, then: stream_end(&self.socket) })
            }
            Err(error) => {
                let alert = self.take_pending();
                self.write_raw(&alert);
                Err(Ending::Broken(error))
            }
        }
    }
}
