//! What needs the C library: where this module was loaded from, mapped counters, signals, crashes.
#![allow(unsafe_code)] // A few calls of the C library.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::counters::Counts;

/// The folder of the file that this code was loaded from.
pub(crate) fn folder() -> Option<PathBuf> {
    let own = folder as *const () as *const libc::c_void;
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `found` is a Dl_info to write to; any address may be asked about.
    if unsafe { libc::dladdr(own, found.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr found something and filled it in; before that it was all zeros, which is a Dl_info too.
    let found = unsafe { found.assume_init() };
    if found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's name of a loaded object: it ends in a zero and lives as long as the object, which is
    // never unloaded (build.rs).
    let name = unsafe { CStr::from_ptr(found.dli_fname) };
    // What was given to dlopen, and it may have been relative; the loader was just asked to load it.
    let path = std::path::absolute(OsStr::from_bytes(name.to_bytes())).ok()?;
    path.parent().map(PathBuf::from)
}

/// Maps a file of the size of `Counts` and leaves its address in `place`. If that fails, what was there stays there.
pub(crate) fn map(file: &File, place: &AtomicPtr<Counts>) {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let (length, file) = (size_of::<Counts>(), file.as_raw_fd());
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, file, 0) };
    if start != libc::MAP_FAILED {
        place.store(start.cast(), Ordering::Release);
    }
}

/// What [`map`] has left there.
pub(crate) fn mapped(place: &AtomicPtr<Counts>) -> Option<&'static Counts> {
    // SAFETY: null, or a mapping of that size, aligned to a page and never unmapped. Any octets are a `Counts`, which
    // is atomics throughout; other processes read the file and do not write to it. Were the file cut, an access
    // would end in SIGBUS: nobody does that.
    unsafe { place.load(Ordering::Acquire).as_ref() }
}

/// Blocks every signal in this thread.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: it fills a set that is ours.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is filled; nobody wants the old one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut()) };
}

/// Dies of SIGSEGV, also where it is blocked or handled once.
pub(crate) fn die_of_segv() -> ! {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: it empties a set that is ours.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialized and SIGSEGV is a signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGSEGV) };
    // SAFETY: the set is initialized; nobody wants the old one.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
    // Rust's own handler takes itself away at the first signal that is no stack overflow, and returns.
    for _ in 0..2 {
        // SAFETY: raise has no requirements.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
    std::process::abort()
}
