//! Opening a ring: what it needs of the kernel, and what to tell the operator when it is not there.

use std::{fmt, io};

use io_uring::{IoUring, Probe, opcode};
use rustix::process::Resource;

/// The sizes of a ring.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Settings {
    /// Operations that are submitted with one system call; the kernel rounds up to a power of two
    /// and caps it at 32,768. More than that are submitted in several calls, never lost.
    pub submission_entries: u32,
    /// Size of the direct descriptor table: connections of either side, armed accepts, and
    /// connections being closed. 1 to 2^20, and not above `RLIMIT_NOFILE`.
    pub slots: u32,
    /// The receive buffers.
    pub buffers: BufferPool,
    /// The few large receive buffers, for [`Ring::receive_bulk`](crate::Ring::receive_bulk).
    pub large_buffers: BufferPool,
}

/// The sizes of a pool of receive buffers.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct BufferPool {
    /// How many buffers; a power of two up to 32,768.
    pub count: u16,
    /// The size of each, in bytes.
    pub bytes: u32,
}

/// `IORING_MAX_FIXED_FILES` of the kernel.
const SLOTS_MAX: u32 = 1 << 20;
/// The largest buffer ring the kernel takes.
const BUFFERS_MAX: u16 = 1 << 15;
/// Twice `IORING_MAX_ENTRIES` of the kernel.
const COMPLETION_ENTRIES_MAX: u32 = 1 << 16;

const NEEDED_RELEASE: Release = Release { major: 6, minor: 1 };

/// Why no ring could be opened. The message is written for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The kernel is older than the features that the ring is built on.
    #[error(
        "the kernel is Linux {release}, but {needed} or newer is needed: upgrade the kernel (in a \
         container, that of the host)"
    )]
    KernelTooOld {
        /// What uname(2) says.
        release: String,
        /// The oldest release that would do.
        needed: &'static str,
    },
    /// The administrator has switched io_uring off.
    #[error(
        "io_uring is switched off on this host (sysctl kernel.io_uring_disabled is {value}): set it \
         to 0, or to 1 and kernel.io_uring_group to a group of this process"
    )]
    Disabled {
        /// 1: for unprivileged processes outside `kernel.io_uring_group`. 2: for everyone.
        value: u8,
    },
    /// Something else than the sysctl refuses io_uring.
    #[error(
        "io_uring is refused to this process ({source}) although kernel.io_uring_disabled allows it: \
         most likely the seccomp profile of a container runtime (moby issue 39396); run with a \
         profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Blocked {
        /// `EPERM`, `EACCES` or `ENOSYS`.
        source: io::Error,
    },
    /// The direct descriptor table may not be larger than the process may have files.
    #[error(
        "the ring needs a table of {needed} descriptors, but this process may have only {limit} open \
         files: raise RLIMIT_NOFILE (LimitNOFILE= of the systemd unit, ulimit -n) or configure fewer \
         connections"
    )]
    FilesLimit {
        /// Slots asked for.
        needed: u64,
        /// The soft limit.
        limit: u64,
    },
    /// The kernel was built without an operation, or a restriction hides it.
    #[error("the kernel's io_uring lacks the operation {name}: use a kernel that is built with it")]
    MissingOperation {
        /// As in the kernel's header, without `IORING_OP_`.
        name: &'static str,
    },
    /// The kernel has no memory for the ring, or may not lock it.
    #[error(
        "no memory to {what} ({source}): raise the memory limit of the service and RLIMIT_MEMLOCK \
         (LimitMEMLOCK= of the systemd unit), or configure fewer or smaller buffers"
    )]
    NoMemory {
        /// What was being done.
        what: &'static str,
        /// `ENOMEM`.
        source: io::Error,
    },
    /// The sizes asked for cannot be had on any kernel.
    #[error("the ring's {what}")]
    InvalidSettings {
        /// Which, and what it may be.
        what: &'static str,
    },
    /// Anything else the system may say.
    #[error("could not {what}: {source}")]
    Os {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl SetupError {
    pub(crate) fn from_os(what: &'static str, source: io::Error) -> SetupError {
        match source.raw_os_error() {
            Some(libc::ENOMEM) => SetupError::NoMemory { what, source },
            _ => SetupError::Os { what, source },
        }
    }
}

/// What the running kernel has beyond what the ring needs, for `--version` and the log.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Features {
    /// What uname(2) says.
    pub release: String,
    /// Zero-copy send (6.0).
    pub send_zc: bool,
    /// Multishot receive (6.0).
    pub receive_multishot: bool,
    /// `setsockopt` as an operation (6.7). Told by the release: it cannot be probed.
    pub set_socket_option: bool,
    /// One receive that fills several buffers, one send that empties several (6.10).
    pub bundle: bool,
    /// A wait that prefers several completions for a while (6.12).
    pub minimum_wait: bool,
    /// Closing a direct descriptor lets go of its file at once (6.13). Before, the file stays open
    /// until every operation on any direct descriptor that was started earlier has ended, so that
    /// the ring shuts a connection down before it closes it (liburing issue 1192). Told by the
    /// release.
    pub prompt_close: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}, io_uring with", self.release)?;
        let optional = [
            (self.send_zc, "send_zc"),
            (self.receive_multishot, "receive_multishot"),
            (self.set_socket_option, "set_socket_option"),
            (self.bundle, "bundle"),
            (self.minimum_wait, "minimum_wait"),
            (self.prompt_close, "prompt_close"),
        ];
        let mut present = optional.iter().filter(|(present, _)| *present).peekable();
        if present.peek().is_none() {
            return f.write_str(" no optional feature");
        }
        present
            .enumerate()
            .try_for_each(|(n, (_, name))| write!(f, "{}{name}", if n == 0 { " " } else { ", " }))
    }
}

/// What the running kernel offers; opens a small ring to ask.
///
/// # Errors
///
/// The same as [`Ring::open`](crate::Ring::open), less those about sizes: it is also the question
/// whether a ring can be opened at all.
pub fn features() -> Result<Features, SetupError> {
    build(8, 16).map(|(_, features)| features)
}

/// Opens the kernel's ring for these settings, with its table of direct descriptors.
pub(crate) fn open(settings: &Settings) -> Result<(IoUring, Features), SetupError> {
    check(settings)?;
    // Each connection has a receive and a send in flight at most times; a batch of completions
    // beyond that goes to the kernel's overflow list, which is slower but loses nothing.
    let completion_entries = (settings.submission_entries.saturating_mul(4))
        .max(settings.slots.saturating_mul(2))
        .min(COMPLETION_ENTRIES_MAX);
    let (uring, features) = build(settings.submission_entries, completion_entries)?;
    register_files(&uring, settings.slots)?;
    Ok((uring, features))
}

fn check(settings: &Settings) -> Result<(), SetupError> {
    let invalid = |what| Err(SetupError::InvalidSettings { what });
    let Settings { submission_entries, slots, buffers, large_buffers } = *settings;
    if submission_entries == 0 {
        return invalid("submission queue must have at least one entry");
    }
    if slots == 0 || slots > SLOTS_MAX {
        return invalid("descriptor table must have from 1 to 1048576 slots");
    }
    for BufferPool { count, bytes } in [buffers, large_buffers] {
        if !count.is_power_of_two() || count > BUFFERS_MAX {
            return invalid("number of receive buffers must be a power of two up to 32768");
        }
        if bytes == 0 || bytes > i32::MAX as u32 {
            return invalid("receive buffers must have from 1 to 2147483647 bytes");
        }
    }
    let limit = files_limit();
    if u64::from(slots) > limit {
        return Err(SetupError::FilesLimit { needed: u64::from(slots), limit });
    }
    Ok(())
}

fn build(
    submission_entries: u32,
    completion_entries: u32,
) -> Result<(IoUring, Features), SetupError> {
    let name = rustix::system::uname().release().to_string_lossy().into_owned();
    let release = match Release::parse(&name) {
        Some(release) if release >= NEEDED_RELEASE => release,
        _ => return Err(SetupError::KernelTooOld { release: name, needed: "6.1" }),
    };
    let uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        // Tells a submit that does not wait that deferred work is due.
        .setup_taskrun_flag()
        // One bad submission must not hold up those behind it.
        .setup_submit_all()
        .setup_cqsize(completion_entries)
        .setup_clamp()
        .build(submission_entries)
        .map_err(refused)?;
    let features = probe(&uring, name, release)?;
    Ok((uring, features))
}

/// What it means that io_uring_setup(2) failed.
fn refused(source: io::Error) -> SetupError {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0);
    match source.raw_os_error() {
        Some(libc::EPERM) if disabled != 0 => SetupError::Disabled { value: disabled },
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => SetupError::Blocked { source },
        _ => SetupError::from_os("open an io_uring", source),
    }
}

fn probe(uring: &IoUring, name: String, release: Release) -> Result<Features, SetupError> {
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|source| SetupError::from_os("ask io_uring for its operations", source))?;
    let needed = [
        (opcode::Accept::CODE, "ACCEPT"),
        (opcode::Connect::CODE, "CONNECT"),
        (opcode::Recv::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::Shutdown::CODE, "SHUTDOWN"),
        (opcode::Close::CODE, "CLOSE"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        (opcode::Read::CODE, "READ"),
    ];
    if let Some((_, name)) = needed.into_iter().find(|(code, _)| !probe.is_supported(*code)) {
        return Err(SetupError::MissingOperation { name });
    }
    Ok(Features {
        release: name,
        send_zc: probe.is_supported(opcode::SendZc::CODE),
        receive_multishot: release >= Release { major: 6, minor: 0 },
        set_socket_option: release >= Release { major: 6, minor: 7 },
        bundle: uring.params().is_feature_recvsend_bundle(),
        minimum_wait: uring.params().is_feature_min_timeout(),
        prompt_close: release >= Release { major: 6, minor: 13 },
    })
}

fn register_files(uring: &IoUring, slots: u32) -> Result<(), SetupError> {
    uring.submitter().register_files_sparse(slots).map_err(|source| match source.raw_os_error() {
        Some(libc::EMFILE) => {
            SetupError::FilesLimit { needed: u64::from(slots), limit: files_limit() }
        }
        _ => SetupError::from_os("register the table of direct descriptors", source),
    })
}

fn files_limit() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
struct Release {
    major: u32,
    minor: u32,
}

impl Release {
    /// The first two numbers of what uname(2) says, such as `6.18.44-generic`.
    fn parse(release: &str) -> Option<Release> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        Some(Release { major, minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        let parse = |release| Release::parse(release).unwrap();
        assert!(parse("6.1.0-13-amd64") >= NEEDED_RELEASE);
        assert!(parse("6.18.44-fc") > parse("6.9.1"));
        assert!(parse("5.15.0-91-generic") < NEEDED_RELEASE);
        assert!(parse("6.0") < NEEDED_RELEASE);
        assert!(parse("10.0-rc1") > NEEDED_RELEASE);
        assert_eq!(Release::parse("weird"), None);
        assert_eq!(Release::parse("6"), None);
    }

    #[test]
    fn a_refused_setup_is_told_from_a_failed_one() {
        let refused = |code| refused(io::Error::from_raw_os_error(code));
        // EPERM is put down to the sysctl or to seccomp depending on the host.
        assert!(matches!(
            refused(libc::EPERM),
            SetupError::Blocked { .. } | SetupError::Disabled { .. }
        ));
        assert!(matches!(refused(libc::ENOSYS), SetupError::Blocked { .. }));
        assert!(matches!(refused(libc::ENOMEM), SetupError::NoMemory { .. }));
        assert!(matches!(refused(libc::EINVAL), SetupError::Os { .. }));
    }
}
