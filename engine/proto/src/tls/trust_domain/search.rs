//! Which of the certificates that a client sent can lie on a path, before webpki is asked.
//!
//! webpki looks for a path among all certificates that the client sent, by their names alone, and reads
//! each of them again at every step. Where each name is that of one certificate there is one way to go,
//! and nothing to be gained. Where several have one name, as forgers like it, the ways multiply: seven
//! certificates make thousands, fifteen millions (webpki gives up after 200,000).
//!
//! * [`Presented`] keeps what can be reached from the end entity by names, in as many steps as a path has.
//! * [`Web`] is for names that are not unique. It begins at the anchors and verifies who has signed what,
//!   each certificate once by each key that it may be by. What no anchor stands behind is left out:
//!   a forger's keys are never used. Then there are as many paths as there are real ones.
//!
//! **No verdict can change.** What is left out lies on no path that webpki would accept, the paths are
//! tried in webpki's order, and webpki validates each of them. Key identifiers only say what is looked at
//! first: RFC 5280 §6 validates without them, so one that does not match forbids nothing, and a forger
//! copies those that do. The one exception is a real chain behind more wrong signatures than
//! [`Effort`](super::Effort) pays for.

use std::fmt;

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use webpki::UnsupportedSignatureAlgorithmContext;

use super::anchor::Authority;
use crate::identity::{Certificate, public_key};

/// Intermediates on a path that webpki accepts at most.
const DEPTH_MAX: usize = 6;

/// What a client sent, the end entity apart, as far as it can be reached from that by names.
pub(super) struct Presented<'a> {
    end_entity: &'a Certificate<'a>,
    /// In the order in which they were sent, none twice.
    intermediates: Vec<Intermediate<'a>>,
}

struct Intermediate<'a> {
    der: &'a [u8],
    read: Certificate<'a>,
}

impl<'a> Presented<'a> {
    /// What cannot be read is left out: no path with it holds.
    pub(super) fn new(end_entity: &'a Certificate<'a>, sent: &'a [CertificateDer<'_>]) -> Self {
        let mut unreached: Vec<Option<Intermediate<'a>>> = Vec::with_capacity(sent.len());
        for (index, der) in sent.iter().enumerate() {
            let is_new = !sent[..index].contains(der);
            let read = is_new.then(|| Certificate::read(der).ok()).flatten();
            unreached.push(read.map(|read| Intermediate { der, read }));
        }
        let mut reached: Vec<(usize, Intermediate<'a>)> = Vec::with_capacity(sent.len());
        // Step by step, and no further than a path goes.
        let mut step = 0..0;
        for _ in 0..DEPTH_MAX {
            let wanted: Vec<&[u8]> = match step.is_empty() {
                true => vec![end_entity.issuer],
                false => reached[step.clone()].iter().map(|(_, one)| one.read.issuer).collect(),
            };
            for (index, place) in unreached.iter_mut().enumerate() {
                let is_wanted = |one: &mut Intermediate<'_>| wanted.contains(&one.read.subject);
                reached.extend(place.take_if(is_wanted).map(|one| (index, one)));
            }
            step = step.end..reached.len();
            if step.is_empty() {
                break;
            }
        }
        reached.sort_unstable_by_key(|(index, _)| *index);
        let intermediates = reached.into_iter().map(|(_, intermediate)| intermediate).collect();
        Self { end_entity, intermediates }
    }

    /// For webpki.
    pub(super) fn certificates(&self) -> Vec<CertificateDer<'a>> {
        self.intermediates.iter().map(|one| CertificateDer::from(one.der)).collect()
    }

    /// Whether an anchor is named as the issuer of any: otherwise there is no path.
    pub(super) fn names_any(&self, authorities: &[Authority]) -> bool {
        let intermediates = self.intermediates.iter().map(|one| one.read.issuer);
        let mut issuers = intermediates.chain([self.end_entity.issuer]);
        issuers.any(|issuer| authorities.iter().any(|authority| *authority.name == *issuer))
    }

    /// Whether each name is that of one certificate, so that there is one way from each to the next.
    pub(super) fn is_unambiguous(&self) -> bool {
        let names = |index: usize| self.intermediates[index].read.subject;
        (0..self.intermediates.len())
            .all(|index| (0..index).all(|other| names(other) != names(index)))
    }
}

/// A way from the end entity to an anchor on which each certificate is signed by the next one's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Which anchor, in the order of the bundle.
    pub(super) anchor: usize,
    /// Which of the intermediates, upwards.
    pub(super) intermediates: Vec<usize>,
}

/// Who has signed what.
pub(super) struct Web<'a> {
    presented: &'a Presented<'a>,
    authorities: &'a [Authority],
    /// Of each intermediate, and then of the end entity.
    signers: Vec<Vec<Signer>>,
    signatures: Vec<Signature<'a>>,
    /// Why a signature does not hold, if one does not.
    failure: Option<webpki::Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    Anchor(usize),
    Intermediate(usize),
}

/// A signature that was looked at.
struct Signature<'a> {
    /// SubjectPublicKeyInfo with its header.
    spki: &'a [u8],
    message: &'a [u8],
    holds: bool,
}

/// Whether a certificate says that a key has signed it, by key identifiers: the likelier, the earlier is it
/// tried, for wrong signatures are not paid for without end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Odds {
    Likely,
    Unknown,
    Unlikely,
}

impl Odds {
    fn of(authority_key_id: Option<&[u8]>, key_id: Option<&[u8]>) -> Self {
        match (authority_key_id, key_id) {
            (Some(wanted), Some(found)) if wanted == found => Self::Likely,
            (Some(_), Some(_)) => Self::Unlikely,
            _ => Self::Unknown,
        }
    }
}

impl<'a> Web<'a> {
    pub(super) fn new(
        presented: &'a Presented<'a>,
        authorities: &'a [Authority],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Self {
        let count = presented.intermediates.len();
        let mut web = Self {
            presented,
            authorities,
            signers: vec![Vec::new(); count + 1],
            signatures: Vec::new(),
            failure: None,
        };
        for least in [Odds::Likely, Odds::Unknown, Odds::Unlikely] {
            for index in 0..authorities.len() {
                web.spread(Signer::Anchor(index), least, algorithms);
            }
            // Each once, as soon as somebody has signed it.
            let mut is_spread = vec![false; count];
            let next = |web: &Self, is_spread: &[bool]| {
                (0..count).find(|&index| !is_spread[index] && !web.signers[index].is_empty())
            };
            while let Some(index) = next(&web, &is_spread) {
                is_spread[index] = true;
                // Whoever is no CA issues nothing. What cannot be read is webpki's to judge.
                let constraints = presented.intermediates[index].read.basic_constraints();
                if !matches!(constraints, Ok(found) if !found.is_some_and(|found| found.is_ca)) {
                    web.spread(Signer::Intermediate(index), least, algorithms);
                }
            }
        }
        web
    }

    fn certificate(&self, index: usize) -> &'a Certificate<'a> {
        match self.presented.intermediates.get(index) {
            Some(intermediate) => &intermediate.read,
            None => self.presented.end_entity,
        }
    }

    /// Finds out what the key of `signer` has signed, of what it is that likely to have.
    fn spread(
        &mut self,
        signer: Signer,
        least: Odds,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) {
        let (name, spki, key_id) = match signer {
            Signer::Anchor(index) => {
                let anchor = &self.authorities[index];
                (&*anchor.name, &*anchor.spki, anchor.key_id.as_deref())
            }
            Signer::Intermediate(index) => {
                let issuer = self.certificate(index);
                (issuer.subject, issuer.spki, issuer.subject_key_id())
            }
        };
        for index in 0..self.signers.len() {
            let certificate = self.certificate(index);
            if certificate.issuer == name
                && Odds::of(certificate.authority_key_id(), key_id) <= least
                && self.holds(spki, certificate, algorithms)
                && !self.signers[index].contains(&signer)
            {
                self.signers[index].push(signer);
            }
        }
    }

    fn holds(
        &mut self,
        spki: &'a [u8],
        certificate: &'a Certificate<'a>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let message = certificate.signed;
        if let Some(known) = self.signatures.iter().find(|known| known.is_of(spki, message)) {
            return known.holds;
        }
        let result = verify(spki, certificate, algorithms);
        let holds = result.is_ok();
        self.signatures.push(Signature { spki, message, holds });
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
        holds
    }

    /// The ways from the end entity to an anchor, in the order in which webpki would find them.
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.climb(&mut Vec::with_capacity(DEPTH_MAX), &mut found);
        found
    }

    fn climb(&self, way: &mut Vec<usize>, found: &mut Vec<Path>) {
        let head = way.last().copied().unwrap_or(self.presented.intermediates.len());
        let signers = &self.signers[head];
        for anchor in 0..self.authorities.len() {
            if signers.contains(&Signer::Anchor(anchor)) {
                found.push(Path { anchor, intermediates: way.clone() });
            }
        }
        if way.len() == DEPTH_MAX {
            return;
        }
        for index in 0..self.presented.intermediates.len() {
            let next = self.certificate(index);
            // One key under one name comes once (RFC 4158 §5.2).
            let is_loop = || {
                let below = way.iter().map(|index| self.certificate(*index));
                below.chain([self.presented.end_entity]).any(|certificate| {
                    certificate.spki == next.spki && certificate.subject == next.subject
                })
            };
            if signers.contains(&Signer::Intermediate(index)) && !is_loop() {
                way.push(index);
                self.climb(way, found);
                way.pop();
            }
        }
    }

    /// The certificates of a path, for webpki: in the order in which they were sent.
    pub(super) fn certificates(&self, path: &Path) -> Vec<CertificateDer<'a>> {
        let mut indices = path.intermediates.clone();
        indices.sort_unstable();
        let intermediates = &self.presented.intermediates;
        indices.iter().map(|&index| CertificateDer::from(intermediates[index].der)).collect()
    }

    /// Where there is no path: why the first signature that does not hold does not.
    pub(super) fn failure(&self) -> webpki::Error {
        self.failure.clone().unwrap_or(webpki::Error::UnknownIssuer)
    }

    /// `algorithms`, with what is known of signatures from here.
    pub(super) fn answering<'b>(
        &'b self,
        algorithms: &'b [&'b dyn SignatureVerificationAlgorithm],
    ) -> Vec<Answering<'b>> {
        algorithms
            .iter()
            .map(|algorithm| Answering { algorithm: *algorithm, signatures: &self.signatures })
            .collect()
    }
}

impl Signature<'_> {
    /// The signed part is known by where it lies: each certificate was read once.
    fn is_of(&self, spki: &[u8], message: &[u8]) -> bool {
        self.is_over(message) && self.spki == spki
    }

    fn is_over(&self, message: &[u8]) -> bool {
        std::ptr::eq(self.message, message)
    }
}

/// As webpki verifies the signature of a certificate: by the first algorithm for both identifiers.
fn verify(
    spki: &[u8],
    certificate: &Certificate<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), webpki::Error> {
    let (key_algorithm, key) = public_key(spki).ok_or(webpki::Error::BadDer)?;
    let signature = certificate.signature.strip_prefix(&[0]).ok_or(webpki::Error::BadDer)?;
    let algorithm = algorithms.iter().find(|algorithm| {
        *algorithm.signature_alg_id() == *certificate.signature_algorithm
            && *algorithm.public_key_alg_id() == *key_algorithm
    });
    let Some(algorithm) = algorithm else {
        return Err(webpki::Error::UnsupportedSignatureAlgorithmContext(
            UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: certificate.signature_algorithm.into(),
                supported_algorithms: Vec::new(),
            },
        ));
    };
    algorithm
        .verify_signature(key, certificate.signed, signature)
        .map_err(|_| webpki::Error::InvalidSignatureForPublicKey)
}

/// An algorithm that knows the signatures that were looked at.
pub(super) struct Answering<'a> {
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    signatures: &'a [Signature<'a>],
}

impl SignatureVerificationAlgorithm for Answering<'_> {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        // The certificate names the algorithm of its signature, and has one signature.
        let algorithm = self.algorithm.public_key_alg_id();
        let known = self.signatures.iter().find(|known| {
            known.is_over(message) && public_key(known.spki) == Some((&*algorithm, key))
        });
        match known {
            Some(known) if known.holds => Ok(()),
            Some(_) => Err(InvalidSignature),
            None => self.algorithm.verify_signature(key, message, signature),
        }
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

impl fmt::Debug for Answering<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answering({:?})", self.algorithm)
    }
}
