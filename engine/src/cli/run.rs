//! `countersign run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use countersign_proto::Limits;

use super::{check, fail, refuse, serve};
use crate::config::{Config, ConfigErrors, RawConfig};
use crate::control::{Engine, StartError};
use crate::duration;
use crate::signing::InPlace;

#[derive(Debug, Args)]
#[command(override_usage = "\
countersign run --config <FILE>
       countersign run --listen <ADDRESS:PORT> --certificate <FILE> --key <FILE>
                       --client-ca <FILE> --allow <RULE> [OPTIONS]")]
#[command(after_help = "\
Signals:
  TERM, INT  stop accepting and let connections finish, up to --drain-timeout;
             once more cuts them off
  HUP        load the configuration, or the files that the options name, anew; on an
             error nothing changes
  USR1       write the counters into the log
Exit status: 0 after a clean stop, 1 on a start error or when connections were
cut off. The log is JSON on standard error, one object a line.

Examples:
  countersign run --config countersign.toml
  countersign run --listen 0.0.0.0:8443 \\
      --certificate server.pem --key server.key --client-ca clients-ca.pem \\
      --allow 'cn=payments-*' --upstream 127.0.0.1:8080")]
pub(super) struct RunArguments {
    /// Configuration file, TOML; it takes the place of every option below but --test.
    #[arg(long, value_name = "FILE", conflicts_with = "Flags")]
    config: Option<PathBuf>,
    /// Only say whether the configuration is right; see `countersign check`.
    #[arg(short = 't', long)]
    test: bool,
    #[command(flatten)]
    flags: Flags,
}

/// One listener's settings, without a file.
#[derive(Debug, Args)]
#[group(multiple = true)]
struct Flags {
    /// Address and port to listen on; may be given several times.
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present = "config")]
    listen: Vec<String>,
    /// PEM file with the server's certificate chain, end entity first.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    certificate: Option<PathBuf>,
    /// PEM file with the server's private key: PKCS#8, SEC1 or PKCS#1; ECDSA, Ed25519 or RSA.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    key: Option<PathBuf>,
    /// PEM file with the CA certificates that a client's chain must lead to.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    client_ca: Option<PathBuf>,
    /// Let clients in: cn=NAME, dns=NAME or uri=NAME, where * stands for any part of a label or
    /// segment and ** for anything; or any-verified. May be given several times.
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Keep clients out that --allow would let in. May be given several times.
    #[arg(long, value_name = "RULE")]
    deny: Vec<String>,
    /// Where clients go: HOST:PORT, unix:/path, or builtin:whoami, which answers HTTP requests with
    /// who the client is.
    #[arg(long, value_name = "WHERE", default_value = "builtin:whoami")]
    upstream: String,
    /// Allow an upstream beyond loopback although what goes there is not encrypted.
    #[arg(long)]
    upstream_plaintext: bool,
    /// Number of workers [default: one for each CPU that the affinity mask and the cgroup quota allow].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// CPUs to pin the workers to, in this order, such as 0-3,8 [default: the affinity mask].
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// Client connections of each worker at one time; more wait in the kernel's queue [default: 16384,
    /// or what the limit of open files allows].
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Connections that get a line in the log: all, or only those that were refused or ended through a
    /// fault other than the client's [default: all].
    #[arg(long, value_name = "WHICH", value_parser = ["all", "problems"])]
    log_connections: Option<String>,
    /// From accept to the end of the handshake.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "10s")]
    handshake_timeout: Duration,
    /// From dialling the upstream to its answer.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "5s")]
    connect_timeout: Duration,
    /// Without a byte in either direction.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "5m")]
    idle_timeout: Duration,
    /// Without a byte after one direction has ended.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "30s")]
    half_closed_timeout: Duration,
    /// How long a stop waits for connections to finish.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "30s")]
    drain_timeout: Duration,
    /// Largest ClientHello that is read.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().client_hello_bytes)]
    max_client_hello: usize,
}

impl RunArguments {
    fn resolve(&self) -> Result<Config, ConfigErrors> {
        match &self.config {
            Some(file) => Config::load(file),
            None => Config::resolve(&self.flags.raw_config()),
        }
    }
}

impl Flags {
    fn raw_config(&self) -> RawConfig {
        RawConfig {
            listen: self.listen.clone(),
            certificate: self.certificate.clone().unwrap_or_default(),
            key: self.key.clone().unwrap_or_default(),
            client_ca: self.client_ca.clone().unwrap_or_default(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            upstream: self.upstream.clone(),
            upstream_plaintext: self.upstream_plaintext,
            workers: self.workers,
            cpus: self.cpus.clone(),
            max_connections: self.max_connections,
            log_connections: self.log_connections.clone(),
            drain_timeout: self.drain_timeout,
            limits: Limits {
                client_hello_bytes: self.max_client_hello,
                handshake_timeout: self.handshake_timeout,
                connect_timeout: self.connect_timeout,
                idle_timeout: self.idle_timeout,
                half_closed_timeout: self.half_closed_timeout,
                ..Limits::default()
            },
        }
    }
}

pub(super) fn run(arguments: &RunArguments) -> ExitCode {
    let resolved = arguments.resolve();
    if arguments.test {
        return check::report(arguments.config.as_deref(), resolved);
    }
    let config = match resolved {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    // Before the first thread: a signal between start and this would end the process without a drain.
    let signals = match serve::signals() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("cannot listen to signals: {error}")),
    };
    match Engine::start(config, Arc::new(InPlace), Box::new(std::io::stderr())) {
        Ok(engine) => {
            serve::warn(&engine);
            serve::serve(engine, signals, &|| arguments.resolve())
        }
        Err(StartError::Tokens(errors)) => refuse(&errors),
        Err(error) => fail(error),
    }
}
