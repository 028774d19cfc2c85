//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are neither connections nor a thread's.
const OTHERS: u64 = 64;

/// Of each thread: the ring, its timer, epoll.
const OF_THREAD: u64 = 8;

/// Raises the soft limit to the hard one.
///
/// Says what to do if that is too little for so many connections on so many threads.
pub(crate) fn raise(connections: u64, threads: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    // Nothing is lost where it fails: what counts is what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = connections + threads * OF_THREAD + OTHERS;
    if wanted <= allowed {
        return Ok(());
    }
    Err(format!(
        "--connections {connections} needs {wanted} open files and the hard limit is {allowed}: raise it \
         (prlimit --nofile={wanted}:{wanted} countersign-loadgen ..., LimitNOFILE= under systemd), or take fewer"
    ))
}
