//! What can be in flight, the memory each operation owns, and the submission it becomes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage};

use crate::buffers::Pool;
use crate::closing::Close;
use crate::files::Socket;
use crate::memory::KernelMemory;
use crate::user_data::UserData;

/// An operation and all the memory the kernel may touch on its behalf.
pub(crate) enum Operation {
    Accept {
        tag: u64,
        slot: u32,
        /// Keeps the descriptor's number from being closed and given to another file before the
        /// submission that names it has been read by the kernel.
        listener: Arc<OwnedFd>,
        peer: KernelMemory<PeerAddress>,
    },
    Connect {
        tag: u64,
        socket: Socket,
        address: Box<SockAddr>,
    },
    Receive {
        tag: u64,
        socket: Socket,
        pool: Pool,
        buffer_bytes: u32,
    },
    Send {
        tag: u64,
        socket: Socket,
        bytes: Vec<u8>,
        offset: usize,
    },
    ShutdownWrite {
        tag: u64,
        socket: Socket,
    },
    Cancel {
        target: CancelTarget,
    },
    /// The step before `Close` that makes the peer see the end; see `closing`.
    End {
        socket: Socket,
        manner: Close,
    },
    Close {
        socket: Socket,
    },
    Wake {
        eventfd: Arc<OwnedFd>,
        value: KernelMemory<u64>,
    },
}

/// What a cancellation is aimed at.
#[derive(Copy, Clone)]
pub(crate) enum CancelTarget {
    /// Everything in flight on the socket's slot. Where that is a receive and nothing else the kernel
    /// is told which: it finds that one at once, and for a slot it looks at all that wait (io_uring's
    /// poll table has the user data as its key).
    Socket { socket: Socket, receive: Option<UserData> },
    /// One armed accept.
    Accept(UserData),
}

/// Where the kernel writes the address of an accepted connection's peer.
pub(crate) struct PeerAddress {
    pub(crate) storage: SockAddrStorage,
    pub(crate) length: libc::socklen_t,
}

impl PeerAddress {
    pub(crate) fn empty() -> PeerAddress {
        let storage = SockAddrStorage::zeroed();
        let length = storage.size_of();
        PeerAddress { storage, length }
    }
}

/// `connect(2)` to this address dissolves the association; a TCP connection is reset by it.
static UNSPECIFIED: libc::sockaddr =
    libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };

impl Operation {
    /// The submission for this operation.
    ///
    /// Every address in it lies in memory that `self` owns on the heap (so that it stays put when
    /// `self` is moved into the slab) or in a `static`. This is the one place where addresses are
    /// taken for the kernel; pushing the entry relies on it.
    pub(crate) fn submission(&self) -> squeue::Entry {
        match self {
            Operation::Accept { slot, listener, peer, .. } => accept(*slot, listener, peer),
            Operation::Connect { socket, address, .. } => {
                opcode::Connect::new(fixed(*socket), address.as_ptr().cast(), address.len()).build()
            }
            Operation::Receive { socket, pool, buffer_bytes, .. } => {
                opcode::Recv::new(fixed(*socket), std::ptr::null_mut(), *buffer_bytes)
                    .buf_group(pool.group())
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
            Operation::Send { socket, bytes, offset, .. } => {
                let unsent = &bytes[*offset..];
                // A length above i32::MAX could not be told from an error in the completion.
                let length = unsent.len().min(i32::MAX as usize) as u32;
                opcode::Send::new(fixed(*socket), unsent.as_ptr(), length)
                    .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                    .build()
            }
            Operation::ShutdownWrite { socket, .. } => {
                opcode::Shutdown::new(fixed(*socket), libc::SHUT_WR).build()
            }
            Operation::Cancel { target } => opcode::AsyncCancel2::new(match target {
                CancelTarget::Socket { receive: Some(receive), .. } => {
                    types::CancelBuilder::user_data(receive.to_u64())
                }
                CancelTarget::Socket { socket, receive: None } => {
                    types::CancelBuilder::fd(fixed(*socket)).all()
                }
                CancelTarget::Accept(accept) => types::CancelBuilder::user_data(accept.to_u64()),
            })
            .build(),
            Operation::End { socket, manner: Close::Gracefully } => {
                opcode::Shutdown::new(fixed(*socket), libc::SHUT_RDWR).build()
            }
            Operation::End { socket, manner: Close::Reset } => {
                let length = size_of_val(&UNSPECIFIED) as libc::socklen_t;
                opcode::Connect::new(fixed(*socket), &raw const UNSPECIFIED, length).build()
            }
            Operation::Close { socket } => opcode::Close::new(fixed(*socket)).build(),
            Operation::Wake { eventfd, value } => {
                let eventfd = types::Fd(eventfd.as_raw_fd());
                opcode::Read::new(eventfd, value.as_ptr().cast(), size_of::<u64>() as u32).build()
            }
        }
    }
}

fn fixed(socket: Socket) -> types::Fixed {
    types::Fixed(socket.slot())
}

fn accept(slot: u32, listener: &OwnedFd, peer: &KernelMemory<PeerAddress>) -> squeue::Entry {
    let peer = peer.as_ptr();
    // SAFETY: `peer` points to a live allocation of a `KernelMemory`; `&raw mut` only computes the
    // address of a field of it and makes no reference.
    let storage = unsafe { &raw mut (*peer).storage };
    // SAFETY: as above.
    let length = unsafe { &raw mut (*peer).length };
    let destination = types::DestinationSlot::try_from_slot_target(slot)
        .expect("the table has at most 2^20 slots");
    opcode::Accept::new(types::Fd(listener.as_raw_fd()), storage.cast(), length)
        .file_index(Some(destination))
        .build()
}
