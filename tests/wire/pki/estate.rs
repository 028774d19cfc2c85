//! `countersign pki` as a process, in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use countersign_tests::engine::program;
use countersign_tests::tool::OPENSSL;
use serde_json::Value;
use tempfile::TempDir;

/// A PKI in a folder that goes away with it.
pub(super) struct Estate {
    pub(super) folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Estate {
    pub(super) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("countersign-wire-").tempdir();
        Self { folder: folder.expect("a temporary folder") }
    }

    pub(super) fn new() -> Self {
        let estate = Self::empty();
        estate.does(&["init"]);
        estate
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.folder.path().join("pki")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    pub(super) fn read(&self, name: &str) -> String {
        let file = self.file(name);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("pki").args(words).current_dir(self.folder.path());
        command
    }

    pub(super) fn run(&self, words: &[&str]) -> Ended {
        run(&mut self.command(words))
    }

    /// What it says when it succeeds.
    #[track_caller]
    pub(super) fn does(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert!(ended.status.success() && ended.stderr.is_empty(), "{words:?}: {ended:?}");
        ended.stdout
    }

    /// What it says when it refuses: on standard error, nothing else, and nothing changes.
    #[track_caller]
    pub(super) fn refuses(&self, words: &[&str]) -> String {
        let before = fs::read(self.file("index.jsonl")).ok();
        let ended = self.run(words);
        assert!(matches!(ended.status.code(), Some(1 | 2)), "{words:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{words:?}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{words:?}: {ended:?}");
        assert_eq!(fs::read(self.file("index.jsonl")).ok(), before, "{words:?} changed the index");
        ended.stderr
    }

    pub(super) fn list(&self, options: &[&str]) -> Vec<Value> {
        let text = self.does(&[&["list", "--json"], options].concat());
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// `openssl verify` of a chain with the CRLs of both CAs.
    pub(super) fn openssl_verifies(&self, name: &str, purpose: &str) -> (bool, String) {
        let chain = self.path(name);
        let finished = OPENSSL.run(&[
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-purpose",
            purpose,
            "-CAfile",
            &self.path("root.pem"),
            "-CRLfile",
            &self.path("crl.pem"),
            "-untrusted",
            &chain,
            &chain,
        ]);
        (finished.status.success(), finished.said)
    }

    pub(super) fn text_of(&self, name: &str) -> String {
        OPENSSL.run(&["x509", "-noout", "-text", "-in", &self.path(name)]).said
    }

    /// The certificate's public key, as PEM.
    pub(super) fn public_key_of(&self, name: &str) -> String {
        OPENSSL.run(&["x509", "-noout", "-pubkey", "-in", &self.path(name)]).said
    }
}

/// Runs any command to its end.
pub(super) fn run(command: &mut Command) -> Ended {
    ended(command.output().expect("the program under test"))
}

fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[track_caller]
pub(super) fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

pub(super) fn mode(path: &Path) -> u32 {
    path.metadata().expect("a file").permissions().mode() & 0o777
}

/// A command without root's right to pass over modes, where the tests run as root.
pub(super) fn powerless(command: &Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        same.current_dir(command.get_current_dir().expect("a folder"));
        return same;
    }
    // Of util-linux, as prlimit is.
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set", "-all", "--inh-caps", "-all", "--"]);
    without.arg(command.get_program()).args(command.get_args());
    without.current_dir(command.get_current_dir().expect("a folder"));
    without
}

/// A command under way.
pub(super) struct Later(Child);

pub(super) trait OutputLater {
    /// Starts it without waiting for its end.
    fn output_later(&mut self) -> Later;
}

impl OutputLater for Command {
    fn output_later(&mut self) -> Later {
        let piped = self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Later(piped.spawn().expect("the program under test"))
    }
}

impl Later {
    /// Ends it at once, by its own id.
    pub(super) fn kill(mut self) {
        // Fails only where it has ended already.
        drop(self.0.kill());
        self.0.wait().expect("its end");
    }

    pub(super) fn wait(self) -> Ended {
        ended(self.0.wait_with_output().expect("its end"))
    }
}
