//! The provided buffers: pools for all receives of a ring, so that an idle connection holds none. The
//! kernel takes a buffer when there are bytes to put into it.
//!
//! `IORING_REGISTER_PBUF_RING` (Linux 5.19). One mapping holds the ring of descriptions, which the
//! kernel reads from its head while we write at its tail, and behind it the buffers.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{Submitter, cqueue, types::BufRingEntry};
use rustix::mm::{MapFlags, ProtFlags};

use crate::setup::{BufferPool, Settings, SetupError};

/// Which pool a receive takes its buffer from.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(u16)]
pub(crate) enum Pool {
    Ordinary = 0,
    Large = 1,
}

impl Pool {
    /// The kernel's name for it.
    pub(crate) fn group(self) -> u16 {
        self as u16
    }
}

/// A lease on a buffer that the kernel has filled, or the end of the stream, which fills none.
///
/// The bytes are read through the ring ([`Ring::bytes`](crate::Ring::bytes)); the lease ends with
/// [`Ring::recycle`](crate::Ring::recycle). A lease that is dropped instead takes its buffer out of
/// use for the life of the ring.
#[derive(Debug)]
#[must_use = "a buffer that is not recycled is lost to the ring"]
pub struct Received {
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    ring: u64,
    pool: Pool,
    buffer: u16,
    length: u32,
}

impl Received {
    pub(crate) fn end_of_stream() -> Received {
        Received { lease: None }
    }

    /// How many bytes were received; 0 only at the end of the stream.
    pub fn len(&self) -> usize {
        self.lease.as_ref().map_or(0, |lease| lease.length as usize)
    }

    /// Whether the peer has ended its direction of the stream (FIN).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Both pools of a ring.
pub(crate) struct Pools {
    ordinary: Buffers,
    large: Buffers,
}

impl Pools {
    /// Maps and registers the pools; all buffers are the kernel's.
    pub(crate) fn register(
        submitter: &Submitter<'_>,
        settings: &Settings,
        ring: u64,
    ) -> Result<Pools, SetupError> {
        Ok(Pools {
            ordinary: Buffers::register(submitter, settings.buffers, Pool::Ordinary, ring)?,
            large: Buffers::register(submitter, settings.large_buffers, Pool::Large, ring)?,
        })
    }

    pub(crate) fn of(&self, pool: Pool) -> &Buffers {
        match pool {
            Pool::Ordinary => &self.ordinary,
            Pool::Large => &self.large,
        }
    }

    pub(crate) fn of_mut(&mut self, pool: Pool) -> &mut Buffers {
        match pool {
            Pool::Ordinary => &mut self.ordinary,
            Pool::Large => &mut self.large,
        }
    }

    pub(crate) fn recycle(&mut self, received: Received) {
        if let Some(lease) = received.lease {
            self.of_mut(lease.pool).recycle(&lease);
        }
    }

    pub(crate) fn bytes(&self, received: &Received) -> &[u8] {
        received.lease.as_ref().map_or(&[], |lease| self.of(lease.pool).bytes(lease))
    }
}

/// One pool: the mapping, and whose each buffer is.
pub(crate) struct Buffers {
    pool: Pool,
    mapping: NonNull<c_void>,
    mapping_bytes: usize,
    /// Where the first buffer begins in the mapping, in bytes.
    first_buffer: usize,
    count: u16,
    buffer_bytes: u32,
    /// Ours; the kernel's copy is written with each buffer that is provided.
    tail: u16,
    /// How many buffers are leased out.
    leased: u16,
    /// The identity of the ring. A lease of another ring would name a buffer here that the kernel
    /// may be writing to.
    ring: u64,
}

impl Buffers {
    fn register(
        submitter: &Submitter<'_>,
        size: BufferPool,
        pool: Pool,
        ring: u64,
    ) -> Result<Buffers, SetupError> {
        let BufferPool { count, bytes: buffer_bytes } = size;
        let group = pool.group();
        let page = rustix::param::page_size();
        let first_buffer = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(page);
        let mapping_bytes = first_buffer + usize::from(count) * buffer_bytes as usize;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
        let mapping = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), mapping_bytes, protection, flags)
        }
        .map_err(|source| SetupError::from_os("map the receive buffers", source.into()))?;
        let mapping = NonNull::new(mapping).expect("a mapping is never at address zero");
        let (tail, leased) = (0, 0);
        let mut buffers = Buffers {
            pool,
            mapping,
            mapping_bytes,
            first_buffer,
            count,
            buffer_bytes,
            tail,
            leased,
            ring,
        };
        // SAFETY: the address is page-aligned and `count` descriptions lie at it. They stay mapped
        // until `Buffers` is dropped, and `Ring::drop` keeps the order: unregister, then unmap; or
        // leak both.
        unsafe { submitter.register_buf_ring_with_flags(mapping.as_ptr() as u64, count, group, 0) }
            .map_err(|source| SetupError::from_os("register the receive buffers", source))?;
        (0..count).for_each(|buffer| buffers.provide(buffer));
        Ok(buffers)
    }

    /// The buffer that a completion says the kernel has filled with `length` bytes, if it names one.
    pub(crate) fn lease(&mut self, flags: u32, length: u32) -> Option<Received> {
        let buffer = cqueue::buffer_select(flags)?;
        assert!(buffer < self.count, "the kernel filled a buffer that it was not given");
        self.leased += 1;
        let Buffers { ring, pool, .. } = *self;
        let length = length.min(self.buffer_bytes);
        Some(Received { lease: Some(Lease { ring, pool, buffer, length }) })
    }

    /// Ends a lease, which its caller owns and drops.
    fn recycle(&mut self, lease: &Lease) {
        assert_eq!(lease.ring, self.ring, "a lease was given back to another ring");
        self.leased -= 1;
        self.provide(lease.buffer);
    }

    fn bytes(&self, lease: &Lease) -> &[u8] {
        let (start, length) = self.place(lease);
        // SAFETY: `place` vouches for the range. The buffer is not the kernel's to write while the
        // lease exists: leases cannot be copied, and `Pools::recycle` consumes this one and needs
        // the `&mut self` that the returned borrow excludes.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// How many buffers are not leased out: an upper bound of what the kernel has left.
    pub(crate) fn unleased(&self) -> usize {
        usize::from(self.count - self.leased)
    }

    pub(crate) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Where the bytes of a lease lie, and how many there are: within the mapping, initialized (an
    /// anonymous mapping is zeroed, and the kernel wrote over it).
    fn place(&self, lease: &Lease) -> (*mut u8, usize) {
        assert_eq!(lease.ring, self.ring, "a lease was used with another ring");
        debug_assert_eq!(lease.pool, self.pool);
        (self.address(lease.buffer), lease.length as usize)
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        debug_assert!(buffer < self.count);
        let offset = self.first_buffer + usize::from(buffer) * self.buffer_bytes as usize;
        // SAFETY: `buffer < count` (checked by `lease`, and `register` counts to it), so the
        // offset lies within the mapping, whose size was computed from the same numbers.
        unsafe { self.mapping.as_ptr().cast::<u8>().add(offset) }
    }

    /// Gives a buffer to the kernel.
    fn provide(&mut self, buffer: u16) {
        let entries = self.mapping.as_ptr().cast::<BufRingEntry>();
        let position = usize::from(self.tail & (self.count - 1));
        // SAFETY: `count` is a power of two, so `position < count`, and that many descriptions lie
        // at the start of the mapping.
        let entry = unsafe { entries.add(position) };
        // SAFETY: the description is at or behind the tail, where the kernel does not look until
        // the tail moves: at most `count` buffers exist, and this one was not in the ring. The
        // setters leave the last two bytes alone, which are the kernel's tail in entry 0.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.address(buffer) as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the first description, in mapped and zeroed memory.
        let tail = unsafe { BufRingEntry::tail(entries) }.cast_mut();
        // SAFETY: the address is inside the mapping and aligned (offset 14 of 16); the kernel only
        // reads it, atomically, and we only write it here.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // Release: the kernel must see the description before the tail that uncovers it.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `register` with this size, and nothing points into it:
        // slices borrow `self`, and `Ring::drop` reaches this only when no operation is in flight
        // (else the pool is leaked).
        let unmapped = unsafe { rustix::mm::munmap(self.mapping.as_ptr(), self.mapping_bytes) };
        debug_assert!(unmapped.is_ok(), "the mapping is ours");
    }
}
