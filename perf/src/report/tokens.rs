//! What is told of keys in tokens: the columns of their tables, and what was the limit.

use std::fmt::Write as _;

use super::summary::{Row, Section};
use super::table::{Column, cost, interval, number, ratio_interval};
use crate::cell::RATE;
use crate::experiment::Experiment;
use crate::statistics::Estimate;
use crate::study::{BUSY_MIN, Study};
use crate::token::KeyPlace;
use crate::token::hang::{TOKEN_DONE, TOKEN_FAILED};
use crate::token::rate::{
    CHILDREN_US, CLIENTS_BUSY, EVERYTHING_US, LANES_BUSY, OTHERS_US, P50, P99, WORKER_BUSY,
    WORKER_US,
};

/// Beyond the system and before the comparison.
pub(super) fn columns(experiment: Experiment) -> Vec<Column> {
    fn rate(row: &Row) -> String {
        number(row.detail(RATE))
    }
    fn worker_busy(row: &Row) -> String {
        percent(row.detail(WORKER_BUSY))
    }
    match experiment {
        rate_wanted if rate_wanted.is_token_rate() => vec![
            ("handshakes/s", rate),
            ("of its own in software", |row| {
                row.beside.get(RATE).map_or(String::new(), |beside| ratio_interval(beside.ratio))
            }),
            ("µs CPU of the worker a handshake", |row| number(row.detail(WORKER_US))),
            ("more than in software", |row| more(row, WORKER_US)),
            ("µs of other threads", |row| number(row.detail(OTHERS_US))),
            ("µs of child processes", |row| number(row.detail(CHILDREN_US))),
            ("worker busy", worker_busy),
            ("clients' CPUs busy with clients", |row| percent(row.detail(CLIENTS_BUSY))),
            ("tokens' CPUs busy with lanes", |row| percent(row.detail(LANES_BUSY))),
        ],
        Experiment::TokenVerify => vec![
            ("handshakes/s", rate),
            ("µs CPU of everything a handshake", cost),
            ("more than sampled", |row| more(row, EVERYTHING_US)),
            ("µs of threads that are no workers", |row| number(row.detail(OTHERS_US))),
            ("more than sampled", |row| more(row, OTHERS_US)),
            ("µs of the worker", |row| number(row.detail(WORKER_US))),
            ("more than sampled", |row| more(row, WORKER_US)),
            ("µs of child processes", |row| number(row.detail(CHILDREN_US))),
            ("worker busy", worker_busy),
            ("clients' CPUs busy with clients", |row| percent(row.detail(CLIENTS_BUSY))),
            ("tokens' CPUs busy with lanes", |row| percent(row.detail(LANES_BUSY))),
        ],
        Experiment::TokenHang => vec![
            ("handshakes/s", rate),
            ("p50 µs", |row| number(row.detail(P50))),
            ("p99 µs", cost),
            ("token's handshakes/s", |row| number(row.detail(TOKEN_DONE))),
            ("token's failures/s", |row| number(row.detail(TOKEN_FAILED))),
            ("worker busy", worker_busy),
        ],
        _ => vec![
            ("handshakes/s", rate),
            ("p50 µs", cost),
            ("more than in software", |row| more(row, P50)),
            ("of the token's latency", of_its_latency),
            ("p99 µs", |row| row.detail(P99).map_or("too few".into(), |us| number(Some(us)))),
            ("more than in software", |row| more(row, P99)),
            ("worker busy", worker_busy),
        ],
    }
}

/// What a row's ratio is of: where keys lie in tokens the first row is the same system.
pub(super) fn over(experiment: Experiment) -> Option<&'static str> {
    match experiment {
        Experiment::TokenHang => Some("p99 over the first's"),
        Experiment::TokenVerify => Some("CPU over the first's"),
        rate if rate.is_token_rate() => Some("rate over the first's"),
        latency if latency.is_about_tokens() => Some("p50 over the first's"),
        _ => None,
    }
}

/// A ratio of costs as one of rates, where rates are what is told.
pub(super) fn told(experiment: Experiment, ratio: Estimate) -> Estimate {
    if !experiment.is_token_rate() {
        return ratio;
    }
    let Estimate { median, low, high, count } = ratio;
    Estimate { median: 1.0 / median, low: 1.0 / high, high: 1.0 / low, count }
}

fn more(row: &Row, name: &str) -> String {
    row.beside.get(name).map_or(String::new(), |beside| interval(beside.difference))
}

/// How much of the token's latency a handshake got more by it.
fn of_its_latency(row: &Row) -> String {
    let latency = row.cell.key.experiment.token().map(|token| token.latency);
    let more = row.beside.get(P50).map(|beside| beside.difference);
    let Some((latency, more)) = latency.zip(more) else { return String::new() };
    let us = latency.as_secs_f64() * 1e6;
    let of = |more: f64| more / us;
    let (median, low, high) = (of(more.median), of(more.low), of(more.high));
    ratio_interval(Estimate { median, low, high, count: more.count })
}

fn percent(share: Option<f64>) -> String {
    share.map_or(String::new(), |share| format!("{:.0}%", share * 100.0))
}

/// Where everything ran, and for each row whose worker was not what limited what did.
pub(super) fn words(study: &Study, section: &Section) -> String {
    if !section.experiment.is_about_tokens() {
        return String::new();
    }
    let cpus = |list: &[usize]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut text = format!(
        "An engine's worker runs on CPU {}, the clients on CPU {}, the engine's other threads and its token's process on \
         CPU {}; another server calls the token on the thread that serves. The token signs at next to no CPU time.\n",
        study.server_cpu,
        cpus(&study.client_cpus),
        cpus(&study.token_cpus),
    );
    if let (true, Some(token)) = (section.experiment.is_token_rate(), section.experiment.token()) {
        let ceiling = number(Some(token.ceiling()));
        let _ = writeln!(text, "The token itself can do {ceiling} signatures/s.");
        for row in &section.rows {
            text += &limit(study, row).map_or(String::new(), |words| words + "\n");
        }
    }
    if section.experiment.is_token_latency() {
        text += &awake_words(&cpus(&study.used_cpus()), study.has_own_client_cpus());
    }
    text + "\n"
}

/// What was the same in the rows whose CPUs were kept awake, and what was not.
fn awake_words(used_cpus: &str, has_own_client_cpus: bool) -> String {
    let spin = match has_own_client_cpus {
        true => "The load generator has CPUs of its own, and stays awake before something is due.",
        false => {
            "The load generator, which shares its CPU, sleeps until something is due (`--spin 0s`)."
        }
    };
    format!(
        "\"awake\": the same server at the same rate in the same rounds, while a loop of lowest priority (SCHED_IDLE) on each of \
         the CPUs {used_cpus} kept them from halting; it is told beside software that was awake as well. {spin}\n"
    )
}

/// What limited a row, if its worker did not.
fn limit(study: &Study, row: &Row) -> Option<String> {
    let busy = row.detail(WORKER_BUSY).filter(|busy| *busy < BUSY_MIN)?;
    let (clients, lanes) = (row.detail(CLIENTS_BUSY)?, row.detail(LANES_BUSY)?);
    let together = study.client_cpus == study.token_cpus;
    let fullest = if together { clients + lanes } else { clients.max(lanes) };
    let why = if row.cell.key.system.ends_with(KeyPlace::TokenOfOpenssl.suffix()) {
        "it waits for the token".to_owned()
    } else if fullest >= BUSY_MIN {
        let enough = row.detail(WORKER_US).map(|us| 1e6 / us);
        let enough = number(enough);
        format!("they were the limit; the worker's own CPU is enough for {enough} handshakes/s")
    } else {
        "something else was the limit: others on these CPUs, or the token".to_owned()
    };
    let (busy, clients) = (percent(Some(busy)), percent(Some(clients)));
    let lanes = percent(Some(lanes));
    let whose = match together {
        true => {
            format!("the CPUs of clients and lanes {clients} with clients and {lanes} with lanes")
        }
        false => format!("the clients' CPUs {clients}, the lanes' {lanes}"),
    };
    Some(format!("{}: the worker was {busy} busy, {whose}; {why}.", row.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_takes_twice_the_time_is_half_the_rate() {
        let cost = Estimate { median: 2.0, low: 1.6, high: 2.5, count: 16 };
        let rate = told(Experiment::Token2Ms, cost);
        assert_eq!(rate, Estimate { median: 0.5, low: 0.4, high: 0.625, count: 16 });
        assert_eq!(told(Experiment::TokenHang, cost), cost);
        assert_eq!(told(Experiment::TokenVerify, cost), cost);
    }
}
