//! Alerts that the engine writes itself, while the handshake is still in plaintext.

use rustls::AlertDescription;

const CONTENT_TYPE_ALERT: u8 = 21;
const LEGACY_RECORD_VERSION: [u8; 2] = [3, 3];
const LEVEL_FATAL: u8 = 2;

/// A fatal alert in a record of its own (RFC 9846 §5.1 and §6).
pub(crate) fn plaintext_alert(description: AlertDescription) -> [u8; 7] {
    let [major, minor] = LEGACY_RECORD_VERSION;
    [CONTENT_TYPE_ALERT, major, minor, 0, 2, LEVEL_FATAL, description.into()]
}
