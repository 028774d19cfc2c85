//! What the operator is told is documented: reasons, log fields, events and options.

use std::collections::BTreeSet;

use countersign_proto::{Blame, Reason};

use crate::source::{self, none};
use crate::style::snake_case;

const LOG: &str = "docs/log.md";

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
    ] {
        let text = source::read(path);
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let names = literals(text);
        assert!(!names.is_empty(), "{path} writes to the log");
        written.extend(names);
    }
    for known in ["time", "handshake_us", "clean", "connection", "ready", "connection_table_full"] {
        assert!(written.contains(known), "{known} is found in the source: {written:?}");
    }
    let missing = written.iter().filter(|name| !page.contains(&format!("| `{name}` | ")));
    none(missing.map(|name| format!("{LOG} lacks a row '| `{name}` | MEANING |'")).collect());
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
