//! Plain backends for bulk transfers, as cheap as the kernel lets them be.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::net::{RecvFlags, recv};

use crate::problem::{During, Result};

/// Handed to the kernel at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a backend does with its connections, until their peers end them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    /// Throws away what comes, without copying it (`MSG_TRUNC`, see tcp(7)).
    Sink,
    /// Sends without end.
    Source,
}

/// Serves until it is killed, each connection on a thread of its own.
pub(crate) fn serve(backend: Backend, address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).during(address)?;
    for stream in listener.incoming() {
        let stream = stream.during(address)?;
        thread::spawn(move || match backend {
            Backend::Sink => discard(&stream),
            Backend::Source => send(stream),
        });
    }
    Ok(())
}

fn discard(stream: &TcpStream) {
    let mut buffer = vec![0_u8; CHUNK_BYTES];
    while let Ok((_, 1..)) = recv(stream, &mut buffer[..], RecvFlags::TRUNC) {}
}

fn send(mut stream: TcpStream) {
    let bytes = vec![7; CHUNK_BYTES];
    while stream.write_all(&bytes).is_ok() {}
}
