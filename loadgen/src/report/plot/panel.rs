//! Axes, lines and words of one panel, as SVG.

use std::fmt::Write;

const LEFT: f64 = 96.0;
const RIGHT: f64 = 44.0;
const INK: &str = "#222222";
const GRID: &str = "#dddddd";

/// A picture that is being drawn.
pub(super) struct Picture {
    svg: String,
    width: f64,
}

/// A scale.
pub(super) struct Axis {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    name: &'static str,
}

/// A rectangle with two axes.
pub(super) struct Panel {
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) heading: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Picture {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" \
             font-size=\"13\" fill=\"{INK}\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        Self { svg, width }
    }

    pub(super) fn title(&mut self, title: &str, below: &str) {
        self.text((LEFT, 30.0), "start", "font-size=\"18\" font-weight=\"bold\"", title);
        self.text((LEFT, 52.0), "start", "fill=\"#666666\"", below);
    }

    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, style: &str, words: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.element(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>"
        ));
    }

    fn segment(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        self.element(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.svg, "{element}");
    }
}

impl Axis {
    pub(super) fn linear(from: f64, to: f64) -> Self {
        Self { from, to, is_logarithmic: false, name: "" }
    }

    /// Reaches from a tick below to a tick above.
    pub(super) fn logarithmic(least: f64, most: f64) -> Self {
        let from = log_tick(least, f64::floor);
        let to = log_tick(most, f64::ceil).max(from * 10.0);
        Self { from, to, is_logarithmic: true, name: "" }
    }

    pub(super) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Round values on the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic { self.log_ticks() } else { self.linear_ticks() }
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        // Few decades leave room between them.
        let digits: &[f64] = if decades <= 3.1 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let exponents = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
        exponents
            .flat_map(|exponent| digits.iter().map(move |digit| digit * 10_f64.powi(exponent)))
            .filter(|tick| (self.from * 0.999..=self.to * 1.001).contains(tick))
            .collect()
    }

    fn linear_ticks(&self) -> Vec<f64> {
        const WANTED: f64 = 6.0;
        let rough = (self.to - self.from) / WANTED;
        let unit = 10_f64.powf(rough.log10().floor());
        let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * unit >= rough);
        let step = digit.unwrap_or(10.0) * unit;
        let count = ((self.to - self.from) / step + 1e-9).floor() as usize;
        (0..=count).map(|number| self.from + number as f64 * step).collect()
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }
}

/// The next 1, 2 or 5 times a power of ten below or above.
fn log_tick(value: f64, round: fn(f64) -> f64) -> f64 {
    10_f64.powf(round(value.log10() * 3.0 + 1e-9) / 3.0).max(1e-3)
}

impl Panel {
    /// The frame, the grid, ticks with their words, and what is on the axes.
    pub(super) fn frame(
        &self,
        picture: &mut Picture,
        x_ticks: impl Iterator<Item = (f64, String)>,
        y_ticks: impl Iterator<Item = (f64, String)>,
    ) {
        let right = picture.width - RIGHT;
        for (value, words) in x_ticks {
            let x = self.at(picture, value, 0.0).0;
            picture.segment((x, self.top), (x, self.bottom), GRID, 1.0);
            picture.text((x, self.bottom + 18.0), "middle", "", &words);
        }
        for (value, words) in y_ticks {
            let y = self.y_at(value);
            picture.segment((LEFT, y), (right, y), GRID, 1.0);
            picture.text((LEFT - 8.0, y + 4.5), "end", "", &words);
        }
        for (from, to) in
            [((LEFT, self.top), (LEFT, self.bottom)), ((LEFT, self.bottom), (right, self.bottom))]
        {
            picture.segment(from, to, INK, 1.2);
        }
        picture.text((LEFT, self.top - 10.0), "start", "font-weight=\"bold\"", self.heading);
        picture.text(((LEFT + right) / 2.0, self.bottom + 40.0), "middle", "", self.x.name);
        let (x, y) = (22.0, (self.top + self.bottom) / 2.0);
        let turned = format!("transform=\"rotate(-90 {x} {y})\"");
        picture.text((x, y), "middle", &turned, self.y.name);
    }

    pub(super) fn line(
        &self,
        picture: &mut Picture,
        colour: &str,
        points: impl Iterator<Item = (f64, f64)>,
    ) {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(picture, x, y);
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        picture.element(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
            path.trim_end()
        ));
    }

    /// Above the panel, from the right: nothing that is drawn lies there.
    pub(super) fn legend(&self, picture: &mut Picture, number: usize, colour: &str, name: &str) {
        const ROOM: f64 = 175.0;
        let x = picture.width - RIGHT - ROOM * (number as f64 + 1.0) + 10.0;
        let y = self.top - 14.0;
        picture.segment((x, y), (x + 22.0, y), colour, 3.0);
        picture.text((x + 28.0, y + 4.5), "start", "", name);
    }

    pub(super) fn shade(&self, picture: &mut Picture, from: f64, to: f64, name: &str) {
        let (left, right) = (self.at(picture, from, 0.0).0, self.at(picture, to, 0.0).0);
        let (width, height) = (right - left, self.bottom - self.top);
        picture.element(format_args!(
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#f2f2f2\"/>",
            self.top
        ));
        // Where there is room for it.
        if width > 40.0 {
            let middle = ((left + right) / 2.0, self.bottom - 8.0);
            picture.text(middle, "middle", "fill=\"#777777\"", name);
        }
    }

    pub(super) fn remark(&self, picture: &mut Picture, words: &str) {
        let middle = ((LEFT + picture.width - RIGHT) / 2.0, (self.top + self.bottom) / 2.0);
        picture.text(middle, "middle", "fill=\"#777777\"", words);
    }

    fn at(&self, picture: &Picture, x: f64, y: f64) -> (f64, f64) {
        let right = picture.width - RIGHT;
        (LEFT + self.x.share(x) * (right - LEFT), self.y_at(y))
    }

    fn y_at(&self, y: f64) -> f64 {
        self.bottom - self.y.share(y) * (self.bottom - self.top)
    }
}

/// A tick's time: microseconds with a unit, and no digits that are not there.
pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 999.0 => format!("{} us", number(us)),
        us if us < 999_000.0 => format!("{} ms", number(us / 1e3)),
        us => format!("{} s", number(us / 1e6)),
    }
}

/// As few digits as the value needs.
pub(super) fn number(value: f64) -> String {
    if (value - value.round()).abs() < 1e-6 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_on_the_axis() {
        assert_eq!(Axis::linear(0.0, 11.0).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let ticks = Axis::logarithmic(30.0, 4_000.0).ticks();
        assert!(
            ticks.len() > 3 && ticks.iter().all(|tick| (20.0..=5_100.0).contains(tick)),
            "{ticks:?}"
        );
        let wide = Axis::logarithmic(10.0, 10_000_000.0).ticks();
        assert!(wide.len() >= 6, "{wide:?}");
    }

    #[test]
    fn words_cannot_break_out() {
        let mut picture = Picture::new(10.0, 10.0);
        picture.title("<a & b>", "");
        assert!(picture.finish().contains("&lt;a &amp; b&gt;"));
    }
}
