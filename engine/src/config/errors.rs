//! What is wrong with a configuration: collected, not thrown, so that all of it is said at once.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use countersign_proto::identity::Printable;

use super::source::Source;

/// More errors than these are counted, not described.
const ERRORS_MAX: usize = 200;

/// The longest text that a message repeats, in characters.
const QUOTED_CHARACTERS: usize = 80;

/// One thing that is wrong. Its `Display` is one line:
/// `FILE:LINE:COLUMN: key.path: what is wrong; what would be right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where in which file; `None` on the command line.
    pub location: Option<Location>,
    /// The key or the option; empty where it is about the file as a whole.
    pub what: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The line, and the place marked below it; safe to show.
    pub excerpt: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Location { file, line, column, .. }) = &self.location {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        f.write_str(&self.problem)
    }
}

impl ConfigError {
    fn excerpt(&self) -> &[String] {
        self.location.as_ref().map_or(&[], |location| &location.excerpt)
    }
}

/// Everything that is wrong, in the order of the file. Its `Display` has several lines: each error,
/// with an excerpt of the file below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
            for line in error.excerpt() {
                write!(f, "\n{line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What a value is the value of, and where that stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    /// The key's path, or the option with its value; empty for the file as a whole.
    pub(super) what: String,
    /// The bytes of the file; `None` on the command line.
    pub(super) span: Option<Range<usize>>,
}

impl Spot {
    /// The place of the same name that an absent key of this table would have.
    pub(super) fn absent(&self, name: &str) -> Self {
        let what = match self.span {
            Some(_) if self.what.is_empty() => name.to_owned(),
            Some(_) => format!("{}.{name}", self.what),
            None => option(name),
        };
        Self { what, span: self.span.clone() }
    }
}

/// A value, and where it was said.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

/// Collects what is wrong.
pub(super) struct Problems<'a> {
    source: Option<&'a Source>,
    /// What is wrong, with the byte at which it stands.
    errors: Vec<(usize, ConfigError)>,
    warnings: Vec<(usize, ConfigError)>,
    /// Errors that were not kept.
    more: usize,
    /// Lines whose meaning is lost to a syntax error: what seems wrong there is only a consequence. In their order,
    /// and apart: a text may have an error on each of its lines, and each is looked for here.
    lost: Vec<Range<usize>>,
}

impl<'a> Problems<'a> {
    /// Of a file, or of the command line if there is none.
    pub(super) fn new(source: Option<&'a Source>) -> Self {
        Self { source, errors: Vec::new(), warnings: Vec::new(), more: 0, lost: Vec::new() }
    }

    pub(super) fn error(&mut self, spot: &Spot, problem: impl fmt::Display) {
        if self.is_lost(spot) {
            return;
        }
        if self.errors.len() >= ERRORS_MAX {
            self.more += 1;
            return;
        }
        let error = self.describe(spot, problem);
        self.errors.push(error);
    }

    /// A required key that is not there. After a syntax error nobody knows what was there.
    pub(super) fn missing(&mut self, spot: &Spot, problem: impl fmt::Display) {
        if self.lost.is_empty() {
            self.error(spot, format_args!("missing; {problem}"));
        }
    }

    /// A syntax error, told in the order of the file. `lost` are the lines whose meaning it takes away.
    pub(super) fn syntax(&mut self, spot: &Spot, problem: impl fmt::Display, lost: Range<usize>) {
        self.error(spot, problem);
        match self.lost.last_mut() {
            Some(last) if last.contains(&lost.start) || last.end == lost.start => {
                last.end = last.end.max(lost.end);
            }
            _ => self.lost.push(lost),
        }
    }

    pub(super) fn warning(&mut self, spot: &Spot, problem: impl fmt::Display) {
        if !self.is_lost(spot) && self.warnings.len() < ERRORS_MAX {
            let warning = self.describe(spot, problem);
            self.warnings.push(warning);
        }
    }

    pub(super) fn keep<T, E: fmt::Display>(
        &mut self,
        spot: &Spot,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|problem| self.error(spot, problem)).ok()
    }

    /// A place, for what is found to be wrong there later.
    pub(super) fn place(&self, spot: &Spot) -> ConfigError {
        self.describe(spot, "").1
    }

    /// Is nothing wrong so far?
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// A setting as it would be written to mend what is wrong: in a file, or on the command line.
    pub(super) fn setting(&self, name: &str, value: &str) -> String {
        match self.source {
            Some(_) => format!("{name} = {value}"),
            None if value == "true" => option(name),
            None => format!("{} {}", option(name), value.trim_matches('"')),
        }
    }

    /// ` (line 12)`; nothing on the command line.
    pub(super) fn line(&self, spot: &Spot) -> String {
        match (self.source, &spot.span) {
            (Some(source), Some(span)) => format!(" (line {})", source.line(span.start)),
            _ => String::new(),
        }
    }

    /// The errors, in the order of the file; `Ok` with the warnings if there are none.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigErrors> {
        if self.errors.is_empty() {
            self.warnings.sort_by_key(|(offset, _)| *offset);
            return Ok(self.warnings.into_iter().map(|(_, warning)| warning.to_string()).collect());
        }
        self.errors.sort_by_key(|(offset, _)| *offset);
        let mut errors: Vec<_> = self.errors.into_iter().map(|(_, error)| error).collect();
        if self.more > 0 {
            let what = self.source.map_or_else(String::new, |source| source.path.clone());
            let problem = format!("{} more errors are not shown", self.more);
            errors.push(ConfigError { location: None, what, problem });
        }
        Err(ConfigErrors(errors))
    }

    fn is_lost(&self, spot: &Spot) -> bool {
        let (Some(source), Some(span)) = (self.source, &spot.span) else { return false };
        let line = source.line(span.start);
        let place = self.lost.partition_point(|lines| lines.end <= line);
        self.lost.get(place).is_some_and(|lines| lines.contains(&line))
    }

    fn describe(&self, spot: &Spot, problem: impl fmt::Display) -> (usize, ConfigError) {
        let location = self.source.zip(spot.span.as_ref()).map(|(source, span)| {
            let (line, column, excerpt) = source.locate(span);
            // What is about the file as a whole stands nowhere in it.
            let excerpt = if *span == (0..0) { Vec::new() } else { excerpt };
            Location { file: source.path.clone(), line, column, excerpt }
        });
        let offset = spot.span.as_ref().map_or(0, |span| span.start);
        (offset, ConfigError { location, what: spot.what.clone(), problem: problem.to_string() })
    }
}

fn option(name: &str) -> String {
    // The one whose option has another name.
    match name {
        "client_hello_bytes" => "--max-client-hello".to_owned(),
        _ => format!("--{}", name.replace('_', "-")),
    }
}

/// A text without the PIN that somebody has written into a URI, where none may stand: one star for each of its
/// characters. What follows it on the line goes too: nobody knows where a PIN ends.
pub(super) fn without_pin(text: &str) -> Cow<'_, str> {
    const ATTRIBUTE: &str = "pin-value";
    let lower = text.to_ascii_lowercase();
    let Some(start) = lower.find(ATTRIBUTE) else { return Cow::Borrowed(text) };
    let (shown, hidden) = text.split_at(start + ATTRIBUTE.len());
    Cow::Owned(shown.chars().chain(hidden.chars().map(|_| '*')).collect())
}

/// A text that somebody wrote, for a message: safe to show, and not for ever.
pub(super) fn quoted(text: &str) -> String {
    let text = without_pin(text);
    let beginning: String = text.chars().take(QUOTED_CHARACTERS).collect();
    let more = if beginning.len() < text.len() { "..." } else { "" };
    format!("`{}{more}`", Printable(&beginning))
}
