//! A picture: latency by percentile, and rate over time. Plain SVG, written by hand: two panels need no library.

mod panel;

use hdrhistogram::Histogram;

use crate::plan::{Plan, Work};
use crate::run::Outcome;
use crate::tally::Second;
use panel::{Axis, Panel, Picture};

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 800.0;

/// Told apart by those who do not see all colours too (Okabe and Ito).
const BLUE: &str = "#0072b2";
const VERMILLION: &str = "#d55e00";
const GREEN: &str = "#009e73";

/// No more nines than that: 99.9999 %.
const NINES_MAX: f64 = 6.0;

/// A last second of which less was measured says nothing.
const PART_OF_SECOND_MIN: f64 = 0.25;

pub(super) fn of(plan: &Plan, outcome: &Outcome) -> String {
    let mut picture = Picture::new(WIDTH, HEIGHT);
    let tally = &outcome.tally;
    let title = format!("{} to {}", name(plan), plan.arguments.target);
    let below = match plan.arguments.rate {
        Some(rate) => format!("open loop, {rate} a second; latency from when each was due"),
        None => format!("closed loop, {} connections", plan.arguments.connections),
    };
    picture.title(&title, &below);
    let request = if matches!(plan.work, Work::Tcp(_)) { "conversation" } else { "request" };
    let lines = [
        ("connect", GREEN, &tally.connect),
        ("handshake", BLUE, &tally.handshake),
        (request, VERMILLION, &tally.request),
    ];
    let lines: Vec<_> =
        lines.into_iter().filter(|(_, _, histogram)| !histogram.is_empty()).collect();
    latency(&mut picture, &lines);
    rate(&mut picture, plan, outcome);
    picture.finish()
}

fn name(plan: &Plan) -> &'static str {
    match plan.work {
        Work::Handshake { .. } => "Handshakes",
        Work::Request { .. } => "Requests",
        Work::Upload => "Upload",
        Work::Download => "Download",
        Work::Tcp(_) => "Plain conversations",
        Work::Flood(_) => "Flood",
    }
}

fn latency(picture: &mut Picture, lines: &[(&str, &str, &Histogram<u64>)]) {
    let of_all = |value: fn(&Histogram<u64>) -> u64| lines.iter().map(move |line| value(line.2));
    let least = of_all(Histogram::min).min().unwrap_or(1_000).max(1) as f64 / 1e3;
    let most = of_all(Histogram::max).max().unwrap_or(1_000_000).max(1) as f64 / 1e3;
    let samples = of_all(Histogram::len).max().unwrap_or(1) as f64;
    let nines = samples.log10().ceil().clamp(2.0, NINES_MAX);
    let panel = Panel {
        top: 92.0,
        bottom: 410.0,
        heading: "Latency by percentile",
        x: Axis::linear(0.0, nines)
            .named("percentile (each step right is a tenth of what is left)"),
        y: Axis::logarithmic(least, most).named("latency"),
    };
    let percentiles = (0..=nines as i32).map(|nines| (f64::from(nines), percentile(nines)));
    panel.frame(picture, percentiles, panel.y.ticks().into_iter().map(|us| (us, panel::time(us))));
    for (line, (name, colour, histogram)) in lines.iter().enumerate() {
        // As far as there is at least one sample beyond.
        let end = nines.min((histogram.len() as f64).log10().max(0.5));
        let points = (0..=400).map(|step| {
            let nines = end * f64::from(step) / 400.0;
            let quantile = 1.0 - 10_f64.powf(-nines);
            (nines, (histogram.value_at_quantile(quantile).max(1)) as f64 / 1e3)
        });
        panel.line(picture, colour, points);
        panel.legend(picture, lines.len() - 1 - line, colour, name);
    }
    if lines.is_empty() {
        panel.remark(picture, "nothing was measured");
    }
}

/// `0 %`, `90 %`, `99 %`, `99.9 %`.
fn percentile(nines: i32) -> String {
    match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        _ => format!("{:.*} %", nines as usize - 2, 100.0 - 10_f64.powi(2 - nines)),
    }
}

fn rate(picture: &mut Picture, plan: &Plan, outcome: &Outcome) {
    let ramp = outcome.ramp.as_secs_f64();
    let total = (ramp + outcome.measured.as_secs_f64()).max(1e-3);
    let (unit, of_second): (&str, fn(&Second) -> f64) = match plan.work {
        Work::Handshake { .. } => ("handshakes a second", |second| second.handshakes as f64),
        Work::Upload | Work::Download => ("MB a second", |second| second.bytes as f64 / 1e6),
        Work::Tcp(_) => ("conversations a second", |second| second.requests as f64),
        Work::Flood(_) => ("floods answered a second", |second| second.requests as f64),
        Work::Request { .. } => ("requests a second", |second| second.requests as f64),
    };
    let values = steps(&outcome.tally.series, total, of_second);
    let errors = steps(&outcome.tally.series, total, |second| second.errors as f64);
    let has_errors = outcome.tally.errors_total() > 0;
    let of_errors = errors.iter().filter(|_| has_errors);
    let most = values.iter().chain(of_errors).map(|(_, _, value)| *value).fold(1.0, f64::max);
    let panel = Panel {
        top: 496.0,
        bottom: 732.0,
        heading: "Rate over time",
        x: Axis::linear(0.0, total).named("seconds since the start"),
        y: Axis::linear(0.0, most * 1.08).named(unit),
    };
    if ramp > 0.0 {
        panel.shade(picture, 0.0, ramp.min(total), "ramp");
    }
    let plain = |value: f64| (value, panel::number(value));
    panel.frame(
        picture,
        panel.x.ticks().into_iter().map(plain),
        panel.y.ticks().into_iter().map(plain),
    );
    let corners = |steps: &[(f64, f64, f64)]| -> Vec<(f64, f64)> {
        steps.iter().flat_map(|(from, to, value)| [(*from, *value), (*to, *value)]).collect()
    };
    panel.line(picture, BLUE, corners(&values).into_iter());
    if has_errors {
        panel.line(picture, VERMILLION, corners(&errors).into_iter());
        panel.legend(picture, 0, BLUE, unit);
        panel.legend(picture, 1, VERMILLION, "errors a second");
    }
}

/// From, to and rate of each second; the last one may be cut short.
fn steps(series: &[Second], total: f64, value: fn(&Second) -> f64) -> Vec<(f64, f64, f64)> {
    let of_second = |(number, second): (usize, &Second)| {
        let (from, to) = (number as f64, (number as f64 + 1.0).min(total));
        let is_enough = to - from >= PART_OF_SECOND_MIN.min(total);
        is_enough.then(|| (from, to, value(second) / (to - from)))
    };
    series.iter().enumerate().filter_map(of_second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_as_many_nines_as_steps() {
        let names: Vec<String> = (0..6).map(percentile).collect();
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
    }

    #[test]
    fn a_short_last_second_is_scaled_or_left_out() {
        let series: Vec<Second> =
            (0..3).map(|_| Second { handshakes: 10, ..Second::default() }).collect();
        let count = |second: &Second| second.handshakes as f64;
        assert_eq!(steps(&series, 2.5, count)[2], (2.0, 2.5, 20.0));
        assert_eq!(steps(&series, 2.1, count).len(), 2);
    }
}
