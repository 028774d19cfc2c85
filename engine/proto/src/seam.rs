//! The seam: the one way by which a running handshake step reaches the world around it.
//!
//! Deep inside a step, below rustls, the signer, the verifier and the key agreement speak to their
//! connection by suspending. A [`Report`] is answered by the connection at once. [`Work`] leaves the
//! connection as an [`Op`](crate::Op): whoever drives it does the work, anywhere and any time later,
//! and brings back the [`Outcome`].

use std::fmt;
use std::sync::Arc;

use countersign_fiber::{Answer, NotSuspendable};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::sign::SigningKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use crate::error::Reason;
use crate::ocsp::{self, Enquiry, EnquiryFailure, Freshness, StatusKey};
use crate::tls::{
    ChainError, ChainKey, Possession, TlsVersion, TokenKeyId, TrustDomain, VerifiedChain,
    verify_possession,
};

/// What a step says or asks.
#[derive(Debug)]
pub(crate) enum Request {
    Report(Report),
    Work(Box<Work>),
}

/// What the connection itself answers.
#[derive(Debug)]
pub(crate) enum Report {
    /// What time is it?
    Time,
    /// The server name as rustls has read it: is it the one that the identity was chosen by?
    ServerName(Option<String>),
    /// We are about to sign the handshake.
    Signing(SignatureScheme),
    /// Is the chain known that the client has presented?
    Presented(ChainKey),
    /// The client's chain holds.
    Chain(Presented),
    /// Has OCSP told something about this certificate that may be used again?
    KnownStatus(StatusKey, Freshness),
    /// What OCSP has told just now; `None` for nothing that holds.
    Status(StatusKey, Option<ocsp::Answer>),
    /// The chain that the client presented.
    ProvenChain,
    /// The client has the key of its end entity certificate: may it come in?
    Possession(Possession),
    /// Why the step is about to fail.
    Problem(Reason, String),
    /// rustls would give the client a ticket for this session.
    IssueTicket(Session),
    /// For how many seconds is the ticket good that was issued last?
    TicketLifetime,
    /// The client offers this ticket.
    OpenTicket(Vec<u8>),
}

/// A session as rustls keeps it, with its secrets.
pub(crate) struct Session(pub(crate) Zeroizing<Vec<u8>>);

/// How a step is continued.
#[derive(Debug)]
pub(crate) enum Reply {
    Noted,
    Time(UnixTime),
    Chain(Option<Arc<VerifiedChain>>),
    Status(Option<ocsp::Answer>),
    Verdict(Verdict),
    Outcome(Box<Outcome>),
    /// A ticket; none is to be had.
    Ticket(Option<Vec<u8>>),
    TicketLifetime(u32),
    /// The session of a ticket; it is declined.
    Session(Option<Session>),
    Abandoned,
}

impl Answer for Reply {
    fn abandoned() -> Self {
        Self::Abandoned
    }
}

/// A chain that holds.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) key: ChainKey,
    pub(crate) chain: Arc<VerifiedChain>,
    pub(crate) known: Known,
    /// As the client sent it.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// Whether a chain was verified now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Now,
    Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    Denied,
}

/// An operation of a handshake that may be done elsewhere: by a token, a thread, a batch.
pub enum Work {
    /// Sign with the server's key: CertificateVerify (RFC 9846 §4.4.3) or ServerKeyExchange
    /// (RFC 5246 §7.4.3).
    Sign {
        /// The identity's key.
        key: Arc<dyn SigningKey>,
        /// The scheme that the handshake agreed on.
        scheme: SignatureScheme,
        /// What is to be signed; hashing is the signer's.
        message: Vec<u8>,
    },
    /// The same with a key in a token: nobody can do it here.
    SignByToken {
        /// What the key is called.
        key: TokenKeyId,
        /// The scheme that the handshake agreed on.
        scheme: SignatureScheme,
        /// What is to be signed; hashing is the signer's.
        message: Vec<u8>,
    },
    /// Verify the client's chain up to a trust anchor.
    VerifyChain {
        /// Whom to trust.
        domain: Arc<TrustDomain>,
        /// What the client sent, end entity first.
        chain: Vec<CertificateDer<'static>>,
        /// By `CLOCK_REALTIME`.
        now: UnixTime,
    },
    /// Verify the client's CertificateVerify.
    VerifyPossession {
        /// What was signed.
        message: Vec<u8>,
        /// The end entity.
        certificate: CertificateDer<'static>,
        /// Scheme and signature.
        signed: DigitallySignedStruct,
        /// The version decides which schemes are allowed.
        version: TlsVersion,
    },
    /// Ask an OCSP responder about the client's certificate.
    AskStatus(Box<Enquiry>),
    /// Make a key share and agree with the client's (TLS 1.3).
    Agree {
        /// The group that the handshake agreed on.
        group: &'static dyn SupportedKxGroup,
        /// The client's share.
        peer: Vec<u8>,
    },
    /// Agree with the client's share on a key made before (TLS 1.2).
    CompleteAgreement {
        /// Our key.
        exchange: Box<dyn ActiveKeyExchange>,
        /// The client's share.
        peer: Vec<u8>,
    },
}

/// The kinds of [`Work`], for budgets, counters and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkKind {
    /// [`Work::Sign`] and [`Work::SignByToken`].
    Sign,
    /// [`Work::VerifyChain`].
    VerifyChain,
    /// [`Work::VerifyPossession`].
    VerifyPossession,
    /// [`Work::AskStatus`].
    AskStatus,
    /// [`Work::Agree`] and [`Work::CompleteAgreement`].
    Agree,
}

/// Which budget of suspended stacks a kind of work draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Key operations.
    Signing,
    /// Look-ups that may wait for the network.
    Lookup,
}

impl WorkKind {
    /// The budget that a step suspended for this draws on.
    #[must_use]
    pub const fn budget(self) -> Budget {
        match self {
            Self::Sign | Self::VerifyPossession | Self::Agree => Budget::Signing,
            Self::VerifyChain | Self::AskStatus => Budget::Lookup,
        }
    }
}

/// What came of [`Work`].
pub enum Outcome {
    /// Of [`Work::Sign`] and [`Work::SignByToken`].
    Signature(Vec<u8>),
    /// Of [`Work::VerifyChain`].
    Chain(Result<Arc<VerifiedChain>, ChainError>),
    /// Of [`Work::VerifyPossession`].
    Possession(Result<Possession, rustls::Error>),
    /// Of [`Work::AskStatus`].
    Status(Result<ocsp::Answer, EnquiryFailure>),
    /// Of [`Work::Agree`].
    Agreed(Result<CompletedKeyExchange, rustls::Error>),
    /// Of [`Work::CompleteAgreement`].
    Secret(Result<SharedSecret, rustls::Error>),
    /// It could not be done at all.
    Failed(WorkFailure),
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkFailure {
    /// Whoever was to do it could not.
    #[error("{0}")]
    Failed(String),
    /// The token with the key cannot be used now.
    #[error("{0}")]
    Unavailable(String),
    /// As many operations wait for the token as may.
    #[error("{0}")]
    Busy(String),
    /// The token gave a signature that does not hold.
    #[error("{0}")]
    WrongSignature(String),
    /// No answer in time.
    #[error("no answer within the deadline")]
    TimedOut,
    /// As many handshakes are suspended as may be.
    #[error("too many handshakes are suspended")]
    Exhausted,
    /// The connection is gone.
    #[error("the connection is gone")]
    Abandoned,
}

impl WorkFailure {
    /// The reason for the connection's end.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Failed(_) => Reason::SigningFailed,
            Self::Unavailable(_) => Reason::TokenUnavailable,
            Self::Busy(_) => Reason::TokenBusy,
            Self::WrongSignature(_) => Reason::TokenWrongSignature,
            Self::TimedOut => Reason::OperationTimeout,
            Self::Exhausted => Reason::SuspensionsExhausted,
            Self::Abandoned => Reason::Internal,
        }
    }
}

impl Work {
    /// What kind of work it is.
    #[must_use]
    pub fn kind(&self) -> WorkKind {
        match self {
            Self::Sign { .. } | Self::SignByToken { .. } => WorkKind::Sign,
            Self::VerifyChain { .. } => WorkKind::VerifyChain,
            Self::VerifyPossession { .. } => WorkKind::VerifyPossession,
            Self::AskStatus(_) => WorkKind::AskStatus,
            Self::Agree { .. } | Self::CompleteAgreement { .. } => WorkKind::Agree,
        }
    }

    /// Does the work here and now, in software.
    #[must_use]
    pub fn perform(self) -> Outcome {
        match self {
            Self::Sign { key, scheme, message } => sign(&*key, scheme, &message),
            Self::SignByToken { .. } => {
                let nobody = "there is no token here to sign with";
                Outcome::Failed(WorkFailure::Failed(nobody.to_owned()))
            }
            Self::VerifyChain { domain, chain, now } => Outcome::Chain(domain.verify(&chain, now)),
            Self::VerifyPossession { message, certificate, signed, version } => {
                Outcome::Possession(verify_possession(&message, &certificate, &signed, version))
            }
            Self::AskStatus(_) => {
                let nobody = "there is no network here to ask an OCSP responder";
                Outcome::Failed(WorkFailure::Failed(nobody.to_owned()))
            }
            Self::Agree { group, peer } => Outcome::Agreed(group.start_and_complete(&peer)),
            Self::CompleteAgreement { exchange, peer } => Outcome::Secret(exchange.complete(&peer)),
        }
    }
}

impl fmt::Debug for Session {
    // Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl fmt::Debug for Work {
    // Messages and keys stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work::{:?}", self.kind())
    }
}

impl fmt::Debug for Outcome {
    // Signatures and secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature(_) => "Outcome::Signature",
            Self::Chain(_) => "Outcome::Chain",
            Self::Possession(_) => "Outcome::Possession",
            Self::Status(_) => "Outcome::Status",
            Self::Agreed(_) => "Outcome::Agreed",
            Self::Secret(_) => "Outcome::Secret",
            Self::Failed(_) => "Outcome::Failed",
        })
    }
}

fn sign(key: &dyn SigningKey, scheme: SignatureScheme, message: &[u8]) -> Outcome {
    let Some(signer) = key.choose_scheme(&[scheme]) else {
        return Outcome::Failed(WorkFailure::Failed(format!("the key cannot sign {scheme:?}")));
    };
    match signer.sign(message) {
        Ok(signature) => Outcome::Signature(signature),
        Err(error) => Outcome::Failed(WorkFailure::Failed(error.to_string())),
    }
}

/// Says something to the connection whose step runs here.
pub(crate) fn report(report: Report) -> Result<Reply, NotSuspendable> {
    countersign_fiber::suspend(Request::Report(report))
}

/// Hands work out of the running step and waits for what comes of it.
pub(crate) fn hand_out(work: Work) -> Outcome {
    match countersign_fiber::suspend(Request::Work(Box::new(work))) {
        Ok(Reply::Outcome(outcome)) => *outcome,
        Ok(_) => Outcome::Failed(WorkFailure::Abandoned),
        Err(error) => Outcome::Failed(WorkFailure::Failed(error.to_string())),
    }
}

/// Tells the connection why work was not done, and gives the error that makes rustls end the
/// handshake.
pub(crate) fn undone(outcome: Outcome) -> rustls::Error {
    let (reason, detail) = match outcome {
        Outcome::Failed(failure) => (failure.reason(), failure.to_string()),
        _ => (Reason::Internal, "an operation was answered with another's outcome".to_owned()),
    };
    // Outside a step there is nobody to tell; the error alone then ends the handshake.
    let _ = report(Report::Problem(reason, detail.clone()));
    rustls::Error::General(detail)
}

/// Possession once proven, as rustls wants to hear it.
pub(crate) fn proven() -> HandshakeSignatureValid {
    HandshakeSignatureValid::assertion()
}
