//! Figures for people.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::json::name;
use super::microseconds;
use crate::plan::{Plan, Work};
use crate::run::Outcome;

pub(super) fn of(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(plan, outcome, &mut text);
    text
}

fn write(plan: &Plan, outcome: &Outcome, text: &mut String) -> std::fmt::Result {
    let seconds = outcome.measured.as_secs_f64();
    let tally = &outcome.tally;
    writeln!(text, "{} to {}, {seconds:.2} s measured", what(plan), plan.arguments.target)?;
    if let Some(why) = &outcome.ended_early {
        writeln!(text, "ended early: {why}")?;
    }
    counts(plan, outcome, text)?;
    let latencies = [
        ("begun late", &tally.begun_late),
        ("connect", &tally.connect),
        ("handshake", &tally.handshake),
        (
            if matches!(plan.work, Work::Tcp(_)) { "conversation" } else { "request" },
            &tally.request,
        ),
    ];
    if latencies.iter().any(|(_, histogram)| !histogram.is_empty()) {
        writeln!(
            text,
            "\n{:16}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}",
            "latency", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (what, histogram) in latencies.iter().filter(|(_, histogram)| !histogram.is_empty()) {
            latency(what, histogram, text)?;
        }
        if tally.left_waiting > 0 {
            writeln!(
                text,
                "  {} of {} that were due were still waiting for a free connection at the end: their latency is not in here",
                tally.left_waiting, tally.due
            )?;
        }
    }
    cpu(plan, outcome, text)?;
    if !tally.negotiated.is_empty() {
        writeln!(text, "\nnegotiated")?;
        let mut negotiated: Vec<_> = tally.negotiated.iter().collect();
        negotiated.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (negotiated, count) in negotiated {
            writeln!(text, "{count:>12}  {}", name(negotiated))?;
        }
    }
    if tally.errors.is_empty() {
        return writeln!(text, "\nno errors");
    }
    writeln!(text, "\nerrors (ramp included)")?;
    for (kind, errors) in &tally.errors {
        writeln!(text, "{:>12}  {kind}, first: {}", errors.count, errors.example)?;
    }
    Ok(())
}

fn what(plan: &Plan) -> &'static str {
    match &plan.work {
        _ if plan.arguments.hold => "idle connections",
        Work::Handshake { probe: true } => "handshakes with one request each",
        Work::Handshake { probe: false } => "handshakes",
        Work::Request { .. } => "requests",
        Work::Upload => "upload",
        Work::Download => "download",
        Work::Tcp(_) => "plain conversations",
        Work::Flood(_) => "flood",
    }
}

fn counts(plan: &Plan, outcome: &Outcome, text: &mut String) -> std::fmt::Result {
    let tally = &outcome.tally;
    let seconds = outcome.measured.as_secs_f64().max(1e-9);
    let handshakes = tally.full + tally.resumed;
    let mut line = |what: &str, count: u64, more: &str| {
        writeln!(text, "{what:16}{count:>11}{:>11.0} /s{more}", count as f64 / seconds)
    };
    if handshakes + tally.handshakes_failed > 0 {
        let failed = tally.handshakes_failed;
        line(
            "handshakes",
            handshakes,
            &format!(
                "   {} full, {} resumed of {} offered, {failed} failed",
                tally.full, tally.resumed, tally.offered
            ),
        )?;
    }
    if tally.requests + tally.requests_failed > 0 {
        let name = if matches!(plan.work, Work::Tcp(_)) { "conversations" } else { "requests" };
        line(name, tally.requests, &format!("   {} failed", tally.requests_failed))?;
    }
    if tally.answered > 0 {
        line("floods answered", tally.answered, "")?;
    }
    if plan.work.is_bulk() {
        let wire = if plan.arguments.discard && plan.work == Work::Download && plan.tls.is_some() {
            " (with TLS records' overhead)"
        } else {
            ""
        };
        for (way, bytes) in [("sent", tally.sent_bytes), ("received", tally.received_bytes)] {
            if bytes > 0 {
                let megabytes = bytes as f64 / 1e6;
                writeln!(
                    text,
                    "{way:16}{megabytes:>11.0}{:>11.0} MB/s{wire}",
                    megabytes / seconds
                )?;
            }
        }
    }
    if plan.arguments.hold {
        writeln!(
            text,
            "{:16}{:>11} opened, {} alive at the end",
            "connections", tally.opened, tally.alive
        )?;
    }
    Ok(())
}

fn latency(what: &str, histogram: &Histogram<u64>, text: &mut String) -> std::fmt::Result {
    write!(text, "  {what:14}{:>11}", time(histogram.mean() / 1e3))?;
    for quantile in [0.5, 0.9, 0.99, 0.999] {
        write!(text, "{:>11}", time(microseconds(histogram, quantile)))?;
    }
    writeln!(text, "{:>11}", time(histogram.max() as f64 / 1e3))
}

/// Three or four digits and a unit.
fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn cpu(plan: &Plan, outcome: &Outcome, text: &mut String) -> std::fmt::Result {
    let tally = &outcome.tally;
    let handshakes = tally.full + tally.resumed;
    let (count, unit) = match &plan.work {
        Work::Handshake { .. } => (handshakes, "handshake"),
        Work::Tcp(_) => (tally.requests, "conversation"),
        Work::Flood(_) => (tally.answered, "flood"),
        _ => (tally.requests, "request"),
    };
    let seconds = outcome.measured.as_secs_f64().max(1e-9);
    let mut line = |who: &str, used: f64| {
        write!(text, "  {who:14}{:>10.2}s{:>10.0}%", used, used / seconds * 100.0)?;
        if count > 0 {
            write!(text, "   {:.1} us a {unit}", used * 1e6 / count as f64)?;
        }
        writeln!(text)
    };
    line("client CPU", outcome.client_cpu.as_secs_f64())?;
    match &outcome.server_cpu {
        Some(Ok(used)) => line("server CPU", used.as_secs_f64()),
        Some(Err(words)) => writeln!(text, "  server CPU: {words}"),
        None => Ok(()),
    }
}
