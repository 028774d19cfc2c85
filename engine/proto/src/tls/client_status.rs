//! Whether the client's certificate is revoked, by OCSP: what was told before, or the handshake waits
//! for the answer.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::CertificateDer;

use crate::error::Reason;
use crate::ocsp::{
    Answer, Enquiry, EnquiryFailure, NoAnswer, OcspRules, Status, StatusKey, responder_of,
};
use crate::seam::{self, Outcome, Reply, Report, Work, WorkFailure};
use crate::tls::{TrustDomain, VerifiedChain};

/// Asks about the end entity of a chain whose path holds.
///
/// # Errors
/// The error by which rustls refuses the client.
pub(super) fn check(
    domain: &TrustDomain,
    rules: &OcspRules,
    chain: &VerifiedChain,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Error> {
    let Some(issued) = chain.evidence().issued().first() else {
        return Err(refuse(Reason::Internal, "a verified path without certificates".to_owned()));
    };
    let key = StatusKey::new(&issued.issuer, &issued.serial);
    if let Ok(Reply::Status(Some(known))) =
        seam::report(Report::KnownStatus(key, rules.freshness()))
    {
        return judge(&known, chain);
    }
    let enquiry = domain
        .question(chain.evidence(), intermediates)
        .zip(responder(rules, end_entity))
        .map(|(question, responder)| enquiry(rules, question, responder));
    let result = match enquiry {
        None => Err(EnquiryFailure::Nobody),
        Some(enquiry) => match seam::hand_out(Work::AskStatus(Box::new(enquiry))) {
            Outcome::Status(result) => result,
            Outcome::Failed(WorkFailure::Failed(problem)) => {
                return Err(refuse(Reason::Internal, problem));
            }
            // A limit of ours is not the responder's silence: a crowd must not open the door that
            // `fail_open` leaves to a responder that is down.
            other => return Err(seam::undone(other)),
        },
    };
    match (result, rules.no_answer) {
        (Ok(answer), _) => {
            let _ = seam::report(Report::Status(key, Some(answer)));
            judge(&answer, chain)
        }
        (Err(_), NoAnswer::FailOpen) => {
            let _ = seam::report(Report::Status(key, None));
            Ok(())
        }
        (Err(failure), NoAnswer::FailClosed) => {
            let subject = chain.identity().subject();
            Err(refuse(Reason::RevocationNotAnswered, format!("about {subject}: {failure}")))
        }
    }
}

fn responder(rules: &OcspRules, end_entity: &[u8]) -> Option<Arc<str>> {
    let named = || responder_of(end_entity).map(Arc::from);
    rules.responder.clone().or_else(named)
}

fn enquiry(rules: &OcspRules, question: crate::ocsp::Question, responder: Arc<str>) -> Enquiry {
    Enquiry {
        question,
        responder,
        hash: rules.hash,
        nonce: rules.nonce,
        timeout: rules.timeout,
        max_age: rules.max_age,
    }
}

fn judge(answer: &Answer, chain: &VerifiedChain) -> Result<(), Error> {
    let subject = chain.identity().subject();
    match answer.status {
        Status::Good => Ok(()),
        Status::Revoked { at, reason } => {
            let reason = reason.map_or_else(String::new, |code| format!(", reason {code}"));
            let since = format!("at {at} (seconds since 1970{reason})");
            let told = answer.this_update;
            let detail = format!("{subject} was revoked {since}, says OCSP as of {told}");
            let _ = seam::report(Report::Problem(Reason::ClientCertificateRevoked, detail));
            Err(CertificateError::Revoked.into())
        }
        // The CA's own word that it does not know what bears its signature: never let in.
        Status::Unknown => {
            let detail = format!("the OCSP responder does not know the certificate of {subject}");
            Err(refuse(Reason::RevocationUnknown, detail))
        }
    }
}

/// Refuses with the alert certificate_unknown.
fn refuse(reason: Reason, detail: String) -> Error {
    let error = OtherError(Arc::new(Unanswered(detail.clone())));
    let _ = seam::report(Report::Problem(reason, detail));
    CertificateError::Other(error).into()
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unanswered(String);
