//! Whom to trust: the anchors that client chains must lead to, and the verification of a chain.

use std::cell::Cell;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, VerifiedPath};

pub(in crate::tls) use self::algorithms::ALL;
pub(crate) use self::algorithms::SIGNATURE_ALGORITHMS;
pub use self::anchor::AnchorWarning;
use self::anchor::{Authority, unprocessed};
use self::effort::{Effort, check_comparisons};
pub use self::error::{ChainError, TrustDomainError};
use self::purpose::ClientAuth;
use self::search::{Presented, Web};
pub(crate) use self::vouching::Vouching;
use crate::identity::{Certificate, ClientIdentity, IssuerNames, NameKinds};
use crate::ocsp::{OcspRules, Question};
use crate::policy::Subject;
use crate::revocation::{Checked, RevocationFeed};
use crate::time::seconds;
use crate::tls::authority_keys::AuthorityKeys;
use crate::tls::client_key::ClientKey;
use crate::tls::evidence::{Evidence, Issuer, Link};
use crate::tls::signature_memo::SignatureMemo;

mod algorithms;
mod anchor;
mod effort;
mod error;
mod purpose;
mod search;
mod vouching;

/// Bits of a key usage (RFC 5280 §4.2.1.3).
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;
const CRL_SIGN: u8 = 0x02;

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
    revocations: Option<Arc<RevocationFeed>>,
    ocsp: Option<Arc<OcspRules>>,
    pub(super) memo: SignatureMemo,
    keys: AuthorityKeys,
    issuers: IssuerNames,
}

/// A chain that leads to an anchor, with the evidence for it. Comes only from [`TrustDomain::verify`].
#[derive(Debug)]
pub struct VerifiedChain {
    identity: Arc<ClientIdentity>,
    trust_domain: Option<Arc<str>>,
    evidence: Arc<Evidence>,
    key: Arc<ClientKey>,
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

    /// What policy is asked about at `now`.
    #[must_use]
    pub fn subject(&self, now: UnixTime) -> Subject<'_> {
        Subject {
            identity: &self.identity,
            trust_domain: self.trust_domain.as_deref(),
            now: seconds(now),
        }
    }

    /// What the path rests on.
    #[must_use]
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// The same path, of which more is known.
    fn with(&self, evidence: Arc<Evidence>) -> Self {
        let Self { identity, trust_domain, evidence: _, key } = self;
        Self {
            identity: Arc::clone(identity),
            trust_domain: trust_domain.clone(),
            evidence,
            key: Arc::clone(key),
        }
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
            revocations: None,
            ocsp: None,
            memo: SignatureMemo::default(),
            keys: AuthorityKeys::default(),
            issuers: IssuerNames::default(),
        };
        for (index, der) in bundle.iter().enumerate() {
            let wrong = |problem| TrustDomainError::Anchor { number: index + 1, problem };
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|e| wrong(e.to_string()))?;
            let authority = Authority::read(der).map_err(|e| wrong(e.to_owned()))?;
            if tells_names {
                domain.names.push(DistinguishedName::in_sequence(&anchor.subject));
            }
            domain.anchors.push(anchor.to_owned());
            domain.authorities.push(authority);
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

    /// The same, asking revocation lists about every path.
    #[must_use]
    pub fn with_revocations(mut self, feed: Arc<RevocationFeed>) -> Self {
        self.revocations = Some(feed);
        self
    }

    /// Where its revocation lists come from; `None` if revocation is not checked.
    #[must_use]
    pub fn revocations(&self) -> Option<&Arc<RevocationFeed>> {
        self.revocations.as_ref()
    }

    /// Asks the revocation lists of now about a path that was verified before, without its
    /// certificates.
    ///
    /// # Errors
    /// [`ChainError::Revocation`] if it is to be refused.
    pub fn recheck(&self, evidence: &Evidence, now: UnixTime) -> Result<Checked, ChainError> {
        let Some(feed) = &self.revocations else { return Ok(Checked::default()) };
        Ok(feed.recheck(evidence, seconds(now))?)
    }

    /// A chain that was verified before, with what the revocation lists of now say of it; itself if they
    /// have nothing new.
    ///
    /// # Errors
    /// [`ChainError::Revocation`] if it is to be refused.
    pub(crate) fn renew(
        &self,
        chain: &Arc<VerifiedChain>,
        now: UnixTime,
    ) -> Result<Arc<VerifiedChain>, ChainError> {
        let Some(feed) = &self.revocations else { return Ok(Arc::clone(chain)) };
        let said = chain.evidence.revocation();
        if said.generation == feed.generation() && seconds(now) <= said.holds_until {
            return Ok(Arc::clone(chain));
        }
        let revocation = feed.recheck(&chain.evidence, seconds(now))?;
        let evidence = Arc::new(Evidence { revocation, ..chain.evidence.as_ref().clone() });
        Ok(Arc::new(chain.with(evidence)))
    }

    /// The same, asking OCSP responders about every client.
    #[must_use]
    pub fn with_ocsp(mut self, rules: Arc<OcspRules>) -> Self {
        self.ocsp = Some(rules);
        self
    }

    /// How OCSP responders are asked about its clients; `None` if they are not.
    #[must_use]
    pub fn ocsp(&self) -> Option<&OcspRules> {
        self.ocsp.as_deref()
    }

    /// What is to be asked about the end entity of a verified chain. Its issuer is the anchor, or among
    /// what the client sent.
    pub(crate) fn question(
        &self,
        evidence: &Evidence,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<Question> {
        let issued = evidence.issued.first()?;
        if evidence.issued.len() == 1 {
            let authority = self.authorities.get(evidence.anchor)?;
            return Some(Question::new(&authority.name, &authority.spki, &issued.serial));
        }
        intermediates.iter().find_map(|der| {
            let issuer = Certificate::read(der).ok()?;
            let is_issuer = Issuer::new(issuer.subject, issuer.spki) == issued.issuer;
            is_issuer.then(|| Question::new(issuer.subject, issuer.spki, &issued.serial))
        })
    }

    /// The anchors' names and SubjectPublicKeyInfos, DER with the header.
    pub fn anchor_keys(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.authorities.iter().map(|authority| (&*authority.name, &*authority.spki))
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

    /// What is odd about the anchors: clients who are meant to be let in may not be.
    #[must_use]
    pub fn warnings(&self) -> Vec<AnchorWarning> {
        let numbered = (1..).zip(&self.authorities);
        numbered
            .flat_map(|(number, authority)| {
                let problems = authority.warnings().into_iter();
                problems.map(move |problem| AnchorWarning { number, problem })
            })
            .collect()
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
        let parsed = self.keys.before(ALL);
        let parsed = parsed.each_ref().map(|algorithm| algorithm as _);
        let algorithms = self.memo.before(parsed, end_entity);
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
        let evidence = match intermediates {
            [] | [_] => self.find_path(algorithms, &self.anchors, &parsed, intermediates, now)?,
            _ => self.search(algorithms, &parsed, &read(end_entity)?, intermediates, now)?,
        };
        let identity = Arc::new(ClientIdentity::parse_beside(end_entity, &self.issuers)?);
        Ok(Arc::new(VerifiedChain {
            identity,
            trust_domain: self.name.clone(),
            evidence: Arc::new(evidence),
            key: Arc::default(),
        }))
    }

    /// Finds a path among certificates of which some may not belong there.
    fn search(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        end_entity: &EndEntityCert<'_>,
        read: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Evidence, ChainError> {
        let presented = Presented::new(read, intermediates);
        if !presented.names_any(&self.authorities) {
            return self.find_path(algorithms, &[], end_entity, &[], now);
        }
        let effort = Effort::default();
        let bounded = effort.bound(algorithms);
        let bounded: Vec<_> = bounded.iter().map(|algorithm| algorithm as _).collect();
        let result = if presented.is_unambiguous() {
            let reached = presented.certificates();
            self.find_path(&bounded, &self.anchors, end_entity, &reached, now)
        } else {
            self.try_paths(&bounded, end_entity, &presented, now)
        };
        match result {
            Err(_) if effort.is_exhausted() => Err(ChainError::TooManyForged),
            result => result,
        }
    }

    /// Tries one path after the other, where names do not tell certificates apart.
    fn try_paths(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        end_entity: &EndEntityCert<'_>,
        presented: &Presented<'_>,
        now: UnixTime,
    ) -> Result<Evidence, ChainError> {
        // What is wrong with the end entity itself is said first, as webpki says it.
        let alone = self.find_path(algorithms, &[], end_entity, &[], now);
        if !matches!(alone, Err(ChainError::Path(webpki::Error::UnknownIssuer))) {
            return alone;
        }
        let web = Web::new(presented, &self.authorities, algorithms);
        let answering = web.answering(algorithms);
        let answering: Vec<_> = answering.iter().map(|algorithm| algorithm as _).collect();
        let mut refused = None;
        for path in web.paths() {
            let anchor = std::slice::from_ref(&self.anchors[path.anchor]);
            let certificates = web.certificates(&path);
            match self.find_path(&answering, anchor, end_entity, &certificates, now) {
                Ok(evidence) => return Ok(evidence),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        Err(refused.unwrap_or_else(|| ChainError::Path(web.failure())))
    }

    /// Has webpki find a path to one of `anchors`, which are among our own, and validate it.
    fn find_path(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        anchors: &[TrustAnchor<'static>],
        end_entity: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Evidence, ChainError> {
        check_comparisons(&self.authorities, &end_entity.der(), intermediates)?;
        // webpki asks this for each path that it finds and goes on to other paths when refused; its
        // error type cannot say what ours can, so what was found last is kept beside it.
        let found = Cell::new(None);
        let ours = |path: &VerifiedPath<'_>| {
            let checked = self.check_path(path, now);
            let verdict = checked.as_ref().map(drop).map_err(|_| webpki::Error::UnknownIssuer);
            found.set(Some(checked));
            verdict
        };
        let result = end_entity.verify_for_usage(
            algorithms,
            anchors,
            intermediates,
            now,
            ClientAuth,
            None,
            Some(&ours),
        );
        match (result, found.take()) {
            // The path that webpki accepts is the one that it asked of last.
            (Ok(_), Some(checked)) => checked,
            (Ok(_), None) => Err(ChainError::Malformed),
            // It found a path that holds but for what we say: nothing else is closer to the truth.
            (Err(_), Some(Err(refused))) => Err(refused),
            (Err(error @ webpki::Error::NameConstraintViolation), _) => {
                let kind = self.unprocessed_constraint(&end_entity.der(), intermediates);
                Err(kind.map_or(ChainError::Path(error), ChainError::UnprocessedConstraint))
            }
            (Err(error), _) => Err(ChainError::Path(error)),
        }
    }

    /// The kind of names that is constrained, and refused because nobody processes it.
    fn unprocessed_constraint(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<&'static str> {
        let (mut constrained, mut present) = (NameKinds::default(), NameKinds::default());
        for der in intermediates.iter().chain([end_entity]) {
            let Ok(certificate) = read(der) else { continue };
            present = present.or(certificate.alt_names().unwrap_or_default().kinds);
            constrained = constrained.or(certificate.name_constraints().unwrap_or_default().kinds);
            let anchors = self.authorities.iter().filter(|one| *one.name == *certificate.issuer);
            constrained = anchors.fold(constrained, |kinds, anchor| kinds.or(anchor.constrained));
        }
        unprocessed(constrained, present)
    }

    /// What webpki leaves out: what the anchor's certificate says, and everybody's key usage.
    fn check_path(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<Evidence, ChainError> {
        // By where it lies: another anchor may have the same name and key, and other dates.
        let is_this = |known: &TrustAnchor<'_>| std::ptr::eq(known, path.anchor());
        let index = self.anchors.iter().position(is_this).ok_or(ChainError::Malformed)?;
        let authority = &self.authorities[index];
        let now = seconds(now);
        let end_entity_der = path.end_entity().der();
        let intermediates: Vec<_> =
            path.intermediate_certificates().map(|certificate| certificate.der()).collect();
        let end_entity = read(&end_entity_der)?;
        let mut certificates = Vec::with_capacity(1 + intermediates.len());
        certificates.push(end_entity);
        for intermediate in &intermediates {
            certificates.push(read(intermediate)?);
        }
        authority.check(now, &end_entity_der, &certificates[1..])?;
        let mut not_before = authority.not_before;
        let mut not_after = authority.not_after;
        let mut signers = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.iter().enumerate() {
            not_before = not_before.max(certificate.not_before);
            not_after = not_after.min(certificate.not_after);
            let (needed, otherwise) = if index == 0 {
                let problem = "the client certificate's key usage does not allow digitalSignature";
                (DIGITAL_SIGNATURE, problem)
            } else {
                (KEY_CERT_SIGN, "an intermediate's key usage does not allow keyCertSign")
            };
            let usage = key_usage(certificate)?;
            if index > 0 {
                signers.push(usage.is_none_or(signs_lists));
            }
            if let Some(usage) = usage
                && usage & needed == 0
            {
                return Err(ChainError::KeyUsage(otherwise));
            }
        }
        let issuers = certificates[1..]
            .iter()
            .map(|issuer| (issuer.subject, issuer.spki))
            .chain([(&*authority.name, &*authority.spki)])
            .zip(signers.into_iter().chain([authority.signs_lists]));
        let links: Vec<_> = certificates
            .iter()
            .zip(issuers)
            .map(|(certificate, ((issuer_name, issuer_spki), issuer_signs_lists))| Link {
                certificate,
                issuer_name,
                issuer_spki,
                issuer_signs_lists,
            })
            .collect();
        let issued: Box<[_]> = links.iter().map(Link::issued).collect();
        let revocation = match &self.revocations {
            Some(feed) => feed.check(&links, &issued, now)?,
            None => Checked::default(),
        };
        Ok(Evidence { not_before, not_after, anchor: index, issued, revocation })
    }
}

impl std::fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustDomain({} anchors)", self.anchors.len())
    }
}

fn signs_lists(usage: u8) -> bool {
    usage & CRL_SIGN != 0
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

#[cfg(test)]
impl ChainKey {
    pub(crate) fn numbered(number: u64) -> Self {
        let hash = digest::digest(&digest::SHA256, &number.to_ne_bytes());
        Self(std::array::from_fn(|index| hash.as_ref()[index]))
    }
}

#[cfg(test)]
mod tests;
