//! Lists over HTTP. A list needs no TLS, since it is signed; https is for CAs that offer nothing else.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use countersign_proto::revocation::{LIST_BYTES_MAX, RevocationList};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::library::read_lists;

/// The largest answer that is read, in bytes.
const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Room made ahead for a server that does not say how much comes, in bytes.
const UNSAID_BYTES: u64 = 1024 * 1024;

/// Where systems keep the CAs that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Fetches lists. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub(super) struct Fetcher {
    agent: Arc<OnceLock<Agent>>,
}

impl Fetcher {
    /// Fetches a URL within `patience`, and says how long it took.
    pub(super) fn fetch(
        &self,
        url: &str,
        patience: Duration,
    ) -> Result<(Vec<RevocationList>, Duration), String> {
        let began = Instant::now();
        let agent = self.agent.get_or_init(agent);
        let request = agent.get(url).config().timeout_global(Some(patience)).build();
        let mut response = request.call().map_err(|error| format!("cannot be fetched: {error}"))?;
        let status = response.status();
        if status.is_redirection() {
            let to =
                response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("?");
            return Err(format!(
                "is answered {}, elsewhere: {:?}; redirects are not followed, name that URL if it is right",
                status.as_u16(),
                to.chars().take(200).collect::<String>()
            ));
        }
        if status.as_u16() != 200 {
            return Err(format!("is answered {}", status.as_u16()));
        }
        let said = response.body().content_length();
        if said.is_some_and(|said| said > BODY_BYTES_MAX) {
            return Err(format!("is larger than {BODY_BYTES_MAX} bytes"));
        }
        let mut body = response.body_mut().with_config().limit(BODY_BYTES_MAX).reader();
        let lists = read_lists(&mut body, said.unwrap_or(UNSAID_BYTES).min(LIST_BYTES_MAX))?;
        Ok((lists, began.elapsed()))
    }
}

fn agent() -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&system_roots()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_PATIENCE))
        .max_idle_connections(0)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .proxy(None)
        .build()
        .new_agent()
}

/// The CAs that the system trusts; without any, https fails and says so.
fn system_roots() -> Vec<Certificate<'static>> {
    let named = std::env::var_os("SSL_CERT_FILE");
    let paths = named.as_deref().map(Path::new).into_iter().chain(SYSTEM_ROOTS.map(Path::new));
    let read = |path: &Path| -> Option<Vec<Certificate<'static>>> {
        let certificates = CertificateDer::pem_file_iter(path).ok()?;
        let certificates = certificates.filter_map(Result::ok);
        let certificates: Vec<_> =
            certificates.map(|der| Certificate::from_der(&der).to_owned()).collect();
        (!certificates.is_empty()).then_some(certificates)
    };
    paths.into_iter().find_map(read).unwrap_or_default()
}
