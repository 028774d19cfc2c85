//! The client's chain and its possession of the key, as rustls asks for them.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::seam::{self, Known, Outcome, Presented, Reply, Report, Verdict, Work};
use crate::tls::client_status;
use crate::tls::trust_domain::{SIGNATURE_ALGORITHMS, VerifiedChain};
use crate::tls::{ChainError, Handoff, TlsVersion, TrustDomain};

/// The client has proven to hold the private key of its end entity certificate. Comes only from the
/// verification of its CertificateVerify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Possession {
    scheme: SignatureScheme,
}

impl Possession {
    fn by(signed: &DigitallySignedStruct) -> Self {
        Self { scheme: signed.scheme }
    }

    /// What the client signed with.
    #[must_use]
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Verifies a CertificateVerify (RFC 9846 §4.4.3, RFC 5246 §7.4.8).
pub(crate) fn verify_possession(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    version: TlsVersion,
) -> Result<Possession, Error> {
    match version {
        TlsVersion::Tls12 => {
            verify_tls12_signature(message, certificate, signed, &SIGNATURE_ALGORITHMS)?;
        }
        TlsVersion::Tls13 => {
            verify_tls13_signature(message, certificate, signed, &SIGNATURE_ALGORITHMS)?;
        }
    }
    Ok(Possession::by(signed))
}

/// As [`verify_possession`], for the end entity of a chain whose key is kept.
fn verify_by_known_key(
    chain: &VerifiedChain,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    version: TlsVersion,
) -> Result<Possession, Error> {
    match chain.key().verify(certificate, message, signed) {
        Some(verdict) => verdict.map(|()| Possession::by(signed)),
        None => verify_possession(message, certificate, signed, version),
    }
}

/// Verifies clients of one trust domain, and asks the connection's policy as soon as possession is
/// proven, while the alert access_denied can still be said.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    domain: Arc<TrustDomain>,
    mandatory: bool,
    handoff: Handoff,
}

impl ClientVerifier {
    pub(crate) fn new(domain: Arc<TrustDomain>, mandatory: bool, handoff: Handoff) -> Self {
        Self { domain, mandatory, handoff }
    }

    /// The verified chain: the one known from before if there is one.
    fn chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Presented, VerificationError> {
        self.domain.check_size(end_entity, intermediates)?;
        let key = self.domain.chain_key(end_entity, intermediates);
        let certificates: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| der.clone().into_owned())
            .collect();
        if let Ok(Reply::Chain(Some(chain))) = seam::report(Report::Presented(key)) {
            return Ok(Presented { key, chain, known: Known::Before, certificates });
        }
        let known = Known::Now;
        if !self.handoff.verify_chain {
            let chain = self.domain.verify(&certificates, now)?;
            return Ok(Presented { key, chain, known, certificates });
        }
        let domain = Arc::clone(&self.domain);
        let work = Work::VerifyChain { domain, chain: certificates.clone(), now };
        match seam::hand_out(work) {
            Outcome::Chain(chain) => Ok(Presented { key, chain: chain?, known, certificates }),
            other => Err(VerificationError::Undone(other)),
        }
    }

    fn possession(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        version: TlsVersion,
    ) -> Result<HandshakeSignatureValid, Error> {
        let result = if self.handoff.verify_possession {
            let work = Work::VerifyPossession {
                message: message.to_vec(),
                certificate: certificate.clone().into_owned(),
                signed: signed.clone(),
                version,
            };
            match seam::hand_out(work) {
                Outcome::Possession(result) => result,
                other => return Err(seam::undone(other)),
            }
        } else {
            match seam::report(Report::ProvenChain) {
                Ok(Reply::Chain(Some(chain))) => {
                    verify_by_known_key(&chain, message, certificate, signed, version)
                }
                _ => verify_possession(message, certificate, signed, version),
            }
        };
        let possession = result?;
        match seam::report(Report::Possession(possession)) {
            Ok(Reply::Verdict(Verdict::Admitted)) => Ok(seam::proven()),
            // Denied, abandoned or outside a step: nobody gets in without a word for it.
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

enum VerificationError {
    Chain(ChainError),
    Undone(Outcome),
}

impl From<ChainError> for VerificationError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.domain.names()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let presented = match self.chain(end_entity, intermediates, now) {
            Ok(presented) => presented,
            Err(VerificationError::Undone(outcome)) => return Err(seam::undone(outcome)),
            Err(VerificationError::Chain(error)) => {
                let _ = seam::report(Report::Problem(error.reason(), error.to_string()));
                return Err(error.steering().into());
            }
        };
        if let Some(rules) = self.domain.ocsp() {
            client_status::check(&self.domain, rules, &presented.chain, end_entity, intermediates)?;
        }
        match seam::report(Report::Chain(presented)) {
            Ok(Reply::Noted) => Ok(ClientCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession(message, cert, dss, TlsVersion::Tls12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession(message, cert, dss, TlsVersion::Tls13)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURE_ALGORITHMS.supported_schemes()
    }
}
