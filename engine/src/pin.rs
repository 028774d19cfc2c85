//! PINs, read from where they are said to be.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use countersign_hsm::{Pin, PinError, PinSource};

/// A pipe can be read only once, and what it held may be wanted again: by a second key, or by a reload.
static FROM_DESCRIPTORS: LazyLock<Mutex<HashMap<PinSource, Pin>>> = LazyLock::new(Mutex::default);

/// The PIN of `source`, as it is there now; that of a descriptor, as it was when it was read first.
///
/// # Errors
/// See [`PinSource::read`].
pub(crate) fn read(source: &PinSource) -> Result<Pin, PinError> {
    if !matches!(source, PinSource::Descriptor(_)) {
        return source.read();
    }
    let mut known = FROM_DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pin) = known.get(source) {
        return Ok(pin.clone());
    }
    let pin = source.read()?;
    known.insert(source.clone(), pin.clone());
    Ok(pin)
}
