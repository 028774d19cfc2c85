//! What is going on, on standard error: a bar for a terminal, else a line every few seconds.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::board::Schedule;
use crate::plan::{Plan, Work};
use crate::run::Sums;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often the bar is drawn anew.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// See the module.
pub(crate) struct Progress {
    shown: Shown,
    last: Instant,
    before: Sums,
}

enum Shown {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let shown = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, false) => Shown::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("[{bar:30}] {msg}");
                bar.set_style(style.expect("the template is right").progress_chars("=> "));
                Shown::Bar(bar)
            }
        };
        Self { shown, last: Instant::now(), before: Sums::default() }
    }

    /// What comes before the first connection may take a while.
    pub(crate) fn preparing(&mut self, plan: &Plan) {
        if let Some(clients) = plan.arguments.clients.filter(|clients| *clients >= 1_000) {
            self.note(&format!("issuing {clients} client certificates"));
        }
    }

    /// Shows how far the run is, if it is time to.
    pub(crate) fn show(&mut self, plan: &Plan, schedule: &Schedule, sums: &Sums) {
        let every = match self.shown {
            Shown::Nothing => return,
            Shown::Lines => LINE_EVERY,
            Shown::Bar(_) => BAR_EVERY,
        };
        let passed = self.last.elapsed();
        if passed < every {
            return;
        }
        let words = words(plan, schedule, sums, &self.before, passed);
        (self.last, self.before) = (Instant::now(), *sums);
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines => say(&words),
            Shown::Bar(bar) => {
                bar.set_position(permille(plan, schedule, sums));
                bar.set_message(words);
            }
        }
    }

    /// A line that stays.
    pub(crate) fn note(&mut self, words: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines => say(words),
            Shown::Bar(bar) => bar.suspend(|| say(words)),
        }
    }

    /// A line that is said whatever `--no-progress` says: others wait for it.
    pub(crate) fn say(&mut self, words: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| say(words)),
            Shown::Nothing | Shown::Lines => say(words),
        }
    }

    /// The run is over.
    pub(crate) fn end(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Nobody is there to be told that standard error is gone.
fn say(words: &str) {
    drop(writeln!(io::stderr().lock(), "{words}"));
}

fn words(plan: &Plan, schedule: &Schedule, sums: &Sums, before: &Sums, passed: Duration) -> String {
    let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / passed.as_secs_f64();
    let phase = if Instant::now() < schedule.steady { "ramp" } else { "steady" };
    let did = match &plan.work {
        _ if plan.arguments.hold => format!("{} connections open", sums.held),
        Work::Handshake { .. } => {
            format!("{:.0} handshakes/s", per_second(sums.handshakes, before.handshakes))
        }
        Work::Request { .. } => {
            format!("{:.0} requests/s", per_second(sums.requests, before.requests))
        }
        Work::Tcp(_) => {
            format!("{:.0} conversations/s", per_second(sums.requests, before.requests))
        }
        Work::Flood(_) => format!("{:.0} floods/s", per_second(sums.others, before.others)),
        Work::Upload | Work::Download => {
            format!("{:.0} MB/s", per_second(sums.bytes, before.bytes) / 1e6)
        }
    };
    let seconds = schedule.start.elapsed().as_secs();
    format!("{seconds} s ({phase}): {did}, {} errors", sums.errors)
}

fn permille(plan: &Plan, schedule: &Schedule, sums: &Sums) -> u64 {
    let (done, all) = match plan.arguments.count {
        _ if plan.arguments.hold => (sums.held as f64, plan.arguments.connections as f64),
        Some(count) => ((sums.handshakes.max(sums.requests) + sums.errors) as f64, count as f64),
        None => {
            let all = schedule.end.saturating_duration_since(schedule.start);
            (schedule.start.elapsed().as_secs_f64(), all.as_secs_f64())
        }
    };
    (done / all.max(f64::MIN_POSITIVE) * 1_000.0).min(1_000.0) as u64
}
