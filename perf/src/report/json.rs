//! The results as JSON: a document for the run, and a line for each slice.

use std::path::Path;

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::summary::{Beside, Floor, Row, Section, Summary};
use super::table::word;
use crate::cell::Cell;
use crate::statistics::Estimate;
use crate::study::{Results, Study};

/// The version of this format.
const VERSION: u32 = 1;

/// From the folder that it was run in: results are kept and read elsewhere.
fn shown(program: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    program.strip_prefix(here).unwrap_or(program).display().to_string()
}

/// Everything but the single slices; all values that medians stand on are there.
pub(crate) fn document(study: &Study, results: &Results, summary: &Summary) -> Value {
    let systems: Vec<Value> = study
        .systems
        .iter()
        .map(|system| {
            let tickets = results.tickets.iter().find(|(id, _)| *id == system.id);
            let program = system.program.as_ref();
            json!({
                "id": system.id,
                "kind": system.kind.name(),
                "version": program.ok().map(|program| &program.version),
                "library": program.ok().map(|program| &program.library),
                "path": program.ok().map(|program| shown(&program.path)),
                "missing": program.err().map(ToString::to_string),
                "tickets": tickets.map(|(_, tickets)| tickets),
                "config": pairs(&system.tweaks.config),
                "environment": pairs(&system.tweaks.environment),
            })
        })
        .collect();
    let calibration = summary.calibration.map(|(p5, p50, p95)| {
        json!({
            "p256_verify_us": { "p5": p5, "p50": p50, "p95": p95 },
            "count": results.calibrations.len(),
        })
    });
    json!({
        "version": VERSION,
        "name": study.name,
        "begun": results.begun.format(&Rfc3339).ok(),
        "seconds": results.seconds,
        "settings": {
            "rounds": study.rounds,
            "slice_ms": study.slice.as_millis() as u64,
            "ramp_ms": study.ramp.as_millis() as u64,
            "connections": study.connections,
            "idle_connections": study.idle_connections,
            "busy_min": study.busy_min,
            "seed": study.seed,
            "server_cpu": study.server_cpu,
            "client_cpus": study.client_cpus,
            "token_cpus": study.token_cpus,
            "awake_cpus": study.used_cpus(),
            "has_own_client_cpus": study.has_own_client_cpus(),
        },
        "host": results.host,
        "systems": systems,
        "calibration": calibration,
        "experiments": summary.sections.iter().map(section).collect::<Vec<_>>(),
    })
}

fn pairs(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

fn section(section: &Section) -> Value {
    json!({
        "experiment": section.experiment.name(),
        "variant": section.variant.name(),
        "workers": section.workers,
        "unit": section.experiment.cost_unit(),
        "cells": section.rows.iter().map(|row| cell(section, row)).collect::<Vec<_>>(),
        "floor": floor(&section.floor),
    })
}

fn cell(section: &Section, row: &Row) -> Value {
    let mut names: Vec<&str> = row
        .cell
        .rounds
        .iter()
        .flatten()
        .flat_map(|sample| sample.details.keys().copied())
        .collect();
    names.sort_unstable();
    names.dedup();
    let medians =
        names.into_iter().filter_map(|name| Some((name.to_owned(), row.detail(name)?.into())));
    let beside = |beside: &Beside| json!({ "ratio": estimate(beside.ratio), "difference": estimate(beside.difference) });
    let besides = row.beside.iter().map(|(name, one)| ((*name).to_owned(), beside(one)));
    json!({
        "system": row.system,
        "words": row.words,
        "cost": row.cost.map(estimate),
        "medians": medians.collect::<Map<String, Value>>(),
        "ratio": row.ratio.map(|(ratio, _)| estimate(ratio)),
        "verdict": row.ratio.map(|(_, verdict)| word(section.experiment, verdict)),
        "beside_own": besides.collect::<Map<String, Value>>(),
        "dropped": row.cell.dropped,
        "costs": row.cell.costs(),
    })
}

fn floor(floor: &Floor) -> Value {
    json!({
        "cryptography_us": floor.cryptography.map(estimate),
        "tcp_us": floor.tcp.map(estimate),
        "tcp_server_busy": floor.tcp_busy,
        "tcp_words": floor.tcp_words,
        "own_with_tcp_us": floor.own_with_tcp.map(estimate),
        "own_without_tcp_us": floor.own_without_tcp.map(estimate),
        "aes128_gcm_seal_gb_per_s": floor.seal_gb.map(estimate),
        "aes128_gcm_open_gb_per_s": floor.open_gb.map(estimate),
    })
}

pub(super) fn estimate(estimate: Estimate) -> Value {
    json!({
        "median": estimate.median,
        "low": estimate.low,
        "high": estimate.high,
        "count": estimate.count,
    })
}

/// One line for each good slice, floors included.
pub(crate) fn slices(results: &Results) -> String {
    results.cells.iter().flat_map(lines).collect()
}

fn lines(cell: &Cell) -> Vec<String> {
    let key = &cell.key;
    let rounds = (1..).zip(&cell.rounds);
    let line = |(round, sample): (u32, &Option<crate::cell::Sample>)| {
        let sample = sample.as_ref()?;
        let line = json!({
            "experiment": key.experiment.name(),
            "variant": key.variant.name(),
            "workers": key.workers,
            "system": key.system,
            "round": round,
            "cost": sample.cost,
            "details": sample.details,
        });
        Some(format!("{line}\n"))
    };
    rounds.filter_map(line).collect()
}
