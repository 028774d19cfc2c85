//! Client sockets: local addresses, options, and connecting without waiting.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::failure::Failure;

/// Connections for which one local address has ports enough: the default range holds 28,231.
const CONNECTIONS_OF_ADDRESS: usize = 16_000;

/// Makes the sockets of one runtime.
pub(crate) struct Sockets {
    target: SocketAddr,
    /// 127.0.0.2 and so on; none where the kernel's choice does.
    sources: Vec<SockAddr>,
    next: Cell<usize>,
}

impl Sockets {
    /// For `connections` at one time, of all runtimes together.
    pub(crate) fn new(target: SocketAddr, connections: usize) -> Self {
        let is_loopback = matches!(target.ip(), IpAddr::V4(address) if address.is_loopback());
        let addresses = connections.div_ceil(CONNECTIONS_OF_ADDRESS);
        let sources = if is_loopback && addresses > 1 {
            (0..addresses.min(200) as u8).map(|number| source(number + 2)).collect()
        } else {
            Vec::new()
        };
        Self { target, sources, next: Cell::new(0) }
    }

    /// Where they all connect to.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Begins to connect. The stream blocks (as the ring wants it), though this call did not; the flag tells
    /// whether it is connected already, as on loopback it mostly is.
    pub(crate) fn begin(&self) -> Result<(TcpStream, bool), Failure> {
        let socket = self.socket()?;
        socket.set_nonblocking(true).map_err(|error| Failure::no_socket(&error))?;
        match socket.connect(&self.target.into()) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
            Err(error) => return Err(Failure::connecting(self.target, &error)),
        }
        socket.set_nonblocking(false).map_err(|error| Failure::no_socket(&error))?;
        let connected = socket.peer_addr().is_ok();
        Ok((socket.into(), connected))
    }

    /// Connects and waits for it.
    pub(crate) fn connect(&self, timeout: Duration) -> Result<TcpStream, Failure> {
        let socket = self.socket()?;
        match socket.connect_timeout(&self.target.into(), timeout) {
            Ok(()) => Ok(socket.into()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(Failure::timeout("connecting"))
            }
            Err(error) => Err(Failure::connecting(self.target, &error)),
        }
    }

    fn socket(&self) -> Result<Socket, Failure> {
        self.configured().map_err(|error| Failure::no_socket(&error))
    }

    fn configured(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.target), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        // A close resets: no port waits in TIME_WAIT for the next connection.
        socket.set_linger(Some(Duration::ZERO))?;
        if !self.sources.is_empty() {
            // bind(2) takes a port that no other connection of this address can have; IP_BIND_ADDRESS_NO_PORT
            // would not, but no crate sets it without unsafe code, and the addresses have ports enough.
            let turn = self.next.get();
            self.next.set((turn + 1) % self.sources.len());
            socket.bind(&self.sources[turn])?;
        }
        Ok(socket)
    }
}

fn source(last: u8) -> SockAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()
}
