//! Points in time to the second, as the index and people read them; and how long a thing lives.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Certificates and CRLs begin so long ago: whoever reads them may have a clock that is behind ours.
const BACKDATE: Duration = Duration::minutes(5);

/// A hundred years, of 365 days: more is a slip of the finger.
const LIFETIME_MAX: Duration = Duration::days(36_500);

/// UTC, to the second, as certificates know it (RFC 5280 §4.1.2.5). In text RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(OffsetDateTime);

impl Moment {
    pub(crate) fn now() -> Self {
        Self::whole(OffsetDateTime::now_utc())
    }

    /// From seconds since 1970; none beyond what a calendar has.
    pub(super) fn from_timestamp(seconds: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    pub(super) fn timestamp(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// When something made at this moment begins to be valid.
    pub(super) fn backdated(self) -> Self {
        Self(self.0 - BACKDATE)
    }

    pub(super) fn plus(self, lifetime: Lifetime) -> Self {
        Self(self.0 + lifetime.0)
    }

    /// What lies between, if this is the later one.
    pub(super) fn since(self, earlier: Self) -> Option<Lifetime> {
        let between = self.0 - earlier.0;
        between.is_positive().then_some(Lifetime(between))
    }

    pub(super) fn date_time(self) -> OffsetDateTime {
        self.0
    }

    fn whole(time: OffsetDateTime) -> Self {
        Self(time.replace_nanosecond(0).unwrap_or(time))
    }

    fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self::whole(time.to_offset(time::UtcOffset::UTC)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("'{text}' is no time like 2026-01-31T12:00:00Z"))
        })
    }
}

/// From a second to a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(Duration);

impl Lifetime {
    pub(crate) const fn days(days: i64) -> Self {
        Self(Duration::days(days))
    }

    /// Parses `90s`, `30m`, `24h`, `7d` or `10y`; a year has 365 days.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is not a lifetime; write it like 90s, 30m, 24h, 7d or 10y");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, unit) = text.split_at(split);
        let count: i64 = digits.parse().map_err(|_| wrong())?;
        let seconds: i64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "y" => 365 * 86_400,
            _ => return Err(wrong()),
        };
        let lifetime = count.checked_mul(seconds).map(Duration::seconds).ok_or_else(wrong)?;
        match lifetime {
            zero if zero.is_zero() => Err("a lifetime of nothing; give at least 1s".into()),
            long if long > LIFETIME_MAX => Err(format!("'{text}' is more than 100 years")),
            lifetime => Ok(Self(lifetime)),
        }
    }
}

/// The two largest units: `23h 59m`.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.whole_seconds();
        let parts = [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
        ];
        let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
        write!(f, "{}{}", parts[first].0, parts[first].1)?;
        match parts.get(first + 1) {
            Some((count, unit)) if *count > 0 => write!(f, " {count}{unit}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_a_unit_and_bounds() {
        assert_eq!(Lifetime::parse("24h"), Ok(Lifetime::days(1)));
        assert_eq!(Lifetime::parse("10y"), Ok(Lifetime::days(3_650)));
        for wrong in ["", "1", "d", "1w", "-1d", "1.5h", "0s", "101y", "9223372036854775807y"] {
            assert!(Lifetime::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lifetimes_are_shown_in_two_units() {
        for (text, shown) in [("24h", "1d"), ("90m", "1h 30m"), ("59s", "59s"), ("3601s", "1h")] {
            assert_eq!(Lifetime::parse(text).map(|time| time.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn moments_are_read_back_as_they_were_written() {
        let moment = Moment::from_timestamp(1_790_000_000).expect("a moment");
        assert_eq!(moment.to_string(), "2026-09-21T14:13:20Z");
        assert_eq!(Moment::parse("2026-09-21T14:13:20Z"), Some(moment));
        assert_eq!(Moment::parse("2026-09-21T16:13:20+02:00"), Some(moment));
        assert_eq!(Moment::parse("yesterday"), None);
        assert!(moment.backdated() < moment);
        assert_eq!(moment.since(moment), None);
    }
}
