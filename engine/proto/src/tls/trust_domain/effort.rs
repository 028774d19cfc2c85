//! How much work a chain is worth that nobody may stand behind.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use super::ChainError;
use super::anchor::Authority;
use crate::identity::Certificate;
use crate::limits::{FAILED_SIGNATURES_COST_MAX, NAME_COMPARISONS_MAX};

/// What the signatures of a chain that do not hold have cost so far.
#[derive(Default)]
pub(super) struct Effort(AtomicUsize);

impl Effort {
    /// `algorithms`, which find no more signatures right once too much was spent on wrong ones.
    pub(super) fn bound<'a>(
        &'a self,
        algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    ) -> Vec<Bounded<'a>> {
        algorithms.iter().map(|algorithm| Bounded { algorithm: *algorithm, spent: self }).collect()
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= FAILED_SIGNATURES_COST_MAX
    }
}

/// An algorithm whose failures are counted.
pub(super) struct Bounded<'a> {
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    spent: &'a Effort,
}

/// What a verification by this key costs beside one by a P-256 key.
fn cost(algorithm: AlgorithmIdentifier, key: &[u8]) -> usize {
    match algorithm {
        alg_id::ECDSA_P384 => 4,
        alg_id::ECDSA_P521 => 8,
        // 2,048 bits take 270 bytes, 4,096 take 526, 8,192 take 1,038; time grows faster than they do.
        alg_id::RSA_ENCRYPTION => match key.len() {
            0..=400 => 1,
            401..=800 => 2,
            _ => 6,
        },
        _ => 1,
    }
}

impl SignatureVerificationAlgorithm for Bounded<'_> {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if self.spent.is_exhausted() {
            return Err(InvalidSignature);
        }
        self.algorithm.verify_signature(key, message, signature).inspect_err(|_| {
            self.spent
                .0
                .fetch_add(cost(self.algorithm.public_key_alg_id(), key), Ordering::Relaxed);
        })
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

impl fmt::Debug for Bounded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bounded({:?})", self.algorithm)
    }
}

/// Refuses where name constraints would be compared with names more often than is sensible: webpki
/// compares each of the one with each of the other, up to 250,000 times (30 ms).
pub(super) fn check_comparisons(
    authorities: &[Authority],
    end_entity: &[u8],
    intermediates: &[CertificateDer<'_>],
) -> Result<(), ChainError> {
    let certificates = intermediates.iter().map(|der| &**der).chain([end_entity]);
    let anchor = authorities
        .iter()
        .filter(|authority| {
            let is_issuer_of =
                |der| Certificate::read(der).is_ok_and(|one| *one.issuer == *authority.name);
            authority.subtrees > 0 && certificates.clone().any(is_issuer_of)
        })
        .map(|authority| authority.subtrees)
        .max();
    let read = intermediates.iter().filter_map(|der| Certificate::read(der).ok());
    let subtrees = read.fold(anchor.unwrap_or(0), |sum, certificate| {
        sum + certificate.name_constraints().map_or(0, |constraints| constraints.subtrees)
    });
    if subtrees == 0 {
        return Ok(());
    }
    // Of each certificate the subject, too.
    let names = certificates.fold(0, |sum, der| {
        let names = Certificate::read(der).and_then(|certificate| certificate.alt_names());
        sum + 1 + names.map_or(0, |names| names.count)
    });
    if subtrees * names > NAME_COMPARISONS_MAX {
        return Err(ChainError::TooManyComparisons { names, subtrees });
    }
    Ok(())
}
