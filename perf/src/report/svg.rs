//! Drawing: shapes and text of SVG 1.1, nothing else.

use std::fmt::Write as _;

/// A picture that grows by shapes; coordinates in px from the upper left.
pub(crate) struct Picture {
    width: f64,
    body: String,
}

/// Where text is held.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

pub(crate) const INK: &str = "#1f2933";
pub(crate) const FAINT: &str = "#d5dbe1";
pub(crate) const SOFT: &str = "#66727f";
/// The reference first. Distinguishable also without red or green (Okabe and Ito 2008).
pub(crate) const COLORS: [&str; 7] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a8a"];

impl Picture {
    pub(crate) fn new(width: f64) -> Picture {
        Picture { width, body: String::new() }
    }

    pub(crate) fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, fill: &str) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{fill}"/>"#,
            width.max(0.0)
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str, width: f64) {
        self.add(format_args!(
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{color}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    pub(crate) fn curve(&mut self, points: &[(f64, f64)], color: &str) {
        let text: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(
            r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#,
            text.join(" ")
        ));
        for (x, y) in points {
            self.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{color}"/>"#));
        }
    }

    pub(crate) fn text(
        &mut self,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        color: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(format_args!(
            r#"<text x="{:.1}" y="{:.1}" font-size="{size}" text-anchor="{anchor}" fill="{color}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// The document, so high.
    pub(crate) fn finish(self, height: f64) -> String {
        let width = self.width;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round places on an axis from 0 to at least `most`, about `count` of them; the last is its end.
pub(crate) fn ticks(most: f64, count: f64) -> Vec<f64> {
    let raw = most.max(f64::MIN_POSITIVE) / count;
    let power = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= raw).unwrap_or(10.0 * power);
    let last = (most / step).ceil() as u32;
    (0..=last.max(1)).map(|number| f64::from(number) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(ticks(7.3, 5.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(3000.0, 6.0), [0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0]);
        assert!(ticks(0.0, 5.0).len() >= 2);
    }

    #[test]
    fn text_cannot_break_the_document() {
        let mut picture = Picture::new(100.0);
        picture.text((1.0, 2.0), 12.0, Anchor::Start, INK, "a < b & c");
        assert!(picture.finish(10.0).contains("a &lt; b &amp; c"));
    }
}
