//! A server identity: its rustls configurations, one for each group to agree with.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SecureRandom, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{self, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::seam::{self, Reply, Report, Verdict};
use crate::ticket::Resumption;
use crate::tls::openssl_names::ServerCertificate;
use crate::tls::provider::{self, Groups, default_groups, default_suites};
use crate::tls::signer::IdentityKey;
use crate::tls::staple::StapleCell;
use crate::tls::ticketer::Ticketer;
use crate::tls::token_key::TokenKey;
use crate::tls::verifier::ClientVerifier;
use crate::tls::{ClientHello, Handoff, TlsVersion, TrustDomain};

/// A server's certificate chain, end entity first, and its key.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// What the client is shown.
    pub chain: Vec<CertificateDer<'static>>,
    /// The end entity's key.
    pub key: ServerKey,
}

/// Where a server's key is.
#[derive(Debug)]
pub enum ServerKey {
    /// Here: PKCS#8, SEC1 or PKCS#1.
    Software(PrivateKeyDer<'static>),
    /// In a token. Its signatures always leave the step, whatever [`Handoff`] says.
    Token(TokenKey),
}

impl ServerKey {
    /// The key itself; `None` if it is in a token.
    #[must_use]
    pub fn software(&self) -> Option<&PrivateKeyDer<'static>> {
        match self {
            Self::Software(key) => Some(key),
            Self::Token(_) => None,
        }
    }
}

impl Clone for ServerKey {
    fn clone(&self) -> Self {
        match self {
            Self::Software(key) => Self::Software(key.clone_key()),
            Self::Token(key) => Self::Token(key.clone()),
        }
    }
}

impl From<PrivateKeyDer<'static>> for ServerKey {
    fn from(key: PrivateKeyDer<'static>) -> Self {
        Self::Software(key)
    }
}

/// Whether clients of an identity are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// Asked, and refused without one.
    #[default]
    Require,
    /// Asked; without one the policy decides about an anonymous client.
    Optional,
    /// Not asked; every client is anonymous.
    None,
}

/// What an identity speaks.
#[derive(Clone)]
pub struct TlsParameters {
    /// In the server's order, which decides.
    pub suites: Vec<SupportedCipherSuite>,
    /// In the server's order, which decides.
    pub groups: Groups,
    /// At least one.
    pub versions: Vec<TlsVersion>,
    /// Application protocols in the server's order (RFC 7301); none are negotiated if there are none.
    pub alpn: Vec<Vec<u8>>,
    /// The worker's own source of randomness.
    pub random: &'static dyn SecureRandom,
    /// What leaves the running step.
    pub handoff: Handoff,
    /// Whether sessions are resumed.
    pub resumption: Resumption,
}

impl TlsParameters {
    /// TLS 1.3 and 1.2 with the default suites and groups; everything is done in place.
    #[must_use]
    pub fn new(random: &'static dyn SecureRandom) -> Self {
        Self {
            suites: default_suites(),
            groups: default_groups(),
            versions: vec![TlsVersion::Tls13, TlsVersion::Tls12],
            alpn: Vec::new(),
            random,
            handoff: Handoff::default(),
            resumption: Resumption::default(),
        }
    }
}

/// Why credentials cannot be an identity.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The key is of a kind that is not supported, or broken.
    #[error("the private key cannot be used: {0}")]
    Key(rustls::Error),
    /// The key is not the certificate's.
    #[error("the private key does not match the certificate (their public keys differ)")]
    Mismatch,
    /// The certificate cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Certificate(rustls::Error),
    /// Clients are asked for a certificate, but there are no CAs that it could lead to.
    #[error(
        "clients are asked for a certificate, but there are no CA certificates that it could lead to"
    )]
    NoTrustDomain,
    /// Suites, groups and versions do not go together.
    #[error("suites, groups and versions do not go together: {0}")]
    Parameters(rustls::Error),
}

/// A server identity of one worker. Nothing in it is shared with another worker, so that no reference
/// count is contended.
pub struct Identity {
    client_auth: ClientAuth,
    domain: Option<Arc<TrustDomain>>,
    certificate: ServerCertificate,
    resumption: Resumption,
    certified: Arc<StapleCell>,
    any_group: Arc<ServerConfig>,
    by_group: Vec<(NamedGroup, Arc<ServerConfig>)>,
}

impl Identity {
    /// Prepares credentials for clients of `domain`. With [`ClientAuth::Optional`], `anonymous` says
    /// whether policy may let in a client without a certificate; if not, rustls refuses it while it
    /// can still be told so.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn new(
        credentials: &Credentials,
        domain: Option<Arc<TrustDomain>>,
        client_auth: ClientAuth,
        anonymous: bool,
        parameters: &TlsParameters,
    ) -> Result<Self, CredentialsError> {
        let certified = Arc::new(StapleCell::new(certify(credentials, parameters.handoff)?));
        let domain = domain.filter(|_| client_auth != ClientAuth::None);
        // Only a client that has proven who it is gets a ticket.
        let resumption = domain.as_ref().map_or(Resumption::OFF, |_| parameters.resumption);
        let verifier: Arc<dyn ClientCertVerifier> = match (client_auth, domain.clone()) {
            (ClientAuth::None, _) => Arc::new(NoClientAuth),
            (_, None) => return Err(CredentialsError::NoTrustDomain),
            (asked, Some(domain)) => Arc::new(ClientVerifier::new(
                domain,
                asked == ClientAuth::Require || !anonymous,
                parameters.handoff,
            )),
        };
        let provider = provider::provider(
            &parameters.suites,
            &parameters.groups,
            parameters.random,
            parameters.handoff,
        );
        let build = |provider| {
            let (verifier, certified) = (Arc::clone(&verifier), Arc::clone(&certified));
            configure(provider, parameters, resumption.tickets, verifier, certified)
        };
        let mut by_group = Vec::with_capacity(provider.kx_groups.len());
        for group in &provider.kx_groups {
            by_group.push((group.name(), build(provider::with_only(&provider, *group))?));
        }
        let certificate =
            credentials.chain.first().map(|der| ServerCertificate::read(der)).unwrap_or_default();
        let any_group = build(Arc::new(provider))?;
        Ok(Self { client_auth, domain, certificate, resumption, certified, any_group, by_group })
    }

    /// Whether its clients are asked for a certificate.
    #[must_use]
    pub fn client_auth(&self) -> ClientAuth {
        self.client_auth
    }

    /// What an upstream may be told of its certificate.
    #[must_use]
    pub fn certificate(&self) -> ServerCertificate {
        self.certificate
    }

    /// Whom it trusts; nobody where clients are not asked for a certificate.
    pub(crate) fn trust_domain(&self) -> Option<&Arc<TrustDomain>> {
        self.domain.as_ref()
    }

    /// Whether its sessions are resumed.
    #[must_use]
    pub fn resumption(&self) -> Resumption {
        self.resumption
    }

    /// Where an OCSP answer about its certificate is put, for clients that ask for one.
    #[must_use]
    pub fn staple_cell(&self) -> &Arc<StapleCell> {
        &self.certified
    }

    /// The configuration for a client: that of the first group, in the server's order, for which its
    /// hello has a key share; failing that, of the first that it speaks at all, which in TLS 1.3 takes
    /// a HelloRetryRequest. rustls by itself would follow the client's order, and retry where a later
    /// group had a share.
    pub(crate) fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        // Hybrid groups exist in TLS 1.3 only, and only its clients offer its suites.
        let speaks_tls13 = hello.speaks_tls13();
        let usable = || {
            self.by_group.iter().filter(|(group, _)| {
                hello.offers(*group) && (speaks_tls13 || *group != NamedGroup::X25519MLKEM768)
            })
        };
        let shared = usable().find(|(group, _)| hello.has_key_share(*group));
        let chosen = shared.or_else(|| usable().next());
        Arc::clone(chosen.map_or(&self.any_group, |(_, config)| config))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

fn certify(credentials: &Credentials, handoff: Handoff) -> Result<CertifiedKey, CredentialsError> {
    let key: Arc<dyn SigningKey> = match &credentials.key {
        ServerKey::Software(key) => {
            aws_lc_rs::sign::any_supported_type(key).map_err(CredentialsError::Key)?
        }
        ServerKey::Token(key) => Arc::new(key.clone()),
    };
    let certified = CertifiedKey::new(credentials.chain.clone(), key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            return Err(CredentialsError::Mismatch);
        }
        Err(error) => return Err(CredentialsError::Certificate(error)),
    }
    match &credentials.key {
        ServerKey::Software(_) => {
            let key = Arc::new(IdentityKey::new(certified.key, handoff.sign));
            Ok(CertifiedKey::new(certified.cert, key))
        }
        ServerKey::Token(_) => Ok(certified),
    }
}

fn configure(
    provider: Arc<CryptoProvider>,
    parameters: &TlsParameters,
    tickets: usize,
    verifier: Arc<dyn ClientCertVerifier>,
    certified: Arc<StapleCell>,
) -> Result<Arc<ServerConfig>, CredentialsError> {
    let versions: Vec<_> = parameters
        .versions
        .iter()
        .map(|version| match version {
            TlsVersion::Tls12 => &TLS12,
            TlsVersion::Tls13 => &TLS13,
        })
        .collect();
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(StepClock))
        .with_protocol_versions(&versions)
        .map_err(CredentialsError::Parameters)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(OneIdentity(certified)));
    // Nothing resumes but by a ticket of ours. rustls comes with a session cache by which a TLS 1.2
    // client resumes without ever asking the ticketer, and without its certificate being looked at again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Ticketer::new(tickets > 0));
    config.send_tls13_tickets = tickets;
    // A client may ask for fewer (RFC 9149), not for more.
    config.max_tls13_tickets = tickets;
    // No 0-RTT: such data could be replayed, and comes before anybody has looked at policy.
    config.max_early_data_size = 0;
    // A client certificate is worth nothing without it (RFC 7627 §1, triple handshake).
    config.require_ems = true;
    config.ignore_client_order = true;
    config.alpn_protocols.clone_from(&parameters.alpn);
    // The record layer of an established connection is ours.
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct OneIdentity(Arc<StapleCell>);

impl ResolvesServerCert for OneIdentity {
    /// This identity was chosen by the server name as the engine read it: rustls must have read the
    /// same one.
    fn resolve(&self, hello: server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match seam::report(Report::ServerName(hello.server_name().map(str::to_owned))) {
            Ok(Reply::Verdict(Verdict::Admitted)) => Some(self.0.shown()),
            _ => None,
        }
    }
}

/// Time as the connection has it whose step runs: the world's or the simulator's.
#[derive(Debug)]
struct StepClock;

impl TimeProvider for StepClock {
    fn current_time(&self) -> Option<UnixTime> {
        match seam::report(Report::Time) {
            Ok(Reply::Time(now)) => Some(now),
            _ => None,
        }
    }
}
