//! The load generator as a process: its command line, and its report.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::experiment::Variant;
use crate::pki::{Pki, SERVER_NAME};
use crate::problem::{During, Problem, Result};
use crate::process::{self, Process};

/// What a run of it may take beyond its load: start, issuing certificates, ending.
const PATIENCE: Duration = Duration::from_secs(30);

/// The load generator, and where it runs.
#[derive(Debug)]
pub(crate) struct Generator {
    pub(crate) program: PathBuf,
    pub(crate) cpus: Vec<usize>,
    /// Of the run; its report and its output lie here.
    pub(crate) directory: PathBuf,
    /// What these two are called: several may be at work at one time.
    pub(crate) name: &'static str,
}

/// One call of it, without its address.
#[derive(Debug, Default)]
pub(crate) struct Call {
    arguments: Vec<String>,
    /// Ramp and steady phase together.
    time: Duration,
}

impl Call {
    /// A mode with its steady phase and the ramp before it.
    pub(crate) fn new(mode: &str, ramp: Duration, duration: Duration) -> Call {
        let call = Call { arguments: Vec::new(), time: ramp + duration };
        let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
        call.with("--mode", mode)
            .with("--ramp", milliseconds(ramp))
            .with("--duration", milliseconds(duration))
    }

    /// An option with its value.
    pub(crate) fn with(mut self, option: &str, value: impl ToString) -> Call {
        self.arguments.extend([option.to_owned(), value.to_string()]);
        self
    }

    /// An option without.
    pub(crate) fn flag(mut self, option: &str) -> Call {
        self.arguments.push(option.to_owned());
        self
    }

    /// So many handshakes a second. The generator stays awake before each is due only if it `has_own_cpus`: else it
    /// would take that time from those that it waits for.
    pub(crate) fn at_rate(self, rate: f64, has_own_cpus: bool) -> Call {
        let call = self.with("--rate", format!("{rate:.0}"));
        if has_own_cpus { call } else { call.with("--spin", "0s") }
    }

    /// TLS as all systems are measured with, and clients of the run's CA. The server's signatures are not
    /// checked here (they were at its start): the client's core must not be what limits.
    pub(crate) fn tls(self, pki: &Pki, variant: Variant, clients: usize) -> Call {
        self.flag("--no-verify")
            .with("--server-name", SERVER_NAME)
            .with("--tls", "1.3")
            .with("--group", variant.group().to_lowercase())
            .with("--suite", "TLS13_AES_128_GCM_SHA256")
            .with("--client-ca", pki.client_issuer().display())
            .with("--client-ca-key", pki.client_issuer_key().display())
            .with("--clients", clients)
    }
}

/// A run of the load generator that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    time: Duration,
    report: PathBuf,
    log: PathBuf,
}

impl Generator {
    /// Starts it against `address`, with the CPU time of `server` counted.
    pub(crate) fn start(&self, call: &Call, address: SocketAddr, server: u32) -> Result<Running> {
        let report = self.directory.join(format!("{}.json", self.name));
        let log = self.directory.join(format!("{}.log", self.name));
        for file in [&report, &log] {
            // Of the slice before; the first has none.
            drop(fs::remove_file(file));
        }
        let cpus: Vec<String> = self.cpus.iter().map(ToString::to_string).collect();
        let mut command = Command::new(&self.program);
        command.args(&call.arguments);
        command.args(["--cpus", &cpus.join(","), "--server-pid", &server.to_string()]);
        command.arg("--no-progress").arg("--json").arg(&report).arg(address.to_string());
        let process = Process::start(&command, &self.cpus, &log)?;
        Ok(Running { process, time: call.time, report, log })
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, call: &Call, address: SocketAddr, server: u32) -> Result<Report> {
        self.start(call, address, server)?.finish()
    }
}

impl Running {
    /// Whether it has said something on standard error.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|log| log.contains(words))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Ends it before its time; its report, whatever failed.
    pub(crate) fn end(mut self) -> Result<Report> {
        self.process.end();
        Report::read(&self.report)
    }

    /// Its report; an error if anything failed.
    pub(crate) fn finish(mut self) -> Result<Report> {
        let status = self.process.outlast(self.time + PATIENCE).during("the load generator")?;
        if !status.success() {
            let ending = process::ending(status);
            let words = self.process.last_words();
            let failures = Report::read(&self.report).map(|report| report.failures());
            let failures = failures.ok().flatten().map_or(words, |failures| failures);
            return Err(Problem::new(format!("the load generator {ending}: {failures}")));
        }
        let report = Report::read(&self.report)?;
        match report.failures() {
            Some(failures) => Err(Problem::new(format!("errors: {failures}"))),
            None => Ok(report),
        }
    }
}

/// What it found, in JSON.
#[derive(Debug)]
pub(crate) struct Report(Value);

impl Report {
    fn read(file: &Path) -> Result<Report> {
        let text = fs::read_to_string(file).during(file.display())?;
        let report: Value = serde_json::from_str(&text).during(file.display())?;
        Ok(Report(report))
    }

    /// A number at a path such as `/cpu/server_seconds`; `None` if it is absent or null.
    pub(crate) fn number(&self, path: &str) -> Option<f64> {
        self.0.pointer(path)?.as_f64()
    }

    /// A number that every report of its mode has.
    pub(crate) fn must(&self, path: &str) -> Result<f64> {
        self.number(path)
            .ok_or_else(|| Problem::new(format!("the load generator's report has no {path}")))
    }

    /// Failed handshakes and requests, and why, if any. A failure is never a sample.
    pub(crate) fn failures(&self) -> Option<String> {
        let failed = ["/handshakes/failed", "/requests/failed"];
        let failed: f64 = failed.iter().filter_map(|path| self.number(path)).sum();
        let ended_early = self.0["ended_early"].as_str();
        if failed == 0.0 && ended_early.is_none() {
            return None;
        }
        let mut words =
            ended_early.map_or_else(Vec::new, |why| vec![format!("ended early: {why}")]);
        for (kind, count) in self.0["errors"].as_object().into_iter().flatten() {
            if count.as_f64() != Some(0.0) {
                let example = self.0["error_examples"][kind].as_str();
                let example = example.map_or(String::new(), |example| format!(" ({example})"));
                words.push(format!("{count} of {kind}{example}"));
            }
        }
        Some(words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_generator_with_cpus_of_its_own_stays_awake_before_something_is_due() {
        let arguments = |has_own_cpus| Call::default().at_rate(649.6, has_own_cpus).arguments;
        assert_eq!(arguments(true), ["--rate", "650"]);
        assert_eq!(arguments(false), ["--rate", "650", "--spin", "0s"]);
    }

    #[test]
    fn failures_are_told_and_a_clean_report_has_none() {
        let clean =
            Report(json!({ "handshakes": { "full": 9, "failed": 0 }, "ended_early": null }));
        assert_eq!(clean.failures(), None);
        assert_eq!(clean.number("/handshakes/full"), Some(9.0));
        let failed = Report(json!({
            "handshakes": { "failed": 2 }, "ended_early": "the pool is used up",
            "errors": { "reset": 2, "timeout": 0 }, "error_examples": { "reset": "read" },
        }));
        let words = "ended early: the pool is used up, 2 of reset (read)";
        assert_eq!(failed.failures().as_deref(), Some(words));
    }
}
