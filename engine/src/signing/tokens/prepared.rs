//! A configuration's tokens and keys, opened and checked, and not served yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_hsm::{Remedy, Scheme};
use countersign_proto::{ServerKey, TokenKey, TokenKeyId};
use rustls::SignatureScheme;

use super::checking::PublicKey;
use super::dispatch::{Key, StationId};
use super::mailbox::{Mailbox, Message};
use super::{Held, HeldKey, StationKey, Tokens, dispatcher, name};
use crate::config::{
    Config, ConfigError, ConfigErrors, TokenConfig, TokenKeyConfig, TokenKeyPlace,
};
use crate::pin;
use crate::signing::station::{Event, KeySpec, OnEvent, Station, StationSpec, harden};

/// What a configuration needs and is not there yet. Dropping it closes it.
pub(crate) struct PreparedTokens {
    mailbox: Arc<Mailbox>,
    stations: Vec<Held>,
    /// Keys in stations that were there before.
    found: Vec<(StationId, Arc<Station>, StationKey)>,
    keys: Vec<HeldKey>,
    /// What could not be opened, and why: it is not tried twice.
    failed: Vec<(Arc<TokenConfig>, String)>,
}

impl Tokens {
    /// Opens every token that a configuration names and that is not open, and finds every key. The identities of
    /// the configuration get their keys.
    ///
    /// # Errors
    /// Everything that is wrong, each at its place; then nothing has changed.
    pub(crate) fn prepare(&mut self, config: &mut Config) -> Result<PreparedTokens, ConfigErrors> {
        let mut prepared = PreparedTokens {
            mailbox: Arc::clone(&self.mailbox),
            stations: Vec::new(),
            found: Vec::new(),
            keys: Vec::new(),
            failed: Vec::new(),
        };
        let mut errors: Vec<ConfigError> = Vec::new();
        for identity in config.listeners.iter_mut().flat_map(|listener| &mut listener.identities) {
            let Some(places) = identity.token_key.clone() else { continue };
            let ServerKey::Token(expected) = &identity.credentials.key else { continue };
            match self.key(&places, expected, &mut prepared) {
                Ok(key) => identity.credentials.key = ServerKey::Token(key),
                // An identity stands once for each address of its listener.
                Err(wrong) => {
                    for error in wrong {
                        if !errors.contains(&error) {
                            errors.push(error);
                        }
                    }
                }
            }
        }
        if errors.is_empty() {
            return Ok(prepared);
        }
        self.forget_names();
        Err(errors.into())
    }

    /// The key of an identity: as it is known, or found in each of its tokens.
    fn key(
        &mut self,
        config: &TokenKeyConfig,
        expected: &TokenKey,
        prepared: &mut PreparedTokens,
    ) -> Result<TokenKey, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut places = Vec::with_capacity(config.places.len());
        let mut schemes: Option<Vec<Scheme>> = None;
        for place in &config.places {
            let found = self
                .station(&place.token, prepared)
                .and_then(|station| self.find(station, place, expected, prepared));
            match found {
                Ok((station, key)) => {
                    places.push((station, key.number));
                    let mut both = schemes.unwrap_or_else(|| key.schemes.clone());
                    both.retain(|scheme| key.schemes.contains(scheme));
                    schemes = Some(both);
                }
                Err(problem) => errors.push(place.wrong(problem)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let known = self.keys.iter().chain(&prepared.keys);
        let mut known = known.filter(|held| held.places == places);
        if let Some(held) = known.find(|held| held.key.spki() == expected.spki()) {
            return Ok(held.key.clone());
        }
        let usable: Vec<_> = schemes.iter().flatten().map(|scheme| scheme.code()).collect();
        let usable: Vec<_> = usable.into_iter().map(SignatureScheme::from).collect();
        let wrong = |problem: String| config.places.first().map(|at| at.wrong(problem));
        let id = TokenKeyId(self.number());
        let key = expected
            .registered(id, &usable)
            .map_err(|error| Vec::from_iter(wrong(error.to_string())))?;
        prepared.keys.push(HeldKey { key: key.clone(), places });
        Ok(key)
    }

    /// The station of a token: as it stands, or opened now.
    fn station(
        &mut self,
        config: &Arc<TokenConfig>,
        prepared: &mut PreparedTokens,
    ) -> Result<StationId, String> {
        if let Some((_, problem)) = prepared.failed.iter().find(|(failed, _)| failed == config) {
            return Err(problem.clone());
        }
        let opened = self.open(config, prepared);
        if let Err(problem) = &opened {
            prepared.failed.push((Arc::clone(config), problem.clone()));
        }
        opened
    }

    fn open(
        &mut self,
        config: &Arc<TokenConfig>,
        prepared: &mut PreparedTokens,
    ) -> Result<StationId, String> {
        self.start().map_err(|error| format!("tokens cannot be used: {error}"))?;
        let pin = config.pin_source.as_ref().map(pin::read).transpose();
        let pin = pin.map_err(|error| error.to_string())?;
        let fingerprint = pin.as_ref().map(countersign_hsm::Pin::fingerprint);
        let mut open = self.stations.iter().chain(&prepared.stations);
        if let Some(held) = open.find(|held| held.is(config, fingerprint)) {
            return Ok(held.id);
        }
        let id = self.number();
        let name = name(config, self.stations.iter().chain(&prepared.stations));
        let counters = self.ledger.of(&name);
        self.mailbox.say(Message::Expect {
            station: id,
            name: Arc::clone(&name),
            counters,
            queue: config.queue,
        });
        let is_lost = Arc::new(AtomicBool::new(false));
        let on_event = on_event(id, Arc::clone(&self.mailbox), Arc::clone(&is_lost));
        match Station::open(StationSpec::of(config, pin), on_event) {
            Ok(station) => {
                let station = Arc::new(station);
                self.mailbox.say(Message::Opened(id, station.clone()));
                let (config, pin, keys) = (Arc::clone(config), fingerprint, Vec::new());
                prepared.stations.push(Held { id, config, name, pin, station, is_lost, keys });
                Ok(id)
            }
            Err(error) => {
                self.mailbox.say(Message::Release(id));
                Err(error.to_string())
            }
        }
    }

    /// A key in a station: as it is known, or looked up now.
    fn find(
        &mut self,
        id: StationId,
        place: &TokenKeyPlace,
        expected: &TokenKey,
        prepared: &mut PreparedTokens,
    ) -> Result<(StationId, StationKey), String> {
        let is_it = |key: &&StationKey| key.uri == place.uri && *key.spki == *expected.spki();
        let mut held = self.stations.iter().chain(&prepared.stations).filter(|held| held.id == id);
        let Some(held) = held.next() else { return Err("its station is gone".to_owned()) };
        let found = prepared.found.iter().filter(|(of, ..)| *of == id).map(|(.., key)| key);
        if let Some(key) = held.keys.iter().chain(found).find(is_it) {
            return Ok((id, key.clone()));
        }
        let station = Arc::clone(&held.station);
        let number = self.number();
        let spki: Arc<[u8]> = expected.spki().into();
        let spec = KeySpec { id: number, uri: place.uri.clone(), spki: spki.to_vec() };
        let facts = station.key(spec).map_err(|error| error.to_string())?;
        let key = StationKey { number, uri: place.uri.clone(), spki, schemes: facts.schemes };
        prepared.found.push((id, station, key.clone()));
        Ok((id, key))
    }

    /// Before the first PIN is read.
    fn start(&mut self) -> std::io::Result<()> {
        if self.dispatcher.is_none() {
            harden()?;
            self.dispatcher = Some(dispatcher::start(&self.mailbox, self.log.clone())?);
        }
        Ok(())
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

impl PreparedTokens {
    /// Makes it part of what is served.
    pub(super) fn hand_over(mut self, tokens: &mut Tokens) {
        tokens.stations.append(&mut self.stations);
        for (id, _, key) in std::mem::take(&mut self.found) {
            if let Some(held) = tokens.stations.iter_mut().find(|held| held.id == id) {
                held.keys.push(key);
            }
        }
        for held in std::mem::take(&mut self.keys) {
            // What rustls takes for a certificate has a public key.
            let Some(public_key) = PublicKey::of(held.key.spki()) else { continue };
            let key = Key { places: held.places.clone(), public_key: Arc::new(public_key) };
            tokens.mailbox.say(Message::AddKey(held.key.id(), key));
            tokens.keys.push(held);
        }
    }
}

impl Drop for PreparedTokens {
    fn drop(&mut self) {
        for held in &self.stations {
            self.mailbox.say(Message::Release(held.id));
        }
        for (_, station, key) in &self.found {
            station.forget(key.number);
        }
    }
}
