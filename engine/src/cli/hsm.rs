//! `countersign hsm`: what is in PKCS#11 tokens, whether it can be used, and how fast.
//!
//! These commands load a vendor's module into their own process, unlike the engine: they end soon, and hold nothing
//! that a module could harm.

mod bench;
mod check;
mod list;
mod modules;
mod plot;
mod signing;
mod sweep;

use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use countersign_hsm::{PinSource, Uri};

use super::fail;

#[derive(Debug, Args)]
pub(super) struct HsmArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show modules, their tokens, what these can do, and their keys with the URIs to configure.
    List(list::ListArguments),
    /// Say whether keys are there, belong to their certificates, and sign for TLS 1.2 and 1.3.
    Check(check::CheckArguments),
    /// Measure signatures with more and more sessions, and say how many to configure.
    Bench(bench::BenchArguments),
}

/// Why a command ends early.
enum Ended {
    /// What is wrong and what to do.
    Problem(String),
    /// The answer cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for Ended {
    fn from(problem: String) -> Self {
        Self::Problem(problem)
    }
}

pub(super) fn hsm(arguments: &HsmArguments) -> ExitCode {
    let mut output = io::stdout().lock();
    let result = match &arguments.command {
        Command::List(arguments) => list::list(arguments, &mut output),
        Command::Check(arguments) => check::check(arguments, &mut output),
        Command::Bench(arguments) => bench::bench(arguments, &mut output),
    };
    let result = result.and_then(|code| Ok(output.flush().map(|()| code)?));
    match result {
        Ok(code) => code,
        Err(Ended::Problem(problem)) => fail(problem),
        // Whoever read it has seen enough (`| head`).
        Err(Ended::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Ended::Output(error)) => fail(format_args!("cannot write the answer: {error}")),
    }
}

/// What was typed. clap would repeat it where it is wrong, and it may hold a PIN.
#[derive(Clone, Debug)]
struct Typed<T>(Result<T, String>);

impl<T> Typed<T> {
    fn get(&self) -> Result<&T, String> {
        self.0.as_ref().map_err(Clone::clone)
    }
}

fn parse_uri(text: &str) -> Result<Typed<Uri>, Infallible> {
    Ok(Typed(Uri::parse(text).map_err(|error| error.to_string())))
}

fn parse_pin_source(text: &str) -> Result<Typed<PinSource>, Infallible> {
    let source = PinSource::parse(text);
    Ok(Typed(source.map_err(|error| format!("--pin-source {error}; it is no PIN"))))
}

/// A URI, with the PIN from where `--pin-source` says unless it says so itself.
fn key_uri(uri: &Typed<Uri>, source: Option<&Typed<PinSource>>) -> Result<Uri, String> {
    let (uri, source) = (uri.get()?, source.map(Typed::get).transpose()?);
    Ok(if uri.pin_source().is_some() { uri.clone() } else { with_pin(uri, source) })
}

/// The URI with the PIN from there, if that was said on the command line.
fn with_pin(uri: &Uri, source: Option<&PinSource>) -> Uri {
    source.map_or_else(|| uri.clone(), |source| uri.with_pin_source(source))
}
