//! PINs that tokens have refused, for as long as this process lives: not one of them is tried again.
//!
//! A token counts wrong PINs and locks itself after a few. Neither many sessions nor many reloads nor many
//! stations may use its tries up.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_hsm::{Error, Pin, Session};

use super::crew::{Outside, Said, TokenName};
use super::persistence::refuses_pin;
use super::{Event, OnEvent, recovery};

/// What to do about a PIN that was refused.
pub(super) const WHAT_TO_DO: &str = "the PIN is wrong and is not tried again: put the right one where pin-source says \
                                     and reload";

/// Which token has refused which PIN, by its fingerprint.
static REFUSED: Mutex<Option<Refused>> = Mutex::new(None);

type Refused = HashSet<(TokenName, [u8; 32])>;

/// As many as reloads by hand can bring about; beyond that everything counts as refused.
const REFUSED_MAX: usize = 4_096;

fn refused() -> MutexGuard<'static, Option<Refused>> {
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner)
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

/// May this PIN be tried with that token? Then whether another one was.
///
/// # Errors
/// If the token has refused it before.
pub(super) fn admit(token: &TokenName, pin: &Pin) -> Result<bool, String> {
    let refused = refused();
    let Some(known) = &*refused else { return Ok(false) };
    if known.len() < REFUSED_MAX && !known.contains(&(token.clone(), pin.fingerprint())) {
        return Ok(known.iter().any(|(refusing, _)| refusing == token));
    }
    Err(format!(
        "the token '{}' (serial {}) has refused this PIN before: {WHAT_TO_DO}",
        token.label, token.serial
    ))
}

/// Logs in to a token whose module is in this very process, unless it has refused this PIN before.
///
/// # Errors
/// Why not, and what to do.
pub(crate) fn log_in(session: &Session, pin: Pin) -> Result<(), String> {
    let token = recovery::name(session.token());
    let is_another = admit(&token, &pin)?;
    let admitted = Admitted { pin: Arc::new(pin), is_another };
    admitted.log_in(session).map_err(|error| {
        if refuses_pin(&error) {
            remember(&token, &admitted.pin);
        }
        error.to_string()
    })
}

/// That token has refused this PIN.
pub(super) fn remember(token: &TokenName, pin: &Pin) {
    let mut refused = refused();
    let known = refused.get_or_insert_default();
    if known.len() < REFUSED_MAX {
        known.insert((token.clone(), pin.fingerprint()));
    }
}

/// What a crew among the threads of this process speaks with.
pub(super) struct InProcess {
    pin: Option<Arc<Pin>>,
    on_event: OnEvent,
}

impl InProcess {
    pub(super) fn new(pin: Option<Pin>, on_event: OnEvent) -> Self {
        Self { pin: pin.map(Arc::new), on_event }
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

    fn pin(&self, token: &TokenName) -> Result<Option<Admitted>, String> {
        let Some(pin) = &self.pin else { return Ok(None) };
        let is_another = admit(token, pin)?;
        Ok(Some(Admitted { pin: Arc::clone(pin), is_another }))
    }

    fn pin_refused(&self, token: &TokenName) {
        if let Some(pin) = &self.pin {
            remember(token, pin);
        }
    }
}
