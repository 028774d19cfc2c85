//! How each system is set up for the same work: one worker for each of its CPUs, TLS 1.3 with
//! TLS_AES_128_GCM_SHA256 and one group, a client certificate required, access logs off, keepalive on.

mod countersign;
mod envoy;
mod haproxy;
mod nginx;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::experiment::Variant;
use crate::pki::Pki;
use crate::problem::{During, Result};
use crate::system::{Kind, Program, System};
use crate::token::{KeyPlace, TokenFolder};

/// Connections that every system must be able to hold, and its limits are set for.
pub(crate) const CONNECTIONS_MAX: usize = 20_000;
/// Longer than any experiment: what is idle is kept.
const IDLE_S: u64 = 3600;
/// `listen(2)`'s, lowered by the kernel to `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

/// What a server offers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// HTTP/1.1 over mutual TLS, a tiny response made by the server itself.
    Http { listen: SocketAddr },
    /// The same twice: with a key in software, and with one in a token.
    Pair { software: SocketAddr, token: SocketAddr },
    /// Mutual TLS to plain TCP: one listener for each backend.
    Relay { sink: Relay, source: Relay },
}

/// A listener and where it relays to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

impl Service {
    /// The listeners with the upstreams that they relay to, if they do.
    fn listeners(&self) -> Vec<(SocketAddr, Option<SocketAddr>)> {
        match self {
            Service::Http { listen } => vec![(*listen, None)],
            Service::Pair { software, token } => vec![(*software, None), (*token, None)],
            Service::Relay { sink, source } => {
                [sink, source].map(|relay| (relay.listen, Some(relay.upstream))).to_vec()
            }
        }
    }

    /// Where it listens: the address that is measured, and the other one.
    pub(crate) fn addresses(&self) -> (SocketAddr, Option<SocketAddr>) {
        match *self {
            Service::Http { listen } => (listen, None),
            Service::Pair { software, token } => (software, Some(token)),
            Service::Relay { sink, source } => (sink.listen, Some(source.listen)),
        }
    }
}

/// Everything that a configuration says.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// The server's own folder.
    pub(crate) directory: &'a Path,
    pub(crate) pki: &'a Pki,
    pub(crate) variant: Variant,
    pub(crate) service: Service,
    /// One worker for each.
    pub(crate) cpus: &'a [usize],
    /// The limit of open files that the server will have.
    pub(crate) open_files: u64,
    /// Where the key lies, if not in a file.
    pub(crate) token: Option<TokenKey<'a>>,
}

/// A key in a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenKey<'a> {
    pub(crate) folder: &'a TokenFolder,
    pub(crate) place: KeyPlace,
}

impl<'a> Setup<'a> {
    /// The token that the key of a listener lies in.
    fn token_of(&self, listen: SocketAddr) -> Option<TokenKey<'a>> {
        match self.service {
            Service::Pair { software, .. } if listen == software => None,
            _ => self.token,
        }
    }
}

/// Writes the configuration and says how to start the server in the foreground.
pub(crate) fn command(system: &System, setup: &Setup<'_>) -> Result<Command> {
    let program = system.program.clone()?;
    let (name, text) = match system.kind {
        Kind::Countersign => ("countersign.toml", countersign::text(setup, &system.tweaks)),
        Kind::Nginx => ("nginx.conf", nginx::text(setup, &program)?),
        Kind::Haproxy => ("haproxy.cfg", haproxy::text(setup)),
        Kind::Envoy => ("envoy.json", envoy::text(setup)),
    };
    let file = setup.directory.join(name);
    fs::write(&file, text).during(file.display())?;
    let mut command = Command::new(&program.path);
    match system.kind {
        Kind::Countersign => command.arg("run").arg("--config").arg(&file),
        Kind::Nginx => {
            if let Some(token) = setup.token {
                let openssl = setup.directory.join("openssl.cnf");
                fs::write(&openssl, nginx::openssl_conf(&token)).during(openssl.display())?;
                command.env("OPENSSL_CONF", openssl);
            }
            command.arg("-p").arg(setup.directory).arg("-c").arg(&file)
        }
        Kind::Haproxy => {
            // HAProxy leaves the number of tickets to OpenSSL, whose default is two.
            let openssl = setup.directory.join("openssl.cnf");
            fs::write(&openssl, haproxy::OPENSSL_CONF).during(openssl.display())?;
            command.arg("-db").arg("-f").arg(&file).env("OPENSSL_CONF", openssl)
        }
        Kind::Envoy => command.args(envoy::arguments(setup)).arg("-c").arg(&file),
    };
    for (name, value) in &system.tweaks.environment {
        command.env(name, value);
    }
    Ok(command)
}

/// The same for an nginx that answers HTTP without TLS.
pub(crate) fn plain_nginx(
    program: &Program,
    directory: &Path,
    cpus: &[usize],
    open_files: u64,
    listen: SocketAddr,
) -> Result<Command> {
    let file = directory.join("nginx.conf");
    let text = nginx::plain_text(directory, cpus, open_files, listen);
    fs::write(&file, text).during(file.display())?;
    let mut command = Command::new(&program.path);
    command.arg("-p").arg(directory).arg("-c").arg(&file);
    Ok(command)
}
