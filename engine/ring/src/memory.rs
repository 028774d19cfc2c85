//! Memory that the kernel writes while an operation is in flight.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// One heap allocation that the kernel may write to until the operation it was given to has
/// completed.
///
/// It is a raw pointer and not a `Box`, because a `Box` promises the compiler that nobody else
/// writes to what it points at, and moving one (into the slab) renews that promise.
pub(crate) struct KernelMemory<T>(NonNull<T>);

impl<T> KernelMemory<T> {
    pub(crate) fn new(value: T) -> KernelMemory<T> {
        KernelMemory(NonNull::from(Box::leak(Box::new(value))))
    }

    /// Where the value lies. The address stays the same until the value is taken or dropped.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// What the kernel has written.
    ///
    /// # Safety
    ///
    /// The operation that was given the address has completed, and its completion has been read.
    pub(crate) unsafe fn into_inner(self) -> T {
        let memory = ManuallyDrop::new(self);
        // SAFETY: the pointer came from a leaked `Box`, and `ManuallyDrop` keeps `drop` from
        // freeing it a second time; the caller vouches that the kernel, the only other writer, is
        // done with it.
        *unsafe { Box::from_raw(memory.0.as_ptr()) }
    }
}

impl<T> Drop for KernelMemory<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a leaked `Box`, and only this `drop` frees it. That the
        // kernel no longer writes to it is the invariant of the slab: an operation leaves it when
        // its completion has been read, or before it was ever submitted, and is leaked otherwise.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
