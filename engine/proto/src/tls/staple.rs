//! What an identity shows: its certificate, with an OCSP answer about it where there is one (RFC 6066 §8,
//! RFC 9846 §4.4.2.1).

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

/// The certificate and key of one identity on one worker. The answer is changed without building anything
/// of the identity anew; a handshake reads it without a lock.
pub struct StapleCell {
    shown: ArcSwap<CertifiedKey>,
}

/// A certificate made ready to be shown.
pub struct Stapled(Arc<CertifiedKey>);

impl StapleCell {
    pub(crate) fn new(certified: CertifiedKey) -> Self {
        Self { shown: ArcSwap::from_pointee(certified) }
    }

    /// Makes the certificate ready with this answer (an OCSPResponse, DER), or without one.
    #[must_use]
    pub fn prepare(&self, answer: Option<&[u8]>) -> Stapled {
        let mut certified = CertifiedKey::clone(&self.shown.load());
        certified.ocsp = answer.map(<[u8]>::to_vec);
        Stapled(Arc::new(certified))
    }

    /// Shows it so from now on.
    pub fn publish(&self, stapled: Stapled) {
        self.shown.store(stapled.0);
    }

    pub(crate) fn shown(&self) -> Arc<CertifiedKey> {
        self.shown.load_full()
    }
}

impl fmt::Debug for StapleCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StapleCell")
    }
}

impl fmt::Debug for Stapled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stapled")
    }
}
