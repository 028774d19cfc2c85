//! Figures for programs. The README says what each field means.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::microseconds;
use crate::plan::{Plan, Work};
use crate::run::Outcome;
use crate::tally::{Negotiated, Tally};

pub(super) fn of(plan: &Plan, outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let flood = matches!(plan.work, Work::Flood(_));
    let open_loop = plan
        .arguments
        .rate
        .map(|rate| json!({ "rate": rate, "due": tally.due, "left_waiting": tally.left_waiting }));
    json!({
        "version": 1,
        "mode": if flood { "flood" } else { plan.arguments.mode.name() },
        "target": plan.target.to_string(),
        "seconds": round(outcome.measured.as_secs_f64(), 6),
        "ended_early": outcome.ended_early,
        "connections": { "opened": tally.opened, "alive_at_end": tally.alive },
        "handshakes": {
            "full": tally.full,
            "resumed": tally.resumed,
            "resumption_offered": tally.offered,
            "failed": tally.handshakes_failed,
        },
        "requests": { "completed": tally.requests, "failed": tally.requests_failed },
        "bytes": { "sent": tally.sent_bytes, "received": tally.received_bytes },
        "floods_answered": if flood { json!(tally.answered) } else { Value::Null },
        "open_loop": open_loop,
        "errors": errors(tally, |count, _| json!(count)),
        "error_examples": errors(tally, |_, example| json!(example)),
        "negotiated": negotiated(tally),
        "latency_us": {
            "begun_late": latency(&tally.begun_late),
            "connect": latency(&tally.connect),
            "handshake": latency(&tally.handshake),
            "request": latency(&tally.request),
        },
        "cpu": cpu(outcome),
        "series": series(outcome),
    })
}

fn errors(tally: &Tally, value: impl Fn(u64, &str) -> Value) -> Map<String, Value> {
    let entry = |(kind, errors): (&std::borrow::Cow<'_, str>, &crate::tally::Errors)| {
        (kind.to_string(), value(errors.count, &errors.example))
    };
    tally.errors.iter().map(entry).collect()
}

fn negotiated(tally: &Tally) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for (negotiated, count) in &tally.negotiated {
        *named.entry(name(negotiated)).or_default() += count;
    }
    named
}

/// `TLS1.3 TLS13_AES_128_GCM_SHA256 X25519`.
pub(super) fn name(negotiated: &Negotiated) -> String {
    let version = match negotiated.version {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS1.2".to_owned(),
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS1.3".to_owned(),
        other => format!("{other:?}"),
    };
    let suite = negotiated.suite.map_or_else(|| "-".to_owned(), |suite| format!("{suite:?}"));
    let group = negotiated.group.map_or_else(|| "-".to_owned(), |group| format!("{group:?}"));
    format!("{version} {suite} {group}")
}

fn latency(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |quantile| round(microseconds(histogram, quantile), 3);
    json!({
        "count": histogram.len(),
        "mean": round(histogram.mean() / 1e3, 3),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p99_9": at(0.999),
        "max": round(histogram.max() as f64 / 1e3, 3),
    })
}

fn cpu(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let handshakes = tally.full + tally.resumed;
    let client = outcome.client_cpu.as_secs_f64();
    let server = outcome.server_cpu.as_ref().and_then(|read| read.as_ref().ok());
    let server = server.map(std::time::Duration::as_secs_f64);
    let each = |seconds: Option<f64>, count: u64| {
        let seconds = seconds.filter(|_| count > 0);
        seconds.map(|seconds| round(seconds * 1e6 / count as f64, 3))
    };
    let busy = server.map(|seconds| round(seconds / outcome.measured.as_secs_f64().max(1e-9), 4));
    json!({
        "client_seconds": round(client, 6),
        "client_us_per_handshake": each(Some(client), handshakes),
        "client_us_per_request": each(Some(client), tally.requests),
        "server_seconds": server.map(|seconds| round(seconds, 6)),
        "server_us_per_handshake": each(server, handshakes),
        "server_us_per_request": each(server, tally.requests),
        "server_busy": busy,
    })
}

fn series(outcome: &Outcome) -> Vec<Value> {
    let ramp = outcome.ramp.as_secs_f64();
    let of_second = |(number, second): (usize, &crate::tally::Second)| {
        json!({
            "second": number,
            "phase": if (number as f64) < ramp { "ramp" } else { "steady" },
            "handshakes": second.handshakes,
            "requests": second.requests,
            "bytes": second.bytes,
            "errors": second.errors,
        })
    };
    outcome.tally.series.iter().enumerate().map(of_second).collect()
}

/// Digits that mean nothing make figures hard to read.
fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
