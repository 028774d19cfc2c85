//! Rounds: every contestant has one slice in each, in an order that chance decides, with a calibration of
//! the server's core between any two.

use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::cell::{Cell, Key, Measured, RATE, Sample};
use crate::floor::cryptography::Operations;
use crate::interrupt;
use crate::problem::Result;
use crate::process;
use crate::random::Random;

/// How long the loop of P-256 verifications runs between two slices.
const CALIBRATION: Duration = Duration::from_millis(20);
/// After so many dropped slices with none good between, a contestant is asked no more.
const DROPPED_IN_A_ROW_MAX: usize = 9;

/// How often a dropped slice is tried again in its round.
const CHANCES_MORE: usize = 2;

/// Who takes part: a load on a system, or a floor.
pub(crate) trait Contestant {
    fn key(&self) -> &Key;

    /// Measures once. An error ends the whole run; what concerns this contestant alone is a
    /// [`Measured`].
    fn slice(&mut self) -> Result<Measured>;
}

/// What a run's rounds share.
pub(crate) struct Rounds {
    pub(crate) random: Random,
    pub(crate) operations: Rc<Operations>,
    /// CPUs of the server; the calibration runs on the first.
    pub(crate) cpus: Vec<usize>,
    /// In µs for one verification, between any two slices of the run.
    pub(crate) calibrations: Vec<f64>,
    pub(crate) progress: Progress,
}

impl Rounds {
    /// One slice of warm-up for each if wanted, then so many rounds; the cells in the order of
    /// `contestants`.
    pub(crate) fn run(
        &mut self,
        contestants: &mut [Box<dyn Contestant + '_>],
        count: usize,
        warm_up: bool,
    ) -> Result<Vec<Cell>> {
        let mut cells: Vec<Cell> =
            contestants.iter().map(|contestant| Cell::new(contestant.key().clone())).collect();
        for (contestant, cell) in contestants.iter_mut().zip(&mut cells).filter(|_| warm_up) {
            let measured = self.slice(&mut **contestant, "warm-up")?;
            if let Measured::Never(words) = measured {
                cell.words = Some(words);
            }
        }
        for round in 1..=count {
            let mut order: Vec<usize> = (0..contestants.len()).collect();
            self.random.shuffle(&mut order);
            let place = format!("round {round} of {count}");
            let mut again = Vec::new();
            for index in order {
                if !self.one(&mut *contestants[index], &mut cells[index], &place)? {
                    again.push(index);
                }
            }
            // What was dropped gets another chance in its round.
            for index in again {
                let mut good = false;
                for _ in 0..CHANCES_MORE {
                    self.progress.expected += 1;
                    good = self.one(&mut *contestants[index], &mut cells[index], &place)?;
                    if good {
                        break;
                    }
                }
                if !good {
                    cells[index].rounds.push(None);
                }
            }
        }
        Ok(cells)
    }

    /// Whether there is no need to try again in this round.
    fn one(
        &mut self,
        contestant: &mut dyn Contestant,
        cell: &mut Cell,
        place: &str,
    ) -> Result<bool> {
        if cell.words.is_some() {
            self.progress.expected = self.progress.expected.saturating_sub(1);
            cell.rounds.push(None);
            return Ok(true);
        }
        match self.slice(contestant, place)? {
            Measured::Sample(sample) => {
                cell.rounds.push(Some(sample));
                return Ok(true);
            }
            Measured::Dropped(words) => cell.dropped.push(words),
            Measured::Never(words) => {
                cell.words = Some(words);
                cell.rounds.push(None);
                return Ok(true);
            }
        }
        let no_good_one = cell.rounds.iter().all(Option::is_none);
        if no_good_one && cell.dropped.len() >= DROPPED_IN_A_ROW_MAX {
            cell.words = cell.reason();
        }
        Ok(false)
    }

    fn slice(&mut self, contestant: &mut dyn Contestant, place: &str) -> Result<Measured> {
        interrupt::look()?;
        if self.calibrations.is_empty() {
            self.calibrate()?;
        }
        let measured = contestant.slice()?;
        self.calibrate()?;
        self.progress.tell(contestant.key(), place, &measured);
        Ok(measured)
    }

    fn calibrate(&mut self) -> Result<()> {
        let operations = &*self.operations;
        let cpu = &self.cpus[..1];
        self.calibrations.push(process::pinned(cpu, || operations.calibrate(CALIBRATION))??);
        Ok(())
    }
}

/// Which slice of how many, and how long it will take.
pub(crate) struct Progress {
    begun: Instant,
    done: usize,
    /// Slices that will be run, as far as is known.
    pub(crate) expected: usize,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { begun: Instant::now(), done: 0, expected: 0 }
    }

    fn tell(&mut self, key: &Key, place: &str, measured: &Measured) {
        self.done += 1;
        self.expected = self.expected.max(self.done);
        let each = self.begun.elapsed().as_secs_f64() / self.done as f64;
        let left = (each * (self.expected - self.done) as f64).ceil() as u64;
        let result = match measured {
            Measured::Sample(sample) => summary(key, sample),
            Measured::Dropped(words) => format!("dropped: {words}"),
            Measured::Never(words) => words.clone(),
        };
        let line = format!(
            "[{}/{}, {} min {:02} s left] {place}: {} {} {}: {result}",
            self.done,
            self.expected,
            left / 60,
            left % 60,
            key.experiment,
            key.variant.name(),
            key.system,
        );
        say(&line, matches!(measured, Measured::Sample(_)));
    }
}

fn summary(key: &Key, sample: &Sample) -> String {
    let rate = sample.details.get(RATE).map_or(String::new(), |rate| match key.experiment {
        bulk if bulk.is_bulk() => format!(", {rate:.2} GB/s"),
        _ => format!(", {rate:.0}/s"),
    });
    format!("{:.1} {}{rate}", sample.cost, key.experiment.cost_unit())
}

/// A line for whoever waits. On a terminal one that is `passing` is overwritten by the next.
pub(crate) fn say(line: &str, passing: bool) {
    let mut output = std::io::stderr().lock();
    // Nobody reads it: the run goes on.
    let _ = if output.is_terminal() {
        let cut: String = line.chars().take(if passing { 118 } else { usize::MAX }).collect();
        write!(output, "\r\x1b[2K{cut}{}", if passing { "" } else { "\n" })
    } else {
        writeln!(output, "{line}")
    };
    let _ = output.flush();
}
