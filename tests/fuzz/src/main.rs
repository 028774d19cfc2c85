//! `countersign-fuzz`: mutations of one target's inputs for as long as one likes, and the replay of a file.
#![forbid(unsafe_code)]

mod cli;
mod finding;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Arguments::parse().run()
}
