//! Whom to trust: the anchors that client chains must lead to, and the verification of a chain.

use std::cell::Cell;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::aws_lc_rs as algorithm;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::error::Reason;
use crate::identity::{Certificate, ClientIdentity, IdentityError};
use crate::tls::client_key::ClientKey;
use crate::tls::evidence::{Evidence, Issuer, Link};
use crate::tls::signature_memo::SignatureMemo;

/// Bits of a key usage (RFC 5280 §4.2.1.3).
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;

/// Bounds on what a client may send as its chain, checked before anything is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLimits {
    /// Certificates, the end entity included.
    pub certificates: usize,
    /// DER bytes of all of them.
    pub bytes: usize,
}

/// A set of trust anchors with the bounds that go with it.
pub struct TrustDomain {
    id: [u8; 32],
    name: Option<Arc<str>>,
    anchors: Vec<TrustAnchor<'static>>,
    authorities: Vec<Authority>,
    names: Vec<DistinguishedName>,
    limits: ChainLimits,
    pub(super) memo: SignatureMemo,
}

/// What webpki does not keep of an anchor's certificate.
struct Authority {
    /// The subject with its header.
    name: Box<[u8]>,
    /// The SubjectPublicKeyInfo with its header.
    spki: Box<[u8]>,
    /// Both of them, as the evidence of a path has them.
    issuer: Issuer,
    not_before: i64,
    not_after: i64,
}

/// What an anchor says of a path that led to it when it was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouching {
    /// It is trusted, until then: seconds since the epoch.
    Until(i64),
    /// It is trusted, and has expired.
    Expired,
    /// It is trusted, and not valid yet.
    NotYetValid,
    /// No anchor has its name and its key.
    Unknown,
}

/// A chain that leads to an anchor, with the evidence for it. Comes only from [`TrustDomain::verify`].
#[derive(Debug)]
pub struct VerifiedChain {
    identity: Arc<ClientIdentity>,
    trust_domain: Option<Arc<str>>,
    evidence: Arc<Evidence>,
    key: ClientKey,
}

/// What a verified chain is known by: SHA-256 over the trust domain's id and every certificate that the
/// client sent, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainKey([u8; 32]);

impl ChainKey {
    /// Eight of its bytes.
    pub(crate) fn short(&self) -> u64 {
        u64::from_ne_bytes(std::array::from_fn(|index| self.0[index]))
    }
}

impl VerifiedChain {
    /// Who the end entity is.
    #[must_use]
    pub fn identity(&self) -> &Arc<ClientIdentity> {
        &self.identity
    }

    /// The name of the trust domain that the path leads to, if it has one.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&Arc<str>> {
        self.trust_domain.as_ref()
    }

    /// What the path rests on.
    #[must_use]
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// The end entity's key, once it was asked for.
    pub(crate) fn key(&self) -> &ClientKey {
        &self.key
    }

    /// Bytes that it takes, estimated.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.identity.bytes() + self.evidence.bytes() + ClientKey::BYTES
    }
}

/// Why a bundle of CA certificates cannot be a trust domain.
#[derive(Debug, thiserror::Error)]
pub enum TrustDomainError {
    /// There is nothing in it.
    #[error("there is no CA certificate in it")]
    Empty,
    /// A certificate cannot be parsed, or not used as an anchor.
    #[error("certificate {number} cannot be used as a trust anchor: {problem}")]
    Anchor {
        /// Counted from 1 in the order of the bundle.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The names do not fit into a CertificateRequest.
    #[error(
        "the names of its {count} certificates take {bytes} bytes; a CertificateRequest carries 65,535 at most"
    )]
    Names {
        /// Certificates in the bundle.
        count: usize,
        /// Bytes that their names take on the wire.
        bytes: usize,
    },
}

/// Why a client's chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More certificates or bytes than allowed.
    #[error("{certificates} certificates of {bytes} bytes")]
    TooLarge {
        /// Certificates sent.
        certificates: usize,
        /// Their DER bytes.
        bytes: usize,
    },
    /// Path validation failed.
    #[error("{}", describe(.0))]
    Path(webpki::Error),
    /// The anchor has expired (webpki does not look).
    #[error("the trust anchor has expired")]
    AnchorExpired,
    /// The anchor is not valid yet.
    #[error("the trust anchor is not valid yet")]
    AnchorNotYetValid,
    /// Key usage is there and does not allow the use (RFC 5280 §4.2.1.3; webpki does not look).
    #[error("{0}")]
    KeyUsage(&'static str),
    /// The end entity's names cannot be read.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// A certificate cannot be parsed.
    #[error("a certificate of the chain cannot be parsed")]
    Malformed,
}

impl ChainError {
    /// The reason that the operator reads.
    #[must_use]
    #[allow(deprecated, reason = "webpki still declares the variants without context")]
    pub fn reason(&self) -> Reason {
        use webpki::Error as E;
        match self {
            Self::TooLarge { .. } => Reason::ClientChainTooLarge,
            Self::AnchorExpired => Reason::ClientCertificateExpired,
            Self::AnchorNotYetValid => Reason::ClientCertificateNotYetValid,
            Self::KeyUsage(_) => Reason::ClientCertificateKeyUsage,
            Self::Identity(_) | Self::Malformed => Reason::ClientCertificateMalformed,
            Self::Path(error) => match error {
                E::BadDer | E::BadDerTime | E::TrailingData(_) | E::MalformedExtensions => {
                    Reason::ClientCertificateMalformed
                }
                E::CertExpired { .. } | E::InvalidCertValidity => Reason::ClientCertificateExpired,
                E::CertNotValidYet { .. } => Reason::ClientCertificateNotYetValid,
                E::UnknownIssuer => Reason::UnknownIssuer,
                E::RequiredEkuNotFound
                | E::RequiredEkuNotFoundContext(_)
                | E::EmptyEkuExtension => Reason::ClientCertificatePurpose,
                E::InvalidSignatureForPublicKey
                | E::SignatureAlgorithmMismatch
                | E::UnsupportedSignatureAlgorithmContext(_)
                | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                    Reason::ClientCertificateBadSignature
                }
                _ => Reason::ClientCertificateInvalid,
            },
        }
    }

    /// The error that makes rustls send the alert of [`Self::reason`].
    pub(crate) fn steering(&self) -> CertificateError {
        match self.reason() {
            Reason::ClientCertificateExpired => CertificateError::Expired,
            Reason::ClientCertificateNotYetValid => CertificateError::NotValidYet,
            Reason::UnknownIssuer => CertificateError::UnknownIssuer,
            Reason::ClientCertificatePurpose => CertificateError::InvalidPurpose,
            Reason::ClientCertificateBadSignature => CertificateError::BadSignature,
            Reason::ClientCertificateMalformed => CertificateError::BadEncoding,
            _ => CertificateError::Other(OtherError(Arc::new(self.clone()))),
        }
    }
}

impl TrustDomain {
    /// Trusts the CA certificates of a bundle. `tells_names` says whether clients are told whose
    /// certificates they may present.
    ///
    /// # Errors
    /// See [`TrustDomainError`].
    pub fn new(
        bundle: &[CertificateDer<'static>],
        limits: ChainLimits,
        tells_names: bool,
    ) -> Result<Self, TrustDomainError> {
        if bundle.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        let mut domain = Self {
            id: identify(bundle, limits),
            name: None,
            anchors: Vec::with_capacity(bundle.len()),
            authorities: Vec::with_capacity(bundle.len()),
            names: Vec::with_capacity(bundle.len()),
            limits,
            memo: SignatureMemo::default(),
        };
        for (index, der) in bundle.iter().enumerate() {
            let wrong = |problem| TrustDomainError::Anchor { number: index + 1, problem };
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|e| wrong(e.to_string()))?;
            let read = Certificate::read(der).map_err(|e| wrong(e.to_owned()))?;
            if tells_names {
                domain.names.push(DistinguishedName::in_sequence(&anchor.subject));
            }
            domain.anchors.push(anchor.to_owned());
            domain.authorities.push(Authority {
                name: read.subject.into(),
                spki: read.spki.into(),
                issuer: Issuer::new(read.subject, read.spki),
                not_before: read.not_before,
                not_after: read.not_after,
            });
        }
        // Each name has a length of two bytes before it (RFC 5246 §7.4.4, RFC 9846 §4.2.4).
        let bytes = domain.names.iter().map(|name| name.as_ref().len() + 2).sum();
        if bytes > usize::from(u16::MAX) {
            return Err(TrustDomainError::Names { count: bundle.len(), bytes });
        }
        Ok(domain)
    }

    /// The same, by the name that policy knows it by.
    #[must_use]
    pub fn named(self, name: Option<Arc<str>>) -> Self {
        Self { name, ..self }
    }

    /// The name that policy knows it by, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// A hash of the anchors and of the bounds: two domains of one id decide alike.
    #[must_use]
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The anchors' names, for the CertificateRequest; none where clients are not told.
    #[must_use]
    pub fn names(&self) -> &[DistinguishedName] {
        &self.names
    }

    /// What the verdict over this chain is known by.
    pub(crate) fn chain_key(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> ChainKey {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"countersign chain v1");
        hash.update(&self.id);
        // What the chain is told to be of, beside what it is verified by.
        let name = self.name.as_deref().unwrap_or_default();
        hash.update(&(name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
        for der in std::iter::once(end_entity).chain(intermediates) {
            hash.update(&(der.len() as u64).to_be_bytes());
            hash.update(der);
        }
        let hash = hash.finish();
        ChainKey(std::array::from_fn(|index| hash.as_ref()[index]))
    }

    /// Whether a path that was verified before, perhaps by another domain, leads to an anchor of this one.
    /// An anchor is who it is by name and key: a renewed certificate of it vouches for its old paths.
    pub(crate) fn vouches(&self, evidence: &Evidence, now: UnixTime) -> Vouching {
        let Some(last) = evidence.issued.last() else { return Vouching::Unknown };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let judge = |authority: &Authority| match authority {
            authority if now > authority.not_after => Vouching::Expired,
            authority if now < authority.not_before => Vouching::NotYetValid,
            authority => Vouching::Until(authority.not_after),
        };
        let known = self.authorities.iter().filter(|authority| authority.issuer == last.issuer);
        // A bundle may have an old and a new certificate of one CA: the one that lasts longest counts.
        known.map(judge).max_by_key(Vouching::weight).unwrap_or(Vouching::Unknown)
    }

    /// Refuses what is too large before anything is parsed or copied.
    pub(crate) fn check_size(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), ChainError> {
        let certificates = 1 + intermediates.len();
        let bytes = intermediates.iter().fold(end_entity.len(), |sum, der| sum + der.len());
        if certificates > self.limits.certificates || bytes > self.limits.bytes {
            return Err(ChainError::TooLarge { certificates, bytes });
        }
        Ok(())
    }

    /// Builds and validates a path from the end entity (first) to an anchor (RFC 5280 §6), for TLS
    /// client authentication at `now`. CA signatures that have held before are not verified again.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Arc<VerifiedChain>, ChainError> {
        let end_entity = chain.first().ok_or(ChainError::Malformed)?;
        let algorithms = self.memo.before(ALL, end_entity);
        self.verify_by(&algorithms.each_ref().map(|algorithm| algorithm as _), chain, now)
    }

    /// As [`Self::verify`], with signatures verified by `algorithms`.
    pub(super) fn verify_by(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Arc<VerifiedChain>, ChainError> {
        let (end_entity, intermediates) = chain.split_first().ok_or(ChainError::Malformed)?;
        self.check_size(end_entity, intermediates)?;
        let parsed = EndEntityCert::try_from(end_entity).map_err(ChainError::Path)?;
        // webpki asks this for each path that it finds and goes on to other paths when refused; its
        // error type cannot say what ours can, so what was found last is kept beside it.
        let found = Cell::new(None);
        let ours = |path: &VerifiedPath<'_>| {
            let checked = self.check_path(path, now);
            let verdict = checked.as_ref().map(drop).map_err(|_| webpki::Error::UnknownIssuer);
            found.set(Some(checked));
            verdict
        };
        let result = parsed.verify_for_usage(
            algorithms,
            &self.anchors,
            intermediates,
            now,
            KeyUsage::client_auth(),
            None,
            Some(&ours),
        );
        let evidence = match (result, found.take()) {
            // The path that webpki accepts is the one that it asked of last.
            (Ok(_), Some(checked)) => checked?,
            (Ok(_), None) => return Err(ChainError::Malformed),
            // Only where webpki itself has nothing better to say than that it found no path.
            (Err(webpki::Error::UnknownIssuer), Some(Err(refused))) => return Err(refused),
            (Err(error), _) => return Err(ChainError::Path(error)),
        };
        let identity = Arc::new(ClientIdentity::parse(end_entity)?);
        Ok(Arc::new(VerifiedChain {
            identity,
            trust_domain: self.name.clone(),
            evidence: Arc::new(evidence),
            key: ClientKey::default(),
        }))
    }

    /// What webpki leaves out: the anchor's validity and everybody's key usage.
    fn check_path(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<Evidence, ChainError> {
        let anchor = path.anchor();
        let index = self
            .anchors
            .iter()
            .position(|known| {
                known.subject == anchor.subject
                    && known.subject_public_key_info == anchor.subject_public_key_info
            })
            .ok_or(ChainError::Malformed)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let authority = &self.authorities[index];
        if now > authority.not_after {
            return Err(ChainError::AnchorExpired);
        }
        if now < authority.not_before {
            return Err(ChainError::AnchorNotYetValid);
        }
        let end_entity = path.end_entity().der();
        let intermediates: Vec<_> =
            path.intermediate_certificates().map(|certificate| certificate.der()).collect();
        let end_entity = read(&end_entity)?;
        if let Some(usage) = key_usage(&end_entity)?
            && usage & DIGITAL_SIGNATURE == 0
        {
            return Err(ChainError::KeyUsage(
                "the client certificate's key usage does not allow digitalSignature",
            ));
        }
        let mut not_before = authority.not_before.max(end_entity.not_before);
        let mut not_after = authority.not_after.min(end_entity.not_after);
        let mut certificates = Vec::with_capacity(1 + intermediates.len());
        certificates.push(end_entity);
        for intermediate in &intermediates {
            let intermediate = read(intermediate)?;
            not_before = not_before.max(intermediate.not_before);
            not_after = not_after.min(intermediate.not_after);
            if let Some(usage) = key_usage(&intermediate)?
                && usage & KEY_CERT_SIGN == 0
            {
                return Err(ChainError::KeyUsage(
                    "an intermediate's key usage does not allow keyCertSign",
                ));
            }
            certificates.push(intermediate);
        }
        let issuers = certificates[1..]
            .iter()
            .map(|issuer| (issuer.subject, issuer.spki))
            .chain([(&*authority.name, &*authority.spki)]);
        let links: Vec<_> = certificates
            .iter()
            .zip(issuers)
            .map(|(certificate, (issuer_name, issuer_spki))| Link {
                certificate,
                issuer_name,
                issuer_spki,
            })
            .collect();
        let issued = links.iter().map(Link::issued).collect();
        Ok(Evidence { not_before, not_after, anchor: index, issued })
    }
}

impl Vouching {
    fn weight(&self) -> (u8, i64) {
        match self {
            Self::Until(not_after) => (2, *not_after),
            Self::Expired | Self::NotYetValid => (1, 0),
            Self::Unknown => (0, 0),
        }
    }
}

impl std::fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustDomain({} anchors)", self.anchors.len())
    }
}

/// What webpki found, in words; its own are its variants' names.
fn describe(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => format!(
            "a certificate of the path expired at {} (seconds since 1970; now is {})",
            not_after.as_secs(),
            time.as_secs()
        ),
        E::CertNotValidYet { time, not_before } => format!(
            "a certificate of the path is not valid before {} (seconds since 1970; now is {})",
            not_before.as_secs(),
            time.as_secs()
        ),
        E::UnknownIssuer => "no path to a trust anchor: the client's CA is another one, or the client did not send an intermediate".into(),
        E::RequiredEkuNotFoundContext(_) => {
            "the extended key usage of a certificate of the path does not allow clientAuth".into()
        }
        E::InvalidSignatureForPublicKey => "a signature in the path is wrong".into(),
        E::NameConstraintViolation => "a name constraint of a CA is violated".into(),
        E::PathLenConstraintViolated => "a CA's path length constraint is violated".into(),
        E::CaUsedAsEndEntity => "the client's certificate is a CA's".into(),
        E::EndEntityUsedAsCa => "an intermediate is not a CA's certificate".into(),
        other => format!("{other:?}"),
    }
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Result<Certificate<'a>, ChainError> {
    Certificate::read(der).map_err(|_| ChainError::Malformed)
}

fn key_usage(certificate: &Certificate<'_>) -> Result<Option<u8>, ChainError> {
    certificate.key_usage().map_err(|_| ChainError::Malformed)
}

fn identify(bundle: &[CertificateDer<'_>], limits: ChainLimits) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(b"countersign trust domain v1");
    hash.update(&(limits.certificates as u64).to_be_bytes());
    hash.update(&(limits.bytes as u64).to_be_bytes());
    for der in bundle {
        hash.update(&(der.len() as u64).to_be_bytes());
        hash.update(der);
    }
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What a chain and a CertificateVerify may be signed with: ECDSA, Ed25519 and RSA with SHA-2. No
/// SHA-1; no ML-DSA, whose verification needs a larger stack than a step has.
pub(crate) static SIGNATURE_ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &ALL,
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[algorithm::ECDSA_P256_SHA256, algorithm::ECDSA_P384_SHA256],
        ),
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[algorithm::ECDSA_P384_SHA384, algorithm::ECDSA_P256_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP521_SHA512,
            &[
                algorithm::ECDSA_P521_SHA512,
                algorithm::ECDSA_P384_SHA512,
                algorithm::ECDSA_P256_SHA512,
            ],
        ),
        (SignatureScheme::ED25519, &[algorithm::ED25519]),
        (SignatureScheme::RSA_PSS_SHA256, &[algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA512, &[algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[algorithm::RSA_PKCS1_2048_8192_SHA256]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[algorithm::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[algorithm::RSA_PKCS1_2048_8192_SHA512]),
    ],
};

pub(super) const ALL: [&dyn SignatureVerificationAlgorithm; 19] = [
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P256_SHA512,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
    algorithm::ECDSA_P384_SHA512,
    algorithm::ECDSA_P521_SHA256,
    algorithm::ECDSA_P521_SHA384,
    algorithm::ECDSA_P521_SHA512,
    algorithm::ED25519,
    algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    algorithm::RSA_PKCS1_2048_8192_SHA256,
    algorithm::RSA_PKCS1_2048_8192_SHA384,
    algorithm::RSA_PKCS1_2048_8192_SHA512,
    algorithm::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    algorithm::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    algorithm::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
];

#[cfg(test)]
impl ChainKey {
    pub(crate) fn numbered(number: u64) -> Self {
        let hash = digest::digest(&digest::SHA256, &number.to_ne_bytes());
        Self(std::array::from_fn(|index| hash.as_ref()[index]))
    }
}
