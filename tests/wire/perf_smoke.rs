//! The harness of perf/ at work, in miniature: what comes out is looked at, never how fast it was.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use countersign_tests::engine;
use serde_json::Value;

const EXPERIMENTS: [&str; 2] = ["full_seen", "resumed"];
const SYSTEMS: [&str; 2] = ["engine", "haproxy"];

/// A program built with the tests' profile, beside the engine.
fn built(package: &str) -> PathBuf {
    let program = engine::program().with_file_name(package);
    assert!(
        program.is_file(),
        "{} is missing: cargo build --profile checked -p {package}",
        program.display()
    );
    program
}

/// What the harness finds with these arguments, as a table and in JSON.
fn measure(arguments: &[&str]) -> (String, Value) {
    let results = tempfile::tempdir().expect("a folder");
    let output = Command::new(built("countersign-perf"))
        .args(["run", "--peers", "haproxy", "--crypto", "base", "--slice", "200", "--ramp", "50"])
        .args(["--connections", "8", "--name", "smoke", "--results"])
        .arg(results.path())
        .args(arguments)
        .arg("--engine")
        .arg(engine::program())
        .arg("--loadgen")
        .arg(built("countersign-loadgen"))
        .output()
        .expect("run countersign-perf");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);

    let table = fs::read_to_string(results.path().join("smoke.md")).expect("a table");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), table.trim());
    let json = fs::read_to_string(results.path().join("smoke.json")).expect("results");
    (table, serde_json::from_str(&json).expect("JSON"))
}

/// A cell of the results.
#[track_caller]
fn cell<'a>(json: &'a Value, name: &str, system: &str) -> &'a Value {
    let experiments = json["experiments"].as_array().expect("experiments");
    let found = experiments.iter().find(|experiment| experiment["experiment"] == name);
    let cells = found.unwrap_or_else(|| panic!("{name} is missing: {json}"))["cells"].as_array();
    let cell = cells.into_iter().flatten().find(|cell| cell["system"] == system);
    cell.unwrap_or_else(|| panic!("{name} of {system} is missing: {json}"))
}

fn is_above_zero(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| value > 0.0)
}

#[test]
fn every_cell_of_a_measurement_has_a_number_or_words() {
    let (table, json) = measure(&["--only", &EXPERIMENTS.join(","), "--rounds", "2"]);
    for name in EXPERIMENTS {
        for system in SYSTEMS {
            let cell = cell(&json, name, system);
            let measured = is_above_zero(&cell["cost"]["median"]);
            let explained = cell["words"].as_str().is_some_and(|words| !words.is_empty());
            assert!(measured != explained, "{name} of {system}: {cell}");
        }
    }
    assert!(table.contains("| Countersign") && table.contains("| HAProxy"), "{table}");
}

#[test]
fn a_key_in_a_token_is_measured_beside_the_same_in_software() {
    let (table, json) = measure(&["--only", "token_2ms", "--rounds", "1", "--busy-min", "0"]);
    for (place, is_token) in
        [("engine", false), ("engine-token-process", true), ("engine-token-threads", true)]
    {
        for name in ["token_2ms", "token_2ms_latency"] {
            let found = cell(&json, name, place);
            // It has started. On a machine that others use there may have been no good slice.
            if let Some(words) = found["words"].as_str() {
                assert!(words.contains("good"), "{name} of {place}: {found}");
                continue;
            }
            assert!(is_above_zero(&found["cost"]["median"]), "{name} of {place}: {found}");
            assert!(is_above_zero(&found["medians"]["worker_us"]), "{name} of {place}: {found}");
            let is_compared = is_token && cell(&json, name, "engine")["words"].is_null();
            assert_eq!(found["beside_own"]["worker_us"].is_object(), is_compared, "{found}");
            let has_child = is_above_zero(&found["medians"]["child_processes_us"]);
            assert_eq!(has_child, place.ends_with("process"), "{name} of {place}: {found}");
        }
    }
    assert!(table.contains("| Countersign, token in a process |"), "{table}");
}
