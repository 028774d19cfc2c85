//! The load generator `countersign-loadgen`: mutual-TLS clients by the hundred thousand, and what they cost
//! themselves and the server. It shares no code with the engine, so that it judges other servers as fairly.
//!
//! One thread for each CPU runs a tokio-uring runtime with its own clients, sockets and figures (`site`); its
//! slots converse (`conversation`), one connection each at a time. The main thread only looks on (`run`) and
//! reports (`report`).
#![forbid(unsafe_code)]

mod arguments;
mod arrivals;
mod board;
mod channel;
mod clients;
mod conversation;
mod cpu_time;
mod descriptors;
mod discard;
mod failure;
mod http;
mod plan;
mod progress;
mod report;
mod run;
mod runtime;
mod site;
mod socket;
mod tally;
mod tls;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use arguments::Arguments;
use plan::{Plan, PlanError};
use progress::Progress;
use run::Outcome;

/// Runs the program with the process' own arguments.
#[must_use]
pub fn main() -> ExitCode {
    let plan = match Plan::resolve(Arguments::parse()) {
        Ok(plan) => Arc::new(plan),
        Err(PlanError::Usage(words)) => {
            Arguments::command().error(ErrorKind::ValueValidation, words).exit()
        }
        Err(PlanError::Environment(words)) => return fail(&words),
    };
    let mut progress = Progress::new(plan.arguments.no_progress);
    let outcome = match run::run(&plan, &mut progress) {
        Ok(outcome) => outcome,
        Err(words) => return fail(&words),
    };
    if let Err(words) = report::write(&plan, &outcome) {
        return fail(&words);
    }
    match verdict(&plan, &outcome) {
        None => ExitCode::SUCCESS,
        Some(words) => fail(&words),
    }
}

/// Why the run has failed, if it has.
fn verdict(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let tally = &outcome.tally;
    let total = tally.errors_total();
    let most = tally.errors.iter().max_by_key(|(_, errors)| errors.count);
    let first =
        most.map(|(kind, errors)| format!("; {kind} {} times: {}", errors.count, errors.example));
    let first = first.unwrap_or_default();
    match &outcome.ended_early {
        Some(why) if why == discard::USED_UP => {}
        Some(why) => return Some(format!("ended early: {why}{first}")),
        None => {}
    }
    if total > plan.arguments.max_errors {
        let allowed = plan.arguments.max_errors;
        return Some(format!("{total} errors, {allowed} are allowed (--max-errors){first}"));
    }
    let bytes = tally.sent_bytes + tally.received_bytes;
    if tally.full + tally.resumed + tally.requests + bytes + tally.answered == 0 {
        let seconds = outcome.measured.as_secs_f64();
        let target = &plan.arguments.target;
        return Some(format!(
            "nothing was completed with {target} in {seconds:.1} s, and nothing refused: it does not answer{first}"
        ));
    }
    if let Some(Err(words)) = &outcome.server_cpu {
        return Some(words.clone());
    }
    None
}

/// What is wrong, as the last word of the program.
fn fail(words: &str) -> ExitCode {
    // Nobody is there to be told that standard error is gone.
    drop(writeln!(io::stderr().lock(), "countersign-loadgen: error: {words}"));
    ExitCode::FAILURE
}
