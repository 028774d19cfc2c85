//! What was typed: the command line.

mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

pub(crate) use values::{CpuList, Percent, Script};

/// Loads a server with mutual-TLS handshakes, requests or bytes, and says what they cost both sides.
#[derive(Debug, Parser)]
#[command(name = "countersign-loadgen", version, max_term_width = 100)]
#[command(after_help = "\
Statistics are of the steady phase (--duration, after --ramp) alone; errors are counted in both.
A handshake counts once the server has shown that it accepts the client: by answering one small GET
(--no-probe: by a ticket, or with TLS 1.2 by its Finished). With --rate, latency counts from when a
request was due, however long it had to wait for a free connection.

Exit status: 0 if all went well; 1 beyond --max-errors, if nothing succeeded, or if the run could not
be made or ended early; 2 if the command line is wrong. Words on standard error, figures on standard
output.

Examples:
  countersign-loadgen --ca server-ca.pem --make-client-ca clients 127.0.0.1:8443
      makes clients/client-root.pem for the server to trust, then measures handshakes
  countersign-loadgen --ca server-ca.pem --client-ca clients/client-issuer.pem \\
      --client-ca-key clients/client-issuer.key --clients 50000 --unseen 20 --resume 50 \\
      --cpus 1-3 --server-pid 4711 --json result.json 127.0.0.1:8443
  countersign-loadgen --no-verify --client-certificate c.pem --client-key c.key --mode request \\
      --connections 200 --rate 20000 --plot latency.svg 127.0.0.1:8443")]
pub(crate) struct Arguments {
    /// The server: IP:PORT or HOST:PORT.
    #[arg(value_name = "ADDRESS")]
    pub(crate) target: String,
    /// What each connection does.
    #[arg(long, value_enum, default_value_t = Mode::Handshake)]
    pub(crate) mode: Mode,
    /// No TLS at all: request, upload and download on plain TCP.
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// Open --connections connections, keep them open and idle for --duration, tell how many live (with
    /// handshake or request).
    #[arg(long)]
    pub(crate) hold: bool,
    /// Reset right after the handshake instead of asking for one small response.
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Path of the GET of probes and requests.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,
    /// Requests on a connection before it is replaced; 0 keeps it for ever.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) requests: u64,

    /// Connections at one time.
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Load")]
    pub(crate) connections: usize,
    /// Start so many handshakes (with --mode request: requests) a second, whatever the answers [default:
    /// the next when one has ended].
    #[arg(long, value_name = "R", help_heading = "Load")]
    pub(crate) rate: Option<f64>,
    /// With --rate: stay awake for so long before something is due, instead of asking to be woken in time.
    /// Takes CPU; 0s sleeps.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "100us", requires = "rate", help_heading = "Load")]
    pub(crate) spin: Duration,
    /// Warm-up before anything is measured.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "1s", help_heading = "Load")]
    pub(crate) ramp: Duration,
    /// How long is measured.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s", help_heading = "Load")]
    pub(crate) duration: Duration,
    /// End after so many handshakes or requests, failed ones included, all of them measured: no ramp.
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub(crate) count: Option<u64>,
    /// Each CPU gets a runtime of its own, pinned to it, such as 1 or 2-5,8 [default: one runtime, not
    /// pinned].
    #[arg(long, value_name = "LIST", help_heading = "Load")]
    pub(crate) cpus: Option<CpuList>,
    /// A handshake or a request that takes longer has failed.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s", help_heading = "Load")]
    pub(crate) timeout: Duration,
    /// End early when for so long there were errors and not one success.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "3s", help_heading = "Load")]
    pub(crate) give_up: Duration,
    /// More errors than that are a failed run.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Load")]
    pub(crate) max_errors: u64,

    /// Name to ask the server for (SNI) and to find in its certificate [default: the host of ADDRESS].
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub(crate) server_name: Option<String>,
    /// PEM file with the CA certificates that the server's chain must lead to.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(crate) ca: Option<PathBuf>,
    /// Check neither the server's chain nor its signatures: cheaper, and proves nothing.
    #[arg(long, conflicts_with = "ca", help_heading = "TLS")]
    pub(crate) no_verify: bool,
    /// The only protocol version that is offered.
    #[arg(long, value_enum, default_value_t = TlsVersion::Tls13, help_heading = "TLS")]
    pub(crate) tls: TlsVersion,
    /// The only key exchange group that is offered (with TLS 1.2: the first, before those that certificates need).
    #[arg(long, value_enum, default_value_t = Group::X25519, help_heading = "TLS")]
    pub(crate) group: Group,
    /// The only cipher suite that is offered, such as TLS13_AES_128_GCM_SHA256 [default: all of the version].
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub(crate) suite: Option<String>,
    /// Application protocol to offer, such as http/1.1.
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub(crate) alpn: Option<String>,
    /// Share of handshakes that offer a session, in percent; those that the server did resume are counted.
    #[arg(long, value_name = "PERCENT", default_value = "0", help_heading = "TLS")]
    pub(crate) resume: Percent,

    /// One client certificate for all: PEM chain, end entity first.
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_key",
        conflicts_with = "client_ca",
        help_heading = "Clients"
    )]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "client_certificate", help_heading = "Clients")]
    pub(crate) client_key: Option<PathBuf>,
    /// Issue the clients under this CA: PEM, issuing certificate first, then intermediates that clients send
    /// too. Self-signed ones are not sent.
    #[arg(long, value_name = "FILE", requires = "client_ca_key", help_heading = "Clients")]
    pub(crate) client_ca: Option<PathBuf>,
    /// The issuing certificate's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "client_ca", help_heading = "Clients")]
    pub(crate) client_ca_key: Option<PathBuf>,
    /// Make a root and an intermediate, write client-root.pem, client-issuer.pem and client-issuer.key there,
    /// and issue the clients under them. A CA that stands there already is used again.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["client_ca", "client_certificate"], help_heading = "Clients")]
    pub(crate) make_client_ca: Option<PathBuf>,
    /// Client certificates to issue ahead, each with a key of its own [default: as many as --seen].
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub(crate) clients: Option<usize>,
    /// Kind of their keys.
    #[arg(long, value_enum, default_value_t = KeyType::P256, help_heading = "Clients")]
    pub(crate) client_key_type: KeyType,
    /// Share of full handshakes, in percent, with a certificate that was never used before.
    #[arg(long, value_name = "PERCENT", default_value = "0", help_heading = "Clients")]
    pub(crate) unseen: Percent,
    /// The other handshakes go round among so many of the clients.
    #[arg(long, value_name = "K", default_value_t = 16, help_heading = "Clients")]
    pub(crate) seen: usize,
    /// Clients are called PREFIX-000001 (common name), PREFIX-000001.PREFIX-domain (DNS name) and so on.
    #[arg(long, value_name = "PREFIX", default_value = "client", help_heading = "Clients")]
    pub(crate) common_name: String,

    /// Instead of working, be a nuisance: a ClientHello or 64 random bytes, the first bytes of the answer,
    /// a reset.
    #[arg(long, value_enum, conflicts_with_all = ["plaintext", "hold"], help_heading = "Floods")]
    pub(crate) flood: Option<Flood>,
    /// All connections of a runtime offer one X25519 key share. Saves CPU of the client; for load only,
    /// never do this where secrets matter.
    #[arg(long, help_heading = "Floods")]
    pub(crate) reuse_key_share: bool,

    /// Bulk with as little client CPU as can be: downloads are dropped unread and not decrypted, uploads
    /// are sealed ahead. Each connection is a thread, on the listed CPUs in turn.
    #[arg(long, help_heading = "Bulk")]
    pub(crate) discard: bool,
    /// How much each connection seals ahead for an upload with --discard; when it is sent the run ends.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "Bulk")]
    pub(crate) seal_ahead: u64,
    /// Sizes of --mode tcp: bytes that are sent, read, sent, read and so on, then a reset.
    #[arg(long, value_name = "SIZES", default_value = "517,2100,1400,600", help_heading = "Bulk")]
    pub(crate) script: Script,

    /// Processes of the server: their CPU time is measured, with all threads and descendants.
    #[arg(long, value_name = "PID[,PID]", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..), help_heading = "Report")]
    pub(crate) server_pid: Vec<u32>,
    /// Write the figures as JSON; - is standard output, in place of the summary.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(crate) json: Option<PathBuf>,
    /// Write latencies of each second in HdrHistogram's interval log format.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(crate) hdr_log: Option<PathBuf>,
    /// Draw latency by percentile and rate over time.
    #[arg(long, value_name = "FILE.svg", help_heading = "Report")]
    pub(crate) plot: Option<PathBuf>,
    /// Nothing on standard error but what went wrong.
    #[arg(long, help_heading = "Report")]
    pub(crate) no_progress: bool,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Connect, handshake, one small GET (see --no-probe), reset.
    Handshake,
    /// HTTP/1.1 GETs on kept connections.
    Request,
    /// Send application data for as long as the run lasts.
    Upload,
    /// Read what the server sends for as long as the run lasts.
    Download,
    /// Plain bytes back and forth, without TLS: the floor under a handshake.
    Tcp,
}

impl Mode {
    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Request => "request",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Tcp => "tcp",
        }
    }
}

/// A cheap way to be expensive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flood {
    /// A valid ClientHello, always the same.
    ClientHello,
    /// Bytes that are no TLS.
    Garbage,
}

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with extended master secret.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 9846).
    #[value(name = "1.3")]
    Tls13,
}

/// A key exchange group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Curve25519.
    X25519,
    /// Hybrid of X25519 and ML-KEM-768; TLS 1.3 only.
    X25519mlkem768,
    /// NIST P-256.
    Secp256r1,
    /// NIST P-384.
    Secp384r1,
}

/// The kind of a client's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyType {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA, 2048 bits.
    Rsa2048,
    /// Ed25519.
    Ed25519,
}
