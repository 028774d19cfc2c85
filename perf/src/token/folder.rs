//! A folder with a copy of the test token, its settings and its PIN.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::experiment::TokenTraits;
use crate::problem::{During, Problem, Result};

/// The module's file, as cargo names it.
pub(crate) const MODULE: &str = "libcountersign_test_token.so";
/// `CKA_LABEL` of the key.
const OBJECT: &str = "server";
const LABEL: &str = "perf";
const PIN: &str = "perf-1234";
/// The module has seen every change that is older.
const SEEN_AFTER: Duration = Duration::from_millis(10);

/// A token with one key. The module finds its settings beside itself, so each server has a copy of its own.
#[derive(Debug)]
pub(crate) struct TokenFolder {
    folder: PathBuf,
    traits: TokenTraits,
    key: PathBuf,
    /// How often it was told to hang: what hangs is let go by the number of its fault.
    hangs: u64,
}

impl TokenFolder {
    /// Makes the folder, with the key of a PEM file (PKCS#8) in the token.
    pub(crate) fn make(
        folder: &Path,
        module: &Path,
        traits: TokenTraits,
        key: PathBuf,
    ) -> Result<TokenFolder> {
        if !module.is_file() {
            return Err(Problem::new(format!(
                "the test token {} is missing: cargo build --release -p countersign-test-token",
                module.display()
            )));
        }
        fs::create_dir_all(folder).during(folder.display())?;
        // Not a link: the loader takes a second link to one file for one module.
        fs::copy(module, folder.join(MODULE)).during(folder.display())?;
        let made = TokenFolder { folder: folder.to_owned(), traits, key, hangs: 0 };
        let pin = made.pin_file();
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&pin);
        file.and_then(|mut file| writeln!(file, "{PIN}")).during(pin.display())?;
        made.write(None)?;
        Ok(made)
    }

    pub(crate) fn module(&self) -> PathBuf {
        self.folder.join(MODULE)
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    pub(crate) fn pin(&self) -> &'static str {
        PIN
    }

    pub(crate) fn traits(&self) -> TokenTraits {
        self.traits
    }

    /// The key as RFC 7512 names it, without module and PIN.
    pub(crate) fn object(&self) -> String {
        format!("pkcs11:token={LABEL};object={OBJECT};type=private")
    }

    /// The same with both.
    pub(crate) fn uri(&self) -> String {
        let module = percent_encoded(&self.module());
        let pin = percent_encoded(&self.pin_file());
        format!("{}?module-path={module}&pin-source=file:{pin}", self.object())
    }

    /// From now on no signature comes back until [`TokenFolder::mend`].
    pub(crate) fn hang(&mut self) -> Result<()> {
        self.hangs += 1;
        self.write(Some(self.hangs))
    }

    /// What hangs goes on.
    pub(crate) fn mend(&self) -> Result<()> {
        self.write(None)
    }

    fn write(&self, hang: Option<u64>) -> Result<()> {
        let mut text = format!(
            "[[token]]\nlabel = {label}\npin = {pin}\nlatency_us = {latency}\nmax_sessions = {sessions}\ncheap = true\n\
             \n[[token.key]]\nlabel = {object}\nid = \"01\"\nfile = {file}\n",
            label = quoted(LABEL),
            pin = quoted(PIN),
            latency = self.traits.latency.as_micros(),
            sessions = self.traits.sessions,
            object = quoted(OBJECT),
            file = quoted(&self.key.display().to_string()),
        );
        if let Some(number) = hang {
            text += &format!(
                "\n[[token.fault]]\nid = {number}\nfunction = \"C_Sign\"\naction = \"hang\"\n"
            );
        }
        // Whole, or not at all: it may be read at any moment.
        let new = self.folder.join("token.toml.new");
        fs::write(&new, text).during(new.display())?;
        fs::rename(&new, self.folder.join("token.toml")).during(new.display())?;
        thread::sleep(SEEN_AFTER);
        Ok(())
    }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// As RFC 7512, section 2.3 wants the value of an attribute.
fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for octet in path.as_os_str().as_encoded_bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(*octet));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{octet:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;

    #[test]
    fn a_token_has_its_settings_beside_its_module_and_hangs_under_a_new_number_each_time() {
        let directory = tempfile::tempdir().expect("a folder");
        let module = directory.path().join("module.so");
        fs::write(&module, "a module").expect("a file");
        let traits = Experiment::Token2Ms.token().expect("it is about a token");
        let folder = directory.path().join("a token");
        let mut token =
            TokenFolder::make(&folder, &module, traits, "/k\"ey.pem".into()).expect("a token");
        let settings = || fs::read_to_string(folder.join("token.toml")).expect("settings");
        assert!(settings().contains("latency_us = 2000\nmax_sessions = 64\n"), "{}", settings());
        assert!(settings().contains(r#"file = "/k\"ey.pem""#), "{}", settings());
        let uri = token.uri();
        assert!(uri.contains("/a%20token/libcountersign_test_token.so&pin-source=file:/"), "{uri}");
        for number in 1..=2 {
            token.hang().expect("it is told");
            assert!(settings().contains(&format!("id = {number}\nfunction = \"C_Sign\"\n")));
            token.mend().expect("it is told");
            assert!(!settings().contains("fault"));
        }
    }

    #[test]
    fn a_module_that_is_not_built_is_named_with_how_to_build_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let traits = Experiment::Token2Ms.token().expect("it is about a token");
        let missing = folder.path().join("missing.so");
        let problem = TokenFolder::make(folder.path(), &missing, traits, "key".into());
        let words = problem.expect_err("there is no module").to_string();
        assert!(words.contains("missing.so") && words.contains("cargo build"), "{words}");
    }
}
