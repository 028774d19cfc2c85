//! Child processes: pinned, ended with us, and what /proc says about them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::interrupt;
use crate::problem::{During, Problem, Result};

/// How long a child that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// The hidden subcommand that pins itself, ties its life to its parent's and becomes the program.
pub(crate) const UNDER: &str = "under";

/// A child process. Dropping it ends it: TERM, then KILL.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where its standard output and error go.
    log: PathBuf,
}

impl Process {
    /// Starts `command` pinned to `cpus`, with its output appended to `log`.
    pub(crate) fn start(command: &Command, cpus: &[usize], log: &Path) -> Result<Process> {
        let program = PathBuf::from(command.get_program());
        let this = std::env::current_exe().during("cannot find this program")?;
        let output = append(log).during(log.display())?;
        let errors = output.try_clone().during(log.display())?;
        let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        let mut pinned = Command::new(this);
        pinned.arg(UNDER).arg("--cpus").arg(list.join(",")).arg("--").arg(&program);
        pinned.args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                pinned.env(name, value);
            }
        }
        pinned.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = pinned.spawn().during(format_args!("cannot start {}", program.display()))?;
        Ok(Process { child, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end; it is killed when it takes longer than `patience` or we are interrupted.
    pub(crate) fn outlast(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            interrupt::look()?;
            if Instant::now() >= deadline {
                return Err(Problem::new(format!(
                    "did not end within {} s; it said: {}",
                    patience.as_secs(),
                    self.last_words()
                )));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// The last lines that it wrote.
    pub(crate) fn last_words(&self) -> String {
        last_lines(&self.log, 8)
    }

    /// Ends it, and what it has started.
    pub(crate) fn end(&mut self) {
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else { return };
        if self.ended().is_some() {
            return;
        }
        // A failure means that it has ended, which is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                let descendants = family(self.child.id());
                for descendant in descendants.into_iter().rev() {
                    if let Some(pid) = Pid::from_raw(descendant.cast_signed()) {
                        let _ = kill_process(pid, Signal::KILL);
                    }
                }
                drop(self.child.wait());
                return;
            }
            thread::sleep(INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a process ended, in words.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn append(log: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(log)
}

/// The last lines of a file, in one line.
pub(crate) fn last_lines(file: &Path, count: usize) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8192)..]).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    if last.is_empty() { "nothing".to_owned() } else { last.join(" | ") }
}

/// What [`UNDER`] does: never returns if the program could be run.
pub(crate) fn become_program(cpus: &[usize], program: &Path, arguments: &[String]) -> Problem {
    if let Err(error) = pin(cpus) {
        return error;
    }
    // The parent may be killed without a chance to end us.
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return Problem::new(format!("prctl(PR_SET_PDEATHSIG): {error}"));
    }
    let error = Command::new(program).args(arguments).exec();
    Problem::new(format!("cannot run {}: {error}", program.display()))
}

/// Pins this thread and those that it will start.
pub(crate) fn pin(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).during(format_args!("cannot run on the CPUs {cpus:?}"))
}

/// Runs something on a thread of its own, pinned.
pub(crate) fn pinned<T: Send>(cpus: &[usize], work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| pin(cpus).map(|()| work()));
        thread.join().map_err(|_| Problem::new("a pinned thread panicked"))?
    })
}

/// Raises the limit of open files to the hard one, for us and those we start; what it is then.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // What could not be raised is told by the limit that holds then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A process and its descendants, parents first.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let tasks = format!("/proc/{}/task", found[next]);
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// Memory of a process and its descendants: the sum of their proportional set sizes, in bytes.
pub(crate) fn memory_bytes(pid: u32) -> Result<u64> {
    family(pid).into_iter().map(proportional_set_size).sum()
}

fn proportional_set_size(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&file).during(&file)?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
    let kib = kib.and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| Problem::new(format!("{file} has no line 'Pss:'")))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_ended_with_its_children_and_its_last_words_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let output = append(&log).expect("a log");
        let child = Command::new("sh")
            .args(["-c", "trap 'kill $!; exit 7' TERM; echo one; echo; sleep 60 & echo two; wait"])
            .stdout(output)
            .spawn()
            .expect("a shell");
        let mut process = Process { child, log };
        while !process.last_words().contains("two") || family(process.id()).len() < 2 {
            assert!(process.ended().is_none());
            thread::sleep(INTERVAL);
        }
        assert_eq!(process.last_words(), "one | two");
        assert!(memory_bytes(process.id()).expect("memory") > 0);
        process.end();
        assert_eq!(process.ended().map(ending).as_deref(), Some("ended with status 7"));
    }
}
