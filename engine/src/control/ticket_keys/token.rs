//! The ticket keys of a token over time: derived before they are needed, kept where the token does not answer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_hsm::Pin;
use countersign_proto::TicketKey;

use super::Change;
use super::derivation::{Derivation, Derived, read_pin};
use super::epochs::{Epochs, Window};
use crate::config::{Config, ConfigErrors, TicketKeySource, TokenTicketKeys};

/// How long a start or a reload waits for the first keys.
const PATIENCE: Duration = Duration::from_secs(45);

/// After a failure, and after each further one twice as long.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Keys that a token derives.
pub(super) struct TokenKeys {
    token: TokenTicketKeys,
    pin: Option<Pin>,
    epochs: Epochs,
    window: Window,
    underway: Option<Derivation>,
    /// Not before then.
    again_at: Option<Instant>,
    pause: Duration,
    /// Why keys are missing, to be told.
    problem: Option<String>,
}

impl TokenKeys {
    /// Derives the keys of now; waits for the token, within a bound.
    pub(super) fn open(token: &TokenTicketKeys, longest: Duration) -> Result<Self, String> {
        let pin = read_pin(token)?;
        let mut keys = Self {
            window: window(token, longest),
            token: token.clone(),
            pin,
            epochs: Epochs::default(),
            underway: None,
            again_at: None,
            pause: PAUSE,
            problem: None,
        };
        let missing = keys.epochs.missing(keys.window);
        let Derived { keys: derived, problem } =
            Derivation::begin(&keys.token, keys.pin.clone(), missing).wait(PATIENCE);
        if let Some(problem) = problem {
            return Err(problem);
        }
        derived.into_iter().for_each(|(epoch, key)| keys.epochs.insert(epoch, key));
        keys.epochs.turn(keys.window);
        Ok(keys)
    }

    /// Are these the keys of that token, asked with the PIN that its source has now?
    pub(super) fn are_of(&self, token: &TokenTicketKeys) -> Result<bool, String> {
        Ok(self.token.is_same(token) && self.pin == read_pin(token)?)
    }

    /// Takes what was derived, lets another key seal where another epoch has begun, and has derived what is missing.
    /// Waits for nothing.
    pub(super) fn tend(&mut self, longest: Duration, now: Instant) -> Change {
        if let Some(problem) = self.take(now) {
            self.problem = Some(problem);
        }
        self.window = window(&self.token, longest);
        let changed = self.epochs.turn(self.window);
        if self.underway.is_none() && self.again_at.is_none_or(|at| now >= at) {
            let missing = self.epochs.missing(self.window);
            if !missing.is_empty() {
                self.underway = Some(Derivation::begin(&self.token, self.pin.clone(), missing));
            }
        }
        if changed {
            return Change::Changed;
        }
        self.problem.take().map_or(Change::None, Change::Refused)
    }

    fn take(&mut self, now: Instant) -> Option<String> {
        let Derived { keys, problem } = self.underway.as_ref()?.poll()?;
        self.underway = None;
        keys.into_iter().for_each(|(epoch, key)| self.epochs.insert(epoch, key));
        let Some(problem) = problem else {
            (self.again_at, self.pause) = (None, PAUSE);
            return None;
        };
        let pause = self.pause;
        self.again_at = now.checked_add(pause);
        self.pause = (pause * 2).min(PAUSE_MAX);
        Some(format!("{problem}; it is asked again in {} s", pause.as_secs()))
    }

    /// The one that seals stands first.
    pub(super) fn keys(&self) -> Vec<TicketKey> {
        self.epochs.keys(self.window)
    }
}

/// Has the token of a configuration derive one key.
///
/// # Errors
/// What is wrong, at the place where the key is configured.
pub fn check_ticket_keys(config: &Config) -> Result<(), ConfigErrors> {
    let Some(TicketKeySource::Token(token)) = &config.ticket_keys else { return Ok(()) };
    let wrong = |problem: String| ConfigErrors(vec![token.place.wrong(problem)]);
    let pin = read_pin(token).map_err(wrong)?;
    let epoch = window(token, Duration::ZERO).now;
    match Derivation::begin(token, pin, vec![epoch]).wait(PATIENCE).problem {
        None => Ok(()),
        Some(problem) => Err(wrong(problem)),
    }
}

fn window(token: &TokenTicketKeys, longest: Duration) -> Window {
    // A clock before 1970 is as wrong as one that stands there.
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Window::at(unix_time, token.epoch, longest)
}
