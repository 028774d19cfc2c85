//! The resolved configuration: everything read, parsed and checked; what is wrong, all at once.

mod files;
mod resolve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_proto::{Credentials, Limits, Policy, Rule, TrustDomain, UpstreamAddress};

pub use resolve::{ConfigError, ConfigErrors};

/// What was typed.
#[derive(Clone, Debug)]
pub struct RawConfig {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// PEM file with the server's chain, end entity first.
    pub certificate: PathBuf,
    /// PEM file with the server's key.
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
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// Timeouts and sizes.
    pub limits: Limits,
}

/// What the engine runs on.
#[derive(Debug)]
pub struct Config {
    /// In the order in which they were given.
    pub listeners: Vec<ListenerConfig>,
    /// How many workers.
    pub workers: usize,
    /// The CPU of each worker; empty if they are not pinned.
    pub cpus: Vec<usize>,
    /// Client connections of a worker; the most that the process' limits allow if not said.
    pub max_connections: Option<usize>,
    /// How long a stop may take.
    pub drain_timeout: Duration,
}

/// One listener, resolved.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// The server's certificate and key.
    pub credentials: Credentials,
    /// The CA certificates that clients must lead to.
    pub client_ca: Vec<rustls_pki_types::CertificateDer<'static>>,
    /// Who may come in.
    pub rules: Vec<Rule>,
    /// Where they go.
    pub upstream: UpstreamAddress,
    /// What it may cost.
    pub limits: Limits,
}

impl ListenerConfig {
    /// The listener's policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::new(self.rules.clone())
    }

    /// The listener's trust domain.
    ///
    /// # Errors
    /// If the CA certificates cannot be used; checked before a [`Config`] is made.
    pub fn trust_domain(&self) -> Result<TrustDomain, countersign_proto::TrustDomainError> {
        let limits = countersign_proto::ChainLimits {
            certificates: self.limits.chain_certificates,
            bytes: self.limits.chain_bytes,
        };
        TrustDomain::new(&self.client_ca, limits)
    }
}

impl Config {
    /// Resolves what was typed: reads the files, parses and checks everything.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn resolve(raw: &RawConfig) -> Result<Self, ConfigErrors> {
        resolve::resolve(raw)
    }
}
