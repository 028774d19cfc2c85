//! The command line.

mod demo;
mod duration;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A mutual-TLS termination engine: it proves who the client is before a byte reaches a backend.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: accept clients, prove who they are, relay those that are let in to an upstream.
    Run(Box<run::RunArguments>),
    /// Show the engine at work: makes a throwaway PKI, serves, lets one client in and refuses another.
    Demo(demo::DemoArguments),
}

/// Runs the program with the process' own arguments.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
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
