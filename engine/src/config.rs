//! The resolved configuration: everything read, parsed and checked; what is wrong, all at once.

mod document;
mod errors;
mod files;
mod flags;
pub mod keys;
mod raw;
mod resolve;
mod section;
mod source;
mod ticket_keys;
mod tokens;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::policy::{AddressPrefix, DomainName};
use countersign_proto::revocation::{RevocationFeed, RevocationPolicy};
use countersign_proto::{
    Announce, ChainCacheLimits, ChainLimits, ClientAuth, Credentials, CredentialsError, Groups,
    Handoff, Identities, Identity, Limits, Listener, Policy, Resumption, Rule, TlsParameters,
    TlsVersion, TrustDomain, TrustDomainError, UpstreamAddress, Withdrawal,
    ocsp::{OcspRules, Question},
};
use rustls::SupportedCipherSuite;
use rustls_pki_types::CertificateDer;

pub use errors::{ConfigError, ConfigErrors, Location};
pub(crate) use files::{certificates, private_key};
pub use flags::RawConfig;
pub use ticket_keys::{Stamp, TicketKeyFile, TicketKeySource, TokenTicketKeys};
pub use tokens::{
    TOKEN_OPERATION_TIMEOUT, TokenConfig, TokenIsolation, TokenKeyConfig, TokenKeyPlace,
    TokenRules, VerifyOwn,
};

use self::errors::Problems;
use self::raw::Raw;
use crate::randomness::WORKER_RANDOM;
use crate::telemetry::LoggedConnections;

/// Handshakes under way on a worker at one time, by default.
pub const MAX_HANDSHAKES: usize = 4_096;

/// Ticket keys that are kept beside the one that seals, until their tickets have run out.
pub const TICKET_KEYS_KEPT_MAX: usize = 64;

/// What the engine runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order in which they were given.
    pub listeners: Vec<ListenerConfig>,
    /// How many workers.
    pub workers: usize,
    /// The CPU of each worker; empty if they are not pinned.
    pub cpus: Vec<usize>,
    /// Client connections of a worker; the most that the process' limits allow if not said.
    pub max_connections: Option<usize>,
    /// Handshakes under way on a worker at one time.
    pub max_handshakes: usize,
    /// How many verified chains a worker remembers.
    pub chain_cache: ChainCacheLimits,
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// Which connections get a line in the log.
    pub log_connections: LoggedConnections,
    /// Where ticket keys come from; without it the process has keys of its own.
    pub ticket_keys: Option<TicketKeySource>,
    /// How long such a key of its own seals.
    pub ticket_key_lifetime: Duration,
    /// What holds for the operations of tokens.
    pub tokens: TokenRules,
    /// Where metrics and health are served.
    pub admin: Option<AdminAddress>,
    /// What is not wrong, but worth a word: one line each, in the order of the file.
    pub warnings: Vec<String>,
}

/// Where the admin endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listener, resolved.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Unique; stands for the listener in logs and metrics.
    pub name: String,
    /// Where it listens; unique too.
    pub address: SocketAddr,
    /// The first is the default. At least one.
    pub identities: Vec<IdentityConfig>,
    /// Does a server name that no identity has get the alert unrecognized_name?
    pub strict_sni: bool,
    /// What is negotiated.
    pub tls: TlsConfig,
    /// Who may come in.
    pub rules: Vec<Rule>,
    /// Who would come in by the shadow policy, if there is one.
    pub shadow_rules: Option<Vec<Rule>>,
    /// Where they go.
    pub upstream: UpstreamAddress,
    /// How the upstream is told of the client.
    pub announce: Announce,
    /// Balancers in front, which say on whose behalf they connect.
    pub proxy_from: Vec<AddressPrefix>,
    /// Whether sessions are resumed, and how long.
    pub resumption: Resumption,
    /// Client connections of the listener at one time, on each worker.
    pub max_connections: Option<usize>,
    /// What becomes of a connection whose client would not be let in any more.
    pub withdrawal: Withdrawal,
    /// What it may cost.
    pub limits: Limits,
}

/// One identity of a listener.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// Exact server names, or `*.` and a domain, in lower case.
    pub server_names: Vec<String>,
    /// The server's certificate and key.
    pub credentials: Credentials,
    /// Where the key is, if it is in a token; what the credentials have is then only what it is to be.
    pub token_key: Option<Arc<TokenKeyConfig>>,
    /// The CA certificates that clients must lead to; none where no client is asked for one.
    pub client_ca: Vec<CertificateDer<'static>>,
    /// What rules call the domain of these CAs.
    pub trust_domain: Option<DomainName>,
    /// Are clients asked for a certificate?
    pub client_auth: ClientAuth,
    /// Where revocation lists come from; `None` if revocation is not checked.
    pub revocation: Option<RevocationConfig>,
    /// How OCSP responders are asked about clients; `None` if they are not.
    pub ocsp: Option<Arc<OcspRules>>,
    /// Where an OCSP answer about the server's own certificate comes from; `None` if none is shown.
    pub staple: Option<Arc<StapleConfig>>,
}

/// Where the revocation lists for an identity's clients come from, and what holds without them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevocationConfig {
    /// Lists that decide.
    pub sources: Vec<ListSource>,
    /// Lists that are asked beside, and decide nothing.
    pub shadow: Vec<ListSource>,
    /// How old a list from a URL may become before it is fetched again.
    pub refresh: Duration,
    /// Are the distribution points named in clients' certificates fetched?
    pub follows_points: bool,
    /// What becomes of clients whose CA has no list that is in date.
    pub policy: RevocationPolicy,
}

impl RevocationConfig {
    /// Are there lists that decide, or may there be?
    #[must_use]
    pub fn decides(&self) -> bool {
        !self.sources.is_empty() || self.follows_points
    }
}

/// Where lists come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListSource {
    /// A file, DER or PEM.
    File(PathBuf),
    /// Every file in a directory whose name does not begin with a dot.
    Directory(PathBuf),
    /// An http or https URL.
    Url(String),
}

impl std::fmt::Display for ListSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) | Self::Directory(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// An OCSP answer about a certificate of ours, to be shown to clients that ask for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StapleConfig {
    /// What is asked.
    pub question: Question,
    /// Where the answer comes from.
    pub source: StapleSource,
    /// The certificate's subject.
    pub subject: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Clients that keep RFC 7633 refuse the certificate without an answer.
    pub must_staple: bool,
}

/// Where staples come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StapleSource {
    /// A responder, by its http URL.
    Responder(Arc<str>),
    /// A file with the answer's DER, which somebody else renews.
    File(PathBuf),
}

/// What a listener negotiates.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// At least one, the newest first.
    pub versions: Vec<TlsVersion>,
    /// In the server's order.
    pub suites: Vec<SupportedCipherSuite>,
    /// In the server's order.
    pub groups: Groups,
    /// Application protocols, in the server's order.
    pub alpn: Vec<Vec<u8>>,
    /// Whether the CertificateRequest names the CAs.
    pub ca_names: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        let defaults = TlsParameters::new(&WORKER_RANDOM);
        Self {
            versions: defaults.versions,
            suites: defaults.suites,
            groups: defaults.groups,
            alpn: defaults.alpn,
            ca_names: true,
        }
    }
}

/// Why a listener cannot be built from its configuration; checked before a [`Config`] is made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The CA certificates cannot be used.
    #[error("{0}")]
    TrustDomain(#[from] TrustDomainError),
    /// The credentials cannot be used.
    #[error("{0}")]
    Credentials(#[from] CredentialsError),
}

impl ListenerConfig {
    /// Builds the listener anew for one worker, so that nothing in it is shared with another. `bound` is
    /// where it listens indeed: the kernel chooses the port where the configuration says 0. `feed` gives
    /// an identity's revocation lists.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(
        &self,
        bound: SocketAddr,
        generation: u64,
        handoff: Handoff,
        feed: &mut dyn FnMut(&IdentityConfig) -> Option<Arc<RevocationFeed>>,
    ) -> Result<Listener, BuildError> {
        let mut identities = Vec::with_capacity(self.identities.len());
        for identity in &self.identities {
            let built = self.identity(identity, handoff, feed(identity))?;
            identities.push((identity.server_names.clone(), built));
        }
        Ok(Listener {
            name: self.name.as_str().into(),
            address: bound,
            generation,
            identities: Identities::new(identities, self.strict_sni),
            policy: Policy::new(self.rules.clone()),
            shadow: self.shadow_rules.clone().map(Policy::new),
            upstream: self.upstream.clone(),
            announce: self.announce,
            withdrawal: self.withdrawal,
            proxy_from: self.proxy_from.clone(),
            limits: self.limits.clone(),
        })
    }

    /// Builds one of its identities.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn identity(
        &self,
        identity: &IdentityConfig,
        handoff: Handoff,
        feed: Option<Arc<RevocationFeed>>,
    ) -> Result<Identity, BuildError> {
        let parameters = TlsParameters {
            suites: self.tls.suites.clone(),
            groups: self.tls.groups.clone(),
            versions: self.tls.versions.clone(),
            alpn: self.tls.alpn.clone(),
            random: &WORKER_RANDOM,
            handoff,
            resumption: self.resumption,
        };
        let domain = match identity.client_auth {
            ClientAuth::None => None,
            ClientAuth::Require | ClientAuth::Optional => {
                let domain = self.trust_domain(identity)?;
                Some(Arc::new(match feed {
                    Some(feed) => domain.with_revocations(feed),
                    None => domain,
                }))
            }
        };
        let anonymous = self.rules.iter().any(Rule::is_for_anonymous);
        let auth = identity.client_auth;
        Ok(Identity::new(&identity.credentials, domain, auth, anonymous, &parameters)?)
    }

    /// The index of the identity that answers to a server name; `None` if none does.
    #[must_use]
    pub fn identity_for(&self, server_name: Option<&str>) -> Option<usize> {
        let names = self.identities.iter().map(|identity| (identity.server_names.clone(), ()));
        Identities::new(names.collect(), self.strict_sni).index(server_name)
    }

    /// What clients of one of its identities must lead to.
    ///
    /// # Errors
    /// See [`TrustDomainError`].
    pub fn trust_domain(&self, identity: &IdentityConfig) -> Result<TrustDomain, TrustDomainError> {
        let limits = ChainLimits {
            certificates: self.limits.chain_certificates,
            bytes: self.limits.chain_bytes,
        };
        let name = identity.trust_domain.as_ref().map(|name| name.as_str().into());
        let domain = TrustDomain::new(&identity.client_ca, limits, self.tls.ca_names)?.named(name);
        Ok(match &identity.ocsp {
            Some(rules) => domain.with_ocsp(Arc::clone(rules)),
            None => domain,
        })
    }
}

impl Config {
    /// Reads a configuration file and every file that it names; checks everything.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let source = document::read(path)?;
        let mut problems = Problems::new(Some(&source));
        let root = document::parse(&source, &mut problems);
        let raw = Raw::read(root, path.parent().unwrap_or(Path::new("")));
        resolve::resolve(&raw, problems)
    }

    /// Checks what can be said of a configuration file's content alone: its syntax, its keys, the kinds of their
    /// values. Opens no file and looks nothing up; for fuzzing, any bytes may be asked about.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn check_text(name: &str, content: Vec<u8>) -> Result<(), ConfigErrors> {
        let source = document::text(name.to_owned(), content)?;
        let mut problems = Problems::new(Some(&source));
        let root = document::parse(&source, &mut problems);
        Raw::read(root, Path::new(""));
        problems.finish().map(drop)
    }

    /// How long the ticket of any listener may be good.
    #[must_use]
    pub fn longest_ticket(&self) -> Duration {
        resolve::tickets::longest_ticket(&self.listeners)
    }

    /// Resolves what was typed on the command line: reads the files, parses and checks everything.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn resolve(raw: &RawConfig) -> Result<Self, ConfigErrors> {
        resolve::resolve(&raw.raw(), Problems::new(None))
    }
}
