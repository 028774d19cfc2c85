//! Every limit of a connection and of a worker, with the relations that must hold between them.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Largest TLS record on the wire: header, 2^14 bytes and the 2,048 bytes of expansion that TLS 1.2
/// allows (RFC 5246 §6.2.3; TLS 1.3 allows 256, RFC 9846 §5.2).
pub const RECORD_WIRE_BYTES: usize = 5 + 16_384 + 2_048;

/// What one received chunk holds at most; the driver's receive buffers are of this size.
pub const RECEIVE_BYTES: usize = 16_384;

/// What one received chunk holds at most of a connection whose last chunk was full.
pub const BULK_BYTES: usize = 262_144;

/// What a client's handshake messages may pile up to before rustls has one whole: the largest message
/// that it reads (64 KiB), in a few records.
pub const HANDSHAKE_INPUT_BYTES_MAX: usize = 80 * 1024;

/// What a receiver of our PROXY headers takes, as far as it can be configured: whole headers. nginx before 1.23.3
/// reads no more than the least; lengths of two bytes end at the most.
pub const PROXY_HEADER_BYTES: RangeInclusive<usize> = 107..=65_535;

/// The same of the value of one TLV at the top level of a header.
pub const PROXY_TLV_BYTES: RangeInclusive<usize> = 64..=65_535;

/// The longest PROXY header that is read from a balancer. Without TLVs none has more than 232 bytes (unix sockets,
/// proxy-protocol.txt section 2.2); this leaves room for a client's certificate among them.
pub const RECEIVED_PROXY_HEADER_BYTES_MAX: usize = 8 * 1024;
/// What the signatures in a client's chain that do not hold may cost: one by a P-256 key costs 1 (about
/// 60 us), by P-384 4, by P-521 8. With anchors of P-256, Ed25519 or RSA-2048 it is as many as the largest
/// chain can hold.
pub const FAILED_SIGNATURES_COST_MAX: usize = 16;

/// Names of a client's chain times the name constraints of its CAs: each comparison takes about 0.2 us.
pub const NAME_COMPARISONS_MAX: usize = 4_096;

/// More suspended handshakes than this per worker cannot be configured.
pub const SUSPENSIONS_MAX: usize = 4_096;

/// Tickets that are sent at the end of a handshake, at most.
pub const TICKETS_MAX: usize = 4;

/// Tickets of one ClientHello that are looked at; each costs a decryption, an authentic one the look at
/// its client's path.
pub const TICKETS_TRIED_MAX: usize = 4;

/// The largest ticket that is made, in bytes; a client with longer certificates gets none.
pub const TICKET_BYTES_MAX: usize = 32 * 1024;

/// Room that a ticket leaves in a ClientHello for everything else: with an X25519MLKEM768 share and
/// padding that is about 2 KB.
pub const HELLO_BESIDE_TICKET_BYTES: usize = 4 * 1024;

/// Certificates in a ticket.
pub const TICKET_CERTIFICATES_MAX: usize = CHAIN_CERTIFICATES_MAX;

/// How long a ticket may be good: "Servers MUST NOT use any value greater than 604800 seconds"
/// (RFC 9846 §4.6.1).
pub const TICKET_LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long sessions may go back to one proof of possession.
pub const TICKET_LINEAGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// OCSP answers that a worker remembers.
pub const STATUSES_MAX: usize = 16_384;

const CLIENT_HELLO_BYTES_MIN: usize = 512;
const CLIENT_HELLO_BYTES_MAX: usize = 60 * 1024;
const CHAIN_CERTIFICATES_MAX: usize = 16;
const CHAIN_BYTES_MAX: usize = 60 * 1024;
const RELAY_BYTES_MAX: usize = 4 * 1024 * 1024;
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The limits of a listener's connections and of the worker that carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A ClientHello with its record headers, in bytes.
    pub client_hello_bytes: usize,
    /// Certificates that a client may send.
    pub chain_certificates: usize,
    /// DER bytes of all certificates that a client may send.
    pub chain_bytes: usize,
    /// Bytes queued towards one side before the other side is read no further.
    pub relay_bytes: usize,
    /// Unread bytes taken from a refused client so that the alert reaches it.
    pub drain_bytes: usize,
    /// Refused clients of a worker that may be drained at one time.
    pub drains: usize,
    /// Suspended private-key and public-key operations of a worker.
    pub signing_suspensions: usize,
    /// Suspended chain verifications (and the network look-ups they may need) of a worker.
    pub lookup_suspensions: usize,
    /// From accept to the client's Finished.
    pub handshake_timeout: Duration,
    /// One suspended operation.
    pub operation_timeout: Duration,
    /// From dialling the upstream to its answer.
    pub connect_timeout: Duration,
    /// Without a byte in either direction.
    pub idle_timeout: Duration,
    /// Without a byte after one direction has ended.
    pub half_closed_timeout: Duration,
    /// From the alert to the end of the drain.
    pub drain_timeout: Duration,
    /// From the moment that a client would not be let in any more, where its connection may finish what
    /// it is about ([`Consequence::Drain`](crate::Consequence)).
    pub withdrawal_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_hello_bytes: 16 * 1024,
            chain_certificates: 8,
            chain_bytes: 32 * 1024,
            relay_bytes: 64 * 1024,
            drain_bytes: 64 * 1024,
            drains: 1_024,
            signing_suspensions: 512,
            lookup_suspensions: 256,
            handshake_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            half_closed_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(2),
            withdrawal_timeout: Duration::from_secs(30),
        }
    }
}

/// A limit out of its bounds, or at odds with another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}; it must be {bounds}")]
pub struct LimitError {
    /// The limit's name, as in [`Limits`].
    pub name: &'static str,
    /// What was asked for.
    pub value: String,
    /// What would be right.
    pub bounds: String,
}

impl Limits {
    /// Checks every bound and every relation; all that is wrong, not only the first.
    ///
    /// # Errors
    /// One [`LimitError`] for each limit that is out of its bounds.
    pub fn check(&self) -> Result<(), Vec<LimitError>> {
        let mut wrong = Vec::new();
        let mut amount = |name, value: usize, least: usize, most: usize| {
            if value < least || value > most {
                let bounds = format!("between {least} and {most}");
                wrong.push(LimitError { name, value: value.to_string(), bounds });
            }
        };
        amount(
            "client_hello_bytes",
            self.client_hello_bytes,
            CLIENT_HELLO_BYTES_MIN,
            CLIENT_HELLO_BYTES_MAX,
        );
        amount("chain_certificates", self.chain_certificates, 1, CHAIN_CERTIFICATES_MAX);
        amount("chain_bytes", self.chain_bytes, 1_024, CHAIN_BYTES_MAX);
        // A whole record must fit, or a record could never be passed on.
        amount("relay_bytes", self.relay_bytes, RECORD_WIRE_BYTES, RELAY_BYTES_MAX);
        // A whole record of a client in the middle of sending must fit, or its alert is lost.
        amount("drain_bytes", self.drain_bytes, RECORD_WIRE_BYTES, RELAY_BYTES_MAX);
        amount("drains", self.drains, 1, 1_048_576);
        amount("signing_suspensions", self.signing_suspensions, 1, SUSPENSIONS_MAX);
        amount("lookup_suspensions", self.lookup_suspensions, 1, SUSPENSIONS_MAX);
        let mut timeout = |name, value: Duration, most: Duration| {
            if value < TIMEOUT_MIN || value > most {
                let bounds = format!("between {TIMEOUT_MIN:?} and {most:?}");
                wrong.push(LimitError { name, value: format!("{value:?}"), bounds });
            }
        };
        timeout("handshake_timeout", self.handshake_timeout, Duration::from_secs(600));
        timeout("operation_timeout", self.operation_timeout, Duration::from_secs(600));
        timeout("connect_timeout", self.connect_timeout, Duration::from_secs(600));
        timeout("idle_timeout", self.idle_timeout, TIMEOUT_MAX);
        timeout("half_closed_timeout", self.half_closed_timeout, TIMEOUT_MAX);
        timeout("drain_timeout", self.drain_timeout, Duration::from_secs(60));
        timeout("withdrawal_timeout", self.withdrawal_timeout, TIMEOUT_MAX);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Stacks that a worker needs: every suspension of either kind, and the one that runs.
    #[must_use]
    pub fn stacks(&self) -> usize {
        self.signing_suspensions + self.lookup_suspensions + 1
    }
}

// Relations between constants: a receive buffer holds no more than a relay may queue, and a chain and
// a hello stay below rustls' own bound on a handshake message (64 KiB), so that ours speak first.
const _: () = assert!(RECEIVE_BYTES <= RECORD_WIRE_BYTES);
const _: () = assert!(CLIENT_HELLO_BYTES_MAX < 0xffff && CHAIN_BYTES_MAX < 0xffff);
const _: () = assert!(HANDSHAKE_INPUT_BYTES_MAX > 0xffff && RECEIVE_BYTES <= BULK_BYTES);
const _: () = assert!(RECORD_WIRE_BYTES <= RELAY_BYTES_MAX);
// Places in a ticket are told in two bytes; a ticket fits into the extension that carries it.
const _: () = assert!(TICKET_BYTES_MAX < 0xffff && TICKET_CERTIFICATES_MAX <= 0xff);
// No honest chain has as many wrong signatures as it has certificates.
const _: () = assert!(FAILED_SIGNATURES_COST_MAX >= CHAIN_CERTIFICATES_MAX);
// A client with as many names as can be read may be below a CA with a dozen constraints.
const _: () = assert!(NAME_COMPARISONS_MAX >= 12 * crate::identity::MAX_ALT_NAMES);
// A certificate that the chain's bound lets through can be read; a request head fits into what the
// built-in upstream may have waiting.
const _: () = assert!(CHAIN_BYTES_MAX <= crate::identity::MAX_CERTIFICATE_BYTES);
const _: () = assert!(crate::whoami::MAX_HEAD_BYTES <= crate::whoami::MAX_PENDING_OUTPUT_BYTES);
// A PROXY header without TLVs fits into the smallest one, and a header of either version can be read.
const _: () = assert!(crate::proxy_protocol::ADDRESSES_BYTES_MAX <= *PROXY_HEADER_BYTES.start());
const _: () = assert!(crate::proxy_protocol::V1_BYTES_MAX <= RECEIVED_PROXY_HEADER_BYTES_MAX);
const _: () = assert!(*PROXY_HEADER_BYTES.end() <= u16::MAX as usize);
const _: () = assert!(*PROXY_TLV_BYTES.end() <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_every_relation() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn every_wrong_limit_is_named_at_once() {
        let limits = Limits {
            client_hello_bytes: 1,
            relay_bytes: RECORD_WIRE_BYTES - 1,
            idle_timeout: Duration::ZERO,
            ..Limits::default()
        };
        let wrong = limits.check().unwrap_err();
        let names: Vec<_> = wrong.iter().map(|error| error.name).collect();
        assert_eq!(names, ["client_hello_bytes", "relay_bytes", "idle_timeout"]);
        assert!(wrong[1].to_string().contains("between 18437 and"), "{}", wrong[1]);
    }
}
