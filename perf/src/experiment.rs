//! What is measured: the experiments, the variants of their cryptography, and their units.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::problem::{Problem, Result};

/// Of a server's CPU, for slices of handshakes that cost the client about what they cost the server, and resumed ones,
/// which cost it more.
const FULL_BUSY_MIN: f64 = 0.8;
const RESUMED_BUSY_MIN: f64 = 0.6;

/// A token that an experiment keeps the server's key in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenTraits {
    /// From call to return of one signature.
    pub(crate) latency: Duration,
    pub(crate) sessions: usize,
}

impl TokenTraits {
    /// Signatures per second that it can do.
    pub(crate) fn ceiling(self) -> f64 {
        self.sessions as f64 / self.latency.as_secs_f64()
    }
}

/// One question that is put to every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Experiment {
    FullUnseen,
    FullSeen,
    Resumed,
    Request,
    Latency,
    BulkUpload,
    BulkDownload,
    IdleMemory,
    Scaling,
    Token2Ms,
    /// Comes with the one before.
    Token2MsLatency,
    Token10Ms,
    /// Comes with the one before.
    Token10MsLatency,
    TokenVerify,
    TokenHang,
    /// A floor: the TCP conversation of a full handshake, without TLS.
    TcpConversation,
    /// A floor: the operations alone, on the server's core.
    Cryptography,
    /// Of the load generator with another one: no system is measured.
    Agreement,
}

impl Experiment {
    /// Those that can be asked for, in the order of reports; the floors come by themselves, and so does the
    /// latency of keys in tokens.
    pub(crate) const ALL: [Experiment; 13] = [
        Experiment::FullUnseen,
        Experiment::FullSeen,
        Experiment::Resumed,
        Experiment::Request,
        Experiment::Latency,
        Experiment::BulkUpload,
        Experiment::BulkDownload,
        Experiment::IdleMemory,
        Experiment::Scaling,
        Experiment::Token2Ms,
        Experiment::Token10Ms,
        Experiment::TokenVerify,
        Experiment::TokenHang,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Experiment::FullUnseen => "full_unseen",
            Experiment::FullSeen => "full_seen",
            Experiment::Resumed => "resumed",
            Experiment::Request => "request",
            Experiment::Latency => "latency",
            Experiment::BulkUpload => "bulk_upload",
            Experiment::BulkDownload => "bulk_download",
            Experiment::IdleMemory => "idle_memory",
            Experiment::Scaling => "scaling",
            Experiment::Token2Ms => "token_2ms",
            Experiment::Token2MsLatency => "token_2ms_latency",
            Experiment::Token10Ms => "token_10ms",
            Experiment::Token10MsLatency => "token_10ms_latency",
            Experiment::TokenVerify => "token_verify",
            Experiment::TokenHang => "token_hang",
            Experiment::TcpConversation => "tcp_conversation",
            Experiment::Cryptography => "cryptography",
            Experiment::Agreement => "agreement",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Experiment> {
        Experiment::ALL.into_iter().find(|experiment| experiment.name() == name).ok_or_else(|| {
            let all: Vec<_> = Experiment::ALL.iter().map(|experiment| experiment.name()).collect();
            Problem::new(format!("'{name}' is no experiment: there are {}", all.join(", ")))
        })
    }

    /// What it is, in a line.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Experiment::FullUnseen => "Full handshakes of clients never seen before",
            Experiment::FullSeen => "Full handshakes of clients seen before",
            Experiment::Resumed => "Resumed handshakes",
            Experiment::Request => "Requests on kept connections",
            Experiment::Latency => {
                "Latency of full handshakes at 70% of each system's own saturation"
            }
            Experiment::BulkUpload => "Bulk upload through a TCP relay",
            Experiment::BulkDownload => "Bulk download through a TCP relay",
            Experiment::IdleMemory => "Memory of an idle connection",
            Experiment::Scaling => "Full handshakes of clients seen before, by workers",
            Experiment::Token2Ms => "Full handshakes with a key in a token of 2 ms and 64 sessions",
            Experiment::Token2MsLatency => {
                "Latency of full handshakes with a key in a token of 2 ms, at a set rate"
            }
            Experiment::Token10Ms => {
                "Full handshakes with a key in a token of 10 ms and 256 sessions"
            }
            Experiment::Token10MsLatency => {
                "Latency of full handshakes with a key in a token of 10 ms, at a set rate"
            }
            Experiment::TokenVerify => {
                "Full handshakes with a key in a token of 2 ms, by which of its signatures are verified"
            }
            Experiment::TokenHang => {
                "Latency of full handshakes with a key in software, beside clients of a token's key"
            }
            Experiment::TcpConversation => "The TCP conversation alone",
            Experiment::Cryptography => "The cryptography alone",
            Experiment::Agreement => "Agreement of the load generator with h2load",
        }
    }

    /// The unit of a sample's cost. Lower is better in each.
    pub(crate) fn cost_unit(self) -> &'static str {
        match self {
            Experiment::Request => "µs of server CPU a request",
            Experiment::BulkUpload | Experiment::BulkDownload => "ms of server CPU a GB",
            Experiment::IdleMemory => "KiB a connection",
            Experiment::Latency | Experiment::TokenHang => "µs, 99th percentile",
            Experiment::Token2Ms | Experiment::Token10Ms => "µs from one handshake to the next",
            Experiment::Token2MsLatency | Experiment::Token10MsLatency | Experiment::Agreement => {
                "µs, median"
            }
            Experiment::TcpConversation => "µs of server CPU a conversation",
            Experiment::Cryptography => "µs of CPU",
            _ => "µs of server CPU a handshake",
        }
    }

    pub(crate) fn is_handshakes(self) -> bool {
        matches!(
            self,
            Experiment::FullUnseen
                | Experiment::FullSeen
                | Experiment::Resumed
                | Experiment::Scaling
        )
    }

    /// The token that the key lies in, where an experiment is about its speed.
    pub(crate) fn token(self) -> Option<TokenTraits> {
        let (latency, sessions) = match self {
            Experiment::Token2Ms | Experiment::Token2MsLatency | Experiment::TokenVerify => (2, 64),
            Experiment::Token10Ms | Experiment::Token10MsLatency => (10, 256),
            _ => return None,
        };
        Some(TokenTraits { latency: Duration::from_millis(latency), sessions })
    }

    /// The same at a set rate, which is measured behind it.
    pub(crate) fn at_a_rate(self) -> Option<Experiment> {
        match self {
            Experiment::Token2Ms => Some(Experiment::Token2MsLatency),
            Experiment::Token10Ms => Some(Experiment::Token10MsLatency),
            _ => None,
        }
    }

    /// Whether it is about a key in a token, at a set rate.
    pub(crate) fn is_token_latency(self) -> bool {
        matches!(self, Experiment::Token2MsLatency | Experiment::Token10MsLatency)
    }

    /// Whether it is about the rate with a key in a token, as many handshakes as go.
    pub(crate) fn is_token_rate(self) -> bool {
        matches!(self, Experiment::Token2Ms | Experiment::Token10Ms)
    }

    /// Whether its rows are places of keys, and not the systems alone.
    pub(crate) fn is_about_tokens(self) -> bool {
        self.token().is_some() || self == Experiment::TokenHang
    }

    pub(crate) fn is_bulk(self) -> bool {
        matches!(self, Experiment::BulkUpload | Experiment::BulkDownload)
    }

    /// Whether a slice says nothing unless the server's core was busy. Not for the conversation without
    /// TLS: a client on one core cannot saturate it.
    pub(crate) fn needs_saturation(self) -> bool {
        self.is_handshakes() || self == Experiment::Request
    }

    /// How busy a server must have been for its slice to count, where `wanted` is asked of all. One core of
    /// clients does not saturate one of a server that is quicker than they are. CPU time a handshake is counted all
    /// the same, and who idles is not flattered: fewer handshakes share a system call.
    pub(crate) fn busy_min(self, wanted: f64) -> f64 {
        match self {
            Experiment::FullUnseen | Experiment::FullSeen => wanted.min(FULL_BUSY_MIN),
            Experiment::Resumed => wanted.min(RESUMED_BUSY_MIN),
            _ => wanted,
        }
    }
}

impl Display for Experiment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The group of the key agreement and the server's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// X25519 and P-256.
    Base,
    /// X25519MLKEM768 and P-256.
    MlKem,
    /// X25519 and RSA-2048.
    Rsa,
}

/// The kind of the server's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKey {
    P256,
    Rsa2048,
}

impl ServerKey {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ServerKey::P256 => "p256",
            ServerKey::Rsa2048 => "rsa2048",
        }
    }
}

impl Variant {
    pub(crate) const ALL: [Variant; 3] = [Variant::Base, Variant::MlKem, Variant::Rsa];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::Base => "base",
            Variant::MlKem => "mlkem768",
            Variant::Rsa => "rsa2048",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Variant> {
        Variant::ALL.into_iter().find(|variant| variant.name() == name).ok_or_else(|| {
            Problem::new(format!("'{name}' is no variant: there are base, mlkem768 and rsa2048"))
        })
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Variant::Base => "X25519, P-256 server key",
            Variant::MlKem => "X25519MLKEM768, P-256 server key",
            Variant::Rsa => "X25519, RSA-2048 server key",
        }
    }

    /// As TLS names it (RFC 8446, section 4.2.7; draft-ietf-tls-ecdhe-mlkem).
    pub(crate) fn group(self) -> &'static str {
        match self {
            Variant::Base | Variant::Rsa => "X25519",
            Variant::MlKem => "X25519MLKEM768",
        }
    }

    pub(crate) fn server_key(self) -> ServerKey {
        match self {
            Variant::Base | Variant::MlKem => ServerKey::P256,
            Variant::Rsa => ServerKey::Rsa2048,
        }
    }

    /// Whether the variant changes anything about an experiment: only handshakes know it, and a resumed
    /// one has no server's signature.
    pub(crate) fn concerns(self, experiment: Experiment) -> bool {
        let is_full = matches!(experiment, Experiment::FullSeen | Experiment::FullUnseen);
        match self {
            Variant::Base => true,
            Variant::MlKem => is_full || experiment == Experiment::Resumed,
            Variant::Rsa => is_full,
        }
    }
}
