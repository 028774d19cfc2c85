//! Values as people type them.

use std::str::FromStr;
use std::time::Duration;

/// sched_setaffinity(2) takes a set of 1,024 as the C library declares it, and core_affinity with it.
const CPU_MAX: usize = 1_023;

/// No script sends or reads more in one turn.
const TURN_BYTES_MAX: usize = 16 << 20;

/// Parses `100us`, `500ms`, `10s`, `2m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write it like 100us, 500ms, 10s, 2m or 1h");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(split);
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let microseconds: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(wrong()),
    };
    let most = Duration::from_secs(30 * 24 * 3_600);
    let parsed = count.checked_mul(microseconds).map(Duration::from_micros).ok_or_else(wrong)?;
    if parsed > most { Err(format!("'{text}' is more than 30 days")) } else { Ok(parsed) }
}

/// CPUs in the order in which they were written: `1` or `2-5,8` (the format of cpuset(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuList(pub(crate) Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| {
                let cpu = digits.parse().ok().filter(|cpu| *cpu <= CPU_MAX);
                cpu.ok_or_else(|| {
                    format!("'{part}' is not a CPU or a range; write a list such as 1 or 2-5,8")
                })
            };
            let (first, last): (usize, usize) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range '{part}' runs backwards"));
            }
            for cpu in first..=last {
                if cpus.contains(&cpu) {
                    return Err(format!("CPU {cpu} is named twice"));
                }
                cpus.push(cpu);
            }
        }
        Ok(Self(cpus))
    }
}

/// A share from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(f64);

impl Percent {
    /// From 0 to 100.
    pub(crate) fn value(self) -> f64 {
        self.0
    }

    /// Whether it is more than nothing.
    pub(crate) fn is_some(self) -> bool {
        self.0 > 0.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
        percent.map(Self).ok_or_else(|| format!("'{text}' is not a percentage from 0 to 100"))
    }
}

/// Bytes to send and to read in turn, beginning with a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script(pub(crate) Vec<usize>);

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |part: &str| {
            let size: Option<usize> = part.trim().parse().ok();
            size.filter(|size| (1..=TURN_BYTES_MAX).contains(size)).ok_or_else(|| {
                format!("'{part}' is not a size from 1 to {TURN_BYTES_MAX}; write a list such as 517,2100,1400,600")
            })
        };
        text.split(',').map(size).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_keep_their_order() {
        assert_eq!("2-4,1".parse(), Ok(CpuList(vec![2, 3, 4, 1])));
        for wrong in ["", "a", "1,", "3-1", "1,0-2", "0-99999999", "1024"] {
            assert!(wrong.parse::<CpuList>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_lie_between_0_and_100() {
        assert_eq!("12.5".parse::<Percent>().map(Percent::value), Ok(12.5));
        for wrong in ["-1", "101", "NaN", "half", ""] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn scripts_are_sizes() {
        assert_eq!("517,2100".parse(), Ok(Script(vec![517, 2100])));
        for wrong in ["", "1,,2", "0", "-1", "99999999999"] {
            assert!(wrong.parse::<Script>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "10", "s", "1.5s", "1d", "99999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
