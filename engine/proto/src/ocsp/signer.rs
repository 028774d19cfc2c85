//! Who may sign for a CA: it itself, or whom it has certified for that (RFC 6960 §4.2.2.2).

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, Der as DerBytes, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::question::{Question, key_bits};
use super::response::{Basic, OcspError, Responder};
use crate::identity::{Certificate, Der};
use crate::tls::SIGNATURE_ALGORITHMS;

const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// id-kp-OCSPSigning (RFC 6960 §4.2.2.2).
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// The bit digitalSignature of a key usage (RFC 5280 §4.2.1.3).
const DIGITAL_SIGNATURE: u8 = 0x80;

/// Certificates of an answer that are looked at: each may cost two signatures.
const CANDIDATES_MAX: usize = 4;

/// Verifies the signature over an answer, and that whoever made it may.
pub(super) fn verify(basic: &Basic<'_>, question: &Question, now: i64) -> Result<(), OcspError> {
    let is_issuer = match basic.responder {
        Responder::Name(name) => question.is_issuers_name(name),
        Responder::Key(hash) => question.has_key_hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, hash),
    };
    // A name may be that of the issuer and of somebody it has certified: a wrong signature of the one
    // may be a right one of the other.
    let mut problem = OcspError::SignerUnknown;
    if is_issuer {
        match signature(question.issuer_spki(), basic) {
            Ok(()) => return Ok(()),
            Err(wrong) => problem = wrong,
        }
    }
    for der in basic.certificates().take(CANDIDATES_MAX) {
        let Ok(certificate) = Certificate::read(der) else { continue };
        if certificate.spki == question.issuer_spki() || !is_of(&certificate, &basic.responder) {
            continue;
        }
        let verdict = authorize(der, &certificate, question, now)
            .and_then(|()| signature(certificate.spki, basic));
        match verdict {
            Ok(()) => return Ok(()),
            Err(wrong) => problem = wrong,
        }
    }
    Err(problem)
}

fn is_of(certificate: &Certificate<'_>, responder: &Responder<'_>) -> bool {
    match responder {
        Responder::Name(name) => certificate.subject == *name,
        Responder::Key(hash) => key_bits(certificate.spki).is_some_and(|bits| {
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref() == *hash
        }),
    }
}

/// Issued by the very issuer in question, for this purpose, and in date. Whether it has been revoked is
/// not asked: id-pkix-ocsp-nocheck says not to (§4.2.2.2.1), and who leaves it out makes such certificates
/// live shortly.
fn authorize(
    der: &[u8],
    certificate: &Certificate<'_>,
    question: &Question,
    now: i64,
) -> Result<(), OcspError> {
    let refuse = |problem: &str| OcspError::SignerNotAuthorized(problem.to_owned());
    let usage = certificate.key_usage().map_err(refuse)?;
    if usage.is_some_and(|usage| usage & DIGITAL_SIGNATURE == 0) {
        return Err(refuse("its key usage does not allow digitalSignature"));
    }
    let contents = |der| Der(der).expect(SEQUENCE, "its issuer cannot be read").map_err(refuse);
    let anchor = TrustAnchor {
        subject: DerBytes::from_slice(contents(question.issuer_name())?.0),
        subject_public_key_info: DerBytes::from_slice(contents(question.issuer_spki())?.0),
        name_constraints: None,
    };
    let der = CertificateDer::from(der);
    let end_entity = EndEntityCert::try_from(&der).map_err(|error| refuse(&describe(&error)))?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        u64::try_from(now).unwrap_or_default(),
    ));
    end_entity
        .verify_for_usage(
            SIGNATURE_ALGORITHMS.all,
            &[anchor],
            &[],
            now,
            KeyUsage::required(OCSP_SIGNING),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| refuse(&describe(&error)))
}

fn describe(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => "its certificate was issued by somebody else".to_owned(),
        E::RequiredEkuNotFoundContext(_) => {
            "its certificate is not for signing answers (extended key usage OCSPSigning)".to_owned()
        }
        E::CertExpired { .. } => "its certificate has expired".to_owned(),
        E::CertNotValidYet { .. } => "its certificate is not valid yet".to_owned(),
        E::InvalidSignatureForPublicKey => {
            "the issuer's signature over its certificate is wrong".to_owned()
        }
        other => format!("{other:?}"),
    }
}

/// Does the signature hold, by one of the algorithms that client chains may be signed with?
fn signature(spki: &[u8], basic: &Basic<'_>) -> Result<(), OcspError> {
    const MALFORMED: &str = "its signer's key cannot be read";
    let mut spki = Der(spki).expect(SEQUENCE, MALFORMED)?;
    let key_algorithm = spki.expect(SEQUENCE, MALFORMED)?.0;
    let [0, key @ ..] = spki.expect(BIT_STRING, MALFORMED)?.0 else {
        return Err(OcspError::Malformed(MALFORMED));
    };
    let mut algorithms = SIGNATURE_ALGORITHMS.all.iter().filter(|algorithm| {
        algorithm.signature_alg_id().as_ref() == basic.algorithm
            && algorithm.public_key_alg_id().as_ref() == key_algorithm
    });
    let algorithm = algorithms.next().ok_or(OcspError::SignatureAlgorithm)?;
    algorithm.verify_signature(key, basic.signed, basic.signature).map_err(|_| OcspError::Signature)
}
