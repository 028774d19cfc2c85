//! What the log tells of tokens.

use std::time::{Duration, Instant};

use countersign_hsm::Remedy;
use serde_json::json;

use crate::signing::station::StationInfo;
use crate::telemetry::LogWriter;

/// Lines about what modules say: so many within that time, the rest is left out.
const NOTICES_MAX: u32 = 20;
const NOTICES_WITHIN: Duration = Duration::from_secs(1);

/// The longest text of somebody else's that is repeated, in characters.
const TEXT_CHARACTERS: usize = 500;

/// Writes it; `None` writes nothing.
pub(super) struct Journal {
    log: Option<LogWriter>,
    noticed: (Option<Instant>, u32),
}

impl Journal {
    pub(super) fn new(log: Option<LogWriter>) -> Self {
        Self { log, noticed: (None, 0) }
    }

    pub(super) fn up(&self, token: &str, info: &StationInfo) {
        let Some(log) = &self.log else { return };
        log.write(
            "token_up",
            json!({
                "token": token,
                "label": bounded(&info.label),
                "token_serial": bounded(&info.serial),
                "manufacturer": bounded(&info.manufacturer),
                "model": bounded(&info.model),
                "sessions": info.lanes,
            }),
        );
    }

    pub(super) fn down(&self, token: &str, problem: &str, remedy: Remedy) {
        let Some(log) = &self.log else { return };
        log.write(
            "token_down",
            json!({
                "token": token,
                "problem": bounded(problem),
                "is_tried_again": remedy != Remedy::Fatal,
            }),
        );
    }

    pub(super) fn breaker(&self, token: &str, is_open: bool) {
        let Some(log) = &self.log else { return };
        if is_open {
            log.write("token_left_alone", json!({ "token": token }));
        } else {
            log.write("token_trusted_again", json!({ "token": token }));
        }
    }

    pub(super) fn wrong_signature(&self, token: &str) {
        let Some(log) = &self.log else { return };
        log.write(
            "token_wrong_signature",
            json!({
                "token": token,
                "message": "the signature was not sent; a token that errs can give away its key: look at it",
            }),
        );
    }

    pub(super) fn notice(&mut self, now: Instant, token: &str, message: &str) {
        let Some(log) = &self.log else { return };
        let (since, count) = &mut self.noticed;
        if since.is_none_or(|since| now.duration_since(since) >= NOTICES_WITHIN) {
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        if *count <= NOTICES_MAX {
            log.write("token_notice", json!({ "token": token, "message": bounded(message) }));
        }
    }
}

/// Some identities are served without one of their tokens.
pub(super) fn absent(log: &LogWriter, token: &str, problem: &str, keys: &[String]) {
    log.write(
        "token_absent",
        json!({
            "token": token,
            "problem": bounded(problem),
            "keys": keys,
            "message": "these keys are served without this token; it is tried again and again, and its share is \
                        carried by the other tokens that have them",
        }),
    );
}

fn bounded(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS).collect()
}
