//! What went wrong, in words for whoever runs it.

use std::fmt::{self, Display};

/// Words that name what is wrong, where, and what to do.
#[derive(Clone, Debug)]
pub(crate) struct Problem(String);

pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub(crate) fn new(words: impl Into<String>) -> Problem {
        Problem(words.into())
    }
}

impl Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Says what was being done when an error came.
pub(crate) trait During<T> {
    fn during(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Problem(format!("{what}: {error}")))
    }
}
