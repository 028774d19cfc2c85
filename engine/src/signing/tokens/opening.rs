//! Tokens opened side by side: one whose module hangs must not keep the others waiting, nor several of them add up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, ScopedJoinHandle};

use countersign_hsm::{Pin, Remedy, Uri};

use super::Held;
use super::dispatch::StationId;
use super::mailbox::{Mailbox, Message};
use crate::config::TokenConfig;
use crate::signing::station::{Absence, Event, OnEvent, Station, StationError, StationSpec};

/// Tokens that are opened at one time.
const AT_ONCE: usize = 16;

/// A token that is to be opened.
pub(super) struct Opening {
    pub(super) id: StationId,
    pub(super) config: Arc<TokenConfig>,
    pub(super) name: Arc<str>,
    pub(super) pin: Option<Pin>,
}

/// A token for which there is a station.
pub(super) struct Opened {
    pub(super) held: Held,
    /// Why the station does without it so far.
    pub(super) absent: Option<StationError>,
}

/// Opens all of them; gives what came of each, in no order. Takes as long as one token may take, or as several
/// that may be one: those are opened one after the other, so that none is given a wrong PIN twice.
pub(super) fn open_all(
    mut waiting: Vec<Opening>,
    absence: Absence,
    mailbox: &Arc<Mailbox>,
) -> Vec<(Arc<TokenConfig>, Result<Opened, StationError>)> {
    let mut results = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let (mut now, mut later): (Vec<Opening>, _) = (Vec::new(), Vec::new());
        for opening in waiting {
            let is_alone = !now.iter().any(|other| may_be_one(other, &opening));
            let is_now = is_alone && now.len() < AT_ONCE;
            if is_now { &mut now } else { &mut later }.push(opening);
        }
        results.extend(side_by_side(now, absence, mailbox));
        waiting = later;
    }
    results
}

fn side_by_side(
    openings: Vec<Opening>,
    absence: Absence,
    mailbox: &Arc<Mailbox>,
) -> Vec<(Arc<TokenConfig>, Result<Opened, StationError>)> {
    std::thread::scope(|scope| {
        let begin = |opening: Opening| {
            let config = Arc::clone(&opening.config);
            let open = move || opening.open(absence, mailbox);
            (config, Builder::new().name("token-opening".into()).spawn_scoped(scope, open))
        };
        let begun: Vec<_> = openings.into_iter().map(begin).collect();
        let finish = |(config, thread): (_, std::io::Result<ScopedJoinHandle<'_, _>>)| {
            let failed = |problem| Err(StationError { problem, remedy: Remedy::Fatal });
            let result = match thread {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_panic| failed("opening the token panicked".to_owned())),
                Err(error) => failed(format!("cannot start a thread: {error}")),
            };
            (config, result)
        };
        begun.into_iter().map(finish).collect()
    })
}

impl Opening {
    fn open(self, absence: Absence, mailbox: &Arc<Mailbox>) -> Result<Opened, StationError> {
        let Self { id, config, name, pin } = self;
        let fingerprint = pin.as_ref().map(Pin::fingerprint);
        let is_lost = Arc::new(AtomicBool::new(false));
        let on_event = on_event(id, Arc::clone(mailbox), Arc::clone(&is_lost));
        let (station, absent) = Station::start(StationSpec::of(&config, pin), on_event, absence)?;
        let station = Arc::new(station);
        mailbox.say(Message::Opened(id, station.clone()));
        let keys = Vec::new();
        let held = Held { id, config, name, pin: fingerprint, station, is_lost, keys };
        Ok(Opened { held, absent })
    }
}

/// Carries what a station says into the mailbox.
fn on_event(id: StationId, mailbox: Arc<Mailbox>, is_lost: Arc<AtomicBool>) -> OnEvent {
    Arc::new(move |event| {
        match &event {
            Event::Up { .. } => is_lost.store(false, Ordering::Release),
            Event::Down { remedy: Remedy::Fatal, .. } => is_lost.store(true, Ordering::Release),
            _ => {}
        }
        mailbox.say(Message::Said(id, event));
    })
}

/// May they lead to the same token, and log in to it with the same PIN?
fn may_be_one(one: &Opening, other: &Opening) -> bool {
    let pin = |opening: &Opening| opening.pin.as_ref().map(Pin::fingerprint);
    pin(one).is_some()
        && pin(one) == pin(other)
        && !are_different(&one.config.token, &other.config.token)
}

/// Do they want something else of a token, each?
fn are_different(one: &Uri, other: &Uri) -> bool {
    type Part = fn(&Uri) -> Option<&str>;
    let parts: [Part; 4] = [Uri::token, Uri::serial, Uri::manufacturer, Uri::model];
    parts
        .into_iter()
        .any(|part| part(one).zip(part(other)).is_some_and(|(wanted, of_other)| wanted != of_other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_different_where_their_uris_contradict_each_other() {
        let uri = |text| Uri::parse(text).expect("a URI");
        for (one, other, different) in [
            ("pkcs11:token=a", "pkcs11:token=b", true),
            ("pkcs11:token=a;serial=1", "pkcs11:token=a;serial=2", true),
            ("pkcs11:token=a;serial=1", "pkcs11:token=a", false),
            ("pkcs11:token=a", "pkcs11:serial=1", false),
            ("pkcs11:slot-id=1", "pkcs11:slot-id=2", false),
        ] {
            assert_eq!(are_different(&uri(one), &uri(other)), different, "{one} {other}");
        }
    }
}
