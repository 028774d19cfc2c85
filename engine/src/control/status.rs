//! What the admin endpoint shows: gathered when asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use countersign_proto::{ClientIdentity, Limits};

use super::admin::Source;
use super::descriptors::Capacity;
use super::revocation::RevocationReader;
use crate::config::{Config, ListenerConfig};
use crate::ocsp::OcspReader;
use crate::signing::TokensReader;
use crate::telemetry::{Certificate, Facts, LogReader, render};

/// The state of the engine between its control thread and the admin endpoint.
pub(super) struct Status {
    log: LogReader,
    facts: Mutex<Facts>,
    healthy: AtomicBool,
    ready: AtomicBool,
    revocation: RevocationReader,
    ocsp: OcspReader,
    tokens: TokensReader,
}

impl Status {
    pub(super) fn new(
        log: LogReader,
        config: &Config,
        capacity: Capacity,
        revocation: RevocationReader,
        ocsp: OcspReader,
        tokens: TokensReader,
    ) -> Self {
        let facts = Facts {
            workers: config.workers,
            max_connections: capacity.connections,
            max_handshakes: config.max_handshakes,
            ..Facts::default()
        };
        let status = Self {
            log,
            facts: Mutex::new(facts),
            healthy: AtomicBool::new(true),
            ready: AtomicBool::new(false),
            revocation,
            ocsp,
            tokens,
        };
        status.published(config, 1);
        status
    }

    /// A configuration is served from now on.
    pub(super) fn published(&self, config: &Config, generation: u64) {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.generation = generation;
        facts.reloads = generation - 1;
        facts.loaded_at = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        facts.certificates = config.listeners.iter().flat_map(certificates).collect();
        facts.limits = config
            .listeners
            .iter()
            .flat_map(|listener| {
                limits(&listener.limits).map(|(name, value)| (listener.name.clone(), name, value))
            })
            .collect();
    }

    /// So many keys open tickets from now on.
    pub(super) fn ticket_keys(&self, count: usize) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).ticket_keys = count;
    }

    /// A changed file of ticket keys could not be taken.
    pub(super) fn ticket_keys_refused(&self) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).ticket_keys_refused += 1;
    }

    /// A reload has changed nothing.
    pub(super) fn reload_failed(&self) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).reloads_failed += 1;
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    pub(super) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Release);
    }
}

impl Source for Status {
    fn metrics(&self) -> String {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        facts.log_queue = self.log.queued();
        facts.revocation = self.revocation.facts();
        facts.ocsp = self.ocsp.facts();
        facts.tokens = self.tokens.facts();
        render(&self.log.totals(), &facts)
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.is_healthy()
    }
}

fn certificates(listener: &ListenerConfig) -> impl Iterator<Item = Certificate> {
    listener.identities.iter().filter_map(|identity| {
        let chain = &identity.credentials.chain;
        let end_entity = ClientIdentity::parse(chain.first()?).ok()?;
        // A certificate of the chain that cannot be read says nothing about its end.
        let ends =
            chain.iter().filter_map(|der| Some(ClientIdentity::parse(der).ok()?.not_after()));
        Some(Certificate {
            listener: listener.name.clone(),
            subject: end_entity.subject().to_owned(),
            serial: end_entity.serial().to_owned(),
            not_after: ends.min()?,
        })
    })
}

/// Every limit of a listener: its name, and seconds, bytes or a number.
fn limits(limits: &Limits) -> [(&'static str, f64); 15] {
    [
        ("client_hello_bytes", limits.client_hello_bytes as f64),
        ("chain_certificates", limits.chain_certificates as f64),
        ("chain_bytes", limits.chain_bytes as f64),
        ("relay_bytes", limits.relay_bytes as f64),
        ("drain_bytes", limits.drain_bytes as f64),
        ("drains", limits.drains as f64),
        ("signing_suspensions", limits.signing_suspensions as f64),
        ("lookup_suspensions", limits.lookup_suspensions as f64),
        ("handshake_timeout", limits.handshake_timeout.as_secs_f64()),
        ("operation_timeout", limits.operation_timeout.as_secs_f64()),
        ("connect_timeout", limits.connect_timeout.as_secs_f64()),
        ("idle_timeout", limits.idle_timeout.as_secs_f64()),
        ("half_closed_timeout", limits.half_closed_timeout.as_secs_f64()),
        ("drain_timeout", limits.drain_timeout.as_secs_f64()),
        ("withdrawal_timeout", limits.withdrawal_timeout.as_secs_f64()),
    ]
}
