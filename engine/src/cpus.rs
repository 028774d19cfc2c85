//! Which CPUs there are, and lists of them as people type them.

/// More workers than this are refused.
pub const WORKERS_MAX: usize = 1_024;

const CPU_MAX: usize = 8_191;

/// The CPUs of this process' affinity mask.
#[must_use]
pub fn usable() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Parses a list such as `0-3,8` (the format of cpuset(7)), in the order in which it is written.
///
/// # Errors
/// What is wrong with it, for the operator.
pub fn parse(text: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |digits: &str| {
            digits
                .parse::<usize>()
                .ok()
                .filter(|cpu| *cpu <= CPU_MAX && !digits.starts_with('+'))
                .ok_or_else(|| {
                    format!("'{part}' is not a CPU or a range; write a list such as 0-3,8")
                })
        };
        let (first, last) = (number(first)?, number(last)?);
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
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ranges_and_single_cpus_keep_their_order() {
        assert_eq!(parse("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse("5,1-2"), Ok(vec![5, 1, 2]));
        assert_eq!(parse("7"), Ok(vec![7]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, problem) in [
            ("", "''"),
            ("a", "'a'"),
            ("0,", "''"),
            ("1-", "'1-'"),
            ("-1", "'-1'"),
            ("3-1", "backwards"),
            ("1,0-2", "CPU 1 is named twice"),
            ("0-99999999", "'0-99999999'"),
            ("+1", "'+1'"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
