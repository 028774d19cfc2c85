//! The extensions that have to do with OCSP: of certificates, and of answers.

use crate::identity::{Certificate, Der};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// uniformResourceIdentifier of a GeneralName (RFC 5280 §4.2.1.6).
const URI: u8 = 0x86;

/// id-pe-authorityInfoAccess (RFC 5280 §4.2.2.1).
const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
/// id-ad-ocsp.
const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];
/// id-pe-tlsfeature (RFC 7633 §4).
const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];
/// The number of the TLS extension status_request (RFC 6066 §8), as an INTEGER has it.
const STATUS_REQUEST: &[u8] = &[5];
/// id-pkix-ocsp-nonce (RFC 9654 §2.1).
pub(super) const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];

const URL_BYTES_MAX: usize = 2_048;

/// The first responder that a certificate (DER) names by an http URL (RFC 5280 §4.2.2.1). An answer is
/// signed: https adds nothing to it, and could not be verified without another answer.
#[must_use]
pub fn responder_of(certificate: &[u8]) -> Option<String> {
    const MALFORMED: &str = "";
    let certificate = Certificate::read(certificate).ok()?;
    let value = certificate.extension(AUTHORITY_INFO_ACCESS).ok()??;
    let mut descriptions = Der(value).expect(SEQUENCE, MALFORMED).ok()?;
    while !descriptions.0.is_empty() {
        let mut description = descriptions.expect(SEQUENCE, MALFORMED).ok()?;
        let method = description.expect(OBJECT_IDENTIFIER, MALFORMED).ok()?;
        if method.0 != OCSP || description.next_tag() != Some(URI) {
            continue;
        }
        let url = description.expect(URI, MALFORMED).ok()?.0;
        let is_plain = url.len() <= URL_BYTES_MAX && url.iter().all(u8::is_ascii_graphic);
        if is_plain && url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://")) {
            return String::from_utf8(url.to_vec()).ok();
        }
    }
    None
}

/// Does a certificate (DER) want its server to staple an answer: clients that keep RFC 7633 refuse it
/// without one.
#[must_use]
pub fn must_staple(certificate: &[u8]) -> bool {
    let features = || {
        let certificate = Certificate::read(certificate).ok()?;
        let value = certificate.extension(TLS_FEATURE).ok()??;
        Der(value).expect(SEQUENCE, "").ok()
    };
    let Some(mut features) = features() else { return false };
    while let Ok(feature) = features.expect(INTEGER, "") {
        if feature.0 == STATUS_REQUEST {
            return true;
        }
    }
    false
}

/// Looks through the Extensions of an answer (DER, RFC 5280 §4.1): the nonce, if they are those of the
/// whole. Others are passed over unless they are critical.
pub(super) fn of_answer<'a>(
    extensions: &mut Der<'a>,
) -> Result<Option<&'a [u8]>, ExtensionProblem> {
    const MALFORMED: ExtensionProblem =
        ExtensionProblem::Malformed("an extension of the answer is malformed");
    let malformed = |_| MALFORMED;
    let mut list = extensions.expect(SEQUENCE, "").map_err(malformed)?;
    extensions.end("").map_err(malformed)?;
    let mut nonce = None;
    while !list.0.is_empty() {
        let mut extension = list.expect(SEQUENCE, "").map_err(malformed)?;
        let oid = extension.expect(OBJECT_IDENTIFIER, "").map_err(malformed)?.0;
        let mut is_critical = false;
        if extension.next_tag() == Some(BOOLEAN) {
            is_critical = extension.expect(BOOLEAN, "").map_err(malformed)?.0 != [0];
        }
        let mut value = extension.expect(OCTET_STRING, "").map_err(malformed)?;
        extension.end("").map_err(malformed)?;
        if oid == NONCE {
            let own = value.expect(OCTET_STRING, "").map_err(malformed)?;
            value.end("").map_err(malformed)?;
            if nonce.replace(own.0).is_some() {
                return Err(MALFORMED);
            }
        } else if is_critical {
            return Err(ExtensionProblem::Critical);
        }
    }
    Ok(nonce)
}

/// What is wrong with the extensions of an answer.
#[derive(Debug)]
pub(super) enum ExtensionProblem {
    Malformed(&'static str),
    /// One is critical that is not known.
    Critical,
}
