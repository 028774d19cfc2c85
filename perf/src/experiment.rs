//! What is measured: the experiments, the variants of their cryptography, and their units.

use std::fmt::{self, Display};

use crate::problem::{Problem, Result};

/// Of a server's CPU, for slices of handshakes that cost the client about what they cost the server, and resumed ones,
/// which cost it more.
const FULL_BUSY_MIN: f64 = 0.8;
const RESUMED_BUSY_MIN: f64 = 0.6;

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
    /// A floor: the TCP conversation of a full handshake, without TLS.
    TcpConversation,
    /// A floor: the operations alone, on the server's core.
    Cryptography,
}

impl Experiment {
    /// Those that can be asked for, in the order of reports; the floors come by themselves.
    pub(crate) const ALL: [Experiment; 9] = [
        Experiment::FullUnseen,
        Experiment::FullSeen,
        Experiment::Resumed,
        Experiment::Request,
        Experiment::Latency,
        Experiment::BulkUpload,
        Experiment::BulkDownload,
        Experiment::IdleMemory,
        Experiment::Scaling,
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
            Experiment::TcpConversation => "tcp_conversation",
            Experiment::Cryptography => "cryptography",
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
            Experiment::TcpConversation => "The TCP conversation alone",
            Experiment::Cryptography => "The cryptography alone",
        }
    }

    /// The unit of a sample's cost. Lower is better in each.
    pub(crate) fn cost_unit(self) -> &'static str {
        match self {
            Experiment::Request => "µs of server CPU a request",
            Experiment::BulkUpload | Experiment::BulkDownload => "ms of server CPU a GB",
            Experiment::IdleMemory => "KiB a connection",
            Experiment::Latency => "µs, 99th percentile",
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
