//! The stacks of one worker: one mapping, cut into slots of a guard and a stack each.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::rc::Rc;

use corosensei::stack::{Stack, StackPointer};

/// Usable bytes of one stack.
///
/// Measured need: 26 KiB with X25519MLKEM768, 20 KiB with RSA-4096 or P-384. ML-DSA verification
/// (74 KiB) is not offered by the engine.
pub const STACK_BYTES: usize = 128 * 1024;

/// Bytes of the guard below each stack: as large as the stack, so that no single C frame known to us
/// (69 KiB at most) can jump over it.
const GUARD_BYTES: usize = 128 * 1024;

const SLOT_BYTES: usize = GUARD_BYTES + STACK_BYTES;

/// `MADV_GUARD_INSTALL`, Linux 6.13: guard pages without a mapping of their own.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// How the guards were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` (Linux 6.13): costs no mapping.
    Advice,
    /// `mprotect`: splits the mapping, two kernel mappings a stack.
    Protection,
}

/// Why the stacks of a worker could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The mapping itself failed.
    #[error("cannot map {bytes} bytes for {count} handshake stacks: {source}")]
    Map {
        /// Stacks asked for.
        count: usize,
        /// Bytes asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// A guard could not be made; a stack without one is not used.
    #[error("cannot guard a handshake stack: {0}")]
    Guard(io::Error),
    /// Guards by `mprotect` would take more mappings than a third of `vm.max_map_count`.
    #[error(
        "{count} handshake stacks need {needed} memory mappings on this kernel (no MADV_GUARD_INSTALL before Linux 6.13), more than a third of vm.max_map_count ({limit}); raise vm.max_map_count or lower the number of stacks or workers"
    )]
    Mappings {
        /// Stacks asked for.
        count: usize,
        /// Mappings they need.
        needed: usize,
        /// `vm.max_map_count`.
        limit: usize,
    },
}

/// A worker's pool of stacks. Cloning gives another handle to the same pool.
#[derive(Clone)]
pub struct Stacks {
    pool: Rc<Pool>,
}

struct Pool {
    mapping: NonNull<u8>,
    bytes: usize,
    count: usize,
    guards: GuardKind,
    free: RefCell<Vec<u32>>,
}

impl Stacks {
    /// Maps `count` stacks of [`STACK_BYTES`] each, guarded from below, for a process that will have
    /// `pools` such pools. Memory is touched, and so used, only when a stack is.
    ///
    /// # Errors
    /// See [`StackError`].
    pub fn new(count: usize, pools: usize) -> Result<Self, StackError> {
        Self::with_guards(count, pools, None)
    }

    fn with_guards(
        count: usize,
        pools: usize,
        forced: Option<GuardKind>,
    ) -> Result<Self, StackError> {
        assert!(count > 0 && count < u32::MAX as usize);
        let bytes = count * SLOT_BYTES;
        let map_error = |source| StackError::Map { count, bytes, source };
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
        // memory of ours. The result is checked against MAP_FAILED before it is used.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(map_error(io::Error::last_os_error()));
        }
        let mapping = NonNull::new(address.cast::<u8>())
            .ok_or_else(|| map_error(io::Error::from(io::ErrorKind::OutOfMemory)))?;
        // From here on `Pool::drop` unmaps, whatever fails.
        let mut pool = Pool {
            mapping,
            bytes,
            count,
            guards: GuardKind::Advice,
            free: RefCell::new((0..count as u32).rev().collect()),
        };
        pool.guards = pool.install_guards(pools, forced)?;
        Ok(Self { pool: Rc::new(pool) })
    }

    /// How many stacks there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pool.count
    }

    /// How many stacks are taken now: by the step that runs and by every suspended one.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.pool.count - self.pool.free.borrow().len()
    }

    /// How the guards below the stacks were made.
    #[must_use]
    pub fn guard_kind(&self) -> GuardKind {
        self.pool.guards
    }

    pub(crate) fn take(&self) -> Option<PooledStack> {
        let slot = self.pool.free.borrow_mut().pop()?;
        Some(PooledStack { pool: Rc::clone(&self.pool), slot })
    }
}

impl Pool {
    fn install_guards(
        &self,
        pools: usize,
        forced: Option<GuardKind>,
    ) -> Result<GuardKind, StackError> {
        if forced != Some(GuardKind::Protection) {
            match self.advise_guards() {
                Ok(()) => return Ok(GuardKind::Advice),
                // EINVAL is how a kernel before 6.13 says that it does not know the advice.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(StackError::Guard(error)),
            }
        }
        let limit = max_map_count();
        let needed = 2 * self.count * pools;
        if needed > limit / 3 {
            return Err(StackError::Mappings { count: self.count * pools, needed, limit });
        }
        for slot in 0..self.count {
            // SAFETY: the range is the guard of `slot`, inside our own mapping, page-aligned since
            // the mapping is and both sizes are multiples of every page size in use; no stack of
            // it has been handed out yet.
            let result =
                unsafe { libc::mprotect(self.guard(slot).cast(), GUARD_BYTES, libc::PROT_NONE) };
            if result != 0 {
                return Err(StackError::Guard(io::Error::last_os_error()));
            }
        }
        Ok(GuardKind::Protection)
    }

    fn advise_guards(&self) -> io::Result<()> {
        for slot in 0..self.count {
            // SAFETY: as for mprotect above: the range is a guard inside our own mapping that
            // nothing uses yet.
            let result =
                unsafe { libc::madvise(self.guard(slot).cast(), GUARD_BYTES, MADV_GUARD_INSTALL) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    fn guard(&self, slot: usize) -> *mut u8 {
        debug_assert!(slot < self.count);
        // Only an address: it is handed to the kernel, never read through.
        self.mapping.as_ptr().wrapping_add(slot * SLOT_BYTES)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        debug_assert_eq!(self.free.borrow().len(), self.count, "a stack is still taken");
        // SAFETY: the mapping is ours and whole. Every `PooledStack` holds an `Rc` of this pool, so
        // none exists any more, and with it no frame that lives on the mapping.
        unsafe {
            libc::munmap(self.mapping.as_ptr().cast(), self.bytes);
        }
    }
}

fn max_map_count() -> usize {
    // The kernel's default where /proc is not mounted.
    const DEFAULT: usize = 65_530;
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT)
}

/// One taken stack; goes back to its pool when dropped.
pub(crate) struct PooledStack {
    pool: Rc<Pool>,
    slot: u32,
}

impl PooledStack {
    fn start(&self) -> usize {
        self.pool.mapping.as_ptr() as usize + self.slot as usize * SLOT_BYTES
    }
}

impl Drop for PooledStack {
    fn drop(&mut self) {
        self.pool.free.borrow_mut().push(self.slot);
    }
}

// SAFETY: `limit..base` is a slot of the pool's mapping, which the `Rc` keeps alive; the slot index
// is in nobody else's hands (it left the free list with `take` and returns in `drop`). Its lower
// GUARD_BYTES are a guard, made before any stack was handed out; the rest is above MIN_STACK_SIZE.
// Both ends are page-aligned, which is more than STACK_ALIGNMENT. Two `PooledStack`s with one slot
// would break it.
unsafe impl Stack for PooledStack {
    fn base(&self) -> StackPointer {
        NonZeroUsize::new(self.start() + SLOT_BYTES).expect("a mapping is not at address zero")
    }

    fn limit(&self) -> StackPointer {
        NonZeroUsize::new(self.start()).expect("a mapping is not at address zero")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_bounded_and_come_back() {
        let stacks = Stacks::new(2, 1).unwrap();
        let first = stacks.take().unwrap();
        let second = stacks.take().unwrap();
        assert_ne!(first.start(), second.start());
        assert!(stacks.take().is_none());
        assert_eq!(stacks.in_use(), 2);
        drop(first);
        assert_eq!(stacks.in_use(), 1);
        assert!(stacks.take().is_some());
        drop(second);
        assert_eq!(stacks.in_use(), 0);
    }

    #[test]
    fn both_kinds_of_guard_can_be_made() {
        let protected = Stacks::with_guards(4, 1, Some(GuardKind::Protection)).unwrap();
        assert_eq!(protected.guard_kind(), GuardKind::Protection);
        // Advice where the kernel has it, protection where not; an error in neither case.
        Stacks::new(4, 1).unwrap();
    }

    #[test]
    fn more_mappings_than_a_third_of_the_limit_are_refused() {
        let count = 100;
        let pools = max_map_count() / 3 / (2 * count) + 1;
        let error = Stacks::with_guards(count, pools, Some(GuardKind::Protection)).err();
        assert!(matches!(error, Some(StackError::Mappings { .. })), "{error:?}");
    }

    /// The guard is what turns an overflow into an end rather than into corruption, so it is tried.
    #[test]
    fn the_guard_ends_a_process_that_runs_into_it() {
        for guards in [GuardKind::Protection, GuardKind::Advice] {
            let Ok(stacks) = Stacks::with_guards(2, 1, Some(guards)) else { continue };
            let stack = stacks.take().unwrap();
            let last_guard_byte = stack.start() + GUARD_BYTES - 1;
            // A pipe asked to read from that address answers EFAULT instead of killing the test.
            let mut pipe = [0; 2];
            // SAFETY: `pipe` is a valid pair of integers for the kernel to fill.
            assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
            // SAFETY: the kernel checks the address itself and reports EFAULT; nothing of ours is
            // read or written through it.
            let written = unsafe { libc::write(pipe[1], last_guard_byte as *const _, 1) };
            let error = io::Error::last_os_error();
            // SAFETY: both descriptors were just made and are used nowhere else.
            unsafe { libc::close(pipe[0]) };
            // SAFETY: as above.
            unsafe { libc::close(pipe[1]) };
            assert_eq!((written, error.raw_os_error()), (-1, Some(libc::EFAULT)));
        }
    }
}
