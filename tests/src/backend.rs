//! Backends behind the engine: each counts its connections and bytes, and tells how each connection ended.
//! That count is how a test knows that a refused client never reached one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::deadline::{PATIENCE, wait_for};
use crate::seeded::{CHUNK_BYTES, Digest, Fingerprint, Source};

/// How the engine ended its side of a backend connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN: the client said that it has said everything.
    Eof,
    /// A reset: something went wrong on the client's side.
    Reset,
    /// Nothing for [`PATIENCE`].
    Silence,
}

/// What one backend connection heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// All bytes that came.
    pub received: Fingerprint,
    /// How they ended.
    pub ending: Ending,
}

/// What a backend has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    connections: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    heard: Mutex<Vec<Heard>>,
}

impl Seen {
    /// Connections accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Bytes received on all connections.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::SeqCst)
    }

    /// Bytes that the sockets of all connections took.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::SeqCst)
    }

    /// Waits until `count` connections have ended, and tells what they heard, in the order of their ends.
    ///
    /// # Panics
    ///
    /// When they do not end.
    #[must_use]
    #[track_caller]
    pub fn wait_for_ended(&self, count: usize) -> Vec<Heard> {
        wait_for("the backend's connections to end", || {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            (heard.len() >= count).then(|| heard.clone())
        })
    }
}

/// A connected socket of either kind.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection from the engine, inside a backend's script.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    seen: Arc<Seen>,
}

impl Connection {
    /// Reads until the engine's side ends, handing each piece to `each`; then says what was heard, here and
    /// to [`Seen::wait_for_ended`].
    pub fn read_all(&mut self, mut each: impl FnMut(&mut Self, &[u8])) -> Heard {
        let mut digest = Digest::default();
        let mut buffer = vec![0; CHUNK_BYTES];
        let ending = loop {
            match self.read(&mut buffer) {
                Ok(0) => break Ending::Eof,
                Ok(length) => {
                    digest.update(&buffer[..length]);
                    each(self, &buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break Ending::Silence;
                }
                Err(_) => break Ending::Reset,
            }
        };
        let heard = Heard { received: digest.finish(), ending };
        self.seen.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard.clone());
        heard
    }

    /// Sends all of `source`, as far as the engine takes it.
    pub fn send(&mut self, mut source: Source) {
        loop {
            let ready = source.ready();
            if ready.is_empty() {
                return;
            }
            match self.write(ready) {
                Ok(length) => source.consume(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The engine has closed; what that means is for the test to say.
                Err(_) => return,
            }
        }
    }

    /// Sends FIN: this side has said everything.
    pub fn shutdown_write(&self) {
        // Fails only where the engine has reset the connection.
        drop(match &self.stream {
            Stream::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Stream::Unix(unix) => unix.shutdown(Shutdown::Write),
        });
    }

    /// Closes with a reset.
    ///
    /// # Panics
    ///
    /// On a unix socket, which has none.
    pub fn reset(self) {
        match self.stream {
            Stream::Tcp(tcp) => crate::client::reset(tcp),
            Stream::Unix(_) => panic!("a unix socket has no reset"),
        }
    }

    /// A second handle on the same connection, for sending and receiving at once.
    ///
    /// # Panics
    ///
    /// When the process is out of descriptors.
    #[must_use]
    pub fn another(&self) -> Self {
        let stream = match &self.stream {
            Stream::Tcp(tcp) => Stream::Tcp(tcp.try_clone().expect("a second handle")),
            Stream::Unix(unix) => Stream::Unix(unix.try_clone().expect("a second handle")),
        };
        Self { stream, seen: Arc::clone(&self.seen) }
    }

    fn prepare(&self) {
        match &self.stream {
            Stream::Tcp(tcp) => {
                tcp.set_nodelay(true).expect("TCP_NODELAY");
                tcp.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
                tcp.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
            }
            Stream::Unix(unix) => {
                unix.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
                unix.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.stream {
            Stream::Tcp(tcp) => tcp.read(buffer),
            Stream::Unix(unix) => unix.read(buffer),
        }?;
        self.seen.received_bytes.fetch_add(length as u64, Ordering::SeqCst);
        Ok(length)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = match &mut self.stream {
            Stream::Tcp(tcp) => tcp.write(bytes),
            Stream::Unix(unix) => unix.write(bytes),
        }?;
        self.seen.sent_bytes.fetch_add(length as u64, Ordering::SeqCst);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A listening backend. Its threads end with its connections; the listener ends with it.
pub struct Backend {
    address: Address,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
}

impl Backend {
    /// A TCP backend on 127.0.0.1 that runs `script` for each connection, on a thread of its own.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn tcp(script: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        Self::run(Address::Tcp(address), script, move || {
            listener.accept().map(|(tcp, _)| Stream::Tcp(tcp))
        })
    }

    /// The same on a unix socket at `path`.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn unix(path: &Path, script: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a listener");
        let address = Address::Unix(path.to_owned());
        Self::run(address, script, move || listener.accept().map(|(unix, _)| Stream::Unix(unix)))
    }

    /// Sends back what it gets, and FIN for FIN.
    #[must_use]
    pub fn echo() -> Self {
        Self::tcp(echo)
    }

    /// Takes everything and says nothing.
    #[must_use]
    pub fn recording() -> Self {
        Self::tcp(|mut connection| drop(connection.read_all(|_, _| {})))
    }

    /// Sends `length` bytes of the stream of `seed`, whatever comes meanwhile, and FIN once the engine has sent its own.
    #[must_use]
    pub fn source(seed: u64, length: u64) -> Self {
        Self::tcp(move |mut connection| {
            let mut sending = connection.another();
            let sender = thread::spawn(move || sending.send(Source::new(seed, length)));
            connection.read_all(|_, _| {});
            drop(sender.join());
        })
    }

    /// What to give `--upstream`.
    #[must_use]
    pub fn upstream(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    fn run(
        address: Address,
        script: impl Fn(Connection) + Send + Sync + 'static,
        mut accept: impl FnMut() -> io::Result<Stream> + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let stop = Arc::new(AtomicBool::new(false));
        let backend = Self { address, seen: Arc::clone(&seen), stop: Arc::clone(&stop) };
        let script = Arc::new(script);
        thread::spawn(move || {
            loop {
                let accepted = accept();
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let stream = accepted.expect("accept");
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let connection = Connection { stream, seen: Arc::clone(&seen) };
                connection.prepare();
                let script = Arc::clone(&script);
                thread::spawn(move || script(connection));
            }
        });
        backend
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One last connection wakes the accepting thread, which then sees that it should stop.
        match &self.address {
            Address::Tcp(address) => drop(TcpStream::connect(address)),
            Address::Unix(path) => drop(UnixStream::connect(path)),
        }
    }
}

/// A script: sends back what it gets, and FIN for FIN.
pub fn echo(mut connection: Connection) {
    connection.read_all(|connection, bytes| drop(connection.write_all(bytes)));
    connection.shutdown_write();
}

/// An address at which nothing listens, held so that nobody else takes it.
pub struct Refusing {
    socket: Socket,
}

impl Refusing {
    /// A reserved port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn new() -> Self {
        Self { socket: bound_socket() }
    }

    /// What to give `--upstream`.
    #[must_use]
    pub fn upstream(&self) -> String {
        address_of(&self.socket).to_string()
    }
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}

/// An address that does not answer: a listener whose backlog is full, so the kernel drops every SYN.
pub struct Unanswering {
    socket: Socket,
    _backlog: Vec<TcpStream>,
}

impl Unanswering {
    /// Listens on 127.0.0.1 and fills its own backlog.
    ///
    /// # Panics
    ///
    /// When the backlog never fills.
    #[must_use]
    pub fn new() -> Self {
        let socket = bound_socket();
        socket.listen(0).expect("listen");
        let mut backlog = Vec::new();
        while let Ok(queued) =
            TcpStream::connect_timeout(&address_of(&socket), Duration::from_millis(500))
        {
            backlog.push(queued);
            assert!(backlog.len() < 64, "a backlog of zero took 64 connections");
        }
        Self { socket, _backlog: backlog }
    }

    /// What to give `--upstream`.
    #[must_use]
    pub fn upstream(&self) -> String {
        address_of(&self.socket).to_string()
    }
}

impl Default for Unanswering {
    fn default() -> Self {
        Self::new()
    }
}

fn bound_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    socket.bind(&any_port).expect("bind");
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().expect("its address").as_socket().expect("an internet address")
}
