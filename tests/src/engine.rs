//! The engine as a process: its command line, its log, its status, its end.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::deadline::{PATIENCE, wait_for};
use crate::pki::Pki;

/// The program under test: `COUNTERSIGN_BIN`, else `countersign` beside this test executable's folder.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(named) = env::var_os("COUNTERSIGN_BIN") {
        let program = PathBuf::from(named);
        assert!(program.is_file(), "COUNTERSIGN_BIN names {}, which is no file", program.display());
        return program;
    }
    // target/PROFILE/deps/wire-HASH -> target/PROFILE/countersign
    let test = env::current_exe().expect("this executable's path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/ above a test");
    let program = profile.join("countersign");
    assert!(
        program.is_file(),
        "{} is missing: build it with the tests' profile (cargo build -p countersign), or name it in COUNTERSIGN_BIN",
        program.display()
    );
    program
}

/// A command line of `countersign run`, with what most tests want filled in: one listener on a free port of
/// 127.0.0.1, the PKI's files, every verified client allowed, the built-in upstream.
#[derive(Clone, Debug)]
pub struct Launch {
    wrapper: Vec<OsString>,
    listen: String,
    certificate: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    rules: Vec<OsString>,
    upstream: String,
    further: Vec<OsString>,
}

impl Launch {
    /// The defaults above, with the server identity and client root of `pki`.
    #[must_use]
    pub fn new(pki: &Pki) -> Self {
        Self {
            wrapper: Vec::new(),
            listen: "127.0.0.1:0".to_owned(),
            certificate: pki.server.chain_file.clone(),
            key: pki.server.key_file.clone(),
            client_ca: pki.client_root_file.clone(),
            rules: vec!["--allow".into(), "any-verified".into()],
            upstream: "builtin:whoami".to_owned(),
            further: Vec::new(),
        }
    }

    /// Runs the engine under another program (`prlimit --nofile=64:64`).
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Another address than a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Another certificate chain than the PKI's.
    #[must_use]
    pub fn certificate(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.certificate);
        self
    }

    /// Another key than the PKI's.
    #[must_use]
    pub fn key(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.key);
        self
    }

    /// Another client CA file than the PKI's.
    #[must_use]
    pub fn client_ca(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.client_ca);
        self
    }

    /// These rules instead of `--allow any-verified`: `["--allow", "cn=alice"]`.
    #[must_use]
    pub fn rules(mut self, rules: &[&str]) -> Self {
        self.rules = rules.iter().map(OsString::from).collect();
        self
    }

    /// Another upstream than `builtin:whoami`.
    #[must_use]
    pub fn upstream(mut self, upstream: &str) -> Self {
        upstream.clone_into(&mut self.upstream);
        self
    }

    /// A further option and its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.further.extend([name.into(), value.into()]);
        self
    }

    /// Starts the engine and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// When it ends instead; the message holds its log.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Engine {
        start(&self.words())
    }

    /// Starts an engine that must refuse to start.
    ///
    /// # Panics
    ///
    /// When it goes on running, or says nothing.
    #[must_use]
    #[track_caller]
    pub fn start_in_vain(&self) -> StartFailure {
        start_in_vain(&self.words())
    }

    fn words(&self) -> Vec<OsString> {
        let mut words = self.wrapper.clone();
        words.push(program().into_os_string());
        words.extend(["run", "--listen", &self.listen, "--workers", "1"].map(OsString::from));
        words.extend(["--certificate".into(), self.certificate.clone().into_os_string()]);
        words.extend(["--key".into(), self.key.clone().into_os_string()]);
        words.extend(["--client-ca".into(), self.client_ca.clone().into_os_string()]);
        words.extend(["--upstream".into(), OsString::from(&self.upstream)]);
        words.extend(self.rules.iter().cloned());
        words.extend(self.further.iter().cloned());
        words
    }
}

#[track_caller]
pub(crate) fn start(words: &[OsString]) -> Engine {
    let mut process = Process(spawn(words));
    let log = Log::follow(process.0.stderr.take().expect("a piped stderr"));
    let mut engine = Engine { process, log, address: SocketAddr::from(([0, 0, 0, 0], 0)) };
    engine.log.wait_for_event("ready");
    let listening = engine.log.wait_for_event("listening");
    let address = listening["address"].as_str().and_then(|address| address.parse().ok());
    engine.address = address.unwrap_or_else(|| panic!("no address in {listening}"));
    engine
}

#[track_caller]
pub(crate) fn start_in_vain(words: &[OsString]) -> StartFailure {
    let mut process = Process(spawn(words));
    let log = Log::follow(process.0.stderr.take().expect("a piped stderr"));
    let status = wait_for_exit(&mut process.0, &log);
    log.wait_for_end();
    StartFailure { status, stderr: log.text() }
}

#[track_caller]
pub(crate) fn start_unread(words: &[OsString]) -> Unread {
    let mut process = Process(spawn(words));
    let stderr = process.0.stderr.take().expect("a piped stderr");
    Unread { process, stderr }
}

#[track_caller]
fn spawn(words: &[OsString]) -> Child {
    Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", words[0].display()))
}

/// An engine whose log nobody reads, though the pipe is open: once it is full, writing into it blocks.
/// Dropping it ends the engine.
pub struct Unread {
    process: Process,
    stderr: ChildStderr,
}

impl Unread {
    /// Begins to read the log after all.
    #[must_use]
    pub fn read(self, address: SocketAddr) -> Engine {
        let Self { process, stderr } = self;
        Engine { process, log: Log::follow(stderr), address }
    }

    /// Sends a signal to the engine.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).expect("a signal to the engine");
    }

    /// Waits until the engine ends by itself, its log still unread.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn wait(mut self) -> ExitStatus {
        wait_for("the end of an engine whose log is not read", || {
            self.process.0.try_wait().expect("wait for the engine")
        })
    }
}

/// How an engine that could not start ended.
#[derive(Debug)]
pub struct StartFailure {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything it said.
    pub stderr: String,
}

/// A process of ours. Dropping it kills it, by its own id.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only where the process has ended already, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A running engine. Dropping it kills it.
pub struct Engine {
    process: Process,
    log: Log,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How an engine that was running ended.
#[derive(Debug)]
pub struct Stopped {
    /// Exit code, if it was not killed by a signal.
    pub code: Option<i32>,
    /// Its last line, the event `stopped`.
    pub event: Value,
}

impl Engine {
    /// Its log so far and to come.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Asks for the counters (SIGUSR1) and waits for them.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Value {
        let before = self.log.events("status").len();
        self.signal(Signal::USR1);
        self.log.wait_for(&format!("answer {} to SIGUSR1", before + 1), |events| {
            events.iter().filter(|event| event["event"] == "status").nth(before).cloned()
        })
    }

    /// Waits until nothing is open, nothing suspended and everything accepted is released; gives the counters.
    ///
    /// # Panics
    ///
    /// When that does not come.
    #[track_caller]
    pub fn wait_until_idle(&self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if is_idle(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "connections stay behind: {status}\n{}",
                self.log.tail()
            );
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The log line about the end of the connection of `client`.
    ///
    /// # Panics
    ///
    /// When it does not come.
    #[must_use]
    #[track_caller]
    pub fn connection_record(&self, client: SocketAddr) -> Value {
        let client = client.to_string();
        self.log.wait_for(&format!("the record of the connection of {client}"), |events| {
            events
                .iter()
                .find(|event| event["event"] == "connection" && event["client"] == *client)
                .cloned()
        })
    }

    /// The log lines about the first `count` connections that ended. Counters are there at once, the log may come
    /// a little later.
    ///
    /// # Panics
    ///
    /// When they do not come.
    #[must_use]
    #[track_caller]
    pub fn connection_records(&self, count: usize) -> Vec<Value> {
        self.log.wait_for(&format!("{count} records of connections"), |events| {
            let records: Vec<Value> =
                events.iter().filter(|event| event["event"] == "connection").cloned().collect();
            (records.len() >= count).then_some(records)
        })
    }

    /// Asks for another look at the configuration file (HUP) and waits for the answer: the event `reloaded` or
    /// `reload_failed`.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn reload(&self) -> Value {
        let is_answer =
            |event: &&Value| event["event"] == "reloaded" || event["event"] == "reload_failed";
        let before = self.log.all().iter().filter(is_answer).count();
        self.signal(Signal::HUP);
        self.log.wait_for(&format!("answer {} to HUP", before + 1), |events| {
            events.iter().filter(is_answer).nth(before).cloned()
        })
    }

    /// The same, where the configuration is good.
    ///
    /// # Panics
    ///
    /// When it is refused, or there is no answer.
    #[track_caller]
    pub fn reloaded(&self) -> Value {
        let answer = self.reload();
        assert_eq!(answer["event"], "reloaded", "{answer}");
        answer
    }

    /// The same, where it is not: what is wrong, one text for each mistake.
    ///
    /// # Panics
    ///
    /// When it is taken, or there is no answer.
    #[must_use]
    #[track_caller]
    pub fn reload_refused(&self) -> Vec<String> {
        let answer = self.reload();
        assert_eq!(answer["event"], "reload_failed", "{answer}");
        let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("no errors: {answer}"));
        errors.iter().map(|error| error.as_str().expect("a text").to_owned()).collect()
    }

    /// Resident memory, in bytes (VmRSS of /proc/PID/status, proc(5)).
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let file = format!("/proc/{}/status", self.process.0.id());
        let status = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.parse::<u64>().ok());
        kibibytes.unwrap_or_else(|| panic!("no VmRSS in {file}")) * 1024
    }

    /// Sends a signal to the engine.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).expect("a signal to the engine");
    }

    /// Waits until the engine ends by itself.
    ///
    /// # Panics
    ///
    /// When it does not, or its last line is not the event `stopped`.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self) -> Stopped {
        let status = wait_for_exit(&mut self.process.0, &self.log);
        self.log.wait_for_end();
        let last = self.log.all().pop().unwrap_or(Value::Null);
        assert_eq!(last["event"], "stopped", "the last line after {status}:\n{}", self.log.tail());
        Stopped { code: status.code(), event: last }
    }

    /// Sends TERM and waits for the end.
    #[must_use]
    #[track_caller]
    pub fn terminate(self) -> Stopped {
        self.signal(Signal::TERM);
        self.wait()
    }
}

/// Whether the counters say that nothing is left open.
#[must_use]
pub fn is_idle(counters: &Value) -> bool {
    let count =
        |name: &str| counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"));
    count("connections_open") == 0
        && count("stacks_suspended") == 0
        && count("accepted") == count("released")
}

#[track_caller]
fn wait_for_exit(child: &mut Child, log: &Log) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("wait for the engine") {
            return status;
        }
        if Instant::now() >= deadline {
            drop(child.kill());
            drop(child.wait());
            panic!("the engine did not end by itself:\n{}", log.tail());
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[derive(Default)]
struct Lines {
    /// As they came.
    text: String,
    /// Those that are JSON objects.
    events: Vec<Value>,
    ended: bool,
}

/// The engine's stderr, read by a thread as it comes.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

impl Log {
    fn follow(stderr: ChildStderr) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.push(&line);
            }
            writer.lines().ended = true;
            writer.shared.1.notify_all();
        });
        log
    }

    /// The events of one name, so far.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.lines().events.iter().filter(|event| event["event"] == name).cloned().collect()
    }

    /// All events so far.
    #[must_use]
    pub fn all(&self) -> Vec<Value> {
        self.lines().events.clone()
    }

    /// Everything said so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().text.clone()
    }

    /// The last lines, for the message of a failure.
    #[must_use]
    pub fn tail(&self) -> String {
        const TAIL_LINES: usize = 40;
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Waits for the first event of this name.
    ///
    /// # Panics
    ///
    /// When it does not come, or the engine ends before it.
    #[track_caller]
    pub fn wait_for_event(&self, name: &str) -> Value {
        self.wait_for(&format!("event {name}"), |events| {
            events.iter().find(|event| event["event"] == name).cloned()
        })
    }

    /// Waits until `find` finds what it looks for among all events.
    ///
    /// # Panics
    ///
    /// When it does not, or the engine ends before.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines();
        loop {
            if let Some(found) = find(&lines.events) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                let ended = if lines.ended { "the engine ended" } else { "time is over" };
                drop(lines);
                panic!("{ended} without {what}; its log:\n{}", self.tail());
            }
            lines =
                self.shared.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the engine's stderr is closed.
    fn wait_for_end(&self) {
        wait_for("the end of the engine's log", || self.lines().ended.then_some(()));
    }

    fn push(&self, line: &str) {
        let mut lines = self.lines();
        lines.text.push_str(line);
        lines.text.push('\n');
        if let Ok(event @ Value::Object(_)) = serde_json::from_str(line) {
            lines.events.push(event);
        }
        drop(lines);
        self.shared.1.notify_all();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
