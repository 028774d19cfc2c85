//! A configuration file: written as text, section by section, and rewritten while the engine runs.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::engine::{self, Engine, StartFailure, Unread};
use crate::pki::{self, Pki};

/// Keys and values of one table, in the order in which they were set.
#[derive(Clone, Debug, Default)]
struct Table(Vec<(String, Value)>);

impl Table {
    fn set(&mut self, key: &str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    fn write(&self, header: &str, text: &mut String) {
        if self.0.is_empty() {
            return;
        }
        if !header.is_empty() {
            writeln!(text, "\n{header}").expect("writing to memory");
        }
        for (key, value) in &self.0 {
            // JSON's strings, numbers, booleans and arrays of them are TOML's too.
            writeln!(text, "{key} = {value}").expect("writing to memory");
        }
    }
}

/// A whole configuration. One worker, unless set otherwise.
#[derive(Clone, Debug)]
pub struct Configuration {
    top: Table,
    admin: Table,
    tokens: Table,
    listeners: Vec<ListenerSection>,
}

impl Configuration {
    /// With one worker, no admin endpoint and no listener.
    #[must_use]
    pub fn new() -> Self {
        let mut top = Table::default();
        top.set("workers", 1.into());
        Self { top, admin: Table::default(), tokens: Table::default(), listeners: Vec::new() }
    }

    /// Sets a key at the top of the file.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.top.set(key, value.into());
        self
    }

    /// Where metrics are served.
    #[must_use]
    pub fn admin(mut self, listen: &str) -> Self {
        self.admin.set("listen", listen.into());
        self
    }

    /// Sets a key of `[tokens]`.
    #[must_use]
    pub fn tokens(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.tokens.set(key, value.into());
        self
    }

    /// A further listener.
    #[must_use]
    pub fn listener(mut self, listener: ListenerSection) -> Self {
        self.listeners.push(listener);
        self
    }

    /// As the file has it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.top.write("", &mut text);
        self.admin.write("[admin]", &mut text);
        self.tokens.write("[tokens]", &mut text);
        for listener in &self.listeners {
            listener.keys.write("[[listener]]", &mut text);
            listener.limits.write("[listener.limits]", &mut text);
            for identity in &listener.identities {
                identity.keys.write("[[listener.identity]]", &mut text);
            }
        }
        text
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new()
    }
}

/// A `[[listener]]`.
#[derive(Clone, Debug)]
pub struct ListenerSection {
    keys: Table,
    limits: Table,
    identities: Vec<IdentitySection>,
}

impl ListenerSection {
    /// Every verified client goes to the built-in upstream; no identity yet.
    #[must_use]
    pub fn new(name: &str, listen: SocketAddr) -> Self {
        let mut keys = Table::default();
        keys.set("name", name.into());
        keys.set("listen", listen.to_string().into());
        keys.set("upstream", "builtin:whoami".into());
        keys.set("allow", "any-verified".into());
        Self { keys, limits: Table::default(), identities: Vec::new() }
    }

    /// The same, with the PKI's server identity for every name, and its clients.
    #[must_use]
    pub fn of(name: &str, listen: SocketAddr, pki: &Pki) -> Self {
        Self::new(name, listen).identity(IdentitySection::of(pki))
    }

    /// Sets a key.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.set(key, value.into());
        self
    }

    /// Sets a key of `[listener.limits]`.
    #[must_use]
    pub fn limit(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.limits.set(key, value.into());
        self
    }

    /// A further identity.
    #[must_use]
    pub fn identity(mut self, identity: IdentitySection) -> Self {
        self.identities.push(identity);
        self
    }
}

/// A `[[listener.identity]]`.
#[derive(Clone, Debug)]
pub struct IdentitySection {
    keys: Table,
}

impl IdentitySection {
    /// A server's certificate and key, and the CA that its clients must lead to; no names yet.
    #[must_use]
    pub fn new(server: &pki::Identity, client_ca: &Path) -> Self {
        Self::without_clients(server).set("client_ca", client_ca.display().to_string())
    }

    /// A server's certificate and key alone.
    #[must_use]
    pub fn without_clients(server: &pki::Identity) -> Self {
        Self { keys: Table::default() }
            .set("certificate", server.chain_file.display().to_string())
            .set("key", server.key_file.display().to_string())
    }

    /// The PKI's own server, and its clients.
    #[must_use]
    pub fn of(pki: &Pki) -> Self {
        Self::new(&pki.server, &pki.client_root_file)
    }

    /// The names that it answers to.
    #[must_use]
    pub fn names<const N: usize>(self, names: [&str; N]) -> Self {
        self.set("server_names", names)
    }

    /// Sets a key.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.set(key, value.into());
        self
    }
}

/// The command that starts the engine.
const RUN: [&str; 2] = ["run", "--config"];

/// A configuration on disk.
#[derive(Clone, Debug)]
pub struct ConfigurationFile {
    path: PathBuf,
    wrapper: Vec<OsString>,
}

impl ConfigurationFile {
    /// Writes a new file into the folder of `pki`.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    #[must_use]
    pub fn new(pki: &Pki, configuration: &Configuration) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = pki.directory().join(format!("countersign-{number}.toml"));
        let file = Self { path, wrapper: Vec::new() };
        file.rewrite(configuration);
        file
    }

    /// Runs the engine under another program, as one that sees a token (`env SOFTHSM2_CONF=...`).
    #[must_use]
    pub fn under(self, wrapper: Vec<OsString>) -> Self {
        Self { wrapper, ..self }
    }

    /// What `countersign check` says about it, and whether it is right.
    ///
    /// # Panics
    ///
    /// When the program cannot be run.
    #[must_use]
    pub fn check(&self) -> (bool, String) {
        self.checked(&["check", "--config"])
    }

    /// What `countersign hsm check` says about its keys in tokens, and whether they are right.
    ///
    /// # Panics
    ///
    /// When the program cannot be run.
    #[must_use]
    pub fn hsm_check(&self) -> (bool, String) {
        self.checked(&["hsm", "check", "--config"])
    }

    fn checked(&self, command: &[&str]) -> (bool, String) {
        let words = self.words(command);
        let output = Command::new(&words[0]).args(&words[1..]).output().expect("a program");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts another configuration into it.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn rewrite(&self, configuration: &Configuration) {
        self.rewrite_text(&configuration.text());
    }

    /// Puts any text into it.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn rewrite_text(&self, text: &str) {
        fs::write(&self.path, text)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }

    /// Starts the engine and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// When it ends instead; the message holds its log.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Engine {
        engine::start(&self.words(&RUN))
    }

    /// Starts an engine that must refuse to start.
    ///
    /// # Panics
    ///
    /// When it goes on running, or says nothing.
    #[must_use]
    #[track_caller]
    pub fn start_in_vain(&self) -> StartFailure {
        engine::start_in_vain(&self.words(&RUN))
    }

    /// Starts an engine whose log nobody reads.
    #[must_use]
    #[track_caller]
    pub fn start_unread(&self) -> Unread {
        engine::start_unread(&self.words(&RUN))
    }

    fn words(&self, command: &[&str]) -> Vec<OsString> {
        let mut words = self.wrapper.clone();
        words.push(engine::program().into_os_string());
        words.extend(command.iter().map(OsString::from));
        words.push(self.path.clone().into_os_string());
        words
    }
}

/// An address that no other test of any process uses at this time, though nothing holds it: a loopback
/// address of its own. Unlike port 0 it is known beforehand, and stays the same through reloads.
///
/// # Panics
///
/// After 1,024 calls in one process: then they would begin to collide with those of the next process.
#[must_use]
pub fn own_address() -> SocketAddr {
    /// A process has so many; 2^24 addresses begin with 127.
    const EACH: u32 = 1_024;
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    assert!(number < EACH, "more addresses than a test process has");
    let low = (std::process::id().wrapping_mul(EACH) + number) & 0x00ff_ffff;
    // 127.0.0.x is for everybody.
    let low = if low < 256 { low | 0x0080_0000 } else { low };
    SocketAddr::new(Ipv4Addr::from(0x7f00_0000 | low).into(), 8443)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_toml() {
        let identity = IdentitySection { keys: Table::default() }
            .set("certificate", "a \"b\".pem")
            .names(["a.example", "*.a.example"]);
        let listener = ListenerSection::new("one", "127.0.0.1:1".parse().expect("an address"))
            .set("allow", ["cn=a", "anonymous"])
            .set("strict_sni", true)
            .limit("idle_timeout", "1s")
            .identity(identity);
        let text =
            Configuration::new().set("workers", 2).admin("unix:/a").listener(listener).text();
        assert_eq!(
            text,
            r#"workers = 2

[admin]
listen = "unix:/a"

[[listener]]
name = "one"
listen = "127.0.0.1:1"
upstream = "builtin:whoami"
allow = ["cn=a","anonymous"]
strict_sni = true

[listener.limits]
idle_timeout = "1s"

[[listener.identity]]
certificate = "a \"b\".pem"
server_names = ["a.example","*.a.example"]
"#
        );
    }

    #[test]
    fn every_address_is_its_own() {
        let (one, other) = (own_address(), own_address());
        assert_ne!(one, other);
        assert!(one.ip().is_loopback() && other.ip().is_loopback());
        drop(std::net::TcpListener::bind(one).expect("an address nobody listens on"));
    }
}
