//! The way to a token that can sign: the module, the token, the login, the keys. One thread at a time goes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_hsm::{Error, Module, Remedy, Session, Token};

use super::crew::{Core, Said, TokenName};
use super::gate::Gate;
use super::persistence::refuses_pin;
use super::{StationError, StationInfo, pins};

/// Between two attempts; the first is made at once, and the pause doubles.
const PAUSE_LEAST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// How long to wait after so many attempts that failed.
pub(super) fn pause(attempts: u32) -> Duration {
    PAUSE_LEAST.saturating_mul(1 << attempts.min(10)).min(PAUSE_MOST)
}

/// A token with a session that is logged in.
pub(super) struct Opened {
    pub(super) module: Module,
    pub(super) token: Token,
    pub(super) session: Session,
    pub(super) gate: Arc<Gate>,
    pub(super) info: StationInfo,
}

/// Why there is none.
pub(super) struct Closed {
    pub(super) error: StationError,
    /// The module, if it could be loaded.
    pub(super) module: Option<Module>,
    /// No attempt may follow.
    pub(super) is_final: bool,
}

/// Opens the token. `module` is what was loaded before; nobody else is inside it.
pub(super) fn open(
    core: &Core,
    module: Option<Module>,
    may_reinitialize: bool,
) -> Result<Opened, Closed> {
    let passing = |error: &Error, module: Option<Module>| Closed {
        error: StationError { problem: error.to_string(), remedy: error.remedy() },
        module,
        is_final: false,
    };
    let module = match module {
        None => Module::load(&core.plan.module).map_err(|error| passing(&error, None))?,
        Some(module) if may_reinitialize => match module.reinitialize() {
            Ok(()) => module,
            Err(error) => return Err(passing(&error, Some(module))),
        },
        Some(module) => module,
    };
    let token = match module.token(&core.plan.token) {
        Ok(token) => token,
        Err(error) => return Err(passing(&error, Some(module))),
    };
    match enter(core, &token) {
        Ok((session, gate)) => {
            let gate = Arc::new(gate);
            Ok(Opened { info: info(core, &token), module, token, session, gate })
        }
        Err((error, is_final)) => Err(Closed { error, module: Some(module), is_final }),
    }
}

/// Opens a session, logs in, finds the keys.
fn enter(core: &Core, token: &Token) -> Result<(Session, Gate), (StationError, bool)> {
    let passing = |error: Error| {
        let is_final = false;
        (StationError { problem: error.to_string(), remedy: error.remedy() }, is_final)
    };
    let name = name(token);
    let mut session = token.open().map_err(passing)?;
    let pin = pins::wait_for_turn(&*core.outside, &name).map_err(|error| {
        let is_final = error.remedy == Remedy::Fatal;
        (error, is_final)
    })?;
    if let Some(pin) = &pin {
        let result = pin.log_in(&session);
        let is_refused = result.as_ref().is_err_and(refuses_pin);
        core.outside.pin_tried(&name, is_refused);
        match result {
            Ok(()) => {}
            Err(error) if is_refused => {
                let problem = format!("{error}: {}", pins::WHAT_TO_DO);
                return Err((StationError { problem, remedy: Remedy::Fatal }, true));
            }
            // Locked, or about to be: only a human can say that the PIN is right.
            Err(error) => {
                let is_final = error.remedy() == Remedy::Fatal;
                let (error, _) = passing(error);
                return Err((error, is_final));
            }
        }
    }
    find_keys(core, &mut session).map_err(passing)?;
    Ok((session, Gate::new(name, pin.map(|admitted| admitted.pin))))
}

/// A key that is not there any more keeps nobody from using the others.
fn find_keys(core: &Core, session: &mut Session) -> Result<(), Error> {
    let mut keys = core.keys();
    let generation = keys.generation;
    keys.throw_away(generation);
    let specs: Vec<_> = keys.specs.values().cloned().collect();
    drop(keys);
    for spec in specs {
        match session.private_key(&spec.uri, Some(&spec.spki)) {
            Ok(key) => drop(core.keys().found.insert(spec.id, Arc::new(key))),
            Err(error) if error.remedy() == Remedy::Fatal => {
                core.outside.say(Said::Notice(format!("{} cannot be used: {error}", spec.uri)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn name(token: &Token) -> TokenName {
    let info = token.info();
    TokenName {
        label: info.label.clone(),
        serial: info.serial.clone(),
        manufacturer: info.manufacturer.clone(),
        model: info.model.clone(),
    }
}

fn info(core: &Core, token: &Token) -> StationInfo {
    let TokenName { label, serial, manufacturer, model } = name(token);
    let max_sessions = token.info().max_sessions;
    let allowed =
        max_sessions.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let lanes = core.plan.lanes.most.min(allowed).max(1);
    StationInfo { label, serial, manufacturer, model, lanes, max_sessions }
}

/// How many crews of this process use a module. One that shares it may not finalize it.
static USES: Mutex<Option<HashMap<PathBuf, usize>>> = Mutex::new(None);

/// That a crew uses a module.
pub(super) struct Use(PathBuf);

impl Use {
    pub(super) fn begin(module: &Path) -> Self {
        let path = module.canonicalize().unwrap_or_else(|_| module.to_owned());
        *uses().get_or_insert_default().entry(path.clone()).or_default() += 1;
        Self(path)
    }

    pub(super) fn is_alone(&self) -> bool {
        uses().as_ref().and_then(|uses| uses.get(&self.0)) == Some(&1)
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Some(count) = uses().as_mut().and_then(|uses| uses.get_mut(&self.0)) {
            *count -= 1;
        }
    }
}

fn uses() -> MutexGuard<'static, Option<HashMap<PathBuf, usize>>> {
    USES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_grow_rarer_up_to_a_bound() {
        assert_eq!(pause(0), Duration::from_millis(100));
        assert_eq!(pause(2), Duration::from_millis(400));
        assert_eq!(pause(u32::MAX), PAUSE_MOST);
    }

    #[test]
    fn a_module_that_two_crews_use_is_nobodys_alone() {
        let path = Path::new("/nowhere/counted.so");
        let first = Use::begin(path);
        assert!(first.is_alone());
        let second = Use::begin(path);
        assert!(!first.is_alone());
        drop(second);
        assert!(first.is_alone());
    }
}
