//! Whether sessions are resumed, how long, and under which keys.

use std::time::Duration;

use countersign_hsm::KeyClass;
use countersign_proto::Resumption;
use countersign_proto::limits::{TICKET_LIFETIME_MAX, TICKET_LINEAGE_MAX};

use super::credentials;
use super::tokens::Settings;
use crate::config::errors::{At, Problems};
use crate::config::raw::{Raw, RawListener, RawTicketKeys};
use crate::config::ticket_keys::{TicketKeyFile, TicketKeySource, TokenTicketKeys};
use crate::config::{ListenerConfig, TICKET_KEYS_KEPT_MAX};

/// How long a key seals that is nobody's but this process', by default.
const KEY_LIFETIME: Duration = Duration::from_secs(12 * 3_600);

const KEY_LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Tickets carry whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a listener resumes.
pub(super) fn resumption(raw: &RawListener, problems: &mut Problems<'_>) -> Resumption {
    let mut resumption = Resumption::default();
    if let Some(at) = &raw.tickets {
        resumption.tickets = at.value;
    }
    if let Some(at) = &raw.ticket_lifetime {
        resumption.ticket_lifetime = in_bounds(at, TICKET_LIFETIME_MAX, "168h", problems);
    }
    if let Some(at) = &raw.ticket_lineage {
        resumption.lineage = in_bounds(at, TICKET_LINEAGE_MAX, "720h", problems);
    }
    resumption
}

/// Where the keys come from, and how long one of ours seals otherwise.
pub(super) fn keys(
    raw: &Raw,
    listeners: &[ListenerConfig],
    tokens: &Settings,
    problems: &mut Problems<'_>,
) -> (Option<TicketKeySource>, Duration) {
    let source = raw.ticket_keys.as_ref().and_then(|raw| match raw {
        RawTicketKeys::File(at) => {
            let path = credentials::path(&at.value);
            let result =
                TicketKeyFile::read(&at.value).map_err(|problem| format!("{path}: {problem}"));
            problems.keep(&at.spot, result).map(TicketKeySource::File)
        }
        RawTicketKeys::Uri(spot) => {
            problems.error(
                spot,
                "it is no file; keys that are derived by a token are written as a table: `ticket_keys = { derive = \"pkcs11:...\" }`",
            );
            None
        }
        RawTicketKeys::Token { derive, epoch } => {
            let epoch = epoch.as_ref().map_or(KEY_LIFETIME, |at| {
                let epoch = in_bounds(at, KEY_LIFETIME_MAX, "720h", problems);
                check_kept(at, listeners, problems);
                epoch
            });
            derived(derive.as_ref()?, epoch, tokens, problems).map(|token| TicketKeySource::Token(Box::new(token)))
        }
    });
    let Some(at) = &raw.ticket_key_lifetime else { return (source, KEY_LIFETIME) };
    match raw.ticket_keys {
        None => {}
        Some(RawTicketKeys::File(_) | RawTicketKeys::Uri(_)) => problems.warning(
            &at.spot,
            "it has no effect: the keys come from ticket_keys, and whoever writes that file replaces them",
        ),
        Some(RawTicketKeys::Token { .. }) => problems.warning(
            &at.spot,
            "it has no effect: a token derives the keys, a new one in each ticket_keys.epoch",
        ),
    }
    let lifetime = in_bounds(at, KEY_LIFETIME_MAX, "720h", problems);
    check_kept(at, listeners, problems);
    (source, lifetime)
}

/// Keys that follow upon each other so fast must not be too many while their tickets live.
fn check_kept(at: &At<Duration>, listeners: &[ListenerConfig], problems: &mut Problems<'_>) {
    let (each, longest) = (at.value, longest_ticket(listeners));
    if longest.as_secs() / each.as_secs().max(1) >= TICKET_KEYS_KEPT_MAX as u64 {
        problems.error(
            &at.spot,
            format_args!(
                "it is {each:?}, and a ticket may be good for {longest:?}: more than {TICKET_KEYS_KEPT_MAX} keys would have to be kept; make it longer, or a listener's ticket_lifetime shorter"
            ),
        );
    }
}

/// A key in a token.
fn derived(
    at: &At<String>,
    epoch: Duration,
    tokens: &Settings,
    problems: &mut Problems<'_>,
) -> Option<TokenTicketKeys> {
    let place = tokens.place(at, problems)?;
    if place.uri.class().is_some_and(|class| class != KeyClass::Secret) {
        problems.error(
            &at.spot,
            "it names no secret key; write `type=secret-key`, or leave the type out",
        );
        return None;
    }
    Some(TokenTicketKeys { place, epoch })
}

/// As long as any listener's ticket is good, the key that sealed it is kept.
pub(in crate::config) fn longest_ticket(listeners: &[ListenerConfig]) -> Duration {
    let lifetimes = listeners
        .iter()
        .filter(|listener| listener.resumption.tickets > 0)
        .map(|listener| listener.resumption.ticket_lifetime);
    lifetimes.max().unwrap_or_default()
}

fn in_bounds(
    at: &At<Duration>,
    most: Duration,
    most_in_words: &str,
    problems: &mut Problems<'_>,
) -> Duration {
    let is_whole = at.value.subsec_nanos() == 0;
    if !is_whole || at.value < SHORTEST || at.value > most {
        problems.error(
            &at.spot,
            format_args!("it is {:?}; it must be whole seconds, 1s to {most_in_words}", at.value),
        );
    }
    at.value
}
