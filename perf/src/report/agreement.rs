//! The agreement of two generators, as Markdown and as JSON.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::json::estimate;
use super::table::{line, machine, number, ratio_interval};
use crate::agreement::{
    Agreement, BEGUN_LATE, Findings, PAIRS_MIN, PERCENTILES, Pair, STOLEN_FROM_CLIENT,
    STOLEN_FROM_SERVER, Verdict, Which,
};
use crate::cell::{Cell, RATE};
use crate::experiment::Experiment;
use crate::statistics::{median, quantile};

/// The version of the JSON.
const VERSION: u32 = 1;

/// The report.
pub(super) fn markdown(asked: &Agreement, findings: &Findings) -> String {
    let mut text = String::new();
    if let Some(name) = &asked.name {
        text += &format!("# {name}\n\n");
    }
    let clients = [asked.client_cpu];
    let cpus = (asked.server_cpu, clients.as_slice());
    text += &machine(&findings.host, findings.begun, findings.seconds, cpus);
    text += &format!(
        "## {}\n\nnginx {} over plain HTTP, h2load {}. Latency of a request in µs.\n\n",
        Experiment::Agreement.title(),
        asked.nginx.version,
        asked.h2load.version
    );
    line(&mut text, &["load", "", "loadgen", "h2load", "loadgen / h2load", "so"]);
    line(&mut text, &["---"; 6]);
    for pair in &findings.cases {
        latencies(&mut text, pair, asked.seed);
    }
    text += "\n";
    let headers = [
        "load",
        "generator",
        "requests/s",
        "begun late, p50 and p99 µs",
        "stolen from its CPU and nginx'",
        "good slices",
    ];
    line(&mut text, &headers);
    line(&mut text, &["---"; 6]);
    for pair in &findings.cases {
        for (place, which) in Which::BOTH.into_iter().enumerate() {
            let title = if place == 0 { pair.case.title } else { "" };
            circumstances(&mut text, title, which, of(pair, which));
        }
    }
    text + "\n" + &method(asked, findings)
}

fn of(pair: &Pair, which: Which) -> &Cell {
    match which {
        Which::Loadgen => &pair.loadgen,
        Which::H2load => &pair.h2load,
    }
}

fn latencies(text: &mut String, pair: &Pair, seed: u64) {
    for (place, (name, detail, _)) in PERCENTILES.into_iter().enumerate() {
        let of = |cell: &Cell| match (median(&cell.detail(detail)), cell.reason()) {
            (Some(us), _) => number(Some(us)),
            (None, Some(words)) if place == 0 => words,
            (None, Some(_)) => String::new(),
            (None, None) => "too few requests".to_owned(),
        };
        let ratio = pair.ratio(detail, seed);
        let title = if place == 0 { pair.case.title } else { "" };
        let so = ratio.map_or("", |ratio| Verdict::of(&ratio).words());
        let ratio = ratio.map_or(String::new(), ratio_interval);
        line(text, &[title, name, &of(&pair.loadgen), &of(&pair.h2load), &ratio, so]);
    }
}

fn circumstances(text: &mut String, title: &str, which: Which, cell: &Cell) {
    let late = BEGUN_LATE.map(|(_, detail)| median(&cell.detail(detail)));
    let late = match late {
        [Some(p50), Some(p99)] => format!("{}, {}", number(Some(p50)), number(Some(p99))),
        _ => String::new(),
    };
    let stolen = [STOLEN_FROM_CLIENT, STOLEN_FROM_SERVER].map(|detail| mean(&cell.detail(detail)));
    let stolen = match stolen {
        [Some(client), Some(server)] => format!("{:.1}%, {:.1}%", client * 100.0, server * 100.0),
        _ => "not known".to_owned(),
    };
    let good = cell.rounds.iter().flatten().count();
    let good = match cell.dropped.len() {
        0 => good.to_string(),
        dropped => format!("{good} ({dropped} dropped)"),
    };
    let rate = number(median(&cell.detail(RATE)));
    line(text, &[title, which.name(), &rate, &late, &stolen, &good]);
}

/// What is stolen comes seldom, and at once: half of the slices would not show it.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn method(asked: &Agreement, findings: &Findings) -> String {
    let quantile = |q| number(quantile(&findings.calibrations, q));
    format!(
        "Steady phases of {} ms, both generators on CPU {}, in turns whose order is random, {} rounds (seed {}). Latencies are \
         medians over rounds, ratios medians of those of each round's pair with a bootstrap 95% interval; where it holds 1 \
         the two are not told apart, and fewer than {PAIRS_MIN} pairs tell nothing. What was stolen by the hypervisor is a \
         mean over slices. A failed request drops its slice. A P-256 verification on nginx' CPU, {} times between slices, took \
         {}, {} and {} µs of CPU time (5th, 50th, 95th percentile). loadgen counts from when a request was due, h2load from \
         when it sent it.\n",
        asked.slice.as_millis(),
        asked.client_cpu,
        asked.rounds,
        asked.seed,
        findings.calibrations.len(),
        quantile(0.05),
        quantile(0.5),
        quantile(0.95),
    )
}

/// Everything, with the figures of each slice.
pub(super) fn document(asked: &Agreement, findings: &Findings) -> Value {
    json!({
        "version": VERSION,
        "name": asked.name,
        "begun": findings.begun.format(&Rfc3339).ok(),
        "seconds": findings.seconds,
        "settings": {
            "rounds": asked.rounds,
            "slice_ms": asked.slice.as_millis() as u64,
            "ramp_ms": asked.ramp.as_millis() as u64,
            "seed": asked.seed,
            "server_cpu": asked.server_cpu,
            "client_cpu": asked.client_cpu,
        },
        "host": findings.host,
        "nginx": asked.nginx.version,
        "h2load": asked.h2load.version,
        "p256_verify_us": findings.calibrations,
        "cases": findings.cases.iter().map(|pair| case(pair, asked.seed)).collect::<Vec<_>>(),
    })
}

fn case(pair: &Pair, seed: u64) -> Value {
    let ratios = PERCENTILES.into_iter().filter_map(|(name, detail, _)| {
        let ratio = pair.ratio(detail, seed)?;
        let told = json!({ "ratio": estimate(ratio), "verdict": Verdict::of(&ratio).words() });
        Some((name.to_owned(), told))
    });
    json!({
        "case": pair.case.name,
        "connections": pair.case.connections,
        "rate": pair.case.rate,
        "loadgen_over_h2load": ratios.collect::<Map<String, Value>>(),
        "loadgen": generator(&pair.loadgen),
        "h2load": generator(&pair.h2load),
    })
}

fn generator(cell: &Cell) -> Value {
    let rounds = cell.rounds.iter();
    json!({
        "words": cell.reason(),
        "dropped": cell.dropped,
        "rounds": rounds.map(|sample| Some(&sample.as_ref()?.details)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::agreement::CASES;
    use crate::cell::{Key, Sample};
    use crate::experiment::Variant;

    fn cell(p50s: &[Option<f64>]) -> Cell {
        let variant = Variant::Base;
        let experiment = Experiment::Agreement;
        let mut cell = Cell::new(Key { experiment, variant, workers: 1, system: String::new() });
        let sample = |us: &f64| Sample { cost: *us, details: BTreeMap::from([("p50_us", *us)]) };
        cell.rounds = p50s.iter().map(|us| us.as_ref().map(sample)).collect();
        cell
    }

    #[track_caller]
    fn row(loadgen: Cell, h2load: Cell) -> String {
        let mut text = String::new();
        latencies(&mut text, &Pair { case: &CASES[0], loadgen, h2load }, 1);
        text.lines().next().expect("a row").to_owned()
    }

    #[test]
    fn a_row_has_both_medians_their_ratio_and_who_is_later() {
        let later = row(cell(&[Some(210.0); 6]), cell(&[Some(140.0); 6]));
        let words = "| closed loop, 1 connection | p50 | 210 | 140 | 1.50 (1.50 to 1.50) | loadgen is later |";
        assert_eq!(later, words);
        let equal = row(cell(&[Some(140.0); 6]), cell(&[Some(140.0); 6]));
        assert!(equal.ends_with("| 1.00 (1.00 to 1.00) | not told apart |"), "{equal}");
        let few = row(cell(&[Some(210.0); 6]), cell(&[Some(140.0), None]));
        assert!(few.ends_with("| too few pairs to say |"), "{few}");
    }

    #[test]
    fn a_generator_without_a_good_slice_has_words_in_its_place() {
        let mut none = cell(&[None]);
        none.dropped.push("h2load's log: it has no request".to_owned());
        let row = row(cell(&[Some(210.0)]), none);
        let words = "| 210 | no good slice of 1: h2load's log: it has no request |  |  |";
        assert!(row.ends_with(words), "{row}");
    }
}
