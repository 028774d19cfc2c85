//! How much the server is verified: no more than was asked for.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Verifies a chain when it first comes, and the server's signature each time.
pub(super) fn remembering(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
    let thorough = builder.build().map_err(|error| format!("--ca: {error}"))?;
    Ok(Arc::new(Remembering { thorough, accepted: Mutex::new(Vec::new()) }))
}

/// Takes everybody for whoever was asked for.
pub(super) fn unquestioning(provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Unquestioning(provider.signature_verification_algorithms.supported_schemes()))
}

#[derive(Debug)]
struct Remembering {
    thorough: Arc<WebPkiServerVerifier>,
    /// The chain that was accepted last. Its runtime's alone, so never waited for; a run has one server
    /// name and lasts minutes, so neither name nor time need to be asked again.
    accepted: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Remembering {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = || std::iter::once(end_entity).chain(intermediates);
        if accepted.iter().eq(chain()) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            self.thorough.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        *accepted = chain().map(|certificate| certificate.clone().into_owned()).collect();
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.thorough.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.thorough.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.thorough.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Unquestioning(Vec<SignatureScheme>);

impl ServerCertVerifier for Unquestioning {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
