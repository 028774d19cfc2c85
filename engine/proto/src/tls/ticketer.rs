//! What rustls asks for tickets: it has nothing of its own, its connection answers.

use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::seam::{self, Reply, Report, Session};

/// Speaks to the connection whose step runs.
#[derive(Debug)]
pub(super) struct Ticketer {
    enabled: bool,
}

impl Ticketer {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.enabled
    }

    /// Asked behind every [`Self::encrypt`].
    fn lifetime(&self) -> u32 {
        match seam::report(Report::TicketLifetime) {
            Ok(Reply::TicketLifetime(seconds)) => seconds,
            _ => 0,
        }
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let session = Session(Zeroizing::new(plain.to_vec()));
        match seam::report(Report::IssueTicket(session)) {
            Ok(Reply::Ticket(ticket)) => ticket,
            _ => None,
        }
    }

    /// The client is not known to have the session's secret yet: what can be said here is no.
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        match seam::report(Report::OpenTicket(cipher.to_vec())) {
            Ok(Reply::Session(Some(Session(mut plain)))) => Some(std::mem::take(&mut *plain)),
            _ => None,
        }
    }
}
