//! A strict reader of the Prometheus text format, version 0.0.4: what it does not understand is an error, so
//! that a page it takes is one that any scraper takes.

use std::collections::BTreeMap;

/// One line of a page: a name, its labels in their order, a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With the suffix that histograms have.
    pub name: String,
    /// Unescaped.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

/// What a `# TYPE` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A metric with all its series.
#[derive(Clone, Debug)]
pub struct Family {
    /// What the `# HELP` line says.
    pub help: String,
    /// What the `# TYPE` line says.
    pub kind: Kind,
    /// In the order of the page.
    pub samples: Vec<Sample>,
}

/// A page, understood.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// By name.
    pub families: BTreeMap<String, Family>,
}

impl Metrics {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line.
    pub fn parse(page: &str) -> Result<Self, String> {
        if !page.ends_with('\n') {
            return Err("the last line does not end".into());
        }
        let mut lines = page.lines().enumerate().peekable();
        let mut families = BTreeMap::new();
        while let Some((number, line)) = lines.next() {
            let at = |problem: String| format!("line {}: {problem}: {line:?}", number + 1);
            let (name, help) = comment(line, "# HELP ").map_err(at)?;
            let (_, type_line) = lines.next().ok_or_else(|| at("nothing follows it".into()))?;
            let (typed, kind) = comment(type_line, "# TYPE ").map_err(at)?;
            if typed != name {
                return Err(at(format!("a TYPE of {typed} follows it")));
            }
            let mut family =
                Family { help: help.to_owned(), kind: parse_kind(kind)?, samples: Vec::new() };
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.starts_with('#')) {
                let sample =
                    parse_sample(line).map_err(|problem| format!("{problem}: {line:?}"))?;
                family.add(name, sample)?;
            }
            family.check(name)?;
            if families.insert(name.to_owned(), family).is_some() {
                return Err(at("it stands twice".into()));
            }
        }
        Ok(Self { families })
    }

    /// The value of one series, whose labels are given in any order.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut samples = self.families.values().flat_map(|family| &family.samples);
        let found = samples.find(|sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels.iter().all(|(label, value)| sample.label(label) == Some(value))
        });
        found.map(|sample| sample.value)
    }

    /// A whole number that must be there.
    ///
    /// # Panics
    ///
    /// When it is not there, or not whole.
    #[must_use]
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.value(name, labels);
        let value = value.unwrap_or_else(|| panic!("no series {name} {labels:?}"));
        assert!(value >= 0.0 && value.fract() == 0.0, "{name} {labels:?} is {value}");
        value as u64
    }

    /// Every series of a metric that is not zero: its labels' values and its value.
    ///
    /// # Panics
    ///
    /// When there is no such metric.
    #[must_use]
    #[track_caller]
    pub fn nonzero(&self, name: &str) -> Vec<(String, u64)> {
        let family = self.families.get(name).unwrap_or_else(|| panic!("no metric {name}"));
        let counted = family.samples.iter().filter(|sample| sample.value != 0.0);
        counted
            .map(|sample| {
                let labels: Vec<&str> =
                    sample.labels.iter().map(|(_, value)| value.as_str()).collect();
                (labels.join(","), sample.value as u64)
            })
            .collect()
    }
}

impl Sample {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Family {
    fn add(&mut self, name: &str, sample: Sample) -> Result<(), String> {
        let belongs = match self.kind {
            Kind::Counter | Kind::Gauge => sample.name == name,
            Kind::Histogram => {
                sample.name.strip_prefix(name).is_some_and(|s| HISTOGRAM_SUFFIXES.contains(&s))
            }
        };
        if !belongs {
            return Err(format!("{} stands among the series of {name}", sample.name));
        }
        let same = |other: &Sample| other.name == sample.name && other.labels == sample.labels;
        if self.samples.iter().any(same) {
            return Err(format!("the series {sample:?} stands twice"));
        }
        self.samples.push(sample);
        Ok(())
    }

    fn check(&self, name: &str) -> Result<(), String> {
        if self.help.is_empty() {
            return Err(format!("{name} has no help"));
        }
        if self.kind == Kind::Counter && !name.ends_with("_total") {
            return Err(format!("the counter {name} does not end in _total"));
        }
        if self.kind != Kind::Gauge && self.samples.iter().any(|sample| sample.value < 0.0) {
            return Err(format!("{name} is negative"));
        }
        if self.kind == Kind::Histogram { self.check_histogram(name) } else { Ok(()) }
    }

    /// Each of its series: those that have the same labels but for `le`.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let counts = self.samples.iter().filter(|sample| sample.name == format!("{name}_count"));
        let all: Vec<_> = counts.map(|sample| &sample.labels).collect();
        if all.is_empty() {
            return Err(format!("there is no {name}_count"));
        }
        all.into_iter().try_for_each(|labels| self.check_series(name, labels))
    }

    fn check_series(&self, name: &str, labels: &[(String, String)]) -> Result<(), String> {
        let is_of_it = |sample: &&Sample| {
            sample.labels.iter().filter(|(label, _)| label != "le").eq(labels.iter())
        };
        let one = |suffix: &str| {
            let full = format!("{name}{suffix}");
            let found = self.samples.iter().filter(is_of_it).find(|sample| sample.name == full);
            found
                .map(|sample| sample.value)
                .ok_or_else(|| format!("there is no {full} of {labels:?}"))
        };
        let (count, _sum) = (one("_count")?, one("_sum")?);
        let bucket = format!("{name}_bucket");
        let mut before = (f64::NEG_INFINITY, 0.0);
        for sample in self.samples.iter().filter(is_of_it).filter(|sample| sample.name == bucket) {
            let bound = sample.label("le").ok_or_else(|| format!("{bucket} without le"))?;
            let bound = parse_value(bound)?;
            if bound <= before.0 || sample.value < before.1 {
                return Err(format!("{bucket} does not grow at le={bound}"));
            }
            before = (bound, sample.value);
        }
        if before != (f64::INFINITY, count) {
            return Err(format!("{bucket} ends with {before:?}, the count is {count}"));
        }
        Ok(())
    }
}

const HISTOGRAM_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

fn comment<'a>(line: &'a str, prefix: &str) -> Result<(&'a str, &'a str), String> {
    let rest = line.strip_prefix(prefix).ok_or_else(|| format!("not a line '{prefix}'"))?;
    let (name, text) = rest.split_once(' ').ok_or("nothing behind the name")?;
    if is_name(name) { Ok((name, text)) } else { Err(format!("{name:?} is no name")) }
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    match text {
        "counter" => Ok(Kind::Counter),
        "gauge" => Ok(Kind::Gauge),
        "histogram" => Ok(Kind::Histogram),
        other => Err(format!("{other:?} is no type")),
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// `NAME{LABEL="VALUE",...} VALUE`, without a timestamp.
fn parse_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or("a label without a value")?;
            let (value, behind) = quoted(behind)?;
            if !is_name(label) || labels.iter().any(|(known, _)| known == label) {
                return Err(format!("the label {label:?} is no name, or stands twice"));
            }
            labels.push((label.to_owned(), value));
            if let Some(next) = behind.strip_prefix(',') {
                rest = next;
                continue;
            }
            rest = behind.strip_prefix('}').ok_or("the labels do not end")?;
            break;
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    if !is_name(name) {
        return Err(format!("{name:?} is no name"));
    }
    Ok(Sample { name: name.to_owned(), labels, value: parse_value(value)? })
}

/// What stands before the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, '\\')) => value.push('\\'),
                Some((_, '"')) => value.push('"'),
                Some((_, 'n')) => value.push('\n'),
                other => return Err(format!("the escape {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err("a label's value does not end".into())
}

fn parse_value(text: &str) -> Result<f64, String> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e');
    match text {
        "+Inf" => Ok(f64::INFINITY),
        text if !text.is_empty() && text.chars().all(is_number) => {
            text.parse().map_err(|error| format!("{text:?}: {error}"))
        }
        text => Err(format!("{text:?} is no value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_total Things.\n# TYPE a_total counter\n";

    #[test]
    fn a_good_page_is_understood() {
        let page = format!(
            "{HEAD}a_total{{x=\"1\\\"\\\\\\n,}}\",y=\"\"}} 3\na_total 1e3\n\
             # HELP b Things.\n# TYPE b gauge\n\
             # HELP h Times.\n# TYPE h histogram\n\
             h_bucket{{le=\"0.5\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 0.75\nh_count 2\n"
        );
        let metrics = Metrics::parse(&page).expect("a good page");
        assert_eq!(metrics.value("a_total", &[("y", ""), ("x", "1\"\\\n,}")]), Some(3.0));
        assert_eq!(metrics.count("a_total", &[]), 1000);
        assert_eq!(metrics.count("h_bucket", &[("le", "+Inf")]), 2);
        assert_eq!(metrics.value("b", &[]), None);
        assert_eq!(metrics.families["b"].kind, Kind::Gauge);
    }

    #[test]
    fn bad_pages_are_refused() {
        for (page, problem) in [
            (format!("{HEAD}a_total 1"), "does not end"),
            ("a_total 1\n".to_owned(), "not a line"),
            (format!("{HEAD}b 1\n"), "stands among"),
            (format!("{HEAD}a_total 1\na_total 2\n"), "twice"),
            (format!("{HEAD}a_total 1\n{HEAD}a_total 1\n"), "twice"),
            (format!("{HEAD}a_total{{x=\"1}} 1\n"), "does not end"),
            (format!("{HEAD}a_total{{x=\"\\t\"}} 1\n"), "escape"),
            (format!("{HEAD}a_total{{x=\"1\"x=\"1\"}} 1\n"), "do not end"),
            (format!("{HEAD}a_total{{x=\"1\",x=\"1\"}} 1\n"), "twice"),
            (format!("{HEAD}a_total -1\n"), "negative"),
            (format!("{HEAD}a_total NaN\n"), "no value"),
            (format!("{HEAD}a_total  1\n"), "no value"),
            (format!("{HEAD}\n"), "no value"),
            ("# HELP a Things.\n# TYPE a counter\n".to_owned(), "_total"),
            ("# HELP a Things.\n# TYPE b gauge\n".to_owned(), "a TYPE of b"),
            (
                "# HELP h T.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 3\n"
                    .to_owned(),
                "the count is 3",
            ),
            (
                "# HELP h T.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"
                    .to_owned(),
                "does not grow",
            ),
        ] {
            let error = Metrics::parse(&page).expect_err(&page);
            assert!(error.contains(problem), "{page:?}: {error}");
        }
    }
}
