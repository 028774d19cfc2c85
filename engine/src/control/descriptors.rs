//! How many descriptors the process may have, and how many connections that makes for a worker.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Connections of a worker by default, where the limits of the process allow them.
const CONNECTIONS_DEFAULT: usize = 16_384;

/// With fewer than these by default, the limit of open files is too small rather than the load.
const CONNECTIONS_LEAST: usize = 512;

/// The largest table of direct descriptors that the kernel makes (`IORING_MAX_FIXED_FILES`).
const SLOTS_MAX: usize = 1 << 20;

/// Raises the soft limit of open files to the hard one, and gives what it is then. A worker's table of
/// direct descriptors may not be larger, though what is in it does not count against it.
pub(super) fn raise_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let mut raised = limit;
        raised.current = limit.maximum;
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Connections and slots of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) connections: usize,
    pub(super) slots: u32,
}

/// What a worker can hold under a limit of open files. Asked for more than that, it gives what was
/// asked for, and the ring says why it cannot be had.
pub(super) fn capacity(
    asked: Option<usize>,
    dials: bool,
    more_listeners: usize,
    limit: usize,
) -> Capacity {
    let each = if dials { 2 } else { 1 };
    let most = limit.min(SLOTS_MAX).saturating_sub(more_listeners) / each;
    let connections =
        asked.unwrap_or_else(|| most.clamp(CONNECTIONS_LEAST, CONNECTIONS_DEFAULT)).max(1);
    // Every listener but one may have an accept armed beyond the last connection.
    let slots = connections.saturating_mul(each).saturating_add(more_listeners);
    Capacity { connections, slots: u32::try_from(slots).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_takes_a_slot_of_its_own() {
        assert_eq!(
            capacity(None, false, 0, 20_000),
            Capacity { connections: 16_384, slots: 16_384 }
        );
        assert_eq!(
            capacity(None, true, 0, 20_000),
            Capacity { connections: 10_000, slots: 20_000 }
        );
        assert_eq!(capacity(Some(50), true, 3, 20_000), Capacity { connections: 50, slots: 103 });
    }

    #[test]
    fn what_was_asked_for_is_not_quietly_made_less() {
        assert_eq!(capacity(Some(50_000), false, 0, 1_024).slots, 50_000);
        assert_eq!(capacity(None, false, 0, 64).slots, 512);
    }
}
