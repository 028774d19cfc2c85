//! PINs that tokens have refused, for as long as this process lives: not one of them is tried again.
//!
//! A token counts wrong PINs and locks itself after a few. Neither many sessions nor many reloads nor many
//! stations may use its tries up. So no two stations try one PIN with one token at the same time either: whoever
//! comes second waits for what becomes of the first.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_hsm::{Error, Pin, Remedy, Session};

use super::crew::{Outside, Said, TokenName};
use super::persistence::refuses_pin;
use super::{Event, OnEvent, StationError, recovery};

/// What to do about a PIN that was refused.
pub(super) const WHAT_TO_DO: &str = "the PIN is wrong and is not tried again: put the right one where pin-source says \
                                     and reload";

/// Whoever may not try a PIN because somebody else does, waits so long; a login takes milliseconds.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks whether the other is done.
const TURN_PAUSE: Duration = Duration::from_millis(10);

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

#[derive(Default)]
struct Known {
    refused: HashSet<Pair>,
    /// Being tried at this time: at most one for each station.
    under_way: HashSet<Pair>,
}

/// A token, and a PIN by its fingerprint.
type Pair = (TokenName, [u8; 32]);

/// As many as reloads by hand can bring about; beyond that everything counts as refused.
const REFUSED_MAX: usize = 4_096;

fn with_known<T>(look: impl FnOnce(&mut Known) -> T) -> T {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    look(known.get_or_insert_default())
}

/// A PIN that may be tried.
pub(super) struct Admitted {
    pub(super) pin: Arc<Pin>,
    /// The token has refused another one before. It may warn of that, which is no news.
    pub(super) is_another: bool,
}

impl Admitted {
    /// Logs in.
    ///
    /// # Errors
    /// As [`Session::login`] has them.
    pub(super) fn log_in(&self, session: &Session) -> Result<(), Error> {
        if self.is_another {
            session.login_with_another(&self.pin)
        } else {
            session.login(&self.pin)
        }
    }
}

/// That somebody tries a PIN with a token: nobody else in this process does so while it lives.
struct Attempt(Pair);

impl Attempt {
    /// May this PIN be tried with that token now? Then also whether another one was refused.
    fn begin(token: &TokenName, pin: &Pin) -> Result<(Self, bool), StationError> {
        let pair = (token.clone(), pin.fingerprint());
        with_known(|known| {
            if known.refused.len() >= REFUSED_MAX || known.refused.contains(&pair) {
                return Err(StationError::fatal(format!(
                    "the token '{}' (serial {}) has refused this PIN before: {WHAT_TO_DO}",
                    token.label, token.serial
                )));
            }
            if !known.under_way.insert(pair.clone()) {
                return Err(StationError::passing(format!(
                    "the token '{}' (serial {}) is opened by another of the engine's names for it, which has not been told \
                     yet whether the PIN is right",
                    token.label, token.serial
                )));
            }
            let is_another = known.refused.iter().any(|(refusing, _)| refusing == token);
            Ok((Self(pair), is_another))
        })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        with_known(|known| known.under_way.remove(&self.0));
    }
}

/// The attempt that a station has under way, if it has one.
#[derive(Default)]
pub(super) struct Turn(Option<Attempt>);

impl Turn {
    /// May this PIN be tried with that token now? Then also whether another one was refused.
    ///
    /// # Errors
    /// If the token has refused it before; a passing one if somebody is trying it.
    pub(super) fn begin(&mut self, token: &TokenName, pin: &Pin) -> Result<bool, StationError> {
        let (attempt, is_another) = Attempt::begin(token, pin)?;
        self.0 = Some(attempt);
        Ok(is_another)
    }

    /// It was tried. Also without a turn: keys may want the PIN of whoever is logged in.
    pub(super) fn end(&mut self, token: &TokenName, pin: &Pin, is_refused: bool) {
        if is_refused {
            remember(token, pin);
        }
        // Nobody has it before what became of it is known.
        drop(self.0.take_if(|attempt| attempt.0.0 == *token));
    }
}

/// The PIN for a token, once it is this station's turn to try it; afterwards [`Outside::pin_tried`] is due.
///
/// # Errors
/// If the token has refused it before; a passing one if somebody else does not come to an end with trying it.
pub(super) fn wait_for_turn(
    outside: &dyn Outside,
    token: &TokenName,
) -> Result<Option<Admitted>, StationError> {
    let until = Instant::now() + TURN_PATIENCE;
    loop {
        match outside.pin(token) {
            Err(error) if error.remedy != Remedy::Fatal && Instant::now() < until => {
                std::thread::sleep(TURN_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Logs in to a token whose module is in this very process, unless it has refused this PIN before.
///
/// # Errors
/// Why not, and what to do.
pub(crate) fn log_in(session: &Session, pin: Pin) -> Result<(), String> {
    let token = recovery::name(session.token());
    let mut turn = Turn::default();
    let is_another = turn.begin(&token, &pin).map_err(|error| error.problem)?;
    let admitted = Admitted { pin: Arc::new(pin), is_another };
    let result = admitted.log_in(session);
    turn.end(&token, &admitted.pin, result.as_ref().is_err_and(refuses_pin));
    result.map_err(|error| error.to_string())
}

/// That token has refused this PIN.
fn remember(token: &TokenName, pin: &Pin) {
    with_known(|known| {
        if known.refused.len() < REFUSED_MAX {
            known.refused.insert((token.clone(), pin.fingerprint()));
        }
    });
}

/// What a crew among the threads of this process speaks with.
pub(super) struct InProcess {
    pin: Option<Arc<Pin>>,
    turn: Mutex<Turn>,
    on_event: OnEvent,
}

impl InProcess {
    pub(super) fn new(pin: Option<Pin>, on_event: OnEvent) -> Self {
        Self { pin: pin.map(Arc::new), turn: Mutex::default(), on_event }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for InProcess {
    fn say(&self, said: Said) {
        let event = match said {
            Said::Answer { operation, result } => Event::Answer { operation, result },
            Said::Up(info) => Event::Up { info },
            Said::Down { problem, is_final, .. } => Event::down(problem, is_final),
            Said::Lanes { busy, open, waiting } => Event::Lanes { busy, open, waiting },
            Said::Notice(message) | Said::Stuck(message) => Event::Notice { message },
        };
        (self.on_event)(event);
    }

    fn pin(&self, token: &TokenName) -> Result<Option<Admitted>, StationError> {
        let Some(pin) = &self.pin else { return Ok(None) };
        let is_another = self.turn().begin(token, pin)?;
        Ok(Some(Admitted { pin: Arc::clone(pin), is_another }))
    }

    fn pin_tried(&self, token: &TokenName, is_refused: bool) {
        if let Some(pin) = &self.pin {
            self.turn().end(token, pin, is_refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(serial: &str) -> TokenName {
        TokenName { serial: serial.to_owned(), ..TokenName::default() }
    }

    fn pin(text: &str) -> Pin {
        Pin::new(text.as_bytes()).expect("a PIN")
    }

    #[test]
    fn one_at_a_time_tries_a_pin_with_a_token() {
        let (token, other) = (token("pins-1"), token("pins-2"));
        let (mut first, mut second) = (Turn::default(), Turn::default());
        first.begin(&token, &pin("1234")).expect("nobody else tries it");
        let error = second.begin(&token, &pin("1234")).expect_err("the first tries it");
        assert_eq!(error.remedy, Remedy::Reopen);
        Turn::default().begin(&token, &pin("5678")).expect("another PIN");
        Turn::default().begin(&other, &pin("1234")).expect("another token");
        first.end(&token, &pin("1234"), false);
        second.begin(&token, &pin("1234")).expect("the first has come to an end");
        // As when its process was killed: nobody knows what the token would have said.
        drop(second);
        first.begin(&token, &pin("1234")).expect("nobody else tries it");
    }

    #[test]
    fn a_pin_that_was_refused_is_nobodys_turn() {
        let token = token("pins-3");
        let (mut first, mut second) = (Turn::default(), Turn::default());
        assert!(!first.begin(&token, &pin("1234")).expect("nobody else tries it"));
        first.end(&token, &pin("1234"), true);
        for turn in [&mut first, &mut second] {
            let error = turn.begin(&token, &pin("1234")).expect_err("it was refused");
            assert_eq!(error.remedy, Remedy::Fatal);
            assert!(!error.problem.contains("1234"), "{error}");
        }
        assert!(second.begin(&token, &pin("5678")).expect("another"), "one was refused before");
    }

    #[test]
    fn a_refusal_is_remembered_whose_turn_it_ever_was() {
        let token = token("pins-4");
        Turn::default().end(&token, &pin("1234"), true);
        Turn::default().begin(&token, &pin("1234")).expect_err("it was refused");
    }
}
