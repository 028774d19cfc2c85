//! The server's key, as rustls sees it.

use std::sync::Arc;

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::seam::{self, Outcome, Report, Work, WorkFailure};

/// A key whose failures reach the connection with their reason, and whose signatures may leave the
/// step.
#[derive(Debug)]
pub(crate) struct IdentityKey {
    key: Arc<dyn SigningKey>,
    handed_out: bool,
}

impl IdentityKey {
    pub(crate) fn new(key: Arc<dyn SigningKey>, handed_out: bool) -> Self {
        Self { key, handed_out }
    }
}

impl SigningKey for IdentityKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.key.choose_scheme(offered)?;
        let handed_out = self.handed_out.then(|| Arc::clone(&self.key));
        Some(Box::new(IdentitySigner { signer, handed_out }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

#[derive(Debug)]
struct IdentitySigner {
    signer: Box<dyn Signer>,
    handed_out: Option<Arc<dyn SigningKey>>,
}

impl Signer for IdentitySigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        // For the upstream's ears; outside a step there is nobody to tell.
        let _ = seam::report(Report::Signing(self.scheme()));
        let outcome = match &self.handed_out {
            Some(key) => seam::hand_out(Work::Sign {
                key: Arc::clone(key),
                scheme: self.scheme(),
                message: message.to_vec(),
            }),
            None => match self.signer.sign(message) {
                Ok(signature) => Outcome::Signature(signature),
                Err(error) => Outcome::Failed(WorkFailure::Failed(error.to_string())),
            },
        };
        match outcome {
            Outcome::Signature(signature) => Ok(signature),
            other => Err(seam::undone(other)),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}
