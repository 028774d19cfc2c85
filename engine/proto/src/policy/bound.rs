//! Bounds on how long a certificate is, or still is, valid; and on the size of a key.

use std::fmt;
use std::str::FromStr;

use crate::identity::shown;

/// How a value stands to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

/// Every relation by its sign, a sign before those that it begins with.
const SIGNS: [(&str, Relation); 4] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("<", Relation::Below),
    (">", Relation::Above),
];

impl Relation {
    /// The relation that a text begins with, and what stands behind it.
    pub(super) fn read(text: &str) -> Option<(Relation, &str)> {
        SIGNS.iter().find_map(|(sign, relation)| Some((*relation, text.strip_prefix(sign)?)))
    }

    /// Whether `value` stands so to `bound`.
    pub fn holds(self, value: i64, bound: i64) -> bool {
        match self {
            Relation::AtMost => value <= bound,
            Relation::Below => value < bound,
            Relation::AtLeast => value >= bound,
            Relation::Above => value > bound,
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS.iter().find(|(_, relation)| relation == self);
        f.write_str(sign.map_or("", |(sign, _)| sign))
    }
}

/// A bound on a time: `<=24h`, `>90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanBound {
    pub(super) relation: Relation,
    span: Span,
}

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Span {
    count: u32,
    unit: char,
}

const SECONDS: [(char, i64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

impl SpanBound {
    /// Whether a time of so many seconds is within the bound.
    pub fn holds(self, seconds: i64) -> bool {
        self.relation.holds(seconds, self.seconds())
    }

    /// The bound itself, in seconds.
    pub fn seconds(self) -> i64 {
        let unit = SECONDS.iter().find(|(unit, _)| *unit == self.span.unit);
        i64::from(self.span.count) * unit.map_or(1, |(_, seconds)| *seconds)
    }
}

impl FromStr for SpanBound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<SpanBound, BoundError> {
        let (relation, span) = Relation::read(text).ok_or(BoundError::NoRelation)?;
        let refused = || BoundError::Span { text: shown(span) };
        let unit = span.chars().next_back().ok_or_else(refused)?;
        let digits = &span[..span.len() - unit.len_utf8()];
        let is_known = SECONDS.iter().any(|(known, _)| *known == unit);
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse().ok().filter(|_| is_known && is_number).ok_or_else(refused)?;
        Ok(SpanBound { relation, span: Span { count, unit } })
    }
}

impl fmt::Display for SpanBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.relation, self.span.count, self.span.unit)
    }
}

/// Why a text is not a bound on a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundError {
    /// None of the four signs.
    #[error("it is compared with `<=`, `<`, `>=` or `>`, as in lifetime<=24h")]
    NoRelation,
    /// What stands behind the sign is no time.
    #[error("`{text}` is no time: write a whole number and a unit, as 90s, 30m, 24h or 7d")]
    Span {
        /// The beginning of the text.
        text: String,
    },
}
