//! What is to be done: the command line, checked and resolved.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{RootCertStore, SupportedCipherSuite};

use crate::arguments::{Arguments, Flood, Group, Mode, TlsVersion};

/// A run, as it will be made.
pub(crate) struct Plan {
    /// As it was typed, for everything that needs no resolving.
    pub(crate) arguments: Arguments,
    pub(crate) target: SocketAddr,
    pub(crate) work: Work,
    /// The CPU of each runtime; `None` is not pinned.
    pub(crate) cpus: Vec<Option<usize>>,
    /// `None` is plain TCP.
    pub(crate) tls: Option<TlsPlan>,
    /// The GET of probes and requests.
    pub(crate) request: Vec<u8>,
}

/// What a connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Handshake, then one GET if it is a probe, then a reset.
    Handshake { probe: bool },
    /// So many GETs on each connection; 0 has no end.
    Request { per_connection: u64 },
    /// Application data, from the client.
    Upload,
    /// Application data, from the server.
    Download,
    /// Sends and reads in turn, without TLS.
    Tcp(Vec<usize>),
    /// Bytes that make the server work.
    Flood(Flood),
}

/// What the TLS of all connections has in common.
pub(crate) struct TlsPlan {
    pub(crate) name: ServerName<'static>,
    /// What the server's chain must lead to; `None` verifies nothing.
    pub(crate) roots: Option<Arc<RootCertStore>>,
    pub(crate) version: TlsVersion,
    pub(crate) group: Group,
    pub(crate) suite: Option<SupportedCipherSuite>,
    pub(crate) alpn: Option<String>,
    pub(crate) reuse_key_share: bool,
}

/// Why there is no plan.
pub(crate) enum PlanError {
    /// The command line is wrong.
    Usage(String),
    /// A file cannot be used, a name not be resolved.
    Environment(String),
}

impl Plan {
    /// Checks everything that can be known before the first connection.
    pub(crate) fn resolve(arguments: Arguments) -> Result<Self, PlanError> {
        check(&arguments).map_err(PlanError::Usage)?;
        let target = resolve_target(&arguments.target)?;
        let tls = if arguments.plaintext || arguments.mode == Mode::Tcp {
            None
        } else {
            Some(TlsPlan::resolve(&arguments)?)
        };
        let cpus = arguments
            .cpus
            .as_ref()
            .map_or_else(|| vec![None], |list| list.0.iter().map(|cpu| Some(*cpu)).collect());
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            arguments.path,
            arguments.server_name.as_deref().unwrap_or_else(|| host_of(&arguments.target)),
        );
        let work = Work::of(&arguments);
        Ok(Self { target, work, cpus, tls, request: request.into_bytes(), arguments })
    }

    /// Connections of one runtime; the first ones take what does not divide evenly.
    pub(crate) fn connections_of(&self, runtime: usize) -> usize {
        share(self.arguments.connections as u64, runtime, self.cpus.len()) as usize
    }

    /// What one runtime may start, if that is limited.
    pub(crate) fn count_of(&self, runtime: usize) -> Option<u64> {
        self.arguments.count.map(|count| share(count, runtime, self.cpus.len()))
    }

    /// From the start of the run to the start of the measurement.
    pub(crate) fn ramp(&self) -> Duration {
        let all_is_measured = self.arguments.count.is_some() || self.arguments.hold;
        if all_is_measured { Duration::ZERO } else { self.arguments.ramp }
    }
}

/// The part of `whole` that one of `of` takes.
pub(crate) fn share(whole: u64, one: usize, of: usize) -> u64 {
    let (one, of) = (one as u64, of as u64);
    whole / of + u64::from(one < whole % of)
}

impl Work {
    fn of(arguments: &Arguments) -> Self {
        match (arguments.flood, arguments.mode) {
            (Some(flood), _) => Self::Flood(flood),
            (None, Mode::Handshake) => Self::Handshake { probe: !arguments.no_probe },
            (None, Mode::Request) => Self::Request { per_connection: arguments.requests },
            (None, Mode::Upload) => Self::Upload,
            (None, Mode::Download) => Self::Download,
            (None, Mode::Tcp) => Self::Tcp(arguments.script.0.clone()),
        }
    }

    /// Whether it moves bytes for as long as the run lasts.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self, Self::Upload | Self::Download)
    }
}

fn check(arguments: &Arguments) -> Result<(), String> {
    let mode = arguments.mode;
    let bulk = matches!(mode, Mode::Upload | Mode::Download);
    let issued = arguments.client_ca.is_some() || arguments.make_client_ca.is_some();
    let wrong = [
        (
            arguments.plaintext && matches!(mode, Mode::Handshake | Mode::Tcp),
            "--plaintext goes with --mode request, upload or download (--mode tcp is plain already)",
        ),
        (
            arguments.hold && !matches!(mode, Mode::Handshake | Mode::Request),
            "--hold goes with --mode handshake or request",
        ),
        (
            arguments.hold && (arguments.rate.is_some() || arguments.count.is_some()),
            "--hold opens --connections connections once: it takes neither --rate nor --count",
        ),
        (arguments.flood.is_some() && mode != Mode::Handshake, "--flood takes no --mode"),
        (
            bulk && (arguments.rate.is_some() || arguments.count.is_some()),
            "--mode upload and download last for --duration: they take neither --rate nor --count",
        ),
        (arguments.discard && !bulk, "--discard goes with --mode upload or download"),
        (
            arguments.rate.is_some_and(|rate| !(0.001..=1e7).contains(&rate)),
            "--rate is a number from 0.001 to 10000000 a second",
        ),
        (arguments.connections == 0, "--connections is at least 1"),
        (arguments.count == Some(0), "--count is at least 1"),
        (arguments.duration.is_zero(), "--duration is more than nothing"),
        (arguments.timeout.is_zero(), "--timeout is more than nothing"),
        (arguments.seen == 0, "--seen is at least 1"),
        (arguments.clients == Some(0), "--clients is at least 1"),
        (
            arguments.clients.is_some() && !issued,
            "--clients are issued under a CA: give --client-ca and --client-ca-key, or --make-client-ca",
        ),
        (
            arguments.unseen.is_some() && arguments.clients.is_none(),
            "--unseen takes its certificates from a pool: give --clients, as many as it will use up",
        ),
        (
            arguments.unseen.is_some()
                && arguments.clients.is_some_and(|clients| clients <= arguments.seen),
            "--clients must be more than --seen (16 unless given), or none is left for --unseen",
        ),
        (
            arguments.reuse_key_share && arguments.group != Group::X25519,
            "--reuse-key-share is for --group x25519",
        ),
        (
            arguments.tls == TlsVersion::Tls12 && arguments.group == Group::X25519mlkem768,
            "--group x25519mlkem768 needs TLS 1.3",
        ),
        (
            arguments.flood == Some(Flood::ClientHello) && arguments.resume.is_some(),
            "--flood client-hello has no session to offer: leave out --resume",
        ),
        (
            !arguments.path.starts_with('/')
                || arguments.path.contains(|c: char| !c.is_ascii_graphic()),
            "--path begins with / and holds no spaces or control characters",
        ),
        (
            arguments.common_name.is_empty()
                || arguments.common_name.len() > 40
                || !arguments.common_name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "--common-name is 1 to 40 letters, digits and hyphens",
        ),
    ];
    wrong.iter().find(|(is_wrong, _)| *is_wrong).map_or(Ok(()), |(_, words)| Err((*words).into()))
}

fn resolve_target(text: &str) -> Result<SocketAddr, PlanError> {
    let usage =
        || PlanError::Usage(format!("'{text}' is not an address; write IP:PORT or HOST:PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(usage)?;
    if host.is_empty() || port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err(usage());
    }
    let failed = |why: String| PlanError::Environment(format!("{text} leads to no address: {why}"));
    let mut found = text.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("the name has none".into()))
}

/// `host` of `host:port`; an IPv6 address loses its brackets.
fn host_of(target: &str) -> &str {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl TlsPlan {
    fn resolve(arguments: &Arguments) -> Result<Self, PlanError> {
        let needs_verifying = arguments.flood.is_none();
        if needs_verifying && arguments.ca.is_none() && !arguments.no_verify {
            return Err(PlanError::Usage(
                "how is the server verified? Give --ca FILE, or --no-verify to leave it out".into(),
            ));
        }
        let host = arguments.server_name.as_deref().unwrap_or_else(|| host_of(&arguments.target));
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            PlanError::Usage(format!("'{host}' is neither a DNS name nor an IP address"))
        })?;
        let suite = match &arguments.suite {
            Some(suite) => Some(find_suite(suite, arguments.tls).map_err(PlanError::Usage)?),
            None => None,
        };
        let roots = match &arguments.ca {
            Some(file) => Some(Arc::new(read_roots(file).map_err(PlanError::Environment)?)),
            None => None,
        };
        Ok(Self {
            name,
            roots,
            version: arguments.tls,
            group: arguments.group,
            suite,
            alpn: arguments.alpn.clone(),
            reuse_key_share: arguments.reuse_key_share,
        })
    }
}

fn find_suite(name: &str, version: TlsVersion) -> Result<SupportedCipherSuite, String> {
    let of_version =
        |suite: &&SupportedCipherSuite| suite.tls13().is_some() == (version == TlsVersion::Tls13);
    let all: Vec<SupportedCipherSuite> =
        rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(of_version).copied().collect();
    let spelled = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
    let found = all.iter().find(|suite| spelled(suite).eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(spelled).collect();
        format!("--suite '{name}' is none of this version: {}", names.join(", "))
    })
}

fn read_roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: not a usable CA certificate: {error}", file.display()))?;
    }
    Ok(roots)
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(format!("{}: holds no certificate in PEM", file.display()))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: not PEM: {error}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refusal(words: &[&str]) -> String {
        let all = ["countersign-loadgen"].iter().chain(words);
        let arguments = Arguments::try_parse_from(all).expect("clap takes it");
        match Plan::resolve(arguments) {
            Err(PlanError::Usage(words) | PlanError::Environment(words)) => words,
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let target = "127.0.0.1:1";
        for (words, named) in [
            (&[target] as &[&str], "--ca"),
            (&["--no-verify", "localhost"], "HOST:PORT"),
            (&["--no-verify", "--plaintext", target], "--plaintext"),
            (&["--no-verify", "--hold", "--mode", "upload", target], "--hold"),
            (&["--no-verify", "--unseen", "5", target], "--unseen"),
            (&["--no-verify", "--suite", "X", target], "TLS13_AES_128_GCM_SHA256"),
            (&["--no-verify", "--group", "x25519mlkem768", "--tls", "1.2", target], "TLS 1.3"),
            (&["--no-verify", "--rate", "0", target], "--rate"),
            (&["--ca", "/nonexistent", target], "/nonexistent"),
            (&["--no-verify", target], ""),
        ] {
            let said = refusal(words);
            assert!(
                said.contains(named) && said.is_empty() == named.is_empty(),
                "{words:?}: {said}"
            );
        }
    }

    #[test]
    fn shares_add_up() {
        let total: u64 = (0..7).map(|one| share(100, one, 7)).sum();
        assert_eq!(total, 100);
        assert_eq!((share(3, 0, 4), share(3, 3, 4)), (1, 0));
    }
}
