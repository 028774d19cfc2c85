//! Signatures that prove something.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use countersign_hsm::{Authentication, Pin, PrivateKey, Scheme, Session};

/// Stands before what is random, so that no signature made here is one in any protocol (as RFC 9846, section 4.4.3, does).
const PREFIX: &[u8] = b"Countersign asks a token to prove what its key can sign";

/// Has the token sign something new, and verifies that with the public key `spki` (DER).
pub(super) fn prove(
    session: &Session,
    key: &PrivateKey,
    scheme: Scheme,
    spki: &[u8],
    pin: Option<&Pin>,
) -> Result<(), String> {
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| "the system has no randomness".to_owned())?;
    let message = [PREFIX, &random].concat();
    let signature = session
        .sign(key, scheme, &message, pin.map(|pin| pin as &dyn Authentication))
        .map_err(|error| format!("does not sign {scheme}: {error}"))?;
    if scheme.verifies(spki, &message, &signature) {
        return Ok(());
    }
    let told = key.spki().map_or_else(|| "not told by the token".to_owned(), sha256);
    Err(format!(
        "its signature {scheme} does not verify with the certificate's public key: the SHA-256 of the SPKI is {} in the certificate and {told} in the token",
        sha256(spki)
    ))
}

/// In hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
