//! What a connection tells the operator: events as they happen, one report at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use crate::connection_id::ConnectionId;
use crate::error::Reason;
use crate::identity::ClientIdentity;
use crate::listener::Consequence;
use crate::ocsp::Answer;
use crate::policy::Verdict;
use crate::proxy_protocol::TlvSet;
use crate::ticket::Declined;
use crate::time::Moment;
use crate::tls::{Evidence, ServerCertificate, TlsVersion, signature_scheme_name};

/// Something worth counting.
#[derive(Debug)]
pub enum Event {
    /// A handshake finished and its client was let in.
    Established {
        /// From accept to Finished.
        handshake: Duration,
        /// By a ticket.
        resumed: bool,
    },
    /// A ticket came or went, while the handshake goes on.
    Ticket(TicketEvent),
    /// A client was not let in, or its handshake came to nothing.
    Refused(Reason),
    /// A shadow policy was asked about a client beside the live one.
    Shadow(Comparison),
    /// The client of an open connection would not be let in any more, for another reason than was told
    /// of this connection before.
    Withdrawn(Box<Withdrawn>),
    /// The connection is over and everything it held is released.
    Ended(Box<Report>),
}

/// What a shadow policy says about a client, beside what the live policy has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Comparison {
    /// The same.
    Agrees,
    /// It would let in a client that is refused.
    WouldAllow,
    /// It would refuse a client that is let in.
    WouldRefuse,
}

impl Comparison {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Agrees, Self::WouldAllow, Self::WouldRefuse];

    /// The name in metrics; it does not change.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::WouldAllow => "would_allow",
            Self::WouldRefuse => "would_refuse",
        }
    }
}

/// What a shadow policy has said about a client. It has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowReport {
    /// What it said.
    pub verdict: Verdict,
    /// Beside what was done.
    pub comparison: Comparison,
}

/// Whose connection would not be let in any more, why, and what is done with it.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    /// [`Listener::name`](crate::Listener::name) of the listener that took the connection.
    pub listener: Arc<str>,
    /// The client's address.
    pub client: SocketAddr,
    /// Who the client is; `None` for an anonymous one.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Why it would not be let in.
    pub reason: Reason,
    /// More about the reason, for the operator.
    pub detail: String,
    /// What is done with the connection.
    pub consequence: Consequence,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketEvent {
    /// A client got one.
    Issued,
    /// A client offered one, and it was looked at.
    Offered,
    /// It did not resume.
    Declined(Declined),
}

/// What was negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite.
    pub suite: CipherSuite,
    /// The key agreement group.
    pub group: Option<NamedGroup>,
    /// What we signed the handshake with.
    pub signature_scheme: Option<SignatureScheme>,
    /// Of the identity that answered.
    pub server_certificate: ServerCertificate,
}

/// What OCSP told about the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspFact {
    /// This, to this connection.
    Asked(Answer),
    /// This, before.
    Cached(Answer),
    /// Nothing that holds; the client was let in all the same, as configured.
    NotAnswered,
}

/// Bytes that went through one side of a connection, on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the peer.
    pub received: u64,
    /// To the peer.
    pub sent: u64,
}

/// The whole life of a connection.
#[derive(Clone, Debug)]
pub struct Report {
    /// [`Listener::name`](crate::Listener::name).
    pub listener: Arc<str>,
    /// Its name, which the upstream may be told.
    pub connection: ConnectionId,
    /// The client's address; where a balancer is in front, as told by that.
    pub client: SocketAddr,
    /// The address of the balancer in front that speaks for the client.
    pub balancer: Option<SocketAddr>,
    /// The server name that the client asked for (RFC 6066 §3).
    pub server_name: Option<String>,
    /// The application protocol that was agreed on (RFC 7301).
    pub alpn: Option<String>,
    /// What was negotiated, as far as it came.
    pub tls: Option<TlsFacts>,
    /// Who the client is; verified, though not necessarily let in.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Was its chain known from before? `None` where none was verified.
    pub chain_cached: Option<bool>,
    /// What its certificate's path rests on, with what revocation lists said.
    pub evidence: Option<Arc<Evidence>>,
    /// What OCSP told about the client's certificate; `None` where it was not asked or the client was
    /// refused for want of an answer.
    pub ocsp: Option<OcspFact>,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// What the shadow policy says, where there is one.
    pub shadow: Option<ShadowReport>,
    /// Did a ticket resume an earlier session? Then the client showed no certificate this time.
    pub resumed: bool,
    /// When the client proved possession of its key: seconds since the epoch. In a resumed session that
    /// was at the beginning of its lineage.
    pub authenticated_at: Option<u64>,
    /// Was the client let in?
    pub allowed: bool,
    /// Why the client, once let in, would not be any more: the connection was closed for it, or lived on.
    pub withdrawn: Option<Reason>,
    /// Why it ended, unless both sides ended it cleanly.
    pub reason: Option<Reason>,
    /// More about the reason, for the operator.
    pub detail: Option<String>,
    /// What the upstream should have been told and was not, or not whole.
    pub untold: TlvSet,
    /// When it was accepted.
    pub accepted_at: Moment,
    /// When its handshake was done.
    pub established_at: Option<Moment>,
    /// When it was over.
    pub ended_at: Moment,
    /// The client's side.
    pub client_traffic: Traffic,
    /// The upstream's side.
    pub upstream_traffic: Traffic,
}

impl Report {
    /// Of a connection that was just accepted.
    pub(crate) fn begin(
        listener: Arc<str>,
        connection: ConnectionId,
        client: SocketAddr,
        now: Moment,
    ) -> Self {
        Self {
            listener,
            connection,
            client,
            balancer: None,
            server_name: None,
            alpn: None,
            tls: None,
            identity: None,
            chain_cached: None,
            evidence: None,
            ocsp: None,
            rule: None,
            shadow: None,
            resumed: false,
            authenticated_at: None,
            allowed: false,
            withdrawn: None,
            reason: None,
            detail: None,
            untold: TlvSet::default(),
            accepted_at: now,
            established_at: None,
            ended_at: now,
            client_traffic: Traffic::default(),
            upstream_traffic: Traffic::default(),
        }
    }
}

impl TlsFacts {
    /// The suite's name in OpenSSL's style.
    #[must_use]
    pub fn suite_name(&self) -> &'static str {
        match self.suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
            CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
                "ECDHE-ECDSA-CHACHA20-POLY1305"
            }
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
                "ECDHE-RSA-CHACHA20-POLY1305"
            }
            _ => "unknown",
        }
    }

    /// The name in OpenSSL's style of what we signed the handshake with.
    #[must_use]
    pub fn signature_scheme_name(&self) -> Option<&'static str> {
        self.signature_scheme.and_then(signature_scheme_name)
    }

    /// The group's name as IANA registered it; `None` while TLS 1.2 has not come to the client's share.
    #[must_use]
    pub fn group_name(&self) -> Option<&'static str> {
        match self.group? {
            NamedGroup::X25519MLKEM768 => Some("X25519MLKEM768"),
            NamedGroup::X25519 => Some("x25519"),
            NamedGroup::secp256r1 => Some("secp256r1"),
            NamedGroup::secp384r1 => Some("secp384r1"),
            _ => Some("unknown"),
        }
    }
}
