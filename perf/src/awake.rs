//! CPUs kept awake: a loop of lowest priority on each, so that none halts while nothing else runs on it.
//!
//! A halted CPU of a virtual machine takes tens of µs to wake, and a handshake with a token wakes several. With SCHED_IDLE
//! (sched(7)) a loop runs where nothing else wants to, and is preempted at once by whatever does. util-linux' `chrt`
//! sets it, since no call for it is safe in Rust's standard library or rustix: a crate that has one brings a dozen for
//! other systems into the lock file, and a process is pinned and ended by what pins and ends all others here.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::getppid;

use crate::interrupt;
use crate::problem::{During, Problem, Result};
use crate::process::{self, Process};

/// The hidden subcommand that is the loop.
pub(crate) const KEEP_AWAKE: &str = "keep-awake";
/// Of sched.h.
const SCHED_IDLE: u32 = 5;
/// Where a CPU is busy with others, a loop of that priority waits for its turn to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// Turns between two looks for the parent: well below a millisecond.
const TURNS: u32 = 1 << 18;

/// Loops at work. Dropping them ends them, and the death of this process does.
#[derive(Debug)]
pub(crate) struct Awake(Vec<Loop>);

#[derive(Debug)]
struct Loop {
    cpu: usize,
    process: Process,
}

impl Awake {
    /// Keeps the CPUs awake from now on; what their loops may have to say goes to files in `directory`.
    pub(crate) fn start(cpus: &[usize], directory: &Path) -> Result<Awake> {
        let this = std::env::current_exe().during("cannot find this program")?;
        let mut command = Command::new("chrt");
        command.args(["-i", "0"]).arg(this).arg(KEEP_AWAKE);
        command.args(["--parent", &std::process::id().to_string()]);
        let mut awake = Awake(Vec::new());
        for &cpu in cpus {
            let log = directory.join(format!("awake-{cpu}.log"));
            let process = Process::start(&command, &[cpu], &log)?;
            awake.0.push(Loop { cpu, process });
        }
        let deadline = Instant::now() + BEGIN_WITHIN;
        for one in &mut awake.0 {
            while policy(one.process.id()) != Some(SCHED_IDLE) {
                one.alive()?;
                if Instant::now() >= deadline {
                    let cpu = one.cpu;
                    let words = format!("CPU {cpu} cannot be kept awake: others are busy on it");
                    return Err(Problem::new(words));
                }
                interrupt::look()?;
                thread::sleep(BETWEEN_LOOKS);
            }
        }
        Ok(awake)
    }

    /// Ends the loops; an error if one had ended before, so that its CPU may have halted.
    pub(crate) fn end(mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Loop::alive)
    }
}

impl Loop {
    fn alive(&mut self) -> Result<()> {
        let Some(status) = self.process.ended() else { return Ok(()) };
        Err(Problem::new(format!(
            "CPU {} was not kept awake: its loop {} and said: {} (`chrt` is in util-linux)",
            self.cpu,
            process::ending(status),
            self.process.last_words(),
        )))
    }
}

/// The scheduling policy of a process; `None` if it has ended.
fn policy(pid: u32) -> Option<u32> {
    policy_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 41 of proc_pid_stat(5). The second is a name in parentheses, which may have anything in it.
fn policy_in(stat: &str) -> Option<u32> {
    let (_, from_third) = stat.rsplit_once(") ")?;
    from_third.split(' ').nth(41 - 3)?.trim_end().parse().ok()
}

/// The loop; it ends when `parent` is not, or no longer, the parent of this process, which a signal at its death alone would
/// not see to if it dies before that signal is asked for.
pub(crate) fn keep_awake(parent: u32) {
    while getppid().is_some_and(|pid| pid.as_raw_nonzero().get().cast_unsigned() == parent) {
        // Without PAUSE: a hypervisor may take a CPU that spins on it for one that waits for another, and give it away.
        for turn in 0..TURNS {
            black_box(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_whatever_the_name_of_the_program_is() {
        let rest = (3..41).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let stat = format!("17 (a) 1 (b) {rest} 5 0 0\n");
        assert_eq!(policy_in(&stat), Some(SCHED_IDLE));
        assert_eq!(policy_in("17 (cut) S 1"), None);
        assert!(policy(std::process::id()).is_some());
    }

    #[test]
    fn a_loop_ends_where_its_parent_is_another() {
        keep_awake(0);
        keep_awake(std::process::id());
    }

    #[test]
    fn no_cpu_to_keep_awake_needs_no_loop() {
        let awake = Awake::start(&[], Path::new("/nowhere")).expect("there is nothing to start");
        awake.end().expect("nothing has ended");
    }
}
