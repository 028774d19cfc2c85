//! A configuration's tokens and keys, opened and checked, and not served yet.

use std::sync::Arc;

use countersign_hsm::{Pin, Remedy, Scheme};
use countersign_proto::{ServerKey, TokenKey, TokenKeyId};
use rustls::SignatureScheme;

use super::checking::PublicKey;
use super::dispatch::{Key, StationId};
use super::mailbox::{Mailbox, Message};
use super::opening::{self, Opened, Opening};
use super::{Held, HeldKey, StationKey, Tokens, dispatcher, name};
use crate::config::{
    Config, ConfigError, ConfigErrors, TokenConfig, TokenKeyConfig, TokenKeyPlace,
};
use crate::pin;
use crate::signing::station::{Absence, KeySpec, Station, StationError, harden};

/// Keys that are named for each token that is absent.
const KEYS_SHOWN: usize = 16;

/// What a configuration needs and is not there yet. Dropping it closes it.
pub(crate) struct PreparedTokens {
    mailbox: Arc<Mailbox>,
    absence: Absence,
    stations: Vec<Held>,
    /// Keys that were looked up or, in tokens that are absent, not.
    found: Vec<(StationId, Arc<Station>, StationKey)>,
    keys: Vec<HeldKey>,
    /// The station of each token, or why there is none.
    opened: Vec<(Arc<TokenConfig>, Result<StationId, String>)>,
    absent: Vec<Absent>,
}

/// A token that is not there, and without which identities do for a time.
pub(super) struct Absent {
    pub(super) id: StationId,
    pub(super) problem: String,
    /// No key in it can be looked up now.
    is_gone: bool,
    /// Where the keys are configured that are not to be had.
    pub(super) keys: Vec<String>,
}

impl Tokens {
    /// Opens every token that a configuration names and that is not open, and finds every key. The identities of
    /// the configuration get their keys. With [`Absence::Awaited`] it is enough for an identity to have its key in
    /// one token: others that are not there for a reason that may pass are waited for.
    ///
    /// # Errors
    /// Everything that is wrong, each at its place; then nothing has changed.
    pub(crate) fn prepare(
        &mut self,
        config: &mut Config,
        absence: Absence,
    ) -> Result<PreparedTokens, ConfigErrors> {
        let mut prepared = PreparedTokens {
            mailbox: Arc::clone(&self.mailbox),
            absence,
            stations: Vec::new(),
            found: Vec::new(),
            keys: Vec::new(),
            opened: Vec::new(),
            absent: Vec::new(),
        };
        self.open(config, &mut prepared);
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

    /// The key of an identity: as it is known, or found in each of its tokens that is there.
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
            let found = prepared.station(&place.token).and_then(|station| {
                let key = self.find(station, place, expected, prepared)?;
                Ok((station, key))
            });
            match found {
                Ok((station, key)) => {
                    places.push((station, key.number));
                    match key.schemes {
                        Some(own) => {
                            let both = schemes.get_or_insert_with(|| own.clone());
                            both.retain(|scheme| own.contains(scheme));
                        }
                        None => errors.push((true, place.wrong(prepared.problem(station)))),
                    }
                }
                Err(problem) => errors.push((false, place.wrong(problem))),
            }
        }
        // Who has no token at all misses each; one that is absent beside others is no error.
        errors.retain(|(is_absent, _)| !is_absent || schemes.is_none());
        if !errors.is_empty() {
            return Err(errors.into_iter().map(|(_, error)| error).collect());
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

    /// Sees to a station for each token that the configuration names: as it stands, or opened now.
    fn open(&mut self, config: &Config, prepared: &mut PreparedTokens) {
        let mut openings: Vec<Opening> = Vec::new();
        let identities = config.listeners.iter().flat_map(|listener| &listener.identities);
        for place in identities.flat_map(|identity| &identity.token_key).flat_map(|key| &key.places)
        {
            let config = &place.token;
            let is_known = prepared.opened.iter().any(|(known, _)| known == config);
            if is_known || openings.iter().any(|opening| opening.config == *config) {
                continue;
            }
            match self.standing_or_new(config, &openings) {
                Ok(Standing::Open(id)) => prepared.opened.push((Arc::clone(config), Ok(id))),
                Ok(Standing::New(opening)) => openings.push(opening),
                Err(problem) => prepared.opened.push((Arc::clone(config), Err(problem))),
            }
        }
        let expected: Vec<_> = openings.iter().map(|opening| opening.id).collect();
        for (config, result) in opening::open_all(openings, prepared.absence, &self.mailbox) {
            let result = result.map_err(|error| error.to_string()).map(|opened| {
                let Opened { held, absent } = opened;
                let id = held.id;
                prepared.stations.push(held);
                let absent = absent.map(|error| Absent::new(id, error.problem, true));
                prepared.absent.extend(absent);
                id
            });
            prepared.opened.push((config, result));
        }
        for id in expected {
            if !prepared.stations.iter().any(|held| held.id == id) {
                self.mailbox.say(Message::Release(id));
            }
        }
    }

    /// The station that a token has, or what it takes to open one.
    fn standing_or_new(
        &mut self,
        config: &Arc<TokenConfig>,
        openings: &[Opening],
    ) -> Result<Standing, String> {
        self.start().map_err(|error| format!("tokens cannot be used: {error}"))?;
        let pin = config.pin_source.as_ref().map(pin::read).transpose();
        let pin = pin.map_err(|error| error.to_string())?;
        let fingerprint = pin.as_ref().map(Pin::fingerprint);
        if let Some(held) = self.stations.iter().find(|held| held.is(config, fingerprint)) {
            return Ok(Standing::Open(held.id));
        }
        let id = self.number();
        let held = self.stations.iter().map(|held| (&*held.name, &*held.config));
        let name = name(config, held.chain(openings.iter().map(|one| (&*one.name, &*one.config))));
        let counters = self.ledger.of(&name);
        self.mailbox.say(Message::Expect {
            station: id,
            name: Arc::clone(&name),
            counters,
            queue: config.queue,
        });
        Ok(Standing::New(Opening { id, config: Arc::clone(config), name, pin }))
    }

    /// A key in a station: as it is known, or looked up now; or expected, where the token is absent.
    fn find(
        &mut self,
        id: StationId,
        place: &TokenKeyPlace,
        expected: &TokenKey,
        prepared: &mut PreparedTokens,
    ) -> Result<StationKey, String> {
        let number = self.number();
        let mut held = self.stations.iter().chain(&prepared.stations).filter(|held| held.id == id);
        let Some(held) = held.next() else { return Err("its station is gone".to_owned()) };
        let is_it = |key: &&StationKey| key.uri == place.uri && *key.spki == *expected.spki();
        let found = prepared.found.iter().filter(|(of, ..)| *of == id).map(|(.., key)| key);
        let known = held.keys.iter().chain(found).filter(is_it);
        let known = known.max_by_key(|key| key.schemes.is_some()).cloned();
        if let Some(key) = known.as_ref().filter(|key| key.schemes.is_some()) {
            return Ok(key.clone());
        }
        let station = Arc::clone(&held.station);
        let spki: Arc<[u8]> = expected.spki().into();
        let spec = KeySpec { id: number, uri: place.uri.clone(), spki: spki.to_vec() };
        let mut key = StationKey { number, uri: place.uri.clone(), spki, schemes: None };
        if !prepared.is_absent(id) {
            match station.key(spec.clone()) {
                Ok(facts) => key.schemes = Some(facts.schemes),
                // It was served without before.
                Err(error) if known.is_some() => prepared.note_absent(id, error),
                Err(error) => {
                    let was_there = self.stations.iter().any(|held| held.id == id);
                    let is_awaited = was_there || prepared.absence == Absence::Awaited;
                    if !is_awaited || error.remedy == Remedy::Fatal {
                        return Err(error.problem);
                    }
                    prepared.note_absent(id, error);
                }
            }
        }
        if key.schemes.is_none() {
            prepared.note_key(id, place);
            if let Some(known) = known {
                return Ok(known);
            }
            station.expect_key(spec).map_err(|error| error.problem)?;
        }
        prepared.found.push((id, station, key.clone()));
        Ok(key)
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

/// What there is for a token.
enum Standing {
    Open(StationId),
    New(Opening),
}

impl Absent {
    fn new(id: StationId, problem: String, is_gone: bool) -> Self {
        Self { id, problem, is_gone, keys: Vec::new() }
    }
}

impl PreparedTokens {
    fn station(&self, config: &TokenConfig) -> Result<StationId, String> {
        let mut opened = self.opened.iter();
        let opened = opened.find_map(|(known, result)| (**known == *config).then_some(result));
        opened.cloned().unwrap_or_else(|| Err("its station is gone".to_owned()))
    }

    fn is_absent(&self, id: StationId) -> bool {
        self.absent.iter().any(|absent| absent.id == id && absent.is_gone)
    }

    /// Why a token is absent.
    fn problem(&self, id: StationId) -> &str {
        let absent = self.absent.iter().rfind(|absent| absent.id == id);
        absent.map_or("the token is not there", |absent| &absent.problem)
    }

    /// A key in it is not to be had.
    fn note_absent(&mut self, id: StationId, error: StationError) {
        self.absent.push(Absent::new(id, error.problem, error.remedy != Remedy::Fatal));
    }

    fn note_key(&mut self, id: StationId, place: &TokenKeyPlace) {
        let Some(absent) = self.absent.iter_mut().rfind(|absent| absent.id == id) else { return };
        let place = place.to_string();
        if absent.keys.len() < KEYS_SHOWN && !absent.keys.contains(&place) {
            absent.keys.push(place);
        }
    }

    /// Makes it part of what is served.
    pub(super) fn hand_over(mut self, tokens: &mut Tokens) {
        for held in &self.stations {
            tokens.ledger.show(&held.name);
            self.mailbox.say(Message::Serve(held.id));
        }
        tokens.stations.append(&mut self.stations);
        for (id, _, key) in std::mem::take(&mut self.found) {
            if let Some(held) = tokens.stations.iter_mut().find(|held| held.id == id) {
                held.keys.push(key);
            }
        }
        for absent in std::mem::take(&mut self.absent) {
            if !absent.keys.is_empty() {
                tokens.tell_absent(&absent);
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
