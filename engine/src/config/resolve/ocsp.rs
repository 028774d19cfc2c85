//! What an identity says of OCSP: about its clients, and about its own certificate.

use std::sync::Arc;
use std::time::Duration;

use countersign_proto::ocsp::{
    CertIdHash, NoAnswer, NonceUse, OcspRules, Question, must_staple, responder_of,
};
use countersign_proto::{ClientAuth, ClientIdentity};
use rustls_pki_types::CertificateDer;

use super::credentials;
use crate::config::errors::{At, Problems};
use crate::config::raw::{RawIdentity, RawListener, RawOcsp};
use crate::config::{StapleConfig, StapleSource};
use crate::ocsp::check_url;

/// By default.
const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_AGE: Duration = Duration::from_secs(3_600);

const TIMEOUT_LEAST: Duration = Duration::from_millis(10);
const TIMEOUT_MOST: Duration = Duration::from_secs(60);
const MAX_AGE_LEAST: Duration = Duration::from_secs(1);
const MAX_AGE_MOST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How clients are asked about; `None` if they are not, or something is wrong.
pub(super) fn rules(
    raw: &RawIdentity,
    listener: &RawListener,
    client_auth: ClientAuth,
    problems: &mut Problems<'_>,
) -> Option<OcspRules> {
    let ocsp = &raw.ocsp;
    let responder = ocsp.responder.as_ref().and_then(|at| url(at, problems));
    let timeout = timeout(ocsp, listener, problems);
    let max_age = ocsp.max_age.as_ref().map_or(MAX_AGE, |at| {
        if !(MAX_AGE_LEAST..=MAX_AGE_MOST).contains(&at.value) {
            problems.error(&at.spot, format_args!("it is {:?}; it must be 1s to 168h", at.value));
        }
        at.value
    });
    let is_on = |at: &&At<String>| at.value == "on";
    let clients = ocsp.clients.as_ref().filter(is_on)?;
    if client_auth == ClientAuth::None {
        problems.error(
            &clients.spot,
            "it has no effect: with client_auth = \"none\" no client is asked for a certificate; take one of the two out",
        );
        return None;
    }
    let is_from_certificate = ocsp.from_certificate.as_ref().is_some_and(|at| at.value);
    if ocsp.responder.is_none() && !is_from_certificate {
        problems.error(
            &clients.spot,
            "it does not say whom to ask; name the responder as `ocsp_responder = \"http://...\"`, or, if the CAs of the clients may make this host connect anywhere, say `ocsp_from_certificate = true`",
        );
        return None;
    }
    let word = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    Some(OcspRules {
        responder,
        hash: match word(&ocsp.hash).as_str() {
            "sha256" => CertIdHash::Sha256,
            _ => CertIdHash::Sha1,
        },
        nonce: match word(&ocsp.nonce).as_str() {
            "prefer" => NonceUse::Prefer,
            "require" => NonceUse::Require,
            _ => NonceUse::Off,
        },
        timeout,
        no_answer: match word(&ocsp.no_answer).as_str() {
            "fail_open" => NoAnswer::FailOpen,
            _ => NoAnswer::FailClosed,
        },
        max_age,
    })
}

/// A responder's silence must be told from a limit of ours: the question ends before the operation does.
fn timeout(ocsp: &RawOcsp, listener: &RawListener, problems: &mut Problems<'_>) -> Duration {
    let operation = listener.limits.values.operation_timeout;
    let Some(at) = &ocsp.timeout else { return TIMEOUT.min(operation * 3 / 5) };
    if !(TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&at.value) {
        problems.error(&at.spot, format_args!("it is {:?}; it must be 10ms to 60s", at.value));
    } else if at.value >= operation {
        problems.error(
            &at.spot,
            format_args!(
                "it is {:?}; it must be shorter than operation_timeout, which is {operation:?}",
                at.value
            ),
        );
    }
    at.value
}

fn url(at: &At<String>, problems: &mut Problems<'_>) -> Option<Arc<str>> {
    problems.keep(&at.spot, check_url(&at.value)).map(|()| Arc::from(at.value.as_str()))
}

/// Where an answer about the server's own certificate comes from; `None` if none is shown, or something is
/// wrong.
pub(super) fn staple(
    raw: &RawIdentity,
    chain: &[CertificateDer<'static>],
    problems: &mut Problems<'_>,
) -> Option<StapleConfig> {
    let (certificate, ocsp) = (raw.certificate.as_ref()?, &raw.ocsp);
    let own = chain.first()?;
    let must_staple = must_staple(own);
    let asked = ocsp.staple.as_ref().map(|at| at.value == "on");
    if must_staple && asked == Some(false) {
        problems.warning(
            &certificate.spot,
            format_args!(
                "{} wants to be stapled (RFC 7633), and ocsp_staple is \"off\": clients that keep to that refuse it",
                credentials::path(&certificate.value)
            ),
        );
    }
    if !asked.unwrap_or(must_staple) {
        return None;
    }
    match source(raw, chain, problems) {
        Ok((question, source)) => {
            let identity = ClientIdentity::parse(own).ok()?;
            let (subject, serial) = (identity.subject().to_owned(), identity.serial().to_owned());
            Some(StapleConfig { question, source, subject, serial, must_staple })
        }
        // Nobody has asked for it: the server goes on as it always did.
        Err(problem) if asked.is_none() => {
            problems.warning(
                &certificate.spot,
                format_args!("it wants to be stapled (RFC 7633), and cannot be: {problem}"),
            );
            None
        }
        Err(problem) => {
            let spot = ocsp.staple.as_ref().map_or(&certificate.spot, |at| &at.spot);
            problems.error(spot, problem);
            None
        }
    }
}

fn source(
    raw: &RawIdentity,
    chain: &[CertificateDer<'static>],
    problems: &mut Problems<'_>,
) -> Result<(Question, StapleSource), String> {
    let [own, issuer, ..] = chain else {
        return Err("the certificate's file has no issuer behind it, who would have signed the answer; append the issuer's certificate".to_owned());
    };
    let question = Question::about(own, issuer).map_err(|error| error.to_string())?;
    let ocsp = &raw.ocsp;
    if let Some(at) = &ocsp.staple_file {
        if let Some(other) = &ocsp.staple_responder {
            problems.error(
                &other.spot,
                "the answer comes from ocsp_staple_file already; take one of the two out",
            );
        }
        return Ok((question, StapleSource::File(at.value.clone())));
    }
    if let Some(at) = &ocsp.staple_responder {
        // What is wrong with it has been said: it makes no second error.
        let url = url(at, problems).unwrap_or_else(|| Arc::from(at.value.as_str()));
        return Ok((question, StapleSource::Responder(url)));
    }
    let named = responder_of(own).ok_or("the certificate names no responder by an http URL; name it as `ocsp_staple_responder`, or a file as `ocsp_staple_file`")?;
    check_url(&named).map_err(|problem| {
        format!("the responder that the certificate names cannot be asked: {problem}")
    })?;
    Ok((question, StapleSource::Responder(named.into())))
}
