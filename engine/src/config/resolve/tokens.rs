//! Keys in tokens: URIs parsed, and each with what it does not say itself. Nobody speaks to a token here:
//! that is done by whoever starts an engine, or checks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_hsm::{Module, PinSource, Uri};

use crate::config::errors::{At, Problems, Spot};
use crate::config::raw::{Raw, RawKey, RawListener, RawTokens};
use crate::config::tokens::{
    TOKEN_OPERATION_TIMEOUT, TokenConfig, TokenIsolation, TokenKeyConfig, TokenKeyPlace,
    TokenRules, VerifyOwn,
};

/// Sessions that are used at most, and at least, by default.
const MAX_SESSIONS: usize = 64;
const LANES: usize = 4;

/// Operations that wait for a token, by default.
const QUEUE: usize = 1_024;

/// Tokens that one key may be in.
const PLACES_MAX: usize = 16;

/// Variables that a module may be given.
const VARIABLES_MAX: usize = 64;

const TIMEOUT_LEAST: Duration = Duration::from_millis(10);
const TIMEOUT_MOST: Duration = Duration::from_secs(60);
const HEDGE_LEAST: Duration = Duration::from_millis(1);

/// The table `[tokens]`, resolved: what holds where a URI does not say otherwise.
pub(super) struct Settings {
    module: Option<PathBuf>,
    pin_source: Option<PinSource>,
    isolation: TokenIsolation,
    lanes: usize,
    max_sessions: usize,
    queue: usize,
    environment: Vec<String>,
    pub(super) rules: TokenRules,
}

pub(super) fn settings(raw: &Raw, problems: &mut Problems<'_>) -> Settings {
    let RawTokens { module, pin_source, isolation, max_sessions, queue, verify_own, .. } =
        &raw.tokens;
    let is = |at: &Option<At<String>>, word| at.as_ref().is_some_and(|at| at.value == word);
    let pin_source =
        pin_source.as_ref().and_then(|at| problems.keep(&at.spot, PinSource::parse(&at.value)));
    let max_sessions = max_sessions.as_ref().map_or(MAX_SESSIONS, |at| at.value);
    Settings {
        module: module.as_ref().map(|at| at.value.clone()),
        pin_source,
        isolation: if is(isolation, "thread") {
            TokenIsolation::Thread
        } else {
            TokenIsolation::Process
        },
        lanes: lanes(raw, max_sessions, problems),
        max_sessions,
        queue: queue.as_ref().map_or(QUEUE, |at| at.value),
        environment: environment(raw, problems),
        rules: TokenRules {
            verify_own: if is(verify_own, "always") {
                VerifyOwn::Always
            } else {
                VerifyOwn::Sampled
            },
            ..times(raw, problems)
        },
    }
}

/// Names of variables that the module is given in its process.
fn environment(raw: &Raw, problems: &mut Problems<'_>) -> Vec<String> {
    let Some(At { value, spot }) = &raw.tokens.environment else { return Vec::new() };
    if value.len() > VARIABLES_MAX {
        let count = value.len();
        problems
            .error(spot, format_args!("it has {count} names; it may have {VARIABLES_MAX} at most"));
    }
    for At { value, spot } in value {
        let is_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && value.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if !is_name {
            problems.error(
                spot,
                "it is no name of an environment variable; write the name alone, such as \"VENDOR_CONF\": its value is taken from the engine's environment",
            );
        }
    }
    value.iter().take(VARIABLES_MAX).map(|at| at.value.clone()).collect()
}

fn lanes(raw: &Raw, max_sessions: usize, problems: &mut Problems<'_>) -> usize {
    let Some(at) = &raw.tokens.lanes else { return LANES.min(max_sessions) };
    if at.value > max_sessions {
        problems.error(
            &at.spot,
            format_args!(
                "it is {}; it must be {max_sessions} at most, which is max_sessions",
                at.value
            ),
        );
    }
    at.value
}

/// A token's silence must be told from a limit of the handshake: the operation ends before the handshake
/// gives it up.
fn times(raw: &Raw, problems: &mut Problems<'_>) -> TokenRules {
    let has_token = |listener: &&RawListener| {
        let mut keys = listener.identities.iter().filter_map(|identity| identity.key.as_ref());
        keys.any(|at| matches!(at.value, RawKey::Tokens(_)))
    };
    let of_listeners = raw.listeners.iter().filter(has_token);
    let patience = of_listeners.map(|listener| listener.limits.values.operation_timeout).min();
    let operation_timeout = match (&raw.tokens.operation_timeout, patience) {
        (None, None) => TOKEN_OPERATION_TIMEOUT,
        (None, Some(patience)) => TOKEN_OPERATION_TIMEOUT.min(patience * 3 / 5),
        (Some(at), patience) => {
            if !(TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&at.value) {
                let problem = format!("it is {:?}; it must be 10ms to 60s", at.value);
                problems.error(&at.spot, problem);
            } else if let Some(patience) = patience.filter(|patience| at.value >= *patience) {
                problems.error(
                    &at.spot,
                    format_args!(
                        "it is {:?}; it must be shorter than listener.limits.operation_timeout, which is {patience:?}",
                        at.value
                    ),
                );
            }
            at.value
        }
    };
    let hedge_after = raw.tokens.hedge_after.as_ref().map(|at| {
        if !(HEDGE_LEAST..=operation_timeout).contains(&at.value) {
            problems.error(
                &at.spot,
                format_args!(
                    "it is {:?}; it must be 1ms to operation_timeout, which is {operation_timeout:?}",
                    at.value
                ),
            );
        }
        at.value
    });
    TokenRules { operation_timeout, hedge_after, ..TokenRules::default() }
}

impl Settings {
    /// A key of an identity, by its URIs.
    pub(super) fn key(
        &self,
        written: &[At<String>],
        certificate: Option<&At<PathBuf>>,
        problems: &mut Problems<'_>,
    ) -> Option<Arc<TokenKeyConfig>> {
        if written.len() > PLACES_MAX {
            let spot = written.get(PLACES_MAX).map_or_else(Spot::default, |at| at.spot.clone());
            problems.error(
                &spot,
                format_args!(
                    "there are {} of them; there may be {PLACES_MAX} at most",
                    written.len()
                ),
            );
            return None;
        }
        let mut places: Vec<TokenKeyPlace> = Vec::with_capacity(written.len());
        for at in written {
            let Some(place) = self.place(at, problems) else { continue };
            if places.iter().any(|known| known.uri == place.uri) {
                problems.error(&at.spot, "this key stands here already; take one of the two out");
                continue;
            }
            places.push(place);
        }
        let certificate = certificate.map(|at| at.value.clone()).unwrap_or_default();
        let is_whole = places.len() == written.len();
        is_whole.then(|| Arc::new(TokenKeyConfig { places, certificate }))
    }

    /// A key in one token, by its URI.
    pub(super) fn place(
        &self,
        at: &At<String>,
        problems: &mut Problems<'_>,
    ) -> Option<TokenKeyPlace> {
        let uri = problems.keep(&at.spot, Uri::parse(&at.value))?;
        let is_named = uri.module_path().is_some() || uri.module_name().is_some();
        let named =
            if is_named { Some(problems.keep(&at.spot, Module::find(&uri))?) } else { None };
        let Some(module) = named.or_else(|| self.module.clone()) else {
            problems.error(
                &at.spot,
                "it does not say which module speaks to the token; append `?module-path=/PATH.so`, or say `module = \"/PATH.so\"` in [tokens]",
            );
            return None;
        };
        if uri.object().is_none() && uri.id().is_none() {
            problems.error(
                &at.spot,
                "it names no key; add the key's label as `object=LABEL`, or its CKA_ID as `id=%01`",
            );
            return None;
        }
        if !module.is_file() {
            problems.error(
                &at.spot,
                format_args!(
                    "the module {} is no file; is the vendor's package installed?",
                    super::credentials::path(&module)
                ),
            );
            return None;
        }
        let token = Arc::new(TokenConfig {
            module,
            token: uri.token_only(),
            pin_source: uri.pin_source().cloned().or_else(|| self.pin_source.clone()),
            isolation: self.isolation,
            lanes: self.lanes,
            max_sessions: self.max_sessions,
            queue: self.queue,
            operation_timeout: self.rules.operation_timeout,
            environment: self.environment.clone(),
        });
        Some(TokenKeyPlace { token, uri, written: problems.place(&at.spot) })
    }
}
