//! `countersign run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use countersign_proto::Limits;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::{duration, fail};
use crate::config::{Config, RawConfig};
use crate::control::Engine;
use crate::signing::InPlace;

/// How often it is looked whether the workers have ended.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
#[command(after_help = "\
Signals:
  TERM, INT  stop accepting and let connections finish, up to --drain-timeout;
             once more cuts them off
  USR1       write the counters into the log
Exit status: 0 after a clean stop, 1 on a start error or when connections were
cut off. The log is JSON on standard error, one object a line.

Example:
  countersign run --listen 0.0.0.0:8443 \\
      --certificate server.pem --key server.key --client-ca clients-ca.pem \\
      --allow 'cn=payments-*' --upstream 127.0.0.1:8080")]
pub(super) struct RunArguments {
    /// Address and port to listen on; may be given several times.
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    listen: Vec<String>,
    /// PEM file with the server's certificate chain, end entity first.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// PEM file with the server's private key: PKCS#8, SEC1 or PKCS#1; ECDSA, Ed25519 or RSA.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// PEM file with the CA certificates that a client's chain must lead to.
    #[arg(long, value_name = "FILE")]
    client_ca: PathBuf,
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
    fn raw_config(&self) -> RawConfig {
        RawConfig {
            listen: self.listen.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            upstream: self.upstream.clone(),
            upstream_plaintext: self.upstream_plaintext,
            workers: self.workers,
            cpus: self.cpus.clone(),
            max_connections: self.max_connections,
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
    let config = match Config::resolve(&arguments.raw_config()) {
        Ok(config) => config,
        Err(errors) => return fail(errors),
    };
    let patience = config.drain_timeout;
    // Before the first thread: a signal between start and this would end the process without a drain.
    let signals = match Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("cannot listen to signals: {error}")),
    };
    match Engine::start(config, Arc::new(InPlace), Box::new(std::io::stderr())) {
        Ok(engine) => serve(engine, signals, patience),
        Err(error) => fail(error),
    }
}

/// Serves until a signal says to stop, then until everything has ended.
pub(super) fn serve(engine: Engine, mut signals: Signals, patience: Duration) -> ExitCode {
    let mut stopping: Option<Instant> = None;
    while !engine.is_over() {
        for signal in signals.pending() {
            match signal {
                SIGUSR1 => engine.log_status(),
                SIGTERM | SIGINT => {
                    // Asked twice means now.
                    let patience = if stopping.is_some() { Duration::ZERO } else { patience };
                    stopping.get_or_insert_with(Instant::now);
                    engine.begin_stop(patience);
                }
                // There is nothing to reload from the command line; a terminal that goes away is no
                // reason to stop serving.
                _ => {}
            }
        }
        if stopping.is_none() && engine.has_failed() {
            stopping = Some(Instant::now());
            engine.begin_stop(patience);
        }
        std::thread::sleep(POLL);
    }
    let stopped = engine.join();
    match (stopped.failure, stopped.clean) {
        (Some(error), _) => fail(error),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => ExitCode::FAILURE,
    }
}
