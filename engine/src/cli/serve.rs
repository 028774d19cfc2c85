//! A running engine and the signals that it is told.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::fail;
use crate::config::{Config, ConfigErrors};
use crate::control::Engine;

/// How often it is looked whether the workers have ended, and whether there are signals.
const POLL: Duration = Duration::from_millis(10);

/// Listens to the signals from now on: between this and [`serve`] none is lost, and none ends the
/// process.
pub(super) fn signals() -> std::io::Result<Signals> {
    Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP])
}

/// Loads the configuration anew, as it was loaded at the start.
pub(super) type Load<'a> = dyn Fn() -> Result<Config, ConfigErrors> + 'a;

/// Serves until a signal says to stop, then until everything has ended.
pub(super) fn serve(mut engine: Engine, mut signals: Signals, load: &Load<'_>) -> ExitCode {
    let mut stopping: Option<Instant> = None;
    while !engine.is_over() {
        for signal in signals.pending() {
            match signal {
                SIGUSR1 => engine.log_status(),
                SIGHUP if stopping.is_none() => reload(&mut engine, load),
                SIGTERM | SIGINT => {
                    // Asked twice means now.
                    let patience = engine.config().drain_timeout;
                    let patience = if stopping.is_some() { Duration::ZERO } else { patience };
                    stopping.get_or_insert_with(Instant::now);
                    engine.begin_stop(patience);
                }
                _ => {}
            }
        }
        engine.tend();
        if stopping.is_none() && engine.has_failed() {
            stopping = Some(Instant::now());
            engine.begin_stop(engine.config().drain_timeout);
        }
        std::thread::sleep(POLL);
    }
    let stopped = engine.join();
    match (stopped.failure, stopped.clean) {
        (Some(error), _) => fail(error),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => ExitCode::FAILURE,
    }
}

/// What is not wrong with the configuration, and yet should be known.
pub(super) fn warn(engine: &Engine) {
    for warning in &engine.config().warnings {
        engine.log().write("configuration_warning", json!({ "message": warning }));
    }
}

/// All or nothing: whatever is wrong, the engine goes on as it was.
fn reload(engine: &mut Engine, load: &Load<'_>) {
    let errors = match load() {
        Ok(config) => match engine.reload(config) {
            Ok(()) => {
                let (generation, listeners) =
                    (engine.generation(), engine.config().listeners.len());
                let fields = json!({ "generation": generation, "listeners": listeners });
                engine.log().write("reloaded", fields);
                warn(engine);
                return;
            }
            Err(error) => error.problems(),
        },
        Err(errors) => {
            engine.note_failed_load();
            errors.0.iter().map(ToString::to_string).collect()
        }
    };
    let generation = engine.generation();
    engine.log().write(
        "reload_failed",
        json!({
            "errors": errors,
            "generation": generation,
            "message": "nothing has changed; the configuration loaded before is still served",
        }),
    );
}
