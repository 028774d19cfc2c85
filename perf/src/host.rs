//! The machine that a run was made on.

use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};

/// Flags that decide which code of AWS-LC and OpenSSL runs.
const FLAGS: [&str; 10] = [
    "aes",
    "vaes",
    "vpclmulqdq",
    "avx2",
    "avx512f",
    "avx512ifma",
    "sha_ni",
    "adx",
    "bmi2",
    "hypervisor",
];

/// Everything about it that a figure may depend on.
pub(crate) fn facts() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line =
            cpuinfo.lines().find(|line| line.split(':').next().unwrap_or_default().trim() == name);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
    let flags: Map<String, Value> = FLAGS
        .iter()
        .map(|flag| ((*flag).to_owned(), flags.split(' ').any(|there| there == *flag).into()))
        .collect();
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    json!({
        "cpu": field("model name"),
        "cpu_mhz_at_start": field("cpu MHz").and_then(|mhz| mhz.parse::<f64>().ok()),
        "cpus": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "flags": flags,
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "mitigations": mitigations(),
        "load_average_at_start": read("/proc/loadavg"),
        "memory_kib": read("/proc/meminfo").and_then(|text| {
            text.lines().next()?.split_whitespace().nth(1)?.parse::<u64>().ok()
        }),
        "somaxconn": read("/proc/sys/net/core/somaxconn"),
        "commit": git(&["rev-parse", "HEAD"]),
        "work_tree_changed": git(&["status", "--porcelain"]).map(|text| !text.is_empty()),
    })
}

/// What the kernel does against which hole, where it does anything.
fn mitigations() -> Map<String, Value> {
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten();
    let mut found: Vec<(String, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?.trim().to_owned();
            let name = entry.file_name().into_string().ok()?;
            (text != "Not affected").then_some((name, text))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(name, text)| (name, text.into())).collect()
}

/// What git says about the current directory; nothing where it is none of git's.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
