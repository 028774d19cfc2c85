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

/// What one CPU has done since the machine began, in the kernel's ticks (proc_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTime {
    all: u64,
    /// Ran something else of the hypervisor's, while this machine had work for it.
    stolen: u64,
}

impl CpuTime {
    /// `None` where the kernel does not say.
    pub(crate) fn now(cpu: usize) -> Option<CpuTime> {
        CpuTime::read(&fs::read_to_string("/proc/stat").ok()?, cpu)
    }

    fn read(stat: &str, cpu: usize) -> Option<CpuTime> {
        let name = format!("cpu{cpu}");
        let line = stat.lines().find(|line| line.split(' ').next() == Some(name.as_str()))?;
        // user nice system idle iowait irq softirq steal; what guests had is in user's already.
        let times = line.split_whitespace().skip(1).take(8).map(|time| time.parse::<u64>().ok());
        let times: Vec<u64> = times.collect::<Option<_>>()?;
        Some(CpuTime { all: times.iter().sum(), stolen: *times.get(7)? })
    }

    /// The share of the time since `earlier` that was stolen; `None` if no tick has passed.
    pub(crate) fn stolen_since(self, earlier: CpuTime) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|ticks| *ticks > 0)?;
        Some(self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stolen_is_a_share_of_one_cpus_time() {
        let earlier =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 10 0 5 80 0 1 2 2 4 0\ncpu11 0 0 0 0 0 0 0 0 0 0\n";
        let earlier = CpuTime::read(earlier, 1).expect("a line of CPU 1");
        assert_eq!(earlier, CpuTime { all: 100, stolen: 2 });
        let later = CpuTime::read("cpu1 50 0 25 100 0 1 2 22 4 0\n", 1).expect("the same");
        assert_eq!(later.stolen_since(earlier), Some(0.2));
        assert_eq!(later.stolen_since(later), None);
        for wrong in ["", "cpu10 1 1 1 1 1 1 1 1\n", "cpu1 1 2 3\n", "cpu1 a 0 0 0 0 0 0 0\n"] {
            assert_eq!(CpuTime::read(wrong, 1), None, "{wrong:?}");
        }
    }
}
