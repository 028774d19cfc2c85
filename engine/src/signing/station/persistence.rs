//! What a lane tries when the token does not do what it is asked, and when it gives up.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use countersign_hsm::{Error, PrivateKey, Remedy, Scheme, Session, Uri};

use super::gate::Login;
use super::lane::Lane;
use super::{Refusal, RefusalReason, StationError, pins};

/// Failed operations one after the other, after which a session is not trusted any more.
const FAILURES_BEFORE_REOPEN: u32 = 3;

/// What an attempt failed by.
pub(super) enum Trouble {
    /// The module said so.
    Token(Error),
    /// The key is not in use.
    Unused,
    /// The key is not there, or is another. A token hides private keys from whoever is not logged in, and does not
    /// say that this is why.
    Key(String),
}

impl Trouble {
    /// A key was looked for.
    pub(super) fn of_look_up(uri: &Uri, error: Error) -> Self {
        match error.remedy() {
            Remedy::Fatal => Self::Key(format!("{uri}: {error}")),
            _ => Self::Token(error),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

/// What is left when all was tried.
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    pub(super) remedy: Remedy,
    /// What it means for everybody.
    pub(super) verdict: Option<Verdict>,
}

/// Nothing can be signed any more.
pub(super) struct Verdict {
    pub(super) problem: String,
    pub(super) remedy: Remedy,
}

impl Failure {
    fn new(reason: RefusalReason, problem: String, remedy: Remedy) -> Self {
        Self { refusal: Refusal { reason, problem }, remedy, verdict: None }
    }

    /// The token is gone.
    fn gone(error: &Error) -> Self {
        Self::lost(error.to_string())
    }

    fn lost(problem: String) -> Self {
        let verdict = Some(Verdict { problem: problem.clone(), remedy: Remedy::Reopen });
        Self { verdict, ..Self::new(RefusalReason::Lost, problem, Remedy::Reopen) }
    }

    /// Nobody may log in again before a human has looked.
    fn locked_out(problem: String) -> Self {
        let verdict = Some(Verdict { problem: problem.clone(), remedy: Remedy::Fatal });
        Self { verdict, ..Self::new(RefusalReason::Lost, problem, Remedy::Fatal) }
    }

    pub(super) fn into_error(self) -> StationError {
        StationError { problem: self.refusal.problem, remedy: self.remedy }
    }
}

/// The token took a PIN for wrong: not one more try.
pub(super) fn refuses_pin(error: &Error) -> bool {
    const CODES: [&str; 3] = ["CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE"];
    error.code().is_some_and(|code| CODES.contains(&code))
}

/// Each remedy is tried once for an operation.
#[derive(Default)]
struct Tried {
    again: bool,
    reopened: bool,
    logged_in: bool,
}

impl Lane {
    /// Attempts something, and after a failure does what the error says may help, once each, as long as
    /// there is time. A session that is broken is replaced also where no time is left.
    pub(super) fn persist<T>(
        &mut self,
        deadline: Instant,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Failure> {
        let mut tried = Tried::default();
        loop {
            let logins = self.gate.logins();
            let error = match attempt(self) {
                Ok(value) => {
                    self.failures = 0;
                    return Ok(value);
                }
                Err(Trouble::Unused) => {
                    let problem = "the key is not in use any more".to_owned();
                    return Err(Failure::new(RefusalReason::Key, problem, Remedy::Fatal));
                }
                Err(Trouble::Key(_)) if !tried.logged_in => {
                    tried.logged_in = true;
                    self.make_sure_of_login()?;
                    continue;
                }
                Err(Trouble::Key(problem)) => {
                    return Err(Failure::new(RefusalReason::Key, problem, Remedy::Fatal));
                }
                Err(Trouble::Token(error)) => error,
            };
            if refuses_pin(&error) {
                let gate = Arc::clone(&self.gate);
                return Err(self.pin_refused(&mut gate.login(), &error));
            }
            match error.remedy() {
                Remedy::Fatal => {
                    return Err(Failure::new(
                        RefusalReason::Failed,
                        error.to_string(),
                        Remedy::Fatal,
                    ));
                }
                Remedy::Retry if !tried.again => tried.again = true,
                Remedy::Retry => return Err(self.failed_again(&error)),
                Remedy::Reopen if !tried.reopened => {
                    tried.reopened = true;
                    self.reopen()?;
                }
                Remedy::Relogin if !tried.logged_in => {
                    tried.logged_in = true;
                    self.log_in_again(logins)?;
                }
                Remedy::Reopen | Remedy::Relogin => return Err(Failure::gone(&error)),
            }
            if Instant::now() >= deadline {
                let problem = format!("{error}; no time is left to try again");
                return Err(Failure::new(RefusalReason::Lost, problem, error.remedy()));
            }
        }
    }

    pub(super) fn sign(
        &mut self,
        key: u64,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, Trouble> {
        let key = self.key(key)?;
        let gate = Arc::clone(&self.gate);
        Ok(self.session()?.sign(&key, scheme, message, Some(&*gate))?)
    }

    /// A key that was found before, or is found now.
    pub(super) fn key(&mut self, id: u64) -> Result<Arc<PrivateKey>, Trouble> {
        let known = self.core.keys.read().unwrap_or_else(PoisonError::into_inner);
        self.keys_generation = known.generation;
        if let Some(key) = known.found.get(&id) {
            return Ok(Arc::clone(key));
        }
        let spec = known.specs.get(&id).cloned();
        drop(known);
        let spec = spec.ok_or(Trouble::Unused)?;
        let found = self.session()?.private_key(&spec.uri, Some(&spec.spki));
        let found = found.map_err(|error| Trouble::of_look_up(&spec.uri, error))?;
        let found = Arc::new(found);
        let mut keys = self.core.keys();
        if keys.specs.get(&id).is_some_and(|current| current.uri == spec.uri) {
            keys.found.insert(id, Arc::clone(&found));
        }
        Ok(found)
    }

    /// The session; opened if there is none.
    pub(super) fn session(&mut self) -> Result<&mut Session, Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.token.open()?,
        };
        Ok(self.session.insert(session))
    }

    /// A new session in the place of one that is not trusted any more. Where all sessions went, the login went with
    /// them; and the keys are found again.
    fn reopen(&mut self) -> Result<(), Failure> {
        self.failures = 0;
        self.core.keys().throw_away(self.keys_generation);
        let opened = match self.token.open() {
            // The broken one counts as long as it is open.
            Err(error) if error.code() == Some("CKR_SESSION_COUNT") => {
                self.session = None;
                self.token.open()
            }
            opened => opened,
        };
        self.session = Some(opened.map_err(|error| Failure::gone(&error))?);
        self.make_sure_of_login()
    }

    fn failed_again(&mut self, error: &Error) -> Failure {
        self.failures += 1;
        if self.failures >= FAILURES_BEFORE_REOPEN
            && let Err(failure) = self.reopen()
        {
            return failure;
        }
        Failure::new(RefusalReason::Lost, error.to_string(), Remedy::Retry)
    }

    /// Logs in where nobody is. Where somebody is, no PIN is tried.
    fn make_sure_of_login(&mut self) -> Result<(), Failure> {
        let gate = Arc::clone(&self.gate);
        let mut login = gate.login();
        if login.pin.is_none() && login.refused.is_none() {
            return Ok(());
        }
        match self.session().and_then(|session| session.is_logged_in()) {
            Ok(true) => Ok(()),
            // One that cannot say it does as it does with the login.
            Ok(false) | Err(_) => self.log_in(&mut login),
        }
    }

    /// One lane logs in for all; the others wait for it. `before` is how often it was done when the login was
    /// seen to be lost.
    fn log_in_again(&mut self, before: u64) -> Result<(), Failure> {
        let gate = Arc::clone(&self.gate);
        let mut login = gate.login();
        if gate.logins() != before {
            return Ok(());
        }
        self.log_in(&mut login)?;
        // Handles of private keys go with the login in some tokens.
        self.core.keys().throw_away(self.keys_generation);
        gate.count_login();
        Ok(())
    }

    fn log_in(&mut self, login: &mut Login) -> Result<(), Failure> {
        if login.pin.is_none() {
            let none = || {
                "the token wants a login, and no PIN is configured: name its pin-source".to_owned()
            };
            return Err(Failure::locked_out(login.refused.clone().unwrap_or_else(none)));
        }
        let core = Arc::clone(&self.core);
        let pin = match pins::wait_for_turn(&*core.outside, &login.token) {
            Ok(pin) => pin,
            Err(error) if error.remedy == Remedy::Fatal => {
                login.forget_pin(&error.problem);
                return Err(Failure::locked_out(error.problem));
            }
            Err(error) => return Err(Failure::lost(error.problem)),
        };
        let Some(pin) = pin else { return Ok(()) };
        let result = self.session().and_then(|session| pin.log_in(session));
        let is_refused = result.as_ref().is_err_and(refuses_pin);
        core.outside.pin_tried(&login.token, is_refused);
        match result {
            Ok(()) => Ok(()),
            Err(error) if is_refused => Err(Failure::locked_out(login.refuse(&error))),
            Err(error) if error.remedy() == Remedy::Fatal => {
                Err(Failure::locked_out(error.to_string()))
            }
            Err(error) => Err(Failure::gone(&error)),
        }
    }

    /// The PIN that a key wants for each signature was right once: it is another now.
    fn pin_refused(&self, login: &mut Login, error: &Error) -> Failure {
        let problem = login.refuse(error);
        self.core.outside.pin_tried(&login.token, true);
        Failure::locked_out(problem)
    }
}
