//! From what was typed to what the engine runs on. Goes on after every error, so that all are found.

mod address;
mod credentials;
mod identity;
mod ocsp;
mod proxy;
mod revocation;
mod rules;
mod server_name;
pub(super) mod tickets;
mod tls;
mod tokens;
mod upstream;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_proto::{ChainCacheLimits, Consequence, Handoff, Withdrawal};

use super::errors::{At, ConfigErrors, Problems, Spot, quoted};
use super::keys;
use super::raw::{Raw, RawLimits, RawListener};
use super::{Config, ListenerConfig, MAX_HANDSHAKES};
use crate::cpus;
use crate::telemetry::LoggedConnections;

/// How long a stop waits for connections, by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A stop may not be asked to take longer.
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The longest name of a listener, in bytes.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn resolve(raw: &Raw, mut problems: Problems<'_>) -> Result<Config, ConfigErrors> {
    let (workers, cpus) = workers(raw, &mut problems);
    for connections in [&raw.max_connections, &raw.max_handshakes] {
        in_bounds(connections.as_ref(), &keys::CONNECTIONS, &mut problems);
    }
    let drain_timeout = raw.drain_timeout.as_ref().map_or(DRAIN_TIMEOUT, |at| {
        if at.value > DRAIN_TIMEOUT_MAX {
            problems.error(&at.spot, format_args!("it is {:?}; it must be 24h at most", at.value));
        }
        at.value
    });
    let log_connections = match raw.log_connections.as_ref().map(|at| at.value.as_str()) {
        Some("problems") => LoggedConnections::Problems,
        _ => LoggedConnections::All,
    };
    let admin = raw.admin.as_ref().and_then(|at| address::admin(at, &mut problems));
    names(&raw.listeners, &mut problems);
    let tokens = tokens::settings(raw, &mut problems);
    let listeners: Vec<_> = raw
        .listeners
        .iter()
        .flat_map(|listener| self::listener(listener, raw, &tokens, &mut problems))
        .collect();
    address::check_conflicts(raw, &mut problems);
    identity::check_trust_domains(raw, &listeners, &mut problems);
    let (ticket_keys, ticket_key_lifetime) = tickets::keys(raw, &listeners, &tokens, &mut problems);
    let max_connections = raw.max_connections.as_ref().map(|at| at.value);
    let max_handshakes = raw.max_handshakes.as_ref().map_or(MAX_HANDSHAKES, |at| at.value);
    let defaults = ChainCacheLimits::default();
    let chain_cache = ChainCacheLimits {
        chains: raw.cached_chains.as_ref().map_or(defaults.chains, |at| at.value),
        bytes: raw.cached_chain_bytes.as_ref().map_or(defaults.bytes, |at| at.value),
    };
    problems.finish().map(|warnings| Config {
        listeners,
        workers,
        cpus,
        max_connections,
        max_handshakes,
        chain_cache,
        drain_timeout,
        log_connections,
        ticket_keys,
        ticket_key_lifetime,
        tokens: tokens.rules,
        admin,
        warnings,
    })
}

/// One listener for each of its addresses; none where something about it is wrong.
fn listener(
    raw: &RawListener,
    whole: &Raw,
    tokens: &tokens::Settings,
    problems: &mut Problems<'_>,
) -> Vec<ListenerConfig> {
    let addresses = address::listen(raw, problems);
    let upstream = upstream::resolve(raw, problems);
    let announce = proxy::announce(raw, upstream.as_ref(), problems);
    let proxy_from = proxy::balancers(raw, problems);
    let rules = rules::resolve(raw, problems);
    limits(&raw.limits, problems);
    connections(raw, whole, problems);
    let resumption = tickets::resumption(raw, problems);
    let tls = tls::resolve(raw, problems);
    let live = rules.as_ref().map(|rules| rules.live.as_slice());
    let identities = identity::resolve_all(raw, tls.as_ref(), live, tokens, problems);
    let (Some(upstream), Some(rules), Some(tls), Some(identities)) =
        (upstream, rules, tls, identities)
    else {
        return Vec::new();
    };
    let (Some(announce), Some(proxy_from)) = (announce, proxy_from) else { return Vec::new() };
    let listeners: Vec<_> = addresses
        .into_iter()
        .map(|address| ListenerConfig {
            name: raw.name.as_ref().map_or_else(|| address.to_string(), |name| name.value.clone()),
            address,
            identities: identities.clone(),
            strict_sni: raw.strict_sni,
            tls: tls.clone(),
            rules: rules.live.clone(),
            shadow_rules: rules.shadow.clone(),
            upstream: upstream.clone(),
            announce,
            withdrawal: withdrawal(raw),
            proxy_from: proxy_from.clone(),
            resumption,
            max_connections: raw.max_connections.as_ref().map(|at| at.value),
            limits: raw.limits.values.clone(),
        })
        .collect();
    // Each part has been looked at on its own; this is whether they go together, as a worker will ask.
    if let Some(listener) = listeners.first().filter(|_| problems.is_empty()) {
        for (raw, identity) in raw.identities.iter().zip(&listener.identities) {
            problems.keep(&raw.spot, listener.identity(identity, Handoff::default(), None));
        }
    }
    listeners
}

/// What becomes of a connection whose client would not be let in any more.
fn withdrawal(raw: &RawListener) -> Withdrawal {
    let consequence = |said: &Option<At<String>>| match said.as_ref().map(|at| at.value.as_str()) {
        Some("keep") => Consequence::Keep,
        Some("drain") => Consequence::Drain,
        _ => Consequence::Close,
    };
    Withdrawal { revoked: consequence(&raw.on_revoked), expired: consequence(&raw.on_expired) }
}

/// Names stand for listeners in logs and metrics: they are unique, and plain.
fn names(listeners: &[RawListener], problems: &mut Problems<'_>) {
    let mut known: HashMap<&str, &Spot> = HashMap::new();
    for At { value, spot } in listeners.iter().filter_map(|listener| listener.name.as_ref()) {
        let is_plain = value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || [b'.', b'_', b'-'].contains(&byte));
        if value.is_empty() || value.len() > NAME_BYTES_MAX || !is_plain {
            problems.error(
                spot,
                format_args!(
                    "{} cannot be a name; a name has 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`",
                    quoted(value)
                ),
            );
        }
        if let Some(first) = known.get(value.as_str()) {
            let line = problems.line(first);
            problems.error(
                spot,
                format_args!(
                    "{} is the name of another listener{line}; each needs its own",
                    quoted(value)
                ),
            );
        } else {
            known.insert(value, spot);
        }
    }
}

fn limits(raw: &RawLimits, problems: &mut Problems<'_>) {
    for wrong in raw.values.check().err().unwrap_or_default() {
        let spot = raw.spots.get(wrong.name).cloned();
        let spot = spot.unwrap_or_else(|| Spot::default().absent(wrong.name));
        problems.error(&spot, format_args!("it is {}; it must be {}", wrong.value, wrong.bounds));
    }
}

fn connections(raw: &RawListener, whole: &Raw, problems: &mut Problems<'_>) {
    if let (Some(own), Some(all)) = (&raw.max_connections, &whole.max_connections)
        && own.value > all.value
    {
        let line = problems.line(&all.spot);
        problems.warning(
            &own.spot,
            format_args!(
                "it is never reached: a worker has {} connections at most, for all listeners{line}",
                all.value
            ),
        );
    }
}

/// A file's numbers have been held to their bounds already, the command line's not yet.
fn in_bounds(at: Option<&At<usize>>, bounds: &RangeInclusive<usize>, problems: &mut Problems<'_>) {
    if let Some(At { value, spot }) = at.filter(|at| !bounds.contains(&at.value)) {
        problems.error(
            spot,
            format_args!("it is {value}; it must be {} to {}", bounds.start(), bounds.end()),
        );
    }
}

fn workers(raw: &Raw, problems: &mut Problems<'_>) -> (usize, Vec<usize>) {
    let usable = cpus::usable();
    in_bounds(raw.workers.as_ref(), &(1..=cpus::WORKERS_MAX), problems);
    let pinned = match &raw.cpus {
        None => None,
        Some(At { value, spot }) => match problems.keep(spot, cpus::parse(value)) {
            None => return (1, Vec::new()),
            Some(list) => {
                let absent: Vec<_> = list.iter().filter(|cpu| !usable.contains(cpu)).collect();
                if !absent.is_empty() {
                    problems.error(
                        spot,
                        format_args!(
                            "CPUs {absent:?} are not usable by this process; usable are {usable:?}"
                        ),
                    );
                }
                Some(list)
            }
        },
    };
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = raw
        .workers
        .as_ref()
        .map_or_else(|| pinned.as_ref().map_or(allowed, Vec::len), |at| at.value);
    let cpus = match pinned {
        Some(list) => list,
        // A quota below the mask means that others run on these CPUs too: the scheduler knows better.
        None if workers <= usable.len() && allowed == usable.len() => usable,
        None => Vec::new(),
    };
    (workers, cpus)
}
