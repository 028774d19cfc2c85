//! The load generator as a process: its command line, its figures, its words.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pki::{Identity, Pki, SERVER_NAME};
use crate::tool::{self, Finished, Running};

/// The program under test: `COUNTERSIGN_LOADGEN_BIN`, else `countersign-loadgen` beside this test executable's
/// folder.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn program() -> PathBuf {
    let named = env::var_os("COUNTERSIGN_LOADGEN_BIN").map(PathBuf::from);
    let program = named.unwrap_or_else(|| {
        // target/PROFILE/deps/wire-HASH -> target/PROFILE/countersign-loadgen
        let test = env::current_exe().expect("this executable's path");
        let profile =
            test.parent().and_then(Path::parent).expect("target/PROFILE/deps/ above a test");
        profile.join("countersign-loadgen")
    });
    assert!(
        program.is_file(),
        "{} is missing: build it with the tests' profile (cargo build -p countersign-loadgen), or name it in COUNTERSIGN_LOADGEN_BIN",
        program.display()
    );
    program
}

/// A command line of `countersign-loadgen`: the PKI's server root and name, alice as the client, a closed loop of
/// four connections for half a second behind a ramp of a tenth.
#[derive(Clone, Debug)]
pub struct Load {
    target: String,
    words: Vec<String>,
}

/// How a run ended, and its figures.
#[derive(Debug)]
pub struct Loaded {
    /// Status, summary and words.
    pub finished: Finished,
    /// What `--json` said; null if the run could not be made.
    pub json: Value,
}

impl Load {
    /// The defaults above.
    #[must_use]
    pub fn new(pki: &Pki, target: SocketAddr) -> Self {
        Self::without_client(pki, target).client(&pki.alice)
    }

    /// The same, but nobody has a certificate.
    #[must_use]
    pub fn without_client(pki: &Pki, target: SocketAddr) -> Self {
        let load = Self { target: target.to_string(), words: Vec::new() };
        load.option("--ca", &pki.server_root_file.display().to_string())
            .option("--server-name", SERVER_NAME)
            .option("--connections", "4")
            .option("--ramp", "100ms")
            .option("--duration", "500ms")
    }

    /// With this client's certificate and key.
    #[must_use]
    pub fn client(self, identity: &Identity) -> Self {
        self.option("--client-certificate", &identity.chain_file.display().to_string())
            .option("--client-key", &identity.key_file.display().to_string())
    }

    /// An option and its value, in place of an earlier one of the same name.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        if let Some(place) = self.words.iter().position(|word| word == name) {
            self.words.drain(place..place + 2);
        }
        self.words.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// An option without a value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.words.push(name.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it cannot be run.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Running {
        let program = program().display().to_string();
        let words = self.words.iter().chain([&self.target]).map(String::as_str);
        tool::spawn(&program, words).unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Runs it to its end, with its figures in a file of `pki`'s folder.
    ///
    /// # Panics
    ///
    /// When it does not end, or its figures are no JSON.
    #[must_use]
    #[track_caller]
    pub fn run(self, pki: &Pki) -> Loaded {
        self.begin(pki).finish()
    }

    /// Starts it, with its figures in a file of `pki`'s folder.
    ///
    /// # Panics
    ///
    /// When it cannot be run.
    #[must_use]
    #[track_caller]
    pub fn begin(self, pki: &Pki) -> Loading {
        let file = pki.directory().join("loadgen.json");
        let running = self.option("--json", &file.display().to_string()).start();
        Loading { running, file }
    }
}

/// A run that will have figures. Dropping it kills it.
pub struct Loading {
    running: Running,
    file: PathBuf,
}

impl Loading {
    /// Has it end now, with the figures of what it did until then.
    ///
    /// # Panics
    ///
    /// As [`Self::finish`] does.
    #[must_use]
    #[track_caller]
    pub fn interrupt(self) -> Loaded {
        self.running.interrupt();
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end, or its figures are no JSON.
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> Loaded {
        let finished = self.running.finish();
        let text = std::fs::read_to_string(&self.file).unwrap_or_else(|_| "null".to_owned());
        let json = serde_json::from_str(&text);
        Loaded { json: json.unwrap_or_else(|error| panic!("{error}:\n{text}")), finished }
    }
}

impl Loaded {
    /// A number at a path such as `/handshakes/full`.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn count(&self, path: &str) -> u64 {
        let value = self.json.pointer(path).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no count {path}: {self:?}"))
    }

    /// The run must have gone well.
    ///
    /// # Panics
    ///
    /// When it has not.
    #[must_use]
    #[track_caller]
    pub fn well(self) -> Self {
        assert!(self.finished.status.success(), "{self:?}");
        assert_eq!(self.json["errors"], serde_json::json!({}), "{self:?}");
        self
    }

    /// The run must have failed with status 1, and said all of these.
    ///
    /// # Panics
    ///
    /// When it has not.
    #[must_use]
    #[track_caller]
    pub fn badly(self, words: &[&str]) -> Self {
        assert_eq!(self.finished.status.code(), Some(1), "{self:?}");
        for words in words {
            assert!(self.finished.said.contains(words), "it does not say '{words}': {self:?}");
        }
        self
    }
}
