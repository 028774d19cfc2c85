//! The command line.

mod check;
mod demo;
mod explain;
mod hsm;
mod login;
mod pki;
mod run;
mod serve;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use rustls::AlertDescription;

use crate::config::ConfigErrors;
use crate::signing::station;

/// A mutual-TLS termination engine: it proves who the client is before a byte reaches a backend.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The same as `check`, as other servers have it: countersign -t --config FILE.
    #[arg(short = 't', long = "check", required = true)]
    check: bool,
    /// Configuration file for --check.
    #[arg(short, long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: accept clients, prove who they are, relay those that are let in to an upstream.
    Run(Box<run::RunArguments>),
    /// Say everything that is wrong with a configuration file and the files that it names; serve nothing.
    Check(check::CheckArguments),
    /// Say what would become of a client and why: its path, each check, the rule that decides.
    Explain(explain::ExplainArguments),
    /// Show the engine at work: makes a throwaway PKI, serves, lets one client in and refuses another.
    Demo(demo::DemoArguments),
    /// A small CA: issue certificates to servers and clients, renew, revoke and check them.
    Pki(Box<pki::PkiArguments>),
    /// PKCS#11 tokens: what there is, whether keys can be used, how many sessions are worth opening.
    Hsm(Box<hsm::HsmArguments>),
}

/// Runs the program with the process' own arguments.
#[must_use]
pub fn main() -> ExitCode {
    // Not a command: an engine starts itself so, to have a token's module in a process of its own.
    if std::env::args_os().nth(1).is_some_and(|first| first == station::CHILD_ARGUMENT) {
        return station::run_child();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return version::print(),
        Err(error) => error.exit(),
    };
    match arguments.command {
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Check(arguments)) => check::check(&arguments),
        Some(Command::Explain(arguments)) => explain::explain(&arguments),
        Some(Command::Demo(arguments)) => demo::demo(&arguments),
        Some(Command::Pki(arguments)) => pki::pki(&arguments),
        Some(Command::Hsm(arguments)) => hsm::hsm(&arguments),
        // clap has asked for both, -t and the file.
        None => check::file(&arguments.config.unwrap_or_default()),
    }
}

/// What is wrong, on standard error, as the last word of the program.
#[allow(clippy::print_stderr, reason = "this is what the operator reads when there is no log yet")]
fn fail(problem: impl std::fmt::Display) -> ExitCode {
    for line in problem.to_string().lines() {
        eprintln!("countersign: error: {line}");
    }
    ExitCode::FAILURE
}

/// Everything that is wrong with a configuration, on standard error, in the form in which editors find
/// the place; and how many.
#[allow(clippy::print_stderr, reason = "this is what the operator reads when there is no log yet")]
fn refuse(errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    let count = errors.0.len();
    let noun = if count == 1 { "error" } else { "errors" };
    fail(format_args!("{count} {noun} in the configuration"))
}

/// What is not wrong, but worth a word.
#[allow(clippy::print_stderr, reason = "this is what the operator reads when there is no log yet")]
fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("countersign: warning: {warning}");
    }
}

/// The alert's name as RFC 9846 §6 writes it: `AccessDenied` is `access_denied`.
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
