//! The threads of a server: whose CPU time it was, and where they run.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::problem::{Problem, Result};
use crate::process::family;

/// Names of threads that serve connections: workers, and what the kernel starts for their rings.
const WORKERS: [&str; 2] = ["worker-", "iou-"];
/// Threads that start others are moved first, so few looks find all.
const LOOKS_MAX: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What a thread is to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Worker,
    /// Of the same process.
    Other,
    /// Of a process that it has started.
    Child,
}

/// How a server's threads are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roles {
    /// By the names that the engine gives them.
    ByName,
    /// All of them are workers, of whichever process.
    AllWorkers,
}

/// CPU time of each thread at one moment, in ns.
#[derive(Debug)]
pub(crate) struct Snapshot(BTreeMap<u32, (Role, u64)>);

/// Whose the CPU time between two moments was; the parts are 1 together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    pub(crate) workers: f64,
    pub(crate) others: f64,
    pub(crate) children: f64,
}

impl Snapshot {
    pub(crate) fn take(pid: u32, roles: Roles) -> Snapshot {
        let mut times = BTreeMap::new();
        for process in family(pid) {
            for (thread, name) in threads(process) {
                let file = format!("/proc/{process}/task/{thread}/schedstat");
                // A thread may have ended since it was listed.
                let text = fs::read_to_string(file).unwrap_or_default();
                let Some(time) = text.split(' ').next().and_then(|time| time.parse().ok()) else {
                    continue;
                };
                let role = match roles {
                    Roles::AllWorkers => Role::Worker,
                    Roles::ByName if process != pid => Role::Child,
                    Roles::ByName if is_worker(&name) => Role::Worker,
                    Roles::ByName => Role::Other,
                };
                times.insert(thread, (role, time));
            }
        }
        Snapshot(times)
    }

    /// Whose the time since `before` was; `None` if there was none.
    pub(crate) fn since(&self, before: &Snapshot) -> Option<Shares> {
        let of = |wanted: Role| -> f64 {
            let threads = self.0.iter().filter(|(_, (role, _))| *role == wanted);
            let used = threads.map(|(thread, (_, time))| {
                let had = before.0.get(thread).map_or(0, |(_, time)| *time);
                time.saturating_sub(had)
            });
            used.sum::<u64>() as f64
        };
        let (workers, others, children) = (of(Role::Worker), of(Role::Other), of(Role::Child));
        let all = workers + others + children;
        (all > 0.0).then(|| Shares {
            workers: workers / all,
            others: others / all,
            children: children / all,
        })
    }
}

/// Moves every thread of a server that is no worker, and the processes that it has started, to `cpus`. What they
/// start later stays there too.
pub(crate) fn move_all_but_workers(pid: u32, cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    let mut moved = 0;
    for _ in 0..LOOKS_MAX {
        let mut found = 0;
        for process in family(pid) {
            for (thread, name) in threads(process) {
                if process == pid && is_worker(&name) {
                    continue;
                }
                let Some(thread) = Pid::from_raw(thread.cast_signed()) else { continue };
                match sched_setaffinity(Some(thread), &set) {
                    Ok(()) => found += 1,
                    // It has ended.
                    Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => {
                        let words = format!("cannot move thread '{name}' to {cpus:?}: {error}");
                        return Err(Problem::new(words));
                    }
                }
            }
        }
        if found == moved {
            return Ok(());
        }
        moved = found;
        thread::sleep(BETWEEN_LOOKS);
    }
    Err(Problem::new(format!("process {pid} starts threads without end")))
}

fn is_worker(name: &str) -> bool {
    WORKERS.iter().any(|start| name.starts_with(start))
}

/// The threads of a process with their names.
fn threads(process: u32) -> Vec<(u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let named = tasks.filter_map(|task| {
        let number = task.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((number, name.trim_end().to_owned()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_by_whose_thread_it_was_and_new_threads_count_from_their_start() {
        let before = Snapshot(BTreeMap::from([(1, (Role::Worker, 100)), (2, (Role::Other, 50))]));
        let after = Snapshot(BTreeMap::from([
            (1, (Role::Worker, 160)),
            (2, (Role::Other, 70)),
            (3, (Role::Child, 20)),
        ]));
        let shares = after.since(&before).expect("some was used");
        assert_eq!(shares, Shares { workers: 0.6, others: 0.2, children: 0.2 });
        assert_eq!(before.since(&before), None);
    }

    #[test]
    fn a_thread_that_works_is_found_under_its_name() {
        let (begun, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = move || {
            begun.send(()).expect("somebody waits");
            // Until the other end is gone.
            let _ = ended.recv();
        };
        let worker = thread::Builder::new().name("worker-9".into()).spawn(work).expect("a thread");
        wait.recv().expect("it has begun");
        let own = std::process::id();
        let found = threads(own).into_iter().find(|(_, name)| name == "worker-9");
        let (thread, _) = found.expect("its name is known");
        let by_name = Snapshot::take(own, Roles::ByName);
        assert_eq!(by_name.0.get(&thread).map(|(role, _)| *role), Some(Role::Worker));
        drop(end);
        worker.join().expect("it ends");
    }
}
