//! The options of the command line, in the shape of a configuration with one listener's settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_proto::Limits;

use super::errors::{At, Spot};
use super::raw::{Raw, RawIdentity, RawKey, RawLimits, RawListener};

/// What was typed on the command line.
#[derive(Clone, Debug)]
pub struct RawConfig {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// PEM file with the server's chain, end entity first.
    pub certificate: PathBuf,
    /// PEM file with the server's key, or a `pkcs11:` URI.
    pub key: PathBuf,
    /// PEM file with the CA certificates that clients must lead to.
    pub client_ca: PathBuf,
    /// Rules that let clients in.
    pub allow: Vec<String>,
    /// Rules that keep clients out.
    pub deny: Vec<String>,
    /// `HOST:PORT`, `unix:/path` or `builtin:whoami`.
    pub upstream: String,
    /// May the upstream be beyond loopback, though what goes there is not encrypted?
    pub upstream_plaintext: bool,
    /// How many workers; all usable CPUs if not said.
    pub workers: Option<usize>,
    /// CPUs to pin workers to, such as `0-3,8`.
    pub cpus: Option<String>,
    /// Client connections of a worker.
    pub max_connections: Option<usize>,
    /// `all` or `problems`; which connections get a line in the log.
    pub log_connections: Option<String>,
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// Timeouts and sizes.
    pub limits: Limits,
}

impl RawConfig {
    pub(super) fn raw(&self) -> Raw {
        let identity = RawIdentity {
            certificate: Some(file("--certificate", &self.certificate)),
            key: Some(option(
                "--key",
                RawKey::of(vec![text("--key", &self.key.to_string_lossy())], Path::new("")),
            )),
            client_ca: Some(file("--client-ca", &self.client_ca)),
            ..RawIdentity::default()
        };
        let listener = RawListener {
            listen: texts("--listen", &self.listen).value,
            upstream: Some(text("--upstream", &self.upstream)),
            upstream_plaintext: self.upstream_plaintext,
            allow: Some(texts("--allow", &self.allow)),
            deny: Some(texts("--deny", &self.deny)),
            limits: RawLimits { values: self.limits.clone(), ..RawLimits::default() },
            identities: vec![identity],
            ..RawListener::default()
        };
        Raw {
            workers: self.workers.map(|value| option("--workers", value)),
            cpus: self.cpus.as_deref().map(|value| text("--cpus", value)),
            max_connections: self.max_connections.map(|value| option("--max-connections", value)),
            log_connections: self
                .log_connections
                .as_deref()
                .map(|value| text("--log-connections", value)),
            drain_timeout: Some(option("--drain-timeout", self.drain_timeout)),
            listeners: vec![listener],
            ..Raw::default()
        }
    }
}

fn option<T>(name: &str, value: T) -> At<T> {
    At { value, spot: Spot { what: name.to_owned(), span: None } }
}

/// A value that its errors repeat.
fn text(name: &str, value: &str) -> At<String> {
    option(&format!("{name} {value}"), value.to_owned())
}

fn texts(name: &str, values: &[String]) -> At<Vec<At<String>>> {
    option(name, values.iter().map(|value| text(name, value)).collect())
}

fn file(name: &str, path: &Path) -> At<PathBuf> {
    option(name, path.to_owned())
}
