//! Other people's programs, run with a deadline: openssl, curl, gnutls-cli, Python, HAProxy, nginx.
//!
//! A missing tool is a failure that names the Debian package, never a silent skip.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::{PATIENCE, wait_for};

/// A program and the Debian package it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
}

/// OpenSSL's command line.
pub const OPENSSL: Tool = Tool { program: "openssl", package: "openssl" };
/// curl.
pub const CURL: Tool = Tool { program: "curl", package: "curl" };
/// GnuTLS's client.
pub const GNUTLS_CLI: Tool = Tool { program: "gnutls-cli", package: "gnutls-bin" };
/// Python, for its `ssl` module.
pub const PYTHON: Tool = Tool { program: "python3", package: "python3" };
/// HAProxy, as a receiver of PROXY headers. Debian keeps it where not everybody's PATH leads.
pub const HAPROXY: Tool = Tool { program: "/usr/sbin/haproxy", package: "haproxy" };
/// nginx, as a receiver of PROXY headers.
pub const NGINX: Tool = Tool { program: "/usr/sbin/nginx", package: "nginx" };

/// OpenSC's caller of PKCS#11 modules.
pub const PKCS11_TOOL: Tool = Tool { program: "pkcs11-tool", package: "opensc" };

/// A client of ours in tests/clients/.
#[must_use]
pub fn client_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

impl Tool {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    #[track_caller]
    pub fn start<S: AsRef<str>>(self, arguments: &[S]) -> Running {
        let words = arguments.iter().map(AsRef::as_ref);
        spawn(self.program, words).unwrap_or_else(|error| {
            panic!(
                "{} cannot be run ({error}): install the Debian package {}",
                self.program, self.package
            )
        })
    }

    /// Runs it to its end without input.
    ///
    /// # Panics
    ///
    /// When it is not installed or does not end.
    #[must_use]
    #[track_caller]
    pub fn run<S: AsRef<str>>(self, arguments: &[S]) -> Finished {
        self.start(arguments).finish()
    }
}

/// Starts any program.
pub(crate) fn spawn<'a>(
    program: &str,
    arguments: impl Iterator<Item = &'a str>,
) -> io::Result<Running> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        collect(child.stdout.take().expect("a piped stdout"), &said),
        collect(child.stderr.take().expect("a piped stderr"), &said),
    ];
    Ok(Running { program: program.to_owned(), stdin: child.stdin.take(), child, said, readers })
}

/// A tool at work. Dropping it kills it, by its own id.
pub struct Running {
    program: String,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
    readers: [JoinHandle<()>; 2],
}

/// What a tool said, and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output and standard error, in the order in which they came.
    pub said: String,
}

impl Running {
    /// Writes to its standard input. A tool that has ended shows that by its output.
    pub fn input(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            drop(stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()));
        }
    }

    /// Waits until it has said `text`.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn wait_for_output(&self, text: &str) {
        self.wait_for_outputs(text, 1);
    }

    /// Waits until it has said `text` so many times.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn wait_for_outputs(&self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.said().matches(text).count() < times {
            let said = self.said();
            assert!(
                Instant::now() < deadline,
                "{} did not say {text:?} {times} times:\n{said}",
                self.program
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends it INT, as a terminal's Ctrl-C does.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("a signal to the tool");
    }

    /// Closes its input, waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        self.stdin = None;
        self.outlast()
    }

    /// Waits for its end while its input stays open: it must end by what the engine does.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn outlast(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for the tool") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "{} does not end; it said:\n{}",
                self.program,
                self.said()
            );
            thread::sleep(Duration::from_millis(10));
        };
        wait_for("the end of its output", || {
            self.readers.iter().all(JoinHandle::is_finished).then_some(())
        });
        Finished { status, said: self.said() }
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only where the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(mut output: impl Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&buffer[..length]);
        }
    })
}
