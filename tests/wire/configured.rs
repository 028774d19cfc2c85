//! An engine that runs from a configuration file, with its admin endpoint on a unix socket.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_tests::admin::Admin;
use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::configuration::{Configuration, ConfigurationFile};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::Engine;
use countersign_tests::http::{GET_AND_CLOSE, read_response};
use countersign_tests::pki::{Identity, Pki};
use countersign_tests::prometheus::Metrics;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::CertificateDer;
use serde_json::Value;

/// The metric that a reason of a refusal is counted in.
pub(crate) const REFUSED: &str = "countersign_handshakes_refused_total";

/// A configuration, the engine that runs from it, and its admin endpoint.
pub(crate) struct Configured {
    // First, so that it ends before the PKI's folder goes.
    pub(crate) engine: Engine,
    pub(crate) file: ConfigurationFile,
    pub(crate) admin: Admin,
}

/// The admin endpoint of an engine that runs from a configuration in the PKI's folder.
pub(crate) fn admin(pki: &Pki) -> Admin {
    Admin::Unix(pki.directory().join("admin.sock"))
}

impl Configured {
    /// Writes the configuration, with an admin endpoint, and starts the engine.
    #[track_caller]
    pub(crate) fn start(pki: &Pki, configuration: Configuration) -> Self {
        Self::start_under(pki, configuration, Vec::new())
    }

    /// The same, under another program.
    #[track_caller]
    pub(crate) fn start_under(
        pki: &Pki,
        configuration: Configuration,
        wrapper: Vec<OsString>,
    ) -> Self {
        let admin = admin(pki);
        let file = ConfigurationFile::new(pki, &configuration.admin(&admin.listen()));
        let file = file.under(wrapper);
        Self { engine: file.start(), file, admin }
    }

    /// Puts another configuration, with the same admin endpoint, into the file.
    pub(crate) fn rewrite(&self, configuration: Configuration) {
        self.file.rewrite(&configuration.admin(&self.admin.listen()));
    }

    /// The same, and has the engine take it.
    #[track_caller]
    pub(crate) fn reload(&self, configuration: Configuration) -> Value {
        self.rewrite(configuration);
        self.engine.reloaded()
    }

    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        self.admin.metrics()
    }

    /// Waits until a series has this value.
    #[track_caller]
    pub(crate) fn wait_for_count(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        wait_for(&format!("{name} {labels:?} to be {value}"), || {
            (self.metrics().count(name, labels) == value).then_some(())
        });
    }
}

/// A client's configuration with what the tests of a configured engine mostly want.
pub(crate) fn tls(pki: &Pki, identity: Option<&Identity>, version: Version) -> Arc<ClientConfig> {
    Arc::new(config(pki, identity, version))
}

/// A client's configuration that shows `chain` and signs with the key of `signer`.
pub(crate) fn showing(
    pki: &Pki,
    chain: &[CertificateDer<'static>],
    signer: &Identity,
    version: Version,
) -> Arc<ClientConfig> {
    let key = aws_lc_rs::sign::any_supported_type(&signer.key).expect("a key");
    let certified = CertifiedKey::new(chain.to_vec(), key);
    let mut config = config(pki, Some(signer), version);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Arc::new(config)
}

/// One request to the built-in upstream, on a connection of its own that ends cleanly.
///
/// # Errors
///
/// How it ended, where it ended otherwise.
pub(crate) fn ask_whoami(
    server_name: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<Value, Ending> {
    let mut client = Client::connect_to(server_name, address, config);
    client.handshake()?;
    client.send(GET_AND_CLOSE);
    let answer = read_response(&mut client)?.json();
    match client.ending() {
        (bytes, Ending::CloseNotify) if bytes.is_empty() => {
            client.close_notify();
            Ok(answer)
        }
        (_, ending) => Err(ending),
    }
}
