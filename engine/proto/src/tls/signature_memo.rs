//! A memo of CA signatures: what was verified for one client is not verified again for the next.
//!
//! A client that was never seen mostly comes under an intermediate that was. With the memo it costs the
//! signature over its own certificate, and not once more those over the CAs above it.
//!
//! * **No verdict can change.** webpki builds and checks every path as before; only the question
//!   whether a signature holds may be answered from here. The answer is a pure function of what the
//!   digest covers, and only successes are kept.
//! * **No client can fill it.** webpki looks at signatures only once every issuer on the path was found
//!   to be a CA within its validity, begins with the one by the anchor's key and stops at the first
//!   that does not hold. So what holds was signed by an anchor or by a CA below one. Those over end
//!   entities, of which there is one for each client, are left out.
//! * **No lock, and nothing is contended.** Each worker has trust domains of its own. Chains may be
//!   verified on other threads nevertheless, and nobody waits for them: whoever reads what is being
//!   written takes it for a miss, and whoever finds somebody writing leaves it at that. Only the
//!   allocation of the table, with the first signature of a domain, is waited for.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use aws_lc_rs::digest;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// CA signatures that a trust domain remembers: a few for each CA below its anchors. 10 KiB, which are
/// allocated with the first.
const ENTRIES: usize = 256;

/// Places that one digest may take.
const WAYS: usize = 8;
const SETS: usize = ENTRIES / WAYS;

type Digest = [u64; 4];

/// The CA signatures that one trust domain has seen hold.
#[derive(Default)]
pub(crate) struct SignatureMemo {
    sets: OnceLock<Box<[[Slot; WAYS]]>>,
}

impl SignatureMemo {
    /// `algorithms`, each asking the memo first, for paths that begin at `end_entity` (DER).
    pub(crate) fn before<'a, const N: usize>(
        &'a self,
        algorithms: [&'a dyn SignatureVerificationAlgorithm; N],
        end_entity: &'a [u8],
    ) -> [Remembering<'a>; N] {
        algorithms.map(|algorithm| Remembering { algorithm, memo: self, end_entity })
    }

    fn holds(&self, digest: &Digest) -> bool {
        let Some(sets) = self.sets.get() else { return false };
        set_of(sets, digest).iter().any(|slot| slot.holds(digest))
    }

    /// Remembers `digest` in the place of another if its set is full.
    fn remember(&self, digest: &Digest) {
        let empty = || std::iter::repeat_with(Default::default).take(SETS).collect();
        let set = set_of(self.sets.get_or_init(empty), digest);
        let free = set.iter().find(|slot| slot.is_empty());
        // Other bits than those that chose the set; all bits of a digest are equally random.
        let victim = || &set[(digest[1] % WAYS as u64) as usize];
        free.unwrap_or_else(victim).write(digest);
    }
}

fn set_of<'a>(sets: &'a [[Slot; WAYS]], digest: &Digest) -> &'a [Slot; WAYS] {
    &sets[(digest[0] % SETS as u64) as usize]
}

/// A digest that is read and written whole although it takes four words: a sequence lock whose readers
/// and writers never wait.
#[derive(Default)]
struct Slot {
    /// 0: empty; odd: being written; each write adds 2.
    version: AtomicU64,
    words: [AtomicU64; 4],
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.version.load(Ordering::Relaxed) == 0
    }

    fn holds(&self, digest: &Digest) -> bool {
        let before = self.version.load(Ordering::Acquire);
        if before == 0 || !before.is_multiple_of(2) {
            return false;
        }
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        // A word of a later write comes with that write's version, which the next load then sees.
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == before && words == *digest
    }

    fn write(&self, digest: &Digest) {
        let version = self.version.load(Ordering::Relaxed);
        let is_ours = version.is_multiple_of(2)
            && self
                .version
                .compare_exchange(version, version + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_ours {
            return;
        }
        // Whoever sees one of the words sees the odd version too.
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(digest) {
            word.store(*value, Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }
}

/// An algorithm that asks the memo first.
pub(crate) struct Remembering<'a> {
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    memo: &'a SignatureMemo,
    end_entity: &'a [u8],
}

impl SignatureVerificationAlgorithm for Remembering<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if is_signed_part(self.end_entity, message) {
            return self.algorithm.verify_signature(public_key, message, signature);
        }
        let digest = self.digest(public_key, message, signature);
        if self.memo.holds(&digest) {
            return Ok(());
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        self.memo.remember(&digest);
        Ok(())
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

impl Remembering<'_> {
    /// SHA-256 over all that the verification of a signature depends on.
    fn digest(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Digest {
        let (key_algorithm, signature_algorithm) =
            (self.algorithm.public_key_alg_id(), self.algorithm.signature_alg_id());
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"countersign CA signature v1");
        for part in [&*key_algorithm, &*signature_algorithm, public_key, message, signature] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash = hash.finish();
        let (words, _) = hash.as_ref().as_chunks();
        std::array::from_fn(|index| u64::from_ne_bytes(words[index]))
    }
}

/// Is `message` what the issuer of `certificate` has signed: the first element of its outer SEQUENCE
/// (RFC 5280 §4.1, X.690 §8.1.3)?
fn is_signed_part(certificate: &[u8], message: &[u8]) -> bool {
    const LONG_FORM: u8 = 0x80;
    let header = match certificate.get(1) {
        Some(length) if length & LONG_FORM != 0 => 2 + usize::from(length & !LONG_FORM),
        _ => 2,
    };
    certificate.get(header..).is_some_and(|contents| contents.starts_with(message))
}

impl fmt::Debug for Remembering<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remembering({:?})", self.algorithm)
    }
}

#[cfg(test)]
mod tests;
