//! h2load (nghttp2) as a process: its command line, and its log of requests. It prints no percentiles.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::case::{Case, OPENING};
use crate::problem::{During, Problem, Result};
use crate::process::{self, Process};

/// What a run of it may take beyond its load.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct H2load {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

impl H2load {
    /// The one that is given, else the one on PATH; asked for its version.
    pub(crate) fn find(given: Option<PathBuf>) -> Result<H2load> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let on_path = || {
            let mut found = std::env::split_paths(&folders).map(|folder| folder.join("h2load"));
            found.find(|candidate| candidate.is_file())
        };
        let path = given.or_else(on_path).ok_or_else(|| {
            Problem::new("h2load: not installed; it is in the Debian package nghttp2-client")
        })?;
        let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
        let output = output.during(format_args!("cannot run {}", path.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.trim().strip_prefix("h2load nghttp2/").ok_or_else(|| {
            Problem::new(format!("{} --version does not look like h2load", path.display()))
        })?;
        Ok(H2load { version: version.to_owned(), path })
    }

    /// Runs a case to its end; the latencies of its steady phase, in µs.
    pub(super) fn run(
        &self,
        case: &Case,
        slice: Duration,
        address: SocketAddr,
        cpus: &[usize],
        directory: &Path,
    ) -> Result<Vec<f64>> {
        let log = directory.join("h2load.requests");
        let said = directory.join("h2load.log");
        for file in [&log, &said] {
            // Of the slice before; the first has none.
            drop(fs::remove_file(file));
        }
        let mut command = Command::new(&self.path);
        command.args(case.h2load_arguments(slice)).arg("--log-file").arg(&log);
        command.arg(format!("http://{address}/"));
        let mut process = Process::start(&command, cpus, &said)?;
        let status = process.outlast(OPENING + slice + PATIENCE).during("h2load")?;
        if !status.success() {
            let ending = process::ending(status);
            return Err(Problem::new(format!("h2load {ending}: {}", process.last_words())));
        }
        let text = fs::read_to_string(&log).during(log.display())?;
        latencies(&text, &Case::h2load_window(slice)).during("h2load's log")
    }
}

/// A request, as h2load logs it: three columns set apart by tabs, with more to come in later versions.
struct Request {
    /// Since the epoch.
    begun_us: u64,
    took_us: u64,
}

impl Request {
    fn read(number: usize, line: &str) -> Result<Request> {
        let wrong = || {
            Problem::new(format!(
                "line {number}, '{}', is not 'start in µs, HTTP status, µs'",
                line.chars().take(60).collect::<String>().escape_default()
            ))
        };
        let mut columns = line.split('\t');
        let mut next = || columns.next().ok_or_else(wrong);
        let begun_us = next()?.parse().map_err(|_| wrong())?;
        let status: i32 = next()?.parse().map_err(|_| wrong())?;
        let took_us = next()?.parse().map_err(|_| wrong())?;
        if status != 200 {
            return Err(Problem::new(match status {
                -1 => format!("line {number}: the request failed"),
                status => format!("line {number}: the request was answered with {status}"),
            }));
        }
        Ok(Request { begun_us, took_us })
    }
}

/// Of the requests that were begun within `window` after the first, in µs. One that failed anywhere is an error.
fn latencies(log: &str, window: &Range<Duration>) -> Result<Vec<f64>> {
    let lines = (1..).zip(log.lines());
    let requests: Vec<Request> =
        lines.map(|(number, line)| Request::read(number, line)).collect::<Result<_>>()?;
    // Lines come in the order of ends.
    let first = requests.iter().map(|request| request.begun_us).min();
    let first = first.ok_or_else(|| Problem::new("it has no request"))?;
    let steady =
        |request: &&Request| window.contains(&Duration::from_micros(request.begun_us - first));
    let found: Vec<f64> =
        requests.iter().filter(steady).map(|request| request.took_us as f64).collect();
    if found.is_empty() {
        return Err(Problem::new(format!(
            "none of its {} requests was begun {:.2} to {:.2} s after the first",
            requests.len(),
            window.start.as_secs_f64(),
            window.end.as_secs_f64(),
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(2);

    #[track_caller]
    fn refused(log: &str) -> String {
        latencies(log, &WINDOW).expect_err("a log that says nothing").to_string()
    }

    #[test]
    fn requests_count_that_began_in_the_window_whatever_the_order_of_their_ends() {
        let log = "5001500\t200\t90\n5000000\t200\t9000\n5000999\t200\t1\n5001000\t200\t80\tmore\n5002000\t200\t2\n";
        assert_eq!(latencies(log, &WINDOW).expect("a good log"), [90.0, 80.0]);
    }

    #[test]
    fn an_empty_log_and_an_empty_window_are_told_apart() {
        assert_eq!(refused(""), "it has no request");
        let early = "none of its 1 requests was begun 0.00 to 0.00 s after the first";
        assert_eq!(refused("5000000\t200\t9\n"), early);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let good = "5000000\t200\t9\n";
        for bad in
            ["", "5000000", "5000000\t200", "5000000 200 9", "x\t200\t9", "5\t200\t-1", "5\t\t1"]
        {
            let words = format!("line 2, '{}', is not", bad.escape_default());
            let said = refused(&format!("{good}{bad}\n{good}"));
            assert!(said.starts_with(&words), "{said}");
        }
    }

    #[test]
    fn a_request_that_failed_spoils_its_slice() {
        let said = refused("5000000\t200\t9\n5000001\t-1\t9\n");
        assert_eq!(said, "line 2: the request failed");
        assert_eq!(refused("5000000\t503\t9\n"), "line 1: the request was answered with 503");
    }
}
