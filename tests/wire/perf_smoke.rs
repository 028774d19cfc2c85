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

#[test]
fn every_cell_of_a_measurement_has_a_number_or_words() {
    let results = tempfile::tempdir().expect("a folder");
    let output = Command::new(built("countersign-perf"))
        .args(["run", "--peers", "haproxy", "--only", &EXPERIMENTS.join(",")])
        .args(["--crypto", "base", "--rounds", "2", "--slice", "200", "--ramp", "50"])
        .args(["--connections", "8", "--name", "smoke", "--results"])
        .arg(results.path())
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
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let experiments = json["experiments"].as_array().expect("experiments");
    for name in EXPERIMENTS {
        let found = experiments.iter().find(|experiment| experiment["experiment"] == name);
        let cells =
            found.unwrap_or_else(|| panic!("{name} is missing: {json}"))["cells"].as_array();
        for system in SYSTEMS {
            let cell = cells.into_iter().flatten().find(|cell| cell["system"] == system);
            let cell = cell.unwrap_or_else(|| panic!("{name} of {system} is missing: {json}"));
            let measured = cell["cost"]["median"].as_f64().is_some_and(|cost| cost > 0.0);
            let explained = cell["words"].as_str().is_some_and(|words| !words.is_empty());
            assert!(measured != explained, "{name} of {system}: {cell}");
        }
    }
    assert!(table.contains("| Countersign") && table.contains("| HAProxy"), "{table}");
}
