//! `countersign demo`: the main job in one command, for somebody who has just cloned this.

#![allow(clippy::print_stdout, reason = "the demo talks to a person")]

mod client;
mod pki;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use countersign_proto::Limits;

use super::{fail, serve};
use crate::config::{Config, RawConfig};
use crate::control::{Engine, StartError};
use crate::signing::InPlace;

const DEFAULT_PORT: u16 = 8443;

/// How long a stop of the demo waits for connections.
const PATIENCE: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// End after the two requests instead of staying up.
    #[arg(long)]
    once: bool,
    /// Address and port to listen on [default: 127.0.0.1:8443, or a free port if that is taken].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to put certificates, keys and the log [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(super) fn demo(arguments: &DemoArguments) -> ExitCode {
    match show(arguments) {
        Ok(code) => code,
        Err(error) => fail(error),
    }
}

fn show(arguments: &DemoArguments) -> Result<ExitCode> {
    let temporary;
    let directory = match &arguments.directory {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
            directory.as_path()
        }
        None => {
            temporary = tempfile::Builder::new().prefix("countersign-demo-").tempdir()?;
            temporary.path()
        }
    };
    println!("Making a throwaway PKI in {} ...", directory.display());
    let pki = pki::write(directory)?;
    let signals = serve::signals()?;
    let engine = start(arguments.listen, directory)?;
    let address = engine.addresses()[0];
    let asked = engine.config().listeners[0].address;
    let load = || Config::resolve(&raw_config(asked, directory));
    println!("Countersign listens on {address}. It lets in who proves to be CN=alice.\n");

    println!("1. alice asks who she is:");
    let answer = client::request(address, &pki.root, &pki.alice);
    let allowed = matches!(&answer, client::Answer::Response { status: 200, .. });
    println!("{}\n", indent(&answer.to_string()));

    println!("2. mallory, whose certificate is as valid as hers, asks too:");
    let answer = client::request(address, &pki.root, &pki.mallory);
    let refused = matches!(&answer, client::Answer::Alert(_));
    println!("{}\n", indent(&answer.to_string()));
    if !(allowed && refused) {
        return Err("this is not how it should be: alice is let in, mallory refused".into());
    }
    print_lines_to_try(address, directory, arguments.once);
    if arguments.once {
        engine.begin_stop(PATIENCE);
    } else {
        println!("\nCtrl-C ends it.");
    }
    Ok(serve::serve(engine, signals, &load))
}

fn start(listen: Option<SocketAddr>, directory: &Path) -> Result<Engine> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
    match start_on(listen.unwrap_or(wanted), directory) {
        Err(error) if listen.is_none() && is_taken(&*error) => {
            start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), directory)
        }
        result => result,
    }
}

fn is_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Listen { source, .. }) => source.kind() == std::io::ErrorKind::AddrInUse,
        _ => false,
    }
}

fn start_on(address: SocketAddr, directory: &Path) -> Result<Engine> {
    let config = Config::resolve(&raw_config(address, directory))?;
    let log = File::create(directory.join("engine.log"))?;
    Ok(Engine::start(config, Arc::new(InPlace), Box::new(log))?)
}

fn raw_config(address: SocketAddr, directory: &Path) -> RawConfig {
    RawConfig {
        listen: vec![address.to_string()],
        certificate: directory.join("server.pem"),
        key: directory.join("server.key"),
        client_ca: directory.join("ca.pem"),
        allow: vec!["cn=alice".into()],
        deny: Vec::new(),
        upstream: "builtin:whoami".into(),
        upstream_plaintext: false,
        workers: None,
        cpus: None,
        max_connections: None,
        log_connections: None,
        drain_timeout: PATIENCE,
        limits: Limits::default(),
    }
}

fn print_lines_to_try(address: SocketAddr, directory: &Path, once: bool) {
    let port = address.port();
    let curl = if address.ip().is_loopback() {
        "curl --cacert ca.pem".to_owned()
    } else {
        format!("curl --cacert ca.pem --resolve localhost:{port}:{}", address.ip())
    };
    println!("Try it yourself{}:", if once { " (without --once it stays up)" } else { "" });
    println!("  cd {}", directory.display());
    for name in ["alice", "mallory"] {
        println!("  {curl} --cert {name}.pem --key {name}.key https://localhost:{port}/");
    }
    println!("  {curl} https://localhost:{port}/    # no certificate at all");
    println!("  tail engine.log    # what the operator sees of each");
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
}
