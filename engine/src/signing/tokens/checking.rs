//! Signatures of tokens, verified before they are sent. A token that errs would otherwise give away its key:
//! one wrong RSA signature made with the Chinese remainder theorem is enough to factor the modulus.
//!
//! It is done by two threads of its own. A verification takes 20 to 200 us, and the dispatcher 2 us for an
//! operation: it would stall all others. The threads that tell of a station's answers know neither the key nor
//! what was signed, and could not look it up without a lock.

use std::sync::Arc;

use countersign_hsm::Scheme;
use crossbeam::channel::{self, Receiver, Sender};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

/// Threads that verify.
const THREADS: usize = 2;

/// A public key that was looked at: a SubjectPublicKeyInfo.
#[derive(Debug)]
pub(super) struct PublicKey(Vec<u8>);

/// A signature that is to be looked at.
pub(super) struct Check {
    pub(super) attempt: u64,
    pub(super) key: Arc<PublicKey>,
    pub(super) scheme: Scheme,
    pub(super) message: Arc<[u8]>,
    pub(super) signature: Vec<u8>,
}

/// What came of it.
pub(super) struct Checked {
    pub(super) attempt: u64,
    pub(super) signature: Vec<u8>,
    pub(super) holds: bool,
}

impl PublicKey {
    /// Out of a SubjectPublicKeyInfo, DER; `None` if it is none.
    pub(super) fn of(spki: &[u8]) -> Option<Self> {
        SubjectPublicKeyInfo::from_der(spki).ok()?;
        Some(Self(spki.to_vec()))
    }

    /// Does the signature hold?
    pub(super) fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        scheme.verifies(&self.0, message, signature)
    }
}

/// Is it RSA?
pub(super) fn is_rsa(scheme: Scheme) -> bool {
    !matches!(
        scheme,
        Scheme::EcdsaP256Sha256
            | Scheme::EcdsaP384Sha384
            | Scheme::EcdsaP521Sha512
            | Scheme::Ed25519
    )
}

/// Starts the threads. Their queue has no bound of its own: each of its entries is an operation in flight. They end with
/// the last sender.
pub(super) fn start(
    tell: impl Fn(Checked) + Clone + Send + 'static,
) -> std::io::Result<Sender<Check>> {
    let (sender, receiver) = channel::unbounded();
    for number in 0..THREADS {
        let (receiver, tell): (Receiver<Check>, _) = (receiver.clone(), tell.clone());
        let verify = move || {
            for Check { attempt, key, scheme, message, signature } in receiver {
                let holds = key.verifies(scheme, &message, &signature);
                tell(Checked { attempt, signature, holds });
            }
        };
        std::thread::Builder::new().name(format!("verify-{number}")).spawn(verify)?;
    }
    Ok(sender)
}
