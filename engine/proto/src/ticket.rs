//! Session tickets (RFC 9846 §4.6.1, RFC 5077): what is in them, what seals them, why one is declined.
//!
//! ```text
//! ticket   = version  key name  worker  domain tag  number | sealed(contents) tag
//! contents = terms of ours  where the client's certificates stand | rustls' session, with the certificates
//! ```
//!
//! What stands before the bar is in clear and authenticated. The session's secrets and the client's
//! certificates are sealed with AES-256-GCM under a key that is derived from the ticket key for one
//! worker's life and one trust domain, with the ticket's number as nonce. Whoever has a ticket key can
//! make tickets for any client: it is kept like a CA's key.

mod contents;
mod key;
mod keys;

pub use self::contents::is_readable;
pub(crate) use self::contents::{Contents, locate};
pub use self::key::{KEY_BYTES_MAX, KEY_BYTES_MIN, TicketKey, TicketKeyError};
pub use self::keys::{TicketKeys, WORKER_BYTES};

use std::time::Duration;

/// Whether sessions are resumed, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// Tickets that a client gets at the end of a handshake of TLS 1.3; one in TLS 1.2. With none,
    /// nothing is resumed.
    pub tickets: usize,
    /// How long a ticket is good.
    pub ticket_lifetime: Duration,
    /// How long after a client has proven possession of its key sessions that go back to that proof are
    /// resumed.
    pub lineage: Duration,
}

impl Resumption {
    /// No tickets, no resumption.
    pub const OFF: Self =
        Self { tickets: 0, ticket_lifetime: Duration::ZERO, lineage: Duration::ZERO };
}

impl Default for Resumption {
    fn default() -> Self {
        Self {
            tickets: 1,
            ticket_lifetime: Duration::from_secs(12 * 3_600),
            lineage: Duration::from_secs(24 * 3_600),
        }
    }
}

macro_rules! declined {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {
        /// Why a ticket that a client offered did not resume: the handshake went on as a full one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Declined {
            $($(#[$doc])* $name,)*
        }

        impl Declined {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name in metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

declined! {
    /// The ticket, or a certificate of the client's path, is past its end, or not valid yet.
    Expired = "expired";
    /// A certificate of the client's path was revoked.
    Revoked = "revoked";
    /// OCSP is to be asked about the client, and nothing is known that may be used again, or that its
    /// responder does not know it.
    StatusUnknown = "status_unknown";
    /// Policy does not let the client in any more.
    PolicyChanged = "policy_changed";
    /// The CAs, or the bounds on a chain, are others than those that the client was verified by.
    TrustChanged = "trust_changed";
    /// The client proved possession of its key too long ago.
    LineageTooOld = "lineage_too_old";
    /// It was issued on another listener, for another server name or under another `client_auth`.
    OtherHost = "other_host";
    /// No key of ours has sealed it; the key was dropped, or the ticket is somebody else's.
    UnknownKey = "unknown_key";
    /// It names a key of ours and does not authenticate, or cannot be read.
    Malformed = "malformed";
    /// Everything held, and the session could not go on: another suite, or no PSK with (EC)DHE.
    Unusable = "unusable";
}

#[cfg(test)]
mod tests;
