//! Whether the lanes of a shift are logged in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_hsm::Pin;

use super::crew::TokenName;

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
