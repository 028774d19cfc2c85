//! The loads that both generators are asked for, in the words of each.

use std::ops::Range;
use std::time::Duration;

use crate::load::Call;
use crate::problem::{Problem, Result};

/// How long h2load may take until its last connection has begun.
pub(crate) const OPENING: Duration = Duration::from_millis(1300);
/// What is left out at both ends of the time in which all of h2load's connections are at work.
const MARGIN: Duration = Duration::from_millis(50);

/// One load.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// As it is asked for.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) connections: u32,
    /// Requests a second on all connections together; `None` in a closed loop.
    pub(crate) rate: Option<u32>,
}

/// Those that there are.
pub(crate) static CASES: [Case; 3] = [
    Case { name: "closed", title: "closed loop, 1 connection", connections: 1, rate: None },
    Case {
        name: "rate_2000",
        title: "2,000/s on 50 connections",
        connections: 50,
        rate: Some(2000),
    },
    Case {
        name: "rate_10000",
        title: "10,000/s on 100 connections",
        connections: 100,
        rate: Some(10_000),
    },
];

impl Case {
    pub(crate) fn parse(name: &str) -> Result<&'static Case> {
        CASES.iter().find(|case| case.name == name).ok_or_else(|| {
            let all: Vec<_> = CASES.iter().map(|case| case.name).collect();
            Problem::new(format!("'{name}' is no case: there are {}", all.join(", ")))
        })
    }

    /// What the load generator is called with.
    pub(crate) fn loadgen_call(&self, ramp: Duration, slice: Duration) -> Call {
        let call = Call::new("request", ramp, slice)
            .flag("--plaintext")
            .with("--connections", self.connections);
        match self.rate {
            Some(rate) => call.with("--rate", rate),
            None => call,
        }
    }

    /// What h2load is called with, but for its log and its address.
    ///
    /// Its connections are paced each by itself. So that their requests do not all come at one time, they begin one
    /// after the other, each a millisecond further in its period than the one before.
    pub(crate) fn h2load_arguments(&self, slice: Duration) -> Vec<String> {
        let time_ms = (OPENING + slice).as_millis();
        let connections = self.connections.to_string();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut arguments: Vec<String> = words(&["--h1", "-t", "1", "-c", &connections]);
        let Some(rate) = self.rate else {
            arguments.extend(["-D".to_owned(), format!("{time_ms}ms")]);
            return arguments;
        };
        let each = (rate / self.connections).to_string();
        let requests = (u128::from(rate) * time_ms / 1000).to_string();
        let period = format!("--rate-period={}ms", self.begins_every_ms(rate));
        let paced: Vec<String> = words(&["--rps", &each, "-n", &requests, "-r", "1", &period]);
        arguments.extend(paced);
        arguments
    }

    fn begins_every_ms(&self, rate: u32) -> u32 {
        1000 * self.connections / rate + 1
    }

    /// From h2load's first request on: when those begin that count.
    pub(crate) fn h2load_window(slice: Duration) -> Range<Duration> {
        OPENING + MARGIN..OPENING + slice.saturating_sub(MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_is_called_as_is_known_to_work() {
        let slice = Duration::from_secs(2);
        let of = |name| Case::parse(name).expect(name).h2load_arguments(slice).join(" ");
        assert_eq!(of("closed"), "--h1 -t 1 -c 1 -D 3300ms");
        let slow = "--h1 -t 1 -c 50 --rps 40 -n 6600 -r 1 --rate-period=26ms";
        assert_eq!(of("rate_2000"), slow);
        let fast = "--h1 -t 1 -c 100 --rps 100 -n 33000 -r 1 --rate-period=11ms";
        assert_eq!(of("rate_10000"), fast);
        let window = Duration::from_millis(1350)..Duration::from_millis(3250);
        assert_eq!(Case::h2load_window(slice), window);
    }

    #[test]
    fn all_connections_of_h2load_are_at_work_when_it_begins_to_count() {
        for case in &CASES {
            let Some(rate) = case.rate else { continue };
            assert_eq!(rate % case.connections, 0, "{}: each has a whole rate", case.name);
            let last_ms = case.connections * case.begins_every_ms(rate);
            assert!(u128::from(last_ms) <= OPENING.as_millis(), "{}", case.name);
        }
    }

    #[test]
    fn what_is_no_case_is_told_which_there_are() {
        let problem = Case::parse("rate_1").expect_err("no case").to_string();
        assert_eq!(problem, "'rate_1' is no case: there are closed, rate_2000, rate_10000");
    }
}
