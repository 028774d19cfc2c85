//! A test in a process of its own that sees a token.

use std::env;
use std::fs;
use std::path::PathBuf;

use countersign_hsm::{Module, Pin, Session, Token, Uri};
use countersign_tests::token::{PIN, SoftToken};

/// Where the inner process says that it came to its end; that it is set says that it is the inner one.
const DONE: &str = "COUNTERSIGN_TEST_DONE";
const MODULE: &str = "COUNTERSIGN_TEST_MODULE";
const LABEL: &str = "COUNTERSIGN_TEST_LABEL";
const PIN_FILE: &str = "COUNTERSIGN_TEST_PIN_FILE";

/// The token as the inner process sees it.
pub(crate) struct Given {
    pub(crate) module: Module,
    pub(crate) label: String,
    /// The outer process: what the test asks of it, it writes there.
    scratch: PathBuf,
}

/// Runs `test`, which must be the path of the calling test, once more in a process that sees the token that `make`
/// makes, and there `body`.
#[track_caller]
pub(crate) fn with_token(test: &str, make: impl FnOnce() -> SoftToken, body: impl FnOnce(&Given)) {
    if let Some(done) = env::var_os(DONE) {
        let module =
            PathBuf::from(env::var_os(MODULE).expect("the outer process names the module"));
        let label = env::var(LABEL).expect("the outer process names the token");
        let module = Module::load(&module).expect("the module is loaded");
        body(&Given { module, label, scratch: PathBuf::from(&done) });
        fs::write(done, "done").expect("the end is told");
        return;
    }
    let token = make();
    let directory = tempfile::tempdir().expect("a directory");
    let done = directory.path().join("done");
    let mut command = token.command(env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    command
        .env(DONE, &done)
        .env(MODULE, token.module())
        .env(LABEL, token.label())
        .env(PIN_FILE, token.pin_file());
    let output = command.output().expect("this program once more");
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{}\n{printed}", output.status);
    assert!(done.exists(), "is '{test}' the test's name? It did not come to its end:\n{printed}");
}

impl Given {
    /// The URI of the token.
    pub(crate) fn uri(&self) -> Uri {
        Uri::parse(&format!("pkcs11:token={}", self.label.replace(' ', "%20"))).expect("a URI")
    }

    pub(crate) fn token(&self) -> Token {
        self.module.token(&self.uri()).expect("the token is there")
    }

    /// A session that is logged in and can write.
    pub(crate) fn session(&self) -> Session {
        let session = self.token().open_writable().expect("a session");
        session.login(&pin()).expect("logged in");
        session
    }

    /// OpenSC's tool, which sees the same token because this process does.
    #[track_caller]
    pub(crate) fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let mut command = std::process::Command::new("pkcs11-tool");
        command.arg("--module").arg(self.module.path()).args([
            "--token-label",
            &self.label,
            "--login",
            "--pin",
            PIN,
        ]);
        let output = command.args(arguments).output().expect("pkcs11-tool runs");
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{command:?}: {}\n{printed}", output.status);
        printed
    }

    /// A file that lies beside the PIN of the token.
    pub(crate) fn beside_token(&self, name: &str) -> PathBuf {
        PathBuf::from(env::var_os(PIN_FILE).expect("the outer process names it"))
            .with_file_name(name)
    }

    /// A file of the test's own, for what such a tool reads.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.scratch.with_file_name(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }
}

pub(crate) fn pin() -> Pin {
    Pin::new(PIN.as_bytes()).expect("a PIN")
}
