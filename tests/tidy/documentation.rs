//! What the operator is told is documented: reasons, log fields, events, metrics and options.

use std::collections::{BTreeMap, BTreeSet};

use countersign_proto::{Blame, Reason};

use crate::source::{self, none};
use crate::style::snake_case;

const LOG: &str = "docs/log.md";
const METRICS: &str = "docs/metrics.md";

#[test]
fn every_reason_is_documented_with_its_blame_and_its_alert() {
    let page = source::read(LOG);
    let mut problems = Vec::new();
    for reason in Reason::ALL {
        let blame = match reason.blame() {
            Blame::Peer => "client",
            Blame::Upstream => "upstream",
            Blame::Token => "key",
            Blame::Limit => "engine",
            Blame::Bug => "bug",
        };
        let alert = match reason.alert() {
            Some(alert) => snake_case(&format!("{alert:?}")),
            None => "none".to_owned(),
        };
        let row = format!("| `{}` | {blame} | {alert} | ", reason.label());
        if !page.contains(&row) {
            problems.push(format!("{LOG} lacks a row '{row}MEANING |'"));
        }
    }
    let rows = page.lines().filter(|line| blames(line)).count();
    assert_eq!(rows, Reason::ALL.len(), "{LOG} has a row for each reason and for no other");
    none(problems);
}

fn blames(row: &str) -> bool {
    ["client", "upstream", "key", "engine", "bug"]
        .iter()
        .any(|blame| row.starts_with("| `") && row.contains(&format!("` | {blame} | ")))
}

#[test]
fn every_log_field_and_event_is_documented() {
    let page = source::read(LOG);
    let mut written = BTreeSet::new();
    for path in [
        "engine/src/telemetry/line.rs",
        "engine/src/telemetry/counters.rs",
        "engine/src/control/engine.rs",
        "engine/src/control/revocation.rs",
        "engine/src/control/revocation/domain.rs",
        "engine/src/control/revocation/library.rs",
        "engine/src/cli/serve.rs",
        "engine/src/ocsp/staples.rs",
        "engine/src/signing/tokens/journal.rs",
        "engine/src/telemetry/prometheus/tokens.rs",
    ] {
        let text = source::read(path);
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let names = literals(text);
        assert!(!names.is_empty(), "{path} writes to the log");
        written.extend(names);
        written.extend(serialized_fields(text));
    }
    for known in ["time", "handshake_us", "clean", "connection", "ready", "connection_table_full"] {
        assert!(written.contains(known), "{known} is found in the source: {written:?}");
    }
    let missing = written.iter().filter(|name| !page.contains(&format!("| `{name}` | ")));
    none(missing.map(|name| format!("{LOG} lacks a row '| `{name}` | MEANING |'")).collect());
}

/// The fields of structs that are written as they stand, and the names of their events.
fn serialized_fields(text: &str) -> Vec<String> {
    let structs = text.split("#[derive(Serialize)]").skip(1);
    let bodies = structs.filter_map(|text| text.split_once('{')?.1.split("\n}").next());
    let fields = bodies.flat_map(str::lines).filter_map(|line| line.trim().split_once(": "));
    let events = text.split("event: \"").skip(1).filter_map(|text| text.split('"').next());
    fields.map(|(name, _type)| name).chain(events).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels() {
    let page = source::read(METRICS);
    let [all, of_tokens] = ["prometheus.rs", "prometheus/tokens.rs"]
        .map(|file| source::read(&format!("engine/src/telemetry/{file}")));
    let all = all.split("#[cfg(test)]").next().unwrap_or_default();
    let metrics = metrics(&format!("{all}{of_tokens}"));
    assert!(metrics.len() > 20, "the metrics are found in the source: {metrics:?}");
    let mut problems = Vec::new();
    for (name, metric) in &metrics {
        let Some(row) = page.lines().find(|line| line.starts_with(&format!("| `{name}` | ")))
        else {
            problems
                .push(format!("{METRICS} lacks a row '| `{name}` | TYPE | LABELS | MEANING |'"));
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, kind, labels, meaning, ..] = cells[..] else {
            problems.push(format!("{METRICS}: the row of {name} has too few cells"));
            continue;
        };
        if kind != metric.kind {
            problems
                .push(format!("{METRICS} says that {name} is a {kind}: it is a {}", metric.kind));
        }
        for label in &metric.labels {
            if !labels.contains(&format!("`{label}`")) {
                problems.push(format!("{METRICS} does not name the label {label} of {name}"));
            }
        }
        let said = labels
            .split(',')
            .map(str::trim)
            .filter_map(|label| label.strip_prefix('`').and_then(|label| label.split('`').next()));
        // Values stand behind a colon; what stands before it, or alone, is a label.
        let is_value = |label: &str| labels.split(':').skip(1).any(|values| values.contains(label));
        for label in said.filter(|label| !is_value(label)) {
            if !metric.labels.contains(label) {
                problems.push(format!("{METRICS}: {name} has no label {label}"));
            }
        }
        if meaning.is_empty() {
            problems.push(format!("{METRICS} does not say what {name} means"));
        }
    }
    let rows =
        page.lines().filter_map(|line| line.strip_prefix("| `countersign_")?.split('`').next());
    for row in rows {
        if !metrics.contains_key(&format!("countersign_{row}")) {
            problems.push(format!("{METRICS} has a row for countersign_{row}, which is no metric"));
        }
    }
    none(problems);
}

/// What the source says about one metric.
#[derive(Debug, Default)]
struct Metric {
    kind: &'static str,
    labels: BTreeSet<String>,
}

/// The metrics that the source writes: by their name, which is a literal in the call that writes it, or in
/// a constant `NAME` of the function that does.
fn metrics(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let starts: Vec<usize> =
        text.match_indices("\"countersign_").map(|(start, _)| start + 1).collect();
    for (number, &start) in starts.iter().enumerate() {
        let name = text[start..].split('"').next().unwrap_or_default();
        let end = starts.get(number + 1).copied().unwrap_or(text.len());
        let call = text[..start].trim_end_matches(['"', ' ', '\n']);
        // A metric does not reach beyond the function that writes it.
        let behind = text[start + name.len()..end].split("fn ").next().unwrap_or_default();
        let metric = metrics.entry(name.to_owned()).or_default();
        let kind = if call.ends_with("counter(") || call.ends_with("by_reason(") {
            "counter"
        } else if call.ends_with("gauge(") {
            "gauge"
        } else if call.ends_with("head(") || call.ends_with("NAME: &str =") {
            let kinds = ["counter", "gauge", "histogram"].into_iter();
            let quoted = |kind: &&str| behind.find(&format!("\"{kind}\""));
            kinds.filter(|kind| quoted(kind).is_some()).min_by_key(quoted).unwrap_or_default()
        } else {
            metric.kind
        };
        metric.kind = kind;
        if call.ends_with("by_reason(") {
            metric.labels.insert("reason".to_owned());
        }
        let labels = behind.split("(\"").skip(1).filter_map(|label| label.split_once('"'));
        let labels = labels.filter(|(_, after)| after.starts_with(','));
        metric.labels.extend(labels.map(|(label, _)| label.to_owned()));
    }
    metrics
}

#[test]
fn metrics_are_read_out_of_the_source() {
    let text = r#"
        page.counter("countersign_a_total", "Things.", 1);
        page.by_reason(
            "countersign_b_total", "Things.", &x);
        page.head("countersign_c", "Things.", "gauge");
        page.sample("countersign_c", &[("one", "x"), ("two", y)], 1);
        const NAME: &str = "countersign_d";
        self.head(NAME, "Times.", "histogram",);
        self.sample(&format!("{NAME}_bucket"), &[("le", &bound)], cumulated);
    "#;
    let found: Vec<String> = metrics(text)
        .iter()
        .map(|(name, metric)| format!("{name} {} {:?}", metric.kind, metric.labels))
        .collect();
    assert_eq!(
        found,
        [
            r#"countersign_a_total counter {}"#,
            r#"countersign_b_total counter {"reason"}"#,
            r#"countersign_c gauge {"one", "two"}"#,
            r#"countersign_d histogram {"le"}"#,
        ]
    );
}

/// The names of fields (`"name": value`, `["name"]`, `insert("name"`) and of events (`event("name"`,
/// `write("name"`) that a source file puts into log lines.
fn literals(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    let mut before = "";
    while let Some((start, behind)) = rest.split_once('"') {
        before = if start.trim().is_empty() { before } else { start.trim_end() };
        let Some((literal, after)) = behind.split_once('"') else { break };
        let is_name = !literal.is_empty()
            && literal.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_key = after.starts_with(':') || before.ends_with("fields[");
        let is_argument = ["event(", "write(", "insert("].iter().any(|call| before.ends_with(call));
        if is_name && (is_key || is_argument) {
            names.insert(literal.to_owned());
        }
        rest = after;
    }
    names
}

#[test]
fn names_are_read_out_of_the_source() {
    let text = "event(\n    \"one\",\n json!({ \"two\": 2, \"three_b\": \"no\" }));\nfields[\"four\"] = x(\"neither\");";
    assert_eq!(literals(text).into_iter().collect::<Vec<_>>(), ["four", "one", "three_b", "two"]);
}

#[test]
fn every_option_is_documented() {
    let readme = source::read("README.md");
    let mut problems = Vec::new();
    for (command, path) in [("run", "engine/src/cli/run.rs"), ("demo", "engine/src/cli/demo.rs")] {
        let text = source::read(path);
        let options = options(&text);
        assert!(!options.is_empty(), "{path} declares options");
        let missing = options.iter().filter(|option| !readme.contains(&format!("`{option}")));
        problems.extend(
            missing.map(|option| {
                format!("README.md does not say what `{option}` of '{command}' does")
            }),
        );
    }
    none(problems);
}

/// The long options that a clap structure declares: `#[arg(long...)]` and then the field.
fn options(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0].starts_with("#[arg(long"));
    declared
        .map(|pair| {
            let field = pair[1].split(':').next().unwrap_or_default();
            format!("--{}", field.trim_start_matches("pub ").replace('_', "-"))
        })
        .collect()
}

#[test]
fn what_the_map_names_exists() {
    let map = source::read("ARCHITECTURE.md");
    let mut looked_at = 0;
    let mut problems = Vec::new();
    for name in map.split('`').skip(1).step_by(2) {
        let is_path = name.contains('/')
            && !name.contains([' ', '*', ':', '<'])
            && !name.starts_with(['/', '-']);
        if is_path {
            looked_at += 1;
            if !source::root().join(name).exists() {
                problems.push(format!("ARCHITECTURE.md names {name}, which is not there"));
            }
        }
    }
    assert!(looked_at > 10, "the map names files and folders");
    none(problems);
}
