//! One X25519 key share for all connections (`--reuse-key-share`). It keeps no secrets, it saves CPU.

use std::sync::Arc;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// A group that draws one key pair here and now, and never again. It lives until the process ends: rustls
/// asks for groups that do.
pub(super) fn reused() -> &'static dyn SupportedKxGroup {
    let private = PrivateKey::generate(&X25519).expect("aws-lc makes X25519 keys");
    let public = private.compute_public_key().expect("of a key that it made").as_ref().to_vec();
    Box::leak(Box::new(Reused(Arc::new(Share { private, public }))))
}

#[derive(Debug)]
struct Share {
    private: PrivateKey,
    public: Vec<u8>,
}

#[derive(Debug)]
struct Reused(Arc<Share>);

struct Exchange(Arc<Share>);

impl SupportedKxGroup for Reused {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Exchange(Arc::clone(&self.0))))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let wrong = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        agreement::agree(&self.0.private, UnparsedPublicKey::new(&X25519, peer), wrong, |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn pub_key(&self) -> &[u8] {
        &self.0.public
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::kx_group;

    use super::*;

    #[test]
    fn it_agrees_with_an_ordinary_one_again_and_again() {
        let group = reused();
        for _ in 0..2 {
            let (ours, theirs) = (group.start().unwrap(), kx_group::X25519.start().unwrap());
            let (our_public, their_public) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
            let our_secret = ours.complete(&their_public).unwrap();
            let their_secret = theirs.complete(&our_public).unwrap();
            assert_eq!(our_secret.secret_bytes(), their_secret.secret_bytes());
        }
    }
}
