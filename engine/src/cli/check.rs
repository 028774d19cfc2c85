//! `countersign check`: is the configuration right?

#![allow(clippy::print_stdout, reason = "the answer is what was asked for")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{fail, refuse, warn};
use crate::config::{Config, ConfigErrors};
use crate::control::{check_lists, check_ticket_keys, check_tokens};

#[derive(Debug, Args)]
#[command(after_help = "\
Each error stands on one line, FILE:LINE:COLUMN: KEY: what is wrong; what would
be right. Certificates and keys are read, names of upstreams resolved, tokens
asked for their keys (with one login each); nothing listens. `countersign -t --config FILE` does the same.
Exit status: 0 if the configuration is right, 1 if not.")]
pub(super) struct CheckArguments {
    /// Configuration file, TOML.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Accepted for those who are used to it: check does nothing else.
    #[arg(short = 't', long, hide = true)]
    test: bool,
}

pub(super) fn check(arguments: &CheckArguments) -> ExitCode {
    let CheckArguments { config, test: _ } = arguments;
    file(config)
}

/// Checks one configuration file.
pub(super) fn file(config: &Path) -> ExitCode {
    report(Some(config), Config::load(config))
}

/// Says what became of the check of a file, or of the options of the command line.
pub(super) fn report(file: Option<&Path>, result: Result<Config, ConfigErrors>) -> ExitCode {
    let config = match result {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    warn(&config.warnings);
    if let Err(errors) = check_ticket_keys(&config) {
        return refuse(&errors);
    }
    if let Err(problem) = check_lists(&config) {
        return fail(problem);
    }
    if let Err(errors) = check_tokens(&config) {
        return refuse(&errors);
    }
    let name =
        file.map_or_else(|| "the command line".to_owned(), |file| file.display().to_string());
    let identities = config.listeners.iter().map(|listener| listener.identities.len()).sum();
    let sizes = [
        counted(config.listeners.len(), "listener", "listeners"),
        counted(identities, "identity", "identities"),
        counted(config.workers, "worker", "workers"),
    ];
    println!("{name}: the configuration is right: {}", sizes.join(", "));
    ExitCode::SUCCESS
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
