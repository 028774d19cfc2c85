//! An answer's DER (RFC 6960 §4.2.1), taken apart and not yet believed.

use super::Status;
use super::extensions::{ExtensionProblem, of_answer};
use super::question::Question;
use crate::identity::Der;

const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_1: u8 = 0xa1;
const EXPLICIT_2: u8 = 0xa2;
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

/// id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// Why an answer does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// It is larger than [`RESPONSE_BYTES_MAX`](super::RESPONSE_BYTES_MAX).
    #[error("it has {0} bytes, and no answer is so large")]
    TooLarge(usize),
    /// It cannot be read.
    #[error("{0}")]
    Malformed(&'static str),
    /// The responder does not answer (RFC 6960 §4.2.1, OCSPResponseStatus).
    #[error("the responder says {}", refusal(*.0))]
    Refused(u8),
    /// It is no BasicOCSPResponse.
    #[error("it is of a type that is not known")]
    Type,
    /// It has a critical extension that is not known.
    #[error("it has a critical extension that is not known")]
    Critical,
    /// It is about other certificates.
    #[error("it is not about the certificate that was asked about")]
    OtherCertificate,
    /// Neither the issuer nor a certificate in it has the name or key that it says to be signed by.
    #[error(
        "its signer is neither the certificate's issuer nor somebody whose certificate is in it"
    )]
    SignerUnknown,
    /// Its signer's certificate is not by the same issuer, not for signing answers, or out of date.
    #[error("its signer may not sign for the issuer: {0}")]
    SignerNotAuthorized(String),
    /// It is signed in a way that is not accepted.
    #[error("it is signed by an algorithm that is not accepted (SHA-1, or none that is known)")]
    SignatureAlgorithm,
    /// Its signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// It is from the future.
    #[error(
        "it is right only from {this_update} on (seconds since 1970; now is {now}); is a clock wrong?"
    )]
    NotYet {
        /// Its thisUpdate.
        this_update: i64,
        /// The clock.
        now: i64,
    },
    /// It is out of date.
    #[error("it was right until {until} (seconds since 1970; now is {now})")]
    Expired {
        /// Its nextUpdate, or what stands in for it.
        until: i64,
        /// The clock.
        now: i64,
    },
    /// It has no nonce, and must.
    #[error("it has no nonce")]
    NonceMissing,
    /// It has a nonce, and not ours.
    #[error("its nonce is not ours: it is the answer to another question")]
    NonceDiffers,
}

impl From<&'static str> for OcspError {
    fn from(problem: &'static str) -> Self {
        Self::Malformed(problem)
    }
}

impl From<ExtensionProblem> for OcspError {
    fn from(problem: ExtensionProblem) -> Self {
        match problem {
            ExtensionProblem::Malformed(problem) => Self::Malformed(problem),
            ExtensionProblem::Critical => Self::Critical,
        }
    }
}

fn refusal(status: u8) -> &'static str {
    match status {
        1 => "that the request is malformed",
        2 => "that it has an internal error",
        3 => "to try later",
        5 => "that the request must be signed",
        6 => "that it does not answer for this certificate (unauthorized)",
        _ => "something that is not known",
    }
}

/// A BasicOCSPResponse.
pub(super) struct Basic<'a> {
    /// What is signed: the ResponseData with its header.
    pub(super) signed: &'a [u8],
    pub(super) responder: Responder<'a>,
    pub(super) produced_at: i64,
    /// The SingleResponses, one behind the other.
    singles: &'a [u8],
    pub(super) nonce: Option<&'a [u8]>,
    /// The content of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// Certificates, one behind the other.
    certificates: &'a [u8],
}

/// Who has signed, by its own words.
pub(super) enum Responder<'a> {
    /// The Name with its header.
    Name(&'a [u8]),
    /// SHA-1 of its key.
    Key(&'a [u8]),
}

/// What it says about one certificate. Times are seconds since the epoch.
pub(super) struct Single {
    pub(super) status: Status,
    pub(super) this_update: i64,
    pub(super) next_update: Option<i64>,
}

impl<'a> Basic<'a> {
    /// Reads an OCSPResponse.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, OcspError> {
        let mut outer = Der(der);
        let mut response = outer.expect(SEQUENCE, "it is no OCSPResponse")?;
        outer.end("something follows it")?;
        match response.expect(ENUMERATED, "it has no status")?.0 {
            [0] => {}
            [status] => return Err(OcspError::Refused(*status)),
            _ => return Err(OcspError::Malformed("its status is malformed")),
        }
        let mut bytes = response
            .expect(EXPLICIT_0, "nothing is in it")?
            .expect(SEQUENCE, "its responseBytes are malformed")?;
        if bytes.expect(OBJECT_IDENTIFIER, "its responseType is malformed")?.0 != BASIC {
            return Err(OcspError::Type);
        }
        let mut inner = bytes.expect(OCTET_STRING, "its responseBytes are malformed")?;
        let mut basic = inner.expect(SEQUENCE, "it is no BasicOCSPResponse")?;
        inner.end("something follows its BasicOCSPResponse")?;
        let signed = basic.whole(SEQUENCE, "it has no ResponseData")?;
        let algorithm = basic.expect(SEQUENCE, "it has no signature algorithm")?.0;
        let signature = match basic.expect(BIT_STRING, "it has no signature")?.0 {
            [0, signature @ ..] => signature,
            _ => return Err(OcspError::Malformed("its signature is malformed")),
        };
        let mut certificates: &[u8] = &[];
        if basic.next_tag() == Some(EXPLICIT_0) {
            let mut explicit = basic.expect(EXPLICIT_0, "its certificates are malformed")?;
            certificates = explicit.expect(SEQUENCE, "its certificates are malformed")?.0;
        }
        basic.end("something follows its certificates")?;
        let data = Data::read(signed)?;
        let Data { responder, produced_at, singles, nonce } = data;
        Ok(Self {
            signed,
            responder,
            produced_at,
            singles,
            nonce,
            algorithm,
            signature,
            certificates,
        })
    }

    /// What it says about the certificate in question; the newest, should it say something twice.
    pub(super) fn about(&self, question: &Question) -> Result<Single, OcspError> {
        let mut singles = Der(self.singles);
        let mut newest: Option<Single> = None;
        while !singles.0.is_empty() {
            let mut single = singles.expect(SEQUENCE, "a SingleResponse is malformed")?;
            let mut cert_id = single.expect(SEQUENCE, "a CertID is malformed")?;
            if !question.is_named_by(&mut cert_id)? {
                continue;
            }
            let single = Single::read(&mut single)?;
            if newest.as_ref().is_none_or(|newest| newest.this_update < single.this_update) {
                newest = Some(single);
            }
        }
        newest.ok_or(OcspError::OtherCertificate)
    }

    /// The certificates that came with it, DER.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Der(self.certificates);
        std::iter::from_fn(move || rest.whole(SEQUENCE, "").ok())
    }
}

/// A ResponseData.
struct Data<'a> {
    responder: Responder<'a>,
    produced_at: i64,
    singles: &'a [u8],
    nonce: Option<&'a [u8]>,
}

impl<'a> Data<'a> {
    fn read(der: &'a [u8]) -> Result<Self, OcspError> {
        let mut data = Der(der).expect(SEQUENCE, "it has no ResponseData")?;
        // v1 is the default and the only one: DER does not write it, some responders do.
        if data.next_tag() == Some(EXPLICIT_0) {
            data.expect(EXPLICIT_0, "its version is malformed")?;
        }
        const RESPONDER: &str = "its responderID is malformed";
        let responder = match data.next_tag() {
            Some(EXPLICIT_1) => {
                let mut explicit = data.expect(EXPLICIT_1, RESPONDER)?;
                let name = explicit.whole(SEQUENCE, RESPONDER)?;
                explicit.end(RESPONDER)?;
                Responder::Name(name)
            }
            _ => {
                let mut explicit = data.expect(EXPLICIT_2, RESPONDER)?;
                let key = explicit.expect(OCTET_STRING, RESPONDER)?;
                explicit.end(RESPONDER)?;
                Responder::Key(key.0)
            }
        };
        let produced_at = time(&mut data, "its producedAt is malformed")?;
        let singles = data.expect(SEQUENCE, "it has no responses")?.0;
        let mut nonce = None;
        if data.next_tag() == Some(EXPLICIT_1) {
            nonce = of_answer(&mut data.expect(EXPLICIT_1, "its extensions are malformed")?)?;
        }
        data.end("something follows its extensions")?;
        Ok(Self { responder, produced_at, singles, nonce })
    }
}

impl Single {
    /// Reads what stands behind the CertID.
    fn read(single: &mut Der<'_>) -> Result<Self, OcspError> {
        const STATUS: &str = "a certStatus is malformed";
        let status = match single.element().ok_or(STATUS)? {
            (GOOD, [], _) => Status::Good,
            (UNKNOWN, [], _) => Status::Unknown,
            (REVOKED, info, _) => revoked(&mut Der(info))?,
            _ => return Err(OcspError::Malformed(STATUS)),
        };
        let this_update = time(single, "a thisUpdate is malformed")?;
        let mut next_update = None;
        if single.next_tag() == Some(EXPLICIT_0) {
            const NEXT: &str = "a nextUpdate is malformed";
            let mut explicit = single.expect(EXPLICIT_0, NEXT)?;
            next_update = Some(time(&mut explicit, NEXT)?);
            explicit.end(NEXT)?;
        }
        if single.next_tag() == Some(EXPLICIT_1) {
            of_answer(&mut single.expect(EXPLICIT_1, "its extensions are malformed")?)?;
        }
        single.end("something follows a SingleResponse")?;
        Ok(Self { status, this_update, next_update })
    }
}

fn revoked(info: &mut Der<'_>) -> Result<Status, OcspError> {
    const REASON: &str = "a revocationReason is malformed";
    let at = time(info, "a revocationTime is malformed")?;
    let mut reason = None;
    if info.next_tag() == Some(EXPLICIT_0) {
        let mut explicit = info.expect(EXPLICIT_0, REASON)?;
        match explicit.expect(ENUMERATED, REASON)?.0 {
            [code] => reason = Some(*code),
            _ => return Err(OcspError::Malformed(REASON)),
        }
        explicit.end(REASON)?;
    }
    info.end("something follows a RevokedInfo")?;
    Ok(Status::Revoked { at, reason })
}

/// A GeneralizedTime to the second, in UTC (RFC 5280 §4.1.2.5.2).
fn time(der: &mut Der<'_>, otherwise: &'static str) -> Result<i64, OcspError> {
    if der.next_tag() != Some(GENERALIZED_TIME) {
        return Err(OcspError::Malformed(otherwise));
    }
    der.time().ok_or(OcspError::Malformed(otherwise))
}
