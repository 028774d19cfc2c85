//! Sessions with tokens, for commands that end soon: the module is loaded into this very process.

use countersign_hsm::{Module, Pin, PinSource, Session, Token, Uri};

use crate::pin;
use crate::signing::station::{harden, log_in};

/// The token that a URI names.
pub(super) fn token(uri: &Uri) -> Result<Token, String> {
    if uri.module_path().is_none() && uri.module_name().is_none() {
        return Err(format!(
            "{uri} does not say which module speaks to the token; append `?module-path=/PATH.so`"
        ));
    }
    Module::find(uri)
        .and_then(|path| Module::load(&path)?.token(uri))
        .map_err(|error| format!("{uri}: {error}"))
}

/// A session with the token that a URI names, logged in with the PIN from where the URI says.
pub(super) fn session(uri: &Uri, writable: bool) -> Result<Session, String> {
    let token = token(uri)?;
    let session = if writable { token.open_writable() } else { token.open() };
    let session = session.map_err(|error| format!("{uri}: {error}"))?;
    match uri.pin_source() {
        Some(source) => {
            let pin = read_pin(source)?;
            log_in(&session, pin).map_err(|problem| format!("{uri}: {problem}"))?;
        }
        None if token.info().login_required => {
            return Err(format!(
                "{uri} does not say where the PIN is; append `&pin-source=file:/PATH` (or env:NAME, or fd:N)"
            ));
        }
        None => {}
    }
    Ok(session)
}

/// Reads a PIN, into a process that nobody else can look into.
pub(super) fn read_pin(source: &PinSource) -> Result<Pin, String> {
    harden().map_err(|error| {
        format!("no PIN is read: this process cannot be made not dumpable ({error})")
    })?;
    pin::read(source).map_err(|error| error.to_string())
}
