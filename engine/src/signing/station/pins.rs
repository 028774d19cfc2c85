//! PINs that tokens have refused, for as long as this process lives: not one of them is tried again.
//!
//! A token counts wrong PINs and locks itself after a few. Neither many sessions nor many reloads nor many
//! stations may use its tries up.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_hsm::Pin;

use super::crew::{Outside, Said, TokenName};
use super::{Event, OnEvent};

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

/// May this PIN be tried with that token?
///
/// # Errors
/// If the token has refused it before.
pub(super) fn admit(token: &TokenName, pin: &Pin) -> Result<(), String> {
    let refused = refused();
    let Some(known) = &*refused else { return Ok(()) };
    if known.len() < REFUSED_MAX && !known.contains(&(token.clone(), pin.fingerprint())) {
        return Ok(());
    }
    Err(format!(
        "the token '{}' (serial {}) has refused this PIN before: {WHAT_TO_DO}",
        token.label, token.serial
    ))
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

    fn pin(&self, token: &TokenName) -> Result<Option<Arc<Pin>>, String> {
        if let Some(pin) = &self.pin {
            admit(token, pin)?;
        }
        Ok(self.pin.clone())
    }

    fn pin_refused(&self, token: &TokenName) {
        if let Some(pin) = &self.pin {
            remember(token, pin);
        }
    }
}
