//! What rustls is given: one configuration for each client and runtime.

mod key_share;
mod randomness;
pub(crate) mod sessions;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};

use crate::arguments::{Group, TlsVersion};
use crate::plan::TlsPlan;

/// A configuration of one runtime, without a client.
pub(crate) fn config(plan: &TlsPlan) -> Result<ClientConfig, String> {
    let provider = Arc::new(provider(plan));
    let verifier = match &plan.roots {
        Some(roots) => verifier::remembering(roots, &provider)?,
        None => verifier::unquestioning(&provider),
    };
    let version = match plan.version {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .map_err(|error| format!("this version, suite and group do not fit together: {error}"))?;
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = plan.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn provider(plan: &TlsPlan) -> CryptoProvider {
    let group: &'static dyn SupportedKxGroup = match plan.group {
        Group::X25519 if plan.reuse_key_share => key_share::reused(),
        Group::X25519 => kx_group::X25519,
        Group::X25519mlkem768 => kx_group::X25519MLKEM768,
        Group::Secp256r1 => kx_group::SECP256R1,
        Group::Secp384r1 => kx_group::SECP384R1,
    };
    let mut provider = default_provider();
    provider.kx_groups = vec![group];
    if plan.version == TlsVersion::Tls12 {
        // There the groups also say which curves a certificate may be on (RFC 8422, section 5.1.1).
        let of_certificates = [kx_group::SECP256R1, kx_group::SECP384R1].into_iter();
        provider.kx_groups.extend(of_certificates.filter(|curve| curve.name() != group.name()));
    }
    provider.secure_random = &randomness::POOLED;
    if let Some(suite) = plan.suite {
        provider.cipher_suites = vec![suite];
    }
    provider
}
