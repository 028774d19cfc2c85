//! Whether an answer holds.

use super::question::{Nonce, Question};
use super::response::{Basic, OcspError};
use super::{Answer, NonceUse, RESPONSE_BYTES_MAX, SKEW_SECONDS, signer};

/// What an answer is held to.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The nonce of the request, if it had one.
    pub nonce: Option<&'a Nonce>,
    /// Whether the answer must have it.
    pub nonce_use: NonceUse,
    /// An answer without nextUpdate is good so long after its thisUpdate, in seconds.
    pub max_age: i64,
    /// `CLOCK_REALTIME`: seconds since the epoch.
    pub now: i64,
}

/// Verifies an OCSPResponse (DER) as the answer to a question.
///
/// # Errors
/// See [`OcspError`].
pub fn verify(
    response: &[u8],
    question: &Question,
    expected: &Expected<'_>,
) -> Result<Answer, OcspError> {
    if response.len() > RESPONSE_BYTES_MAX {
        return Err(OcspError::TooLarge(response.len()));
    }
    let basic = Basic::read(response)?;
    let single = basic.about(question)?;
    let has_our_nonce = nonce(basic.nonce, expected)?;
    let now = expected.now;
    let until = single.next_update.unwrap_or(single.this_update.saturating_add(expected.max_age));
    let this_update = single.this_update.max(basic.produced_at);
    if this_update > now.saturating_add(SKEW_SECONDS) {
        return Err(OcspError::NotYet { this_update, now });
    }
    if until < now.saturating_sub(SKEW_SECONDS) || until < single.this_update {
        return Err(OcspError::Expired { until, now });
    }
    signer::verify(&basic, question, now)?;
    Ok(Answer {
        status: single.status,
        this_update: single.this_update,
        next_update: single.next_update,
        received_at: now,
        has_our_nonce,
    })
}

fn nonce(answered: Option<&[u8]>, expected: &Expected<'_>) -> Result<bool, OcspError> {
    match (answered, expected.nonce) {
        (Some(theirs), Some(ours)) if theirs == ours => Ok(true),
        (Some(_), Some(_)) => Err(OcspError::NonceDiffers),
        (None, _) | (_, None) if expected.nonce_use == NonceUse::Require => {
            Err(OcspError::NonceMissing)
        }
        // One that was not asked for was asked for by somebody else, to whom it says something.
        (Some(_) | None, _) => Ok(false),
    }
}
