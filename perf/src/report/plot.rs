//! The plots: bars with intervals above their floors, percentiles of latency, scaling.

use super::summary::{Row, Section, Summary};
use super::svg::{Anchor, COLORS, FAINT, INK, Picture, SOFT, ticks};
use super::table::number;
use super::tokens;
use crate::cell::RATE;
use crate::experiment::{Experiment, Variant};

const WIDTH: f64 = 920.0;
/// Where bars begin, and where they end at most.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 740.0;
const BAR: f64 = 20.0;
const STEP: f64 = 32.0;
/// Of the floor's two parts.
const FLOORS: [&str; 2] = ["#4d4d4d", "#a0a0a0"];

/// Every picture with its name: those of experiments that have a number.
pub(crate) fn pictures(summary: &Summary) -> Vec<(&'static str, String)> {
    let of = |wanted: fn(Experiment) -> bool| -> Vec<&Section> {
        let sections = summary.sections.iter();
        sections.filter(|section| wanted(section.experiment) && has_number(section)).collect()
    };
    let costs = of(|experiment| {
        experiment == Experiment::Request
            || experiment.is_handshakes() && experiment != Experiment::Scaling
    });
    let of_variant = |variant: Variant| -> Vec<&Section> {
        costs.iter().copied().filter(|section| section.variant == variant).collect()
    };
    let mut pictures = Vec::new();
    for (name, sections) in [
        ("cpu", of_variant(Variant::Base)),
        ("cpu-mlkem768", of_variant(Variant::MlKem)),
        ("cpu-rsa2048", of_variant(Variant::Rsa)),
        ("bulk", of(Experiment::is_bulk)),
        ("memory", of(|experiment| experiment == Experiment::IdleMemory)),
    ] {
        if !sections.is_empty() {
            pictures.push((name, bars(&sections)));
        }
    }
    let about_tokens = of(Experiment::is_about_tokens);
    if !about_tokens.is_empty() {
        pictures.push(("tokens", bars(&about_tokens)));
    }
    if let Some(section) = of(|experiment| experiment == Experiment::Latency).first() {
        pictures.push(("latency", latency(section)));
    }
    let scaling_sections = of(|experiment| experiment == Experiment::Scaling);
    if scaling_sections.len() > 1 {
        pictures.push(("scaling", scaling(&scaling_sections)));
    }
    pictures
}

fn has_number(section: &Section) -> bool {
    section.rows.iter().any(|row| row.cost.is_some())
}

/// What a bar shows: the median and its interval, in the unit of the picture.
fn shown(section: &Section, row: &Row) -> Option<(f64, f64, f64)> {
    let cost = row.cost?;
    Some(if section.experiment.is_bulk() {
        (1e3 / cost.median, 1e3 / cost.high, 1e3 / cost.low)
    } else if section.experiment.is_token_rate() {
        (1e6 / cost.median, 1e6 / cost.high, 1e6 / cost.low)
    } else {
        (cost.median, cost.low, cost.high)
    })
}

fn unit(experiment: Experiment) -> &'static str {
    if experiment.is_bulk() {
        "GB a second of server CPU (more is better)"
    } else if experiment.is_token_rate() {
        "handshakes per second (more is better)"
    } else {
        experiment.cost_unit()
    }
}

/// A panel of horizontal bars for each section, one below the other.
fn bars(sections: &[&Section]) -> String {
    let mut picture = Picture::new(WIDTH);
    let mut y = 12.0;
    for section in sections {
        y = panel(&mut picture, section, y);
    }
    picture.finish(y)
}

fn panel(picture: &mut Picture, section: &Section, top: f64) -> f64 {
    let variant = match section.experiment.is_handshakes() {
        true => format!(" ({})", section.variant.title()),
        false => String::new(),
    };
    let title = format!("{}{variant}", section.experiment.title());
    picture.text((16.0, top + 18.0), 16.0, Anchor::Start, INK, &title);
    let floor =
        [section.floor.cryptography, section.floor.tcp].map(|part| part.map(|part| part.median));
    let has_floor = floor[0].is_some();
    let highest = section.rows.iter().filter_map(|row| Some(shown(section, row)?.2));
    let most = highest.fold(floor.iter().flatten().sum::<f64>(), f64::max);
    let ticks = ticks(most, 6.0);
    let end = ticks.last().copied().unwrap_or(1.0);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * value / end;

    let first = top + 34.0;
    let rows = section.rows.len() + usize::from(has_floor);
    let bottom = first + STEP * rows as f64;
    for &tick in &ticks {
        picture.line((x(tick), first - 4.0), (x(tick), bottom), FAINT, 1.0);
        let text = tick_text(tick);
        picture.text((x(tick), bottom + 15.0), 11.0, Anchor::Middle, SOFT, &text);
    }
    for (number, row) in section.rows.iter().enumerate() {
        let y = first + STEP * number as f64;
        bar(picture, section, row, (number, y), &x);
    }
    if has_floor {
        let y = first + STEP * section.rows.len() as f64;
        floor_bar(picture, floor, y, &x);
    }
    picture.text(
        (f64::midpoint(LEFT, RIGHT), bottom + 32.0),
        12.0,
        Anchor::Middle,
        SOFT,
        unit(section.experiment),
    );
    bottom + 52.0
}

fn bar(
    picture: &mut Picture,
    section: &Section,
    row: &Row,
    (number_of_row, y): (usize, f64),
    x: &dyn Fn(f64) -> f64,
) {
    let middle = y + BAR / 2.0;
    picture.text((LEFT - 10.0, middle + 4.5), 13.0, Anchor::End, INK, &row.title);
    let Some((median, low, high)) = shown(section, row) else {
        let words = row.words.as_deref().unwrap_or("no number");
        picture.text((LEFT + 6.0, middle + 4.5), 12.0, Anchor::Start, SOFT, &cut(words, 62));
        return;
    };
    let color = COLORS[number_of_row % COLORS.len()];
    picture.rectangle(x(0.0), y, x(median) - x(0.0), BAR, color);
    picture.line((x(low), middle), (x(high), middle), INK, 1.5);
    for end in [low, high] {
        picture.line((x(end), middle - 5.0), (x(end), middle + 5.0), INK, 1.5);
    }
    let ratio = row.ratio.map_or(String::new(), |(ratio, _)| {
        format!("  ({:.2}x)", tokens::told(section.experiment, ratio).median)
    });
    let label = format!("{}{ratio}", number(Some(median)));
    picture.text((x(high.max(median)) + 8.0, middle + 4.5), 13.0, Anchor::Start, INK, &label);
}

fn floor_bar(picture: &mut Picture, floor: [Option<f64>; 2], y: f64, x: &dyn Fn(f64) -> f64) {
    let middle = y + BAR / 2.0;
    picture.text((LEFT - 10.0, middle + 4.5), 13.0, Anchor::End, INK, "floor");
    let mut from = 0.0;
    let mut words = Vec::new();
    for (part, (name, color)) in floor.iter().zip(["cryptography", "TCP"].into_iter().zip(FLOORS)) {
        let Some(part) = *part else { continue };
        picture.rectangle(x(from), y, x(from + part) - x(from), BAR, color);
        from += part;
        words.push(format!("{name} {}", number(Some(part))));
    }
    let label = words.join(" + ");
    picture.text((x(from) + 8.0, middle + 4.5), 12.0, Anchor::Start, SOFT, &label);
}

/// Whole where it is whole.
fn tick_text(value: f64) -> String {
    if value == value.trunc() {
        if value == 0.0 { "0".to_owned() } else { format!("{value:.0}") }
    } else {
        number(Some(value)).trim_end_matches('0').to_owned()
    }
}

fn cut(words: &str, length: usize) -> String {
    if words.chars().count() <= length {
        return words.to_owned();
    }
    words.chars().take(length - 3).collect::<String>() + "..."
}

const CHART_TOP: f64 = 60.0;
const CHART_BOTTOM: f64 = 380.0;
const CHART_LEFT: f64 = 90.0;
const CHART_RIGHT: f64 = 600.0;

/// The frame of a chart of curves: title, names of the places on the horizontal axis, the vertical axis.
fn frame(title: &str, vertical: &str, names: &[String], marks: &[(f64, String)]) -> Picture {
    let mut picture = Picture::new(WIDTH);
    picture.text((16.0, 28.0), 16.0, Anchor::Start, INK, title);
    picture.text((16.0, 48.0), 12.0, Anchor::Start, SOFT, vertical);
    for (y, text) in marks {
        picture.line((CHART_LEFT, *y), (CHART_RIGHT, *y), FAINT, 1.0);
        picture.text((CHART_LEFT - 8.0, y + 4.0), 11.0, Anchor::End, SOFT, text);
    }
    for (place, name) in names.iter().enumerate() {
        let at = (chart_x(place, names.len()), CHART_BOTTOM + 20.0);
        picture.text(at, 12.0, Anchor::Middle, SOFT, name);
    }
    picture
}

fn chart_x(place: usize, count: usize) -> f64 {
    let step = (CHART_RIGHT - CHART_LEFT - 60.0) / (count.max(2) - 1) as f64;
    CHART_LEFT + 30.0 + step * place as f64
}

/// The name of a curve, and a word about it below.
fn legend(picture: &mut Picture, number_of_row: usize, title: &str, words: &str) {
    let y = CHART_TOP + 12.0 + 44.0 * number_of_row as f64;
    let color = COLORS[number_of_row % COLORS.len()];
    picture.rectangle(CHART_RIGHT + 24.0, y - 6.0, 18.0, 12.0, color);
    picture.text((CHART_RIGHT + 50.0, y + 4.5), 13.0, Anchor::Start, INK, &cut(title, 36));
    picture.text((CHART_RIGHT + 50.0, y + 20.0), 11.0, Anchor::Start, SOFT, &cut(words, 44));
}

/// A curve for each system over the percentiles; the vertical axis is logarithmic.
fn latency(section: &Section) -> String {
    const PERCENTILES: [(&str, &str); 4] =
        [("p50", "p50_us"), ("p90", "p90_us"), ("p99", "p99_us"), ("p99.9", "p99_9_us")];
    let told = |name: &str| section.rows.iter().any(|row| row.detail(name).is_some());
    let percentiles: Vec<(&str, &str)> =
        PERCENTILES.into_iter().filter(|(_, name)| told(name)).collect();
    let curves: Vec<Vec<(usize, f64)>> = section
        .rows
        .iter()
        .map(|row| {
            let places = percentiles.iter().enumerate();
            places.filter_map(|(place, (_, name))| Some((place, row.detail(name)?))).collect()
        })
        .collect();
    let values = || curves.iter().flatten().map(|(_, us)| us.max(1.0).log10());
    let low = values().fold(f64::MAX, f64::min).floor();
    let high = values().fold(f64::MIN, f64::max).ceil().max(low + 1.0);
    let y = |log: f64| CHART_BOTTOM - (CHART_BOTTOM - CHART_TOP) * (log - low) / (high - low);
    let mut marks = Vec::new();
    for power in low as i32..=high as i32 {
        for digit in [1.0, 2.0, 5.0] {
            let value = digit * 10_f64.powi(power);
            if value.log10() <= high {
                marks.push((y(value.log10()), tick_text(value)));
            }
        }
    }
    let names: Vec<String> = percentiles.iter().map(|(name, _)| (*name).to_owned()).collect();
    let vertical = "µs from the intended start to the end of the handshake";
    let mut picture = frame(section.experiment.title(), vertical, &names, &marks);
    for (number_of_row, (row, curve)) in section.rows.iter().zip(&curves).enumerate() {
        let points: Vec<(f64, f64)> = curve
            .iter()
            .map(|(place, us)| (chart_x(*place, names.len()), y(us.max(1.0).log10())))
            .collect();
        picture.curve(&points, COLORS[number_of_row % COLORS.len()]);
        let rate = row.detail(RATE).map(|rate| format!("at {} handshakes/s", number(Some(rate))));
        let words = rate.or_else(|| row.words.clone()).unwrap_or_default();
        legend(&mut picture, number_of_row, &row.title, &words);
    }
    picture.finish(CHART_BOTTOM + 44.0)
}

/// A curve for each system over the numbers of workers.
fn scaling(sections: &[&Section]) -> String {
    let rate = |section: &Section, system: &str| {
        let row = section.rows.iter().find(|row| row.system == system)?;
        row.detail(RATE)
    };
    let systems: Vec<(&str, &str)> =
        sections[0].rows.iter().map(|row| (row.system.as_str(), row.title.as_str())).collect();
    let all =
        sections.iter().flat_map(|section| section.rows.iter().filter_map(|row| row.detail(RATE)));
    let ticks = ticks(all.fold(0.0, f64::max), 6.0);
    let end = ticks.last().copied().unwrap_or(1.0);
    let y = |value: f64| CHART_BOTTOM - (CHART_BOTTOM - CHART_TOP) * value / end;
    let text = |tick: f64| if tick == 0.0 { "0".to_owned() } else { number(Some(tick)) };
    let marks: Vec<(f64, String)> = ticks.iter().map(|tick| (y(*tick), text(*tick))).collect();
    let workers =
        |count: usize| format!("{count} {}", if count == 1 { "worker" } else { "workers" });
    let names: Vec<String> = sections.iter().map(|section| workers(section.workers)).collect();
    let mut picture = frame(Experiment::Scaling.title(), "handshakes per second", &names, &marks);
    for (number_of_row, (system, title)) in systems.iter().enumerate() {
        let points: Vec<(f64, f64)> = sections
            .iter()
            .enumerate()
            .filter_map(|(place, section)| {
                Some((chart_x(place, names.len()), y(rate(section, system)?)))
            })
            .collect();
        picture.curve(&points, COLORS[number_of_row % COLORS.len()]);
        let words = sections[0].rows[number_of_row].words.as_deref().unwrap_or_default();
        legend(&mut picture, number_of_row, title, words);
    }
    picture.finish(CHART_BOTTOM + 44.0)
}
