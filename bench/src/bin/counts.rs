//! Counts the instructions of fixed workloads under valgrind and compares them with `counts.toml`.
//!
//! ```text
//! counts            compare; fails if a workload takes more than the table and its tolerance allow
//! counts --accept   write the table anew
//! counts run NAME   do one workload: what the two above start under valgrind
//! ```
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use countersign_bench::counting::counted_section;
use countersign_bench::workload::{TIMES, WARM_UP, WORKLOADS, Workload};
use toml::de::{DeTable, DeValue};

const TOLERANCE_PERCENT: i64 = 10;

/// For valgrind each byte that `rep movsb` copies is an instruction, and whether glibc takes it depends on
/// the CPU: with these thresholds it never does. Another libc ignores them.
const STEADY_COPIES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.x86_rep_movsb_threshold=0x40000000:glibc.cpu.x86_rep_stosb_threshold=0x40000000",
);

type Counts = BTreeMap<String, i64>;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(),
        ["--accept"] => accept(),
        ["run", name] => run(name),
        _ => Err("usage: counts [--accept | run NAME]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut io::stderr().lock(), &error);
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> Result<(), String> {
    let workload = WORKLOADS.iter().find(|workload| workload.name == name);
    let mut operation =
        (workload.ok_or_else(|| format!("no workload is called {name}"))?.prepare)();
    for _ in 0..WARM_UP {
        operation();
    }
    counted_section(&mut *operation, TIMES);
    Ok(())
}

fn compare() -> Result<(), String> {
    let mut out = io::stdout().lock();
    let table = Accepted::read()?;
    let Some(valgrind) = valgrind() else {
        say(&mut out, "instructions not counted: valgrind is not installed");
        return Ok(());
    };
    if table.architecture != env::consts::ARCH {
        let line = format!(
            "instructions not counted: {} is for {}, and this is {}",
            table_path().display(),
            table.architecture,
            env::consts::ARCH
        );
        say(&mut out, &line);
        return Ok(());
    }
    let mut failures = String::new();
    for workload in &WORKLOADS {
        let now = count(workload)?;
        let Some(before) = table.counts.get(workload.name).copied() else {
            say(&mut out, &format!("{:28} {now:>8}  not in the table", workload.name));
            let _ = writeln!(failures, "{} is not in the table", workload.name);
            continue;
        };
        let change = 100.0 * (now - before) as f64 / before as f64;
        say(&mut out, &format!("{:28} {now:>8}  {before:>8}  {change:+.1} %", workload.name));
        if (now - before) * 100 > before * TOLERANCE_PERCENT {
            failures.push_str(&complaint(workload, before, now, change));
        }
    }
    for name in table.counts.keys() {
        if WORKLOADS.iter().all(|workload| workload.name != name) {
            let _ = writeln!(failures, "{name} is in the table, and there is no such workload");
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let compiler = compiler()?;
    if (&table.compiler, &table.valgrind) != (&compiler, &valgrind) {
        say(&mut out, &failures);
        let line = format!(
            "nothing is held against this: the table was made with {} and {}, and this is {compiler} and {valgrind}.\nWith those as they are, run `make counts ACCEPT=1` before your change and `make counts` after it.",
            table.compiler, table.valgrind
        );
        say(&mut out, &line);
        return Ok(());
    }
    Err(format!(
        "\n{failures}If that is as it must be, run `make counts ACCEPT=1` and say why in the commit."
    ))
}

fn complaint(workload: &Workload, before: i64, now: i64, change: f64) -> String {
    format!(
        "{}: {now} instructions, {change:.1} % more than the {before} of {}\n    what is done: {}\n    where they go: callgrind_annotate --inclusive=yes {}\n",
        workload.name,
        table_path().display(),
        workload.what,
        output_path(workload.name).display(),
    )
}

fn accept() -> Result<(), String> {
    let valgrind = valgrind().ok_or("valgrind is not installed: .ci/system-packages test")?;
    let mut table = format!(
        "# Instructions that one operation takes, counted by callgrind: see README.md. Written by\n# `make counts ACCEPT=1`; `make counts` fails where one takes {TOLERANCE_PERCENT} % more.\n\ncompiler = \"{}\"\nvalgrind = \"{valgrind}\"\narchitecture = \"{}\"\n\n[instructions]\n",
        compiler()?,
        env::consts::ARCH,
    );
    for workload in &WORKLOADS {
        let _ = writeln!(table, "# {}\n{} = {}", workload.what, workload.name, count(workload)?);
    }
    let path = table_path();
    fs::write(&path, table).map_err(|error| format!("{}: {error}", path.display()))?;
    say(&mut io::stdout().lock(), &format!("{} is written", path.display()));
    Ok(())
}

/// Instructions for one operation of `workload`.
fn count(workload: &Workload) -> Result<i64, String> {
    let name = workload.name;
    let path = output_path(name);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let this = env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*counted_section*"])
        .arg(format!("--callgrind-out-file={}", path.display()))
        .arg(this)
        .args(["run", name])
        .env(STEADY_COPIES.0, STEADY_COPIES.1)
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} under valgrind: {}\n{said}", output.status));
    }
    let counted =
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let totals = counted.lines().find_map(|line| line.strip_prefix("totals:"));
    match totals.and_then(|totals| totals.trim().parse::<i64>().ok()) {
        Some(total) if total > i64::from(TIMES) => Ok(total / i64::from(TIMES)),
        _ => Err(format!("{}: nothing was counted", path.display())),
    }
}

/// The table as it stands in the repository.
struct Accepted {
    compiler: String,
    valgrind: String,
    architecture: String,
    counts: Counts,
}

impl Accepted {
    fn read() -> Result<Self, String> {
        let path = table_path();
        let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| wrong(&error))?;
        let table = DeTable::parse(&text).map_err(|error| wrong(&error))?.into_inner();
        let line = |key: &str| match table.get(key).and_then(|value| value.get_ref().as_str()) {
            Some(value) => Ok(value.to_owned()),
            None => Err(wrong(&format_args!("there is no {key}"))),
        };
        let counts = table.get("instructions").and_then(|value| value.get_ref().as_table());
        let counts = counts.into_iter().flatten().map(|(name, value)| {
            let name = name.get_ref().to_string();
            match number(value.get_ref()) {
                Some(count) => Ok((name, count)),
                None => Err(wrong(&format_args!("{name} is no number of instructions"))),
            }
        });
        Ok(Self {
            compiler: line("compiler")?,
            valgrind: line("valgrind")?,
            architecture: line("architecture")?,
            counts: counts.collect::<Result<_, _>>()?,
        })
    }
}

fn number(value: &DeValue<'_>) -> Option<i64> {
    value.as_integer()?.as_str().parse().ok().filter(|count| *count > 0)
}

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.toml")
}

/// Beside the program, where it stays for whoever wants to look into it.
fn output_path(name: &str) -> PathBuf {
    let this = env::current_exe().unwrap_or_default();
    this.with_file_name("counts.out").join(format!("{name}.callgrind"))
}

fn valgrind() -> Option<String> {
    version("valgrind").ok()
}

fn compiler() -> Result<String, String> {
    version(&env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))
}

fn version(program: &str) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{program} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} --version: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whoever has closed our output does not want to hear of it.
fn say(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{line}");
}
