//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// How a [`Listener`] is made.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct ListenOptions {
    /// `SO_REUSEPORT`: each worker has a listener of its own on the same address, and the kernel
    /// spreads connections over them.
    pub reuse_port: bool,
    /// How many connections the kernel completes ahead of their accept; it lowers this to
    /// `net.core.somaxconn`.
    pub backlog: u32,
    /// How long an address that is in use is tried again. An exiting process holds its address for
    /// 5 to 9 ms after its last thread is gone.
    pub retry_in_use: Duration,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { reuse_port: true, backlog: 4096, retry_in_use: Duration::from_secs(1) }
    }
}

/// A listening TCP socket, to be armed with [`Ring::accept`](crate::Ring::accept).
///
/// It can be made on one thread and used on another. Closing one of several that share an address
/// resets the connections queued on it, so let it live through a reload. An armed accept keeps the
/// socket open after its `Listener` is dropped: cancel the accepts first.
#[derive(Debug)]
pub struct Listener {
    descriptor: Arc<OwnedFd>,
}

/// How long to wait between two tries for an address in use.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

impl Listener {
    /// Binds and listens. Port 0 lets the kernel choose; see [`Listener::local_addr`].
    ///
    /// Accepted connections inherit `TCP_NODELAY`. Whether an IPv6 address takes IPv4 too is left
    /// to `net.ipv6.bindv6only`.
    ///
    /// # Errors
    ///
    /// What `socket(2)`, `bind(2)` and `listen(2)` say; `EADDRINUSE` only after
    /// [`ListenOptions::retry_in_use`]. Blocks for at most that long.
    pub fn bind(address: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        let begun = Instant::now();
        loop {
            match listen(address, options) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse
                        && begun.elapsed() < options.retry_in_use =>
                {
                    std::thread::sleep(RETRY_INTERVAL);
                }
                result => return result.map(Listener::from_socket),
            }
        }
    }

    /// Adopts a socket that listens already, such as one handed over by the process before or by
    /// systemd (`LISTEN_FDS`). Whether it is non-blocking makes no difference to the ring, and is
    /// left as it is.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not a listening TCP socket, or what the system says about it.
    pub fn from_fd(descriptor: OwnedFd) -> io::Result<Listener> {
        let socket = Socket::from(descriptor);
        let is_ip = matches!(socket.local_addr()?.domain(), Domain::IPV4 | Domain::IPV6);
        if !is_ip || socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        socket.set_tcp_nodelay(true)?;
        Ok(Listener::from_socket(socket))
    }

    /// The address it listens on, with the port that the kernel chose for port 0.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = SockRef::from(&*self.descriptor).local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
    }

    fn from_socket(socket: Socket) -> Listener {
        Listener { descriptor: Arc::new(OwnedFd::from(socket)) }
    }

    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.descriptor)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}
