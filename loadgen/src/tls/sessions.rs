//! The sessions of one client on one runtime. A TLS 1.3 ticket is handed out once (RFC 9846, appendix C.4).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// More than that are not kept for one client.
const TICKETS_MAX: usize = 256;

/// Sessions that wait to be offered. A runtime has its own, so the lock is never waited for.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    sessions: Mutex<Sessions>,
    offered: AtomicBool,
}

#[derive(Debug, Default)]
struct Sessions {
    tls13: Vec<Tls13ClientSessionValue>,
    tls12: Option<Tls12ClientSessionValue>,
}

impl Stock {
    /// Whether there is nothing to offer.
    pub(crate) fn is_empty(&self) -> bool {
        let sessions = self.sessions();
        sessions.tls13.is_empty() && sessions.tls12.is_none()
    }

    /// Whether a session was taken since this was asked last.
    pub(crate) fn was_offered(&self) -> bool {
        self.offered.swap(false, Ordering::Relaxed)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts sessions into the stock, offers none: for full handshakes.
#[derive(Debug)]
pub(crate) struct Keeping(pub(crate) Arc<Stock>);

/// Takes sessions from the stock and puts new ones there.
#[derive(Debug)]
pub(crate) struct Offering(pub(crate) Arc<Stock>);

impl ClientSessionStore for Keeping {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.sessions().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let tickets = &mut self.0.sessions().tls13;
        if tickets.len() < TICKETS_MAX {
            tickets.push(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

impl ClientSessionStore for Offering {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.sessions().tls12 = Some(value);
    }

    /// A TLS 1.2 session serves as often as the server takes it.
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let session = self.0.sessions().tls12.clone();
        self.0.offered.fetch_or(session.is_some(), Ordering::Relaxed);
        session
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.sessions().tls12 = None;
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        Keeping(Arc::clone(&self.0)).insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.0.sessions().tls13.pop();
        self.0.offered.fetch_or(ticket.is_some(), Ordering::Relaxed);
        ticket
    }
}
