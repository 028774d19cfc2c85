//! The report as Markdown.

use std::fmt::Write as _;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::summary::{Row, Section, Summary};
use crate::cell::{BUSY, RATE};
use crate::experiment::Experiment;
use crate::floor::conversation::SCRIPT;
use crate::memory::{BASE_MIB, HELD};
use crate::report::tokens;
use crate::statistics::{BAND, Estimate, ROUNDS_TO_RANK, Verdict};
use crate::study::{BUSY_MIN, Results, Study};

/// The whole report.
pub(crate) fn markdown(study: &Study, results: &Results, summary: &Summary) -> String {
    let mut text = format!("# {}\n\n", study.name);
    let cpus = (study.server_cpu, study.client_cpus.as_slice());
    text += &machine(&results.host, results.begun, results.seconds, cpus);
    text += &systems(study, results);
    for section in summary.sections.iter().filter(|section| !is_scaling(section)) {
        text += &one_section(study, section, summary);
    }
    text += &scaling(summary);
    text += &method(study, results, summary);
    text
}

fn is_scaling(section: &Section) -> bool {
    section.experiment == Experiment::Scaling
}

/// The machine and when it was measured; `cpus` are the servers' and the clients'.
pub(super) fn machine(
    host: &Value,
    begun: OffsetDateTime,
    seconds: f64,
    cpus: (usize, &[usize]),
) -> String {
    let word = |name: &str| match &host[name] {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    let flags = host["flags"].as_object().into_iter().flatten();
    let (with, without): (Vec<_>, Vec<_>) = flags.partition(|(_, has)| has.as_bool() == Some(true));
    let names = |flags: Vec<(&String, &Value)>| {
        flags.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let mitigations = host["mitigations"].as_object().map_or(0, serde_json::Map::len);
    let clients: Vec<String> = cpus.1.iter().map(ToString::to_string).collect();
    let changed = host["work_tree_changed"].as_bool() == Some(true);
    format!(
        "{} UTC, {:.0} s. {}, {} CPUs, Linux {}, governor {}; flags {} (not: {}); {mitigations} mitigations \
         active; load {} at the start. Commit {}{}. Servers on CPU {}, clients on CPU {}.\n\n",
        begun.format(&Rfc3339).unwrap_or_default(),
        seconds,
        word("cpu"),
        word("cpus"),
        word("kernel"),
        word("governor"),
        names(with),
        names(without),
        word("load_average_at_start"),
        word("commit"),
        if changed { " with changes" } else { "" },
        cpus.0,
        clients.join(","),
    )
}

fn systems(study: &Study, results: &Results) -> String {
    let mut text =
        "| system | version | TLS library | tickets a full handshake | settings of its own |\n\
                    | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for system in &study.systems {
        let tickets = results.tickets.iter().find(|(id, _)| *id == system.id);
        let tickets = tickets.map_or("not asked".to_owned(), |(_, tickets)| tickets.to_string());
        let tweaks = system.tweaks.config.iter().chain(&system.tweaks.environment);
        let tweaks: Vec<String> = tweaks.map(|(key, value)| format!("`{key}={value}`")).collect();
        let (version, library) = match &system.program {
            Ok(program) => (program.version.clone(), program.library.clone()),
            Err(problem) => (problem.to_string(), String::new()),
        };
        let id = &system.id;
        line(&mut text, &[id, &version, &library, &tickets, &tweaks.join(" ")]);
    }
    text + "\n"
}

/// A row of a Markdown table; what stands in it cannot break it.
pub(super) fn line(text: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// The columns between the system and the comparison: a header, and how a row fills it.
pub(super) type Column = (&'static str, fn(&Row) -> String);

fn columns(experiment: Experiment) -> Vec<Column> {
    fn rate(row: &Row) -> String {
        number(row.detail(RATE))
    }
    match experiment {
        Experiment::BulkUpload | Experiment::BulkDownload => vec![
            ("GB a second of server CPU", |row| {
                let cost =
                    row.cost.map(|cost| (1e3 / cost.median, 1e3 / cost.high, 1e3 / cost.low));
                cost.map_or(String::new(), |(median, low, high)| {
                    format!("{median:.2} ({low:.2} to {high:.2})")
                })
            }),
            ("GB/s", |row| row.detail(RATE).map_or(String::new(), |rate| format!("{rate:.2}"))),
            ("server busy", busy),
        ],
        Experiment::IdleMemory => vec![
            ("KiB a connection", cost),
            ("kept alive", |row| number(row.detail(HELD))),
            ("MiB without any", |row| number(row.detail(BASE_MIB))),
        ],
        Experiment::Latency => vec![
            ("handshakes/s", rate),
            ("server busy", busy),
            ("p50 µs", |row| number(row.detail("p50_us"))),
            ("p90 µs", |row| number(row.detail("p90_us"))),
            ("p99 µs", cost),
            ("p99.9 µs", |row| {
                row.detail("p99_9_us").map_or("too few".to_owned(), |us| number(Some(us)))
            }),
        ],
        about_tokens if about_tokens.is_about_tokens() => tokens::columns(experiment),
        Experiment::Request => vec![("µs CPU a request", cost), ("requests/s", rate)],
        _ => vec![("µs CPU a handshake", cost), ("handshakes/s", rate)],
    }
}

pub(super) fn cost(row: &Row) -> String {
    row.cost.map_or(String::new(), interval)
}

fn busy(row: &Row) -> String {
    row.detail(BUSY).map_or(String::new(), |busy| format!("{:.0}%", busy * 100.0))
}

fn one_section(study: &Study, section: &Section, summary: &Summary) -> String {
    let columns = columns(section.experiment);
    let variant = if section.experiment.is_handshakes() {
        format!(", {}", section.variant.title())
    } else {
        String::new()
    };
    let mut text = format!("## {}{variant}\n\n", section.experiment.title());
    let over = tokens::over(section.experiment)
        .map_or_else(|| format!("cost over {}", summary.reference), str::to_owned);
    let mut headers = vec!["system"];
    headers.extend(columns.iter().map(|(header, _)| *header));
    headers.extend([over.as_str(), "so it", "good slices"]);
    line(&mut text, &headers);
    line(&mut text, &vec!["---"; headers.len()]);
    for row in &section.rows {
        let mut cells = vec![row.title.clone()];
        match &row.words {
            Some(words) => {
                cells.push(words.clone());
                cells.resize(columns.len() + 3, String::new());
            }
            None => {
                cells.extend(columns.iter().map(|(_, cell)| cell(row)));
                let (ratio, verdict) = row.ratio.map_or((String::new(), String::new()), |ratio| {
                    let told = tokens::told(section.experiment, ratio.0);
                    (ratio_interval(told), word(section.experiment, ratio.1).to_owned())
                });
                cells.extend([ratio, verdict]);
            }
        }
        cells.push(slices(row));
        line(&mut text, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text + "\n" + &floor(section, summary) + &tokens::words(study, section)
}

fn slices(row: &Row) -> String {
    let dropped = row.cell.dropped.len();
    match (row.good, dropped) {
        (good, 0) => good.to_string(),
        (good, dropped) => format!("{good} ({dropped} dropped)"),
    }
}

/// A verdict as the end of "so it ...".
pub(crate) fn word(experiment: Experiment, verdict: Verdict) -> &'static str {
    match (verdict, experiment) {
        (Verdict::CostsMore, Experiment::IdleMemory | Experiment::TokenVerify) => "needs more",
        (Verdict::CostsLess, Experiment::IdleMemory | Experiment::TokenVerify) => "needs less",
        (Verdict::CostsMore, _) => "is slower",
        (Verdict::CostsLess, _) => "is faster",
        (Verdict::NotToldApart, _) => "is not told apart",
        (Verdict::TooFewRounds, _) => "has too few rounds to say",
    }
}

fn floor(section: &Section, summary: &Summary) -> String {
    let floor = &section.floor;
    let mut text = String::new();
    if let Some(cryptography) = floor.cryptography {
        let tcp = match (floor.tcp, &floor.tcp_words) {
            (Some(tcp), None) => format!(
                "the TCP conversation alone {} µs (its server {:.0}% busy)",
                interval(tcp),
                floor.tcp_busy.unwrap_or_default() * 100.0
            ),
            (_, Some(words)) => format!("the TCP conversation was not measured: {words}"),
            _ => "the TCP conversation was not measured".to_owned(),
        };
        let cryptography = interval(cryptography);
        let _ = writeln!(text, "Floors: the cryptography alone {cryptography} µs, {tcp}.");
    }
    if let Some(own) = floor.own_with_tcp {
        let without = floor.own_without_tcp.map_or(String::new(), |without| {
            format!(", {} µs without the TCP conversation", interval(without))
        });
        let reference = &summary.reference;
        let own = interval(own);
        let _ = writeln!(text, "{reference} adds to the cryptography {own} µs{without}.");
    }
    if let (Some(seal), Some(open)) = (floor.seal_gb, floor.open_gb) {
        let _ = writeln!(
            text,
            "Floor: AES-128-GCM alone, records of 16 KiB, seals {:.2} and opens {:.2} GB/s.",
            seal.median, open.median
        );
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn scaling(summary: &Summary) -> String {
    let sections: Vec<&Section> =
        summary.sections.iter().filter(|section| is_scaling(section)).collect();
    if sections.is_empty() {
        return String::new();
    }
    let mut text = format!("## {}\n\n", Experiment::Scaling.title());
    line(
        &mut text,
        &["system", "workers", "handshakes/s", "times one worker", "µs CPU a handshake"],
    );
    line(&mut text, &["---"; 5]);
    for row in &sections[0].rows {
        let one = row.detail(RATE);
        for section in &sections {
            let same = section.rows.iter().find(|other| other.system == row.system);
            let Some(row) = same else { continue };
            let rate = row.detail(RATE);
            let times =
                rate.zip(one).map_or(String::new(), |(rate, one)| format!("{:.2}", rate / one));
            let rate = row.words.clone().unwrap_or_else(|| number(rate));
            let workers = section.workers.to_string();
            line(&mut text, &[&row.title, &workers, &rate, &times, &cost(row)]);
        }
    }
    text + "\n"
}

fn method(study: &Study, results: &Results, summary: &Summary) -> String {
    let script: Vec<String> = SCRIPT.iter().map(ToString::to_string).collect();
    let calibration = summary.calibration.map_or(String::new(), |(low, middle, high)| {
        format!(
            "A P-256 verification on the server's core, {} times between slices, took {low:.0}, {middle:.0} and \
             {high:.0} µs of CPU time (5th, 50th, 95th percentile): that is how steady the machine was. ",
            results.calibrations.len()
        )
    });
    let rough = if study.busy_min < BUSY_MIN {
        ": too few to say what saturates a server, so this is a rough look and its rates are no ceilings"
    } else {
        ""
    };
    format!(
        "## How it was measured\n\n\
         Slices of {} ms after a ramp of {} ms, systems in random order within each of {} rounds (seed {}). Figures are medians \
         over rounds with bootstrap 95% intervals; ratios are taken round by round. Two systems are ranked only where \
         the interval lies outside of {:.2} to {:.2} and at least {ROUNDS_TO_RANK} rounds have both (memory: three). Slices with \
         a server less than {:.0}% busy (resumed {:.0}%) are dropped, except for latency, bulk, memory, keys in tokens and the TCP conversation{rough}. {calibration}A failed \
         handshake drops its slice.\n\n\
         Server CPU is that of all threads and processes of the server, in user and kernel; on loopback a sender \
         also does part of the receiver's work. No system logs connections \
         that go well. `builtin:whoami` tells the client who it is; the others answer `ok`. The TCP \
         conversation ({} bytes in turn) runs on io_uring.\n",
        study.slice.as_millis(),
        study.ramp.as_millis(),
        study.rounds,
        study.seed,
        BAND.0,
        BAND.1,
        study.busy_min * 100.0,
        Experiment::Resumed.busy_min(study.busy_min) * 100.0,
        script.join(", "),
    )
}

/// `327 (320 to 335)`.
pub(crate) fn interval(estimate: Estimate) -> String {
    let of = |value| number(Some(value));
    format!("{} ({} to {})", of(estimate.median), of(estimate.low), of(estimate.high))
}

pub(super) fn ratio_interval(estimate: Estimate) -> String {
    format!("{:.2} ({:.2} to {:.2})", estimate.median, estimate.low, estimate.high)
}

/// Three digits that count, and thousands set apart.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return String::new() };
    let size = value.abs();
    if size < 10.0 {
        return format!("{value:.2}");
    } else if size < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{size:.0}");
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let of = |value| number(Some(value));
        assert_eq!([of(1.234), of(12.34), of(123.4)], ["1.23", "12.3", "123"]);
        assert_eq!([of(1234.0), of(1_234_567.0), of(-1234.0)], ["1,234", "1,234,567", "-1,234"]);
        assert_eq!(number(None), "");
    }

    #[test]
    fn what_stands_in_a_table_cannot_break_it() {
        let mut text = String::new();
        line(&mut text, &["a|b", "c"]);
        assert_eq!(text, "| a\\|b | c |\n");
    }
}
