//! A sweep as a picture: throughput and latency over sessions, in SVG 1.1.

use std::fmt::Write as _;

use super::sweep::Step;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 640.0;
/// Where both panels begin and end.
const LEFT: f64 = 86.0;
const RIGHT: f64 = WIDTH - 24.0;
const PANEL: f64 = 210.0;
const UPPER: f64 = 86.0;
const LOWER: f64 = 366.0;

const INK: &str = "#1f2933";
const SOFT: &str = "#66727f";
const FAINT: &str = "#d5dbe1";
// Distinguishable also without red or green (Okabe and Ito 2008).
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#d55e00";
const GREEN: &str = "#009e73";

/// Throughput above, latency below, the knee marked in both.
pub(super) fn draw(title: &str, steps: &[Step], knee: &Step) -> String {
    let mut picture = Picture::default();
    picture.text((LEFT, 28.0), 16.0, "start", INK, title);
    let chosen = format!(
        "max_sessions = {}: {:.0} signatures/s, p99 {:.2} ms",
        knee.sessions,
        knee.per_second,
        milliseconds(knee.p99)
    );
    picture.text((LEFT, 50.0), 13.0, "start", SOFT, &chosen);
    let sessions = Sessions::of(steps);
    let rates: Vec<f64> = steps.iter().map(|step| step.per_second).collect();
    let of_rank = |rank: fn(&Step) -> std::time::Duration| -> Vec<f64> {
        steps.iter().map(|step| milliseconds(rank(step))).collect()
    };
    let (p50, p99) = (of_rank(|step| step.p50), of_rank(|step| step.p99));
    for (top, name, curves) in [
        (UPPER, "signatures/s", vec![("", BLUE, &rates)]),
        (LOWER, "ms for one signature", vec![("p50", BLUE, &p50), ("p99", ORANGE, &p99)]),
    ] {
        panel(&mut picture, top, name, &sessions, &curves, knee.sessions);
    }
    picture.text(((LEFT + RIGHT) / 2.0, HEIGHT - 14.0), 13.0, "middle", INK, "sessions");
    picture.finish()
}

fn panel(
    picture: &mut Picture,
    top: f64,
    name: &str,
    sessions: &Sessions,
    curves: &[(&str, &str, &Vec<f64>)],
    knee: usize,
) {
    let bottom = top + PANEL;
    let most = curves.iter().flat_map(|(_, _, values)| values.iter()).copied().fold(0.0, f64::max);
    let ticks = ticks(most);
    let end = ticks.last().copied().unwrap_or(1.0);
    let height = |value: f64| bottom - value / end * PANEL;
    picture.text((LEFT - 62.0, top - 10.0), 13.0, "start", INK, name);
    for tick in &ticks {
        picture.line((LEFT, height(*tick)), (RIGHT, height(*tick)), FAINT, "1");
        let at = (LEFT - 8.0, height(*tick) + 4.0);
        picture.text(at, 12.0, "end", SOFT, &number(*tick));
    }
    for count in &sessions.counts {
        let at = (sessions.place(*count), bottom + 18.0);
        picture.text(at, 12.0, "middle", SOFT, &count.to_string());
    }
    let x = sessions.place(knee);
    picture.line((x, top), (x, bottom), GREEN, "2\" stroke-dasharray=\"5 4");
    // On the side where there is room.
    let (beside, anchor) = if x > (LEFT + RIGHT) / 2.0 { (-7.0, "end") } else { (7.0, "start") };
    picture.text((x + beside, top + 12.0), 12.0, anchor, GREEN, &format!("knee: {knee}"));
    for (number, (label, color, values)) in curves.iter().enumerate() {
        let points = sessions.counts.iter().zip(values.iter());
        let points: Vec<_> =
            points.map(|(count, value)| (sessions.place(*count), height(*value))).collect();
        picture.curve(&points, color);
        if !label.is_empty() {
            let at = (RIGHT - 96.0 + 48.0 * number as f64, top - 10.0);
            picture.rectangle((at.0, at.1 - 9.0), color);
            picture.text((at.0 + 15.0, at.1), 12.0, "start", INK, label);
        }
    }
}

/// The axis of sessions: as far from 1 to 2 as from 32 to 64.
struct Sessions {
    counts: Vec<usize>,
}

impl Sessions {
    fn of(steps: &[Step]) -> Self {
        Self { counts: steps.iter().map(|step| step.sessions).collect() }
    }

    fn place(&self, count: usize) -> f64 {
        let (Some(first), Some(last)) = (self.counts.first(), self.counts.last()) else {
            return LEFT;
        };
        let log = |count: usize| (count.max(1) as f64).log2();
        let room = log(*last) - log(*first);
        let margin = 24.0;
        if room <= 0.0 {
            return (LEFT + RIGHT) / 2.0;
        }
        LEFT + margin + (log(count) - log(*first)) / room * (RIGHT - LEFT - 2.0 * margin)
    }
}

fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Round places on an axis from 0 to at least `most`, the last of which is its end.
fn ticks(most: f64) -> Vec<f64> {
    let raw = most.max(1e-6) / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= raw).unwrap_or(10.0 * power);
    let last = ((most / step).ceil() as u32).max(1);
    (0..=last).map(|number| f64::from(number) * step).collect()
}

/// With as many digits as a tick needs.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) =
        text.split_once('.').map_or((text, ""), |(whole, _)| (whole, &text[whole.len()..]));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Grows by shapes; coordinates in px from the upper left.
#[derive(Default)]
struct Picture {
    body: String,
}

impl Picture {
    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str, width: &str) {
        self.add(format_args!(
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{color}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    fn curve(&mut self, points: &[(f64, f64)], color: &str) {
        let text: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(
            r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#,
            text.join(" ")
        ));
        for (x, y) in points {
            self.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{color}"/>"#));
        }
    }

    fn rectangle(&mut self, at: (f64, f64), color: &str) {
        self.add(format_args!(
            r#"<rect x="{:.1}" y="{:.1}" width="10" height="10" fill="{color}"/>"#,
            at.0, at.1
        ));
    }

    fn text(&mut self, at: (f64, f64), size: f64, anchor: &str, color: &str, text: &str) {
        self.add(format_args!(
            r#"<text x="{:.1}" y="{:.1}" font-size="{size}" text-anchor="{anchor}" fill="{color}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("writing to memory does not fail");
    }

    fn finish(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{HEIGHT:.0}\" \
             viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// A token's label is foreign text.
fn escape(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn step(sessions: usize, per_second: f64) -> Step {
        let time = Duration::from_micros(500 * sessions as u64);
        Step { sessions, signatures: 1, per_second, p50: time, p99: time * 2, longest: time * 3 }
    }

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert!(ticks(0.0).last().is_some_and(|end| *end > 0.0), "an axis has a length");
        assert_eq!([0.25, 2_500.0, 1_250_000.0].map(number), ["0.25", "2,500", "1,250,000"]);
    }

    #[test]
    fn a_picture_shows_every_step_and_the_knee() {
        let steps = [step(1, 1_000.0), step(2, 1_900.0), step(4, 1_950.0)];
        let drawn = draw("EC P-256, token '<edge>'", &steps, &steps[1]);
        assert!(drawn.contains("&lt;edge&gt;") && drawn.contains("max_sessions = 2"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 3 * steps.len());
        assert_eq!(drawn.matches("knee: 2").count(), 2);
        assert!(draw("one", &steps[..1], &steps[0]).contains("knee: 1"));
    }
}
