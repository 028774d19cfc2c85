//! `countersign pki list`.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::error::Result;
use super::estate::Estate;
use super::index::{Index, Issued, State};
use super::moment::Moment;
use super::{Report, add};

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Only what is revoked.
    #[arg(long)]
    revoked: bool,
    /// Only what has ended, revoked or not; with --revoked, both.
    #[arg(long)]
    expired: bool,
}

pub(super) fn list(path: &Path, arguments: &ListArguments, now: Moment) -> Result<Report> {
    let estate = Estate::look_at(path)?;
    let index = &estate.index;
    let chosen = index.issued.iter().filter(|issued| {
        let all = !arguments.revoked && !arguments.expired;
        let revoked = arguments.revoked && index.state(issued, now) == State::Revoked;
        all || revoked || (arguments.expired && now > issued.not_after)
    });
    let mut text = String::new();
    if !arguments.json {
        add(&mut text, format_args!("{}", row(["SERIAL", "KIND", "STATE", "UNTIL", "NAMES"])));
    }
    for issued in chosen {
        if arguments.json {
            add(&mut text, format_args!("{}", object(path, index, issued, now)));
        } else {
            let [serial, until] = [issued.serial.to_string(), issued.not_after.to_string()];
            let state = index.state(issued, now).label();
            let names = issued.names.in_words();
            add(
                &mut text,
                format_args!("{}", row([&serial, issued.kind.label(), state, &until, &names])),
            );
        }
    }
    Ok(Report::new(text))
}

fn row([serial, kind, state, until, names]: [&str; 5]) -> String {
    format!("{serial:<32}  {kind:<12}  {state:<7}  {until:<20}  {names}")
}

/// docs/pki.md describes it.
pub(super) fn object(path: &Path, index: &Index, issued: &Issued, now: Moment) -> Value {
    let revoked = index
        .revocation(issued.serial)
        .map(|revoked| json!({ "time": revoked.time, "reason": revoked.reason }));
    json!({
        "serial": issued.serial,
        "kind": issued.kind,
        "state": index.state(issued, now).label(),
        "names": issued.names,
        "not_before": issued.not_before,
        "not_after": issued.not_after,
        "revoked": revoked,
        "renews": issued.renews,
        "file": path.join(format!("{}.pem", issued.file)).display().to_string(),
    })
}
