//! `countersign demo`.
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct DemoArguments {}

pub(super) fn demo(_arguments: &DemoArguments) -> ExitCode {
    ExitCode::SUCCESS
}
