//! Whether the lanes of a shift are logged in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_hsm::{Authentication, Error, Pin};

use super::crew::TokenName;
use super::persistence::refuses_pin;

/// The login of one shift, which all of its lanes have or have not. Of its own shift: a lane that hangs while it
/// logs in keeps nobody of the next from it.
pub(super) struct Gate {
    login: Mutex<Login>,
    /// Grows with each login that is made good.
    logins: AtomicU64,
}

/// What there is to log in with.
pub(super) struct Login {
    pub(super) token: TokenName,
    /// None where none is needed, and once it was refused.
    pub(super) pin: Option<Arc<Pin>>,
    /// What the token said when it refused the PIN, and what to do: the same for every lane that asks.
    pub(super) refused: Option<String>,
}

impl Login {
    /// The token has refused the PIN. Gives what every lane that asks is told.
    pub(super) fn refuse(&mut self, error: &Error) -> String {
        self.forget_pin(&format!(
            "{error}: the token refuses the PIN that it took before, so the PIN was changed on the token; it is not \
             tried again: put the new PIN where pin-source says and reload"
        ))
    }

    /// The first reason stands.
    pub(super) fn forget_pin(&mut self, why: &str) -> String {
        self.pin = None;
        self.refused.get_or_insert_with(|| why.to_owned()).clone()
    }
}

/// Keys that want the PIN for each signature: the lanes log in one after the other, and none any more once the token
/// has refused the PIN to one of them.
impl Authentication for Gate {
    fn authenticate(&self, log_in: &mut dyn FnMut(&Pin) -> Result<(), Error>) -> Result<(), Error> {
        let mut login = self.login();
        let Some(pin) = login.pin.clone() else {
            let none = || {
                "the key wants the PIN for each signature, and none is configured: name its pin-source".to_owned()
            };
            return Err(Error::not_tried(login.refused.clone().unwrap_or_else(none)));
        };
        let result = log_in(&pin);
        if let Err(error) = &result
            && refuses_pin(error)
        {
            login.refuse(error);
        }
        result
    }
}

impl Gate {
    pub(super) fn new(token: TokenName, pin: Option<Arc<Pin>>) -> Self {
        let login = Login { token, pin, refused: None };
        Self { login: Mutex::new(login), logins: AtomicU64::new(0) }
    }

    /// To log in, or for the PIN.
    pub(super) fn login(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often somebody has logged in again.
    pub(super) fn logins(&self) -> u64 {
        self.logins.load(Ordering::Acquire)
    }

    pub(super) fn count_login(&self) {
        self.logins.fetch_add(1, Ordering::Release);
    }
}
