//! The harness of perf/ at work, in miniature: what comes out is looked at, never how fast it was.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
    let mut command = Command::new(built("countersign-perf"));
    command
        .args(["run", "--peers", "haproxy", "--crypto", "base", "--slice", "200", "--ramp", "50"])
        .args(["--connections", "8"])
        .args(arguments)
        .arg("--engine")
        .arg(engine::program());
    outcome(&mut command)
}

/// The results of a command of the harness.
fn outcome(command: &mut Command) -> (String, Value) {
    let results = tempfile::tempdir().expect("a folder");
    let output = command
        .args(["--name", "smoke", "--results"])
        .arg(results.path())
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
    let only = "token_2ms,token_verify";
    let (table, json) = measure(&["--only", only, "--rounds", "1", "--busy-min", "0"]);
    for (name, suffix) in
        [("token_2ms", ""), ("token_2ms_latency", ""), ("token_2ms_latency", "-awake")]
    {
        let software = format!("engine{suffix}");
        for place in ["engine", "engine-token-process", "engine-token-threads"] {
            let own = (place != "engine").then_some(software.as_str());
            let found = row(&json, name, &format!("{place}{suffix}"), own);
            let Some(found) = found else { continue };
            let has_child = is_above_zero(&found["medians"]["child_processes_us"]);
            assert_eq!(has_child, place.ends_with("process"), "{name} of {place}: {found}");
        }
    }
    row(&json, "token_verify", "engine-verify-sampled", None);
    row(&json, "token_verify", "engine-verify-always", Some("engine-verify-sampled"));
    for title in ["token in a process", "token in a process, awake", r#"verify_own = "always""#] {
        assert!(table.contains(&format!("| Countersign, {title} |")), "{table}");
    }
}

/// A row about keys in tokens that has a number, and is told beside `own` if that has one.
#[track_caller]
fn row<'a>(json: &'a Value, name: &str, system: &str, own: Option<&str>) -> Option<&'a Value> {
    let found = cell(json, name, system);
    // It has started. On a machine that others use there may have been no good slice.
    if let Some(words) = found["words"].as_str() {
        assert!(words.contains("good"), "{name} of {system}: {found}");
        return None;
    }
    assert!(is_above_zero(&found["cost"]["median"]), "{name} of {system}: {found}");
    assert!(is_above_zero(&found["medians"]["worker_us"]), "{name} of {system}: {found}");
    let is_compared = own.is_some_and(|own| cell(json, name, own)["words"].is_null());
    assert_eq!(found["beside_own"]["worker_us"].is_object(), is_compared, "{found}");
    Some(found)
}

/// A field of proc_pid_stat(5) behind the name; `None` if there is no such process.
fn stat(pid: &str, field: usize) -> Option<String> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().nth(field - 3)?.to_owned())
}

/// Ends it whatever happens.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_loop_that_keeps_a_cpu_awake_has_the_lowest_priority_and_ends_with_whoever_started_it() {
    let status = fs::read_to_string("/proc/self/status").expect("our status");
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cpu: String =
        cpus.expect("our CPUs").trim().chars().take_while(char::is_ascii_digit).collect();
    let script =
        r#""$0" under --cpus "$1" -- chrt -i 0 "$0" keep-awake --parent $$ & echo $!; wait"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(built("countersign-perf")).arg(&cpu).stdout(Stdio::piped());
    let mut shell = Ended(shell.spawn().expect("a shell"));
    let output = shell.0.stdout.take().expect("its output");
    let mut pid = String::new();
    BufReader::new(output).read_line(&mut pid).expect("the number of the loop");
    let pid = pid.trim();
    let is_alive = || stat(pid, 3).is_some_and(|state| !["Z", "X"].contains(&state.as_str()));

    // SCHED_IDLE
    while stat(pid, 41).as_deref() != Some("5") {
        assert!(is_alive(), "the loop has ended");
        std::thread::yield_now();
    }
    drop(shell);
    while is_alive() {
        std::thread::yield_now();
    }
}

#[test]
fn the_generator_and_h2load_are_asked_for_the_same_and_put_side_by_side() {
    let mut command = Command::new(built("countersign-perf"));
    command.args(["agree", "--only", "closed,rate_2000", "--rounds", "1"]);
    let (table, json) = outcome(command.args(["--slice", "400", "--ramp", "100"]));
    let cases = json["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 2, "{json}");
    for case in cases {
        for generator in ["loadgen", "h2load"] {
            let found = &case[generator];
            let measured = is_above_zero(&found["rounds"][0]["p50_us"]);
            let explained = found["words"].as_str().is_some_and(|words| !words.is_empty());
            assert!(measured != explained, "{generator}: {case}");
        }
    }
    assert!(table.contains("| 2,000/s on 50 connections | p50 |"), "{table}");
}
