//! The sans-IO data plane of Countersign: the whole life of a mutual-TLS connection.
//!
//! Invariants, written as absences:
//!
//! * No sockets, clocks, threads, files or unsafe code. Time is an argument, slow things are an [`Op`]
//!   that goes out and a [`Completion`] that comes back.
//! * No upstream is dialled and no relay built without an [`Authorized`], which comes only out of
//!   policy over a [`VerifiedClient`], which comes only out of the verification of a chain and of the
//!   possession of its key.
//! * No input of a peer panics, allocates without a bound or reaches an assertion.
//! * No resumption but by a ticket of ours, whose client would also be let in by a full handshake now.
#![forbid(unsafe_code)]

mod chain_cache;
mod connection;
mod connection_id;
mod desk;
mod error;
pub mod identity;
pub mod limits;
mod listener;
pub mod ocsp;
mod op;
pub mod policy;
pub mod proxy_protocol;
mod record;
mod report;
pub mod revocation;
mod seam;
pub mod ticket;
mod time;
mod tls;
pub mod whoami;

pub use chain_cache::{ChainCacheFacts, ChainCacheLimits};
pub use connection::{Authorized, Connection, VerifiedClient};
pub use connection_id::ConnectionId;
pub use countersign_fiber::StackError;
pub use desk::Desk;
pub use error::{Blame, Reason};
pub use identity::ClientIdentity;
pub use limits::Limits;
pub use listener::{Announce, Consequence, Identities, Listener, Withdrawal};
pub use op::{
    CloseManner, Completion, ConnectError, Op, OperationId, SendBuffer, Side, UpstreamAddress,
};
pub use policy::{Policy, Rule, Subject, Verdict};
pub use report::{
    Comparison, Event, OcspFact, Report, ShadowReport, TicketEvent, TlsFacts, Traffic, Withdrawn,
};
pub use seam::{Budget, Outcome, Work, WorkFailure, WorkKind};
pub use ticket::{Declined, Resumption, TicketKey, TicketKeys};
pub use time::{Moment, Now};
pub use tls::{
    AnchorWarning, ChainError, ChainLimits, ClientAuth, Credentials, CredentialsError, Evidence,
    Groups, Handoff, Identity, Issued, Issuer, Possession, ServerCertificate, ServerKey,
    StapleCell, Stapled, TlsParameters, TlsVersion, TokenKey, TokenKeyError, TokenKeyId,
    TrustDomain, TrustDomainError, VerifiedChain, default_suites, provider,
};
