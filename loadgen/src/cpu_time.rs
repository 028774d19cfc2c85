//! CPU time of processes, to the nanosecond, as the scheduler counts it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that these processes have used, with their threads and all their descendants that live:
/// the first number of /proc/PID/task/TID/schedstat (nanoseconds; Documentation/scheduler/sched-stats.rst).
/// A thread that is running is up to a tick behind.
///
/// Says which process cannot be read.
pub(crate) fn of(pids: &[u32]) -> Result<Duration, String> {
    for pid in pids {
        fs::read_dir(format!("/proc/{pid}/task"))
            .map_err(|error| format!("there is no process {pid} to measure: {error}"))?;
    }
    let nanoseconds = with_descendants(pids).into_iter().map(of_process).sum();
    Ok(Duration::from_nanos(nanoseconds))
}

/// CPU time of this process alone, with that of threads that have ended.
pub(crate) fn own() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

fn of_process(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_thread = |path: std::path::PathBuf| -> Option<u64> {
        // A thread may have ended since it was listed.
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads.flatten().filter_map(|thread| of_thread(thread.path())).sum()
}

fn with_descendants(pids: &[u32]) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = HashSet::new();
    let mut open = pids.to_vec();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    found
}

/// The fourth field of /proc/PID/stat; the second is a name in brackets that may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some() {
        let mut sum = 0_u64;
        while of(&[std::process::id()]).unwrap().is_zero() {
            sum = (0..1_000_000).fold(sum, |sum, number| sum.wrapping_mul(31) ^ number);
        }
        assert!(own() > Duration::ZERO, "{sum}");
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = of(&[4_194_305]).unwrap_err();
        assert!(error.contains("4194305"), "{error}");
    }
}
