//! From what was typed to what the engine runs on.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use countersign_proto::{
    ChainLimits, Credentials, Identity, Rule, TlsParameters, TrustDomain, UpstreamAddress,
};

use super::{Config, ListenerConfig, RawConfig, files};
use crate::cpus;
use crate::randomness::WORKER_RANDOM;

/// The longest path of a unix socket (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct ConfigError {
    /// The option, and the file it names.
    pub what: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[derive(Default)]
struct Problems(Vec<ConfigError>);

impl Problems {
    fn add(&mut self, what: impl Into<String>, problem: impl fmt::Display) {
        self.0.push(ConfigError { what: what.into(), problem: problem.to_string() });
    }

    fn keep<T>(
        &mut self,
        what: impl Into<String>,
        result: Result<T, impl fmt::Display>,
    ) -> Option<T> {
        result.map_err(|problem| self.add(what, problem)).ok()
    }

    fn file<T>(
        &mut self,
        option: &str,
        path: &Path,
        read: impl FnOnce(&Path) -> Result<T, String>,
    ) -> Option<T> {
        self.keep(format!("{option} {}", path.display()), read(path))
    }
}

pub(super) fn resolve(raw: &RawConfig) -> Result<Config, ConfigErrors> {
    let mut problems = Problems::default();
    let addresses = addresses(raw, &mut problems);
    let chain = problems.file("--certificate", &raw.certificate, files::certificates);
    let key = problems.file("--key", &raw.key, files::private_key);
    let client_ca = problems.file("--client-ca", &raw.client_ca, files::certificates);
    let upstream = upstream(raw, &mut problems);
    let rules = rules(raw, &mut problems);
    let (workers, cpus) = workers(raw, &mut problems);
    if let Err(wrong) = raw.limits.check() {
        for error in wrong {
            problems.add(format!("--{}", error.name.replace('_', "-")), error);
        }
    }
    if raw.max_connections == Some(0) {
        problems.add("--max-connections", "it is 0; at least 1 is needed to serve anybody");
    }
    let domain = client_ca.as_deref().and_then(|bundle| {
        let limits = ChainLimits {
            certificates: raw.limits.chain_certificates,
            bytes: raw.limits.chain_bytes,
        };
        let what = format!("--client-ca {}", raw.client_ca.display());
        problems.keep(what, TrustDomain::new(bundle, limits))
    });
    let credentials = match (chain, key) {
        (Some(chain), Some(key)) => Some(Credentials { chain, key }),
        _ => None,
    };
    if let (Some(credentials), Some(domain)) = (&credentials, domain) {
        let what =
            format!("--certificate {} with --key {}", raw.certificate.display(), raw.key.display());
        let parameters = TlsParameters::new(&WORKER_RANDOM);
        problems.keep(what, Identity::new(credentials, domain.into(), &parameters));
    }
    match (credentials, client_ca, upstream) {
        (Some(credentials), Some(client_ca), Some(upstream)) if problems.0.is_empty() => {
            Ok(Config {
                listeners: addresses
                    .into_iter()
                    .map(|address| ListenerConfig {
                        address,
                        credentials: credentials.clone(),
                        client_ca: client_ca.clone(),
                        rules: rules.clone(),
                        upstream: upstream.clone(),
                        limits: raw.limits.clone(),
                    })
                    .collect(),
                workers,
                cpus,
                max_connections: raw.max_connections,
                drain_timeout: raw.drain_timeout,
            })
        }
        _ => Err(ConfigErrors(problems.0)),
    }
}

fn addresses(raw: &RawConfig, problems: &mut Problems) -> Vec<SocketAddr> {
    if raw.listen.is_empty() {
        problems.add("--listen", "no address to listen on; give one such as 0.0.0.0:8443");
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in &raw.listen {
        let what = format!("--listen {text}");
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && addresses.contains(&address) => {
                problems.add(what, "the address is given twice");
            }
            Ok(address) => addresses.push(address),
            Err(_) => problems
                .add(what, "not an IP address and port; write it like 0.0.0.0:8443 or [::]:8443"),
        }
    }
    addresses
}

fn upstream(raw: &RawConfig, problems: &mut Problems) -> Option<UpstreamAddress> {
    let text = raw.upstream.as_str();
    let what = format!("--upstream {text}");
    if let Some(name) = text.strip_prefix("builtin:") {
        if name == "whoami" {
            return Some(UpstreamAddress::Whoami);
        }
        problems.add(what, "there is no such built-in upstream; there is builtin:whoami");
        return None;
    }
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            problems.add(
                what,
                "the path of a unix socket must be absolute, such as unix:/run/app.sock",
            );
            return None;
        }
        if path.len() > UNIX_PATH_BYTES_MAX {
            problems
                .add(what, format!("a unix socket's path has {UNIX_PATH_BYTES_MAX} bytes at most"));
            return None;
        }
        return Some(UpstreamAddress::Unix(PathBuf::from(path)));
    }
    let address = match text.to_socket_addrs() {
        Ok(mut addresses) => addresses.next(),
        Err(error) => {
            problems.add(
                what,
                format!("not HOST:PORT, unix:/path or builtin:whoami, or not resolvable ({error})"),
            );
            return None;
        }
    };
    let Some(address) = address else {
        problems.add(what, "the name has no address");
        return None;
    };
    if address.port() == 0 {
        problems.add(what, "port 0 cannot be connected to");
        return None;
    }
    if !address.ip().is_loopback() && !raw.upstream_plaintext {
        problems.add(
            what,
            format!(
                "{address} is beyond loopback and what goes there is not encrypted; say --upstream-plaintext if that is meant"
            ),
        );
        return None;
    }
    Some(UpstreamAddress::Tcp(address))
}

fn rules(raw: &RawConfig, problems: &mut Problems) -> Vec<Rule> {
    let mut rules = Vec::new();
    for text in &raw.allow {
        rules.extend(problems.keep(format!("--allow {text}"), Rule::parse_allow(text)));
    }
    for text in &raw.deny {
        rules.extend(problems.keep(format!("--deny {text}"), Rule::parse_deny(text)));
    }
    if raw.allow.is_empty() {
        problems.add(
            "--allow",
            "no rule lets anybody in; give one such as 'cn=payments-*', 'dns=*.example.org', 'uri=spiffe://example.org/**', or any-verified for every client of the CA",
        );
    }
    rules
}

fn workers(raw: &RawConfig, problems: &mut Problems) -> (usize, Vec<usize>) {
    let usable = cpus::usable();
    let pinned = match &raw.cpus {
        None => None,
        Some(text) => {
            match problems.keep(format!("--cpus {text}"), cpus::parse(text)) {
                None => return (1, Vec::new()),
                Some(list) => {
                    let absent: Vec<_> = list.iter().filter(|cpu| !usable.contains(cpu)).collect();
                    if !absent.is_empty() {
                        problems.add(
                        format!("--cpus {text}"),
                        format!("CPUs {absent:?} are not usable by this process; usable are {usable:?}"),
                    );
                    }
                    Some(list)
                }
            }
        }
    };
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = raw.workers.unwrap_or_else(|| pinned.as_ref().map_or(allowed, Vec::len));
    if workers == 0 || workers > cpus::WORKERS_MAX {
        problems.add(
            "--workers",
            format!("it is {workers}; it must be between 1 and {}", cpus::WORKERS_MAX),
        );
    }
    let cpus = match pinned {
        Some(list) => list,
        // A quota below the mask means that others run on these CPUs too: the scheduler knows better.
        None if workers <= usable.len() && allowed == usable.len() => usable,
        None => Vec::new(),
    };
    (workers, cpus)
}
