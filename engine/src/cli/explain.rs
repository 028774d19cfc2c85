//! `countersign explain`: what would become of a client, and why, by the engine's own code.

#![allow(clippy::print_stdout, reason = "the answer is what was asked for")]

mod account;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::account::{Account, Question};
use super::{fail, refuse};
use crate::config::{Config, ListenerConfig, certificates};

#[derive(Debug, Args)]
#[command(after_help = "\
The file has what the client would send: its certificate first, then its
intermediates, PEM. Its key is not needed: that the client holds it is the one
thing that is not looked at. Nothing is sent anywhere.
Exit status: 0 if the client would be let in, 1 if not or if it cannot be said.")]
pub(super) struct ExplainArguments {
    /// Configuration file, TOML.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The listener's name; may be left out if there is one only.
    #[arg(short, long, value_name = "NAME")]
    listener: Option<String>,
    /// The server name that the client asks for.
    #[arg(short, long, value_name = "NAME")]
    sni: Option<String>,
    /// For programs: one JSON object; docs/explain.md has its fields.
    #[arg(long)]
    json: bool,
    /// The client's certificates, PEM.
    #[arg(value_name = "CLIENT.PEM")]
    client: PathBuf,
}

pub(super) fn explain(arguments: &ExplainArguments) -> ExitCode {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    let listener = match listener(&config, arguments.listener.as_deref()) {
        Ok(listener) => listener,
        Err(problem) => return fail(problem),
    };
    let client = &arguments.client;
    let chain = match certificates(client) {
        Ok(chain) => chain,
        Err(problem) => return fail(format_args!("{} {problem}", client.display())),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let question = Question {
        config: &config,
        listener,
        server_name: arguments.sni.as_deref(),
        chain: &chain,
        now: UnixTime::since_unix_epoch(now),
    };
    let account = match Account::of(&question) {
        Ok(account) => account,
        Err(problem) => return fail(problem),
    };
    println!("{}", said(&account, client, arguments.json));
    if account.is_allowed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(account: &Account, client: &Path, json: bool) -> String {
    if json {
        return serde_json::to_string_pretty(account).unwrap_or_default();
    }
    text::of(account, client)
}

/// The listener of this name, or the only one.
fn listener<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a ListenerConfig, String> {
    let names = || {
        let names: Vec<_> = config.listeners.iter().map(|l| l.name.as_str()).collect();
        names.join(", ")
    };
    match name {
        Some(name) => config
            .listeners
            .iter()
            .find(|listener| listener.name == name)
            .ok_or_else(|| format!("no listener is named `{name}`; there are: {}", names())),
        None => match config.listeners.as_slice() {
            [only] => Ok(only),
            _ => Err(format!("there are several listeners; say which by --listener: {}", names())),
        },
    }
}

/// Seconds since the epoch as people read them.
fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s"))
}
