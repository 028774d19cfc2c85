//! What a TLS 1.3 handshake hashes, derives and seals beside its public-key cryptography, as the server does it: the
//! transcript, the key schedule, both Finished, the records (RFC 8446, sections 4.4, 5.2 and 7.1), by the library that the
//! engine uses and no other code.

use std::hint::black_box;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{aead, hmac};

const HASH_BYTES: usize = 32;
const KEY_BYTES: usize = 16;
/// As long as the labels of the key schedule are with their lengths, and a hash (section 7.1).
const INFO_BYTES: usize = 2 + 1 + 12 + 1 + HASH_BYTES;

/// A conversation in its sizes.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// What is hashed between two looks at the hash: each handshake secret, CertificateVerify and Finished wants one.
    pub(crate) hashed: &'static [usize],
    /// Records that the server seals, in bytes of text.
    pub(crate) sealed: &'static [usize],
    /// Those that it opens.
    pub(crate) opened: &'static [usize],
}

/// Chains of one certificate and its CA's on both sides, X25519, one ticket; then the request and its response.
pub(crate) const FULL: Sizes = Sizes {
    // Both hellos; up to Certificate; CertificateVerify; Finished; and the client's three.
    hashed: &[372, 1_190, 80, 36, 1_100, 80, 36],
    sealed: &[1_310, 1_060, 200],
    opened: &[1_220, 40],
};

/// The same with a PSK: the ClientHello has the ticket.
pub(crate) const RESUMED: Sizes =
    Sizes { hashed: &[1_400, 128, 10, 36, 36], sealed: &[46, 1_060, 200], opened: &[36, 40] };

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Does all of it once. False if an operation fails.
pub(crate) fn play(sizes: Sizes, text: &mut [u8]) -> bool {
    let mut transcript = Context::new(&SHA256);
    for &bytes in sizes.hashed {
        transcript.update(&text[..bytes]);
        black_box(transcript.clone().finish());
    }
    // Early, handshake and main secret; from each of them what the next begins with.
    let mut secret = [7; HASH_BYTES];
    for _ in 0..3 {
        let extracted = Salt::new(HKDF_SHA256, &secret).extract(&[7; HASH_BYTES]);
        if !expand(&extracted, &mut secret) {
            return false;
        }
    }
    // Traffic secrets of both sides and both stages, for resumption, for a ticket.
    let mut traffic = [7; HASH_BYTES];
    let secrets = (0..6).all(|_| expand(&prk(&secret), &mut traffic));
    // Keys and IVs for four directions, and for both Finished.
    let mut key = [0; KEY_BYTES];
    let keys =
        (0..4).all(|_| expand(&prk(&traffic), &mut key) && expand(&prk(&traffic), &mut [0; 12]));
    let finished = (0..2).all(|_| expand(&prk(&traffic), &mut secret));
    for _ in 0..2 {
        black_box(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &traffic));
    }
    secrets && keys && finished && records(sizes, key, text)
}

fn prk(secret: &[u8]) -> Prk {
    Prk::new_less_safe(HKDF_SHA256, secret)
}

fn expand(secret: &Prk, output: &mut [u8]) -> bool {
    let info: &[&[u8]] = &[&[7; INFO_BYTES]];
    let expanded = secret.expand(info, Bytes(output.len()));
    expanded.is_ok_and(|expanded| expanded.fill(output).is_ok())
}

/// Both sides' keys change once.
fn records(sizes: Sizes, key: [u8; KEY_BYTES], text: &mut [u8]) -> bool {
    let made = || aead::UnboundKey::new(&aead::AES_128_GCM, &key).map(aead::LessSafeKey::new);
    let (Ok(sealing), Ok(opening), Ok(first), Ok(second)) = (made(), made(), made(), made()) else {
        return false;
    };
    let nonce = || aead::Nonce::assume_unique_for_key([7; 12]);
    let seal = |key: &aead::LessSafeKey, text: &mut [u8]| {
        key.seal_in_place_separate_tag(nonce(), aead::Aad::empty(), text).is_ok()
    };
    let sealed = sizes.sealed.iter().enumerate().all(|(number, &bytes)| {
        seal(if number == 0 { &first } else { &sealing }, &mut text[..bytes])
    });
    // Opening is the same work as sealing, and a record could be opened only once.
    sealed
        && sizes.opened.iter().enumerate().all(|(number, &bytes)| {
            seal(if number == 0 { &second } else { &opening }, &mut text[..bytes])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_one_that_the_library_takes() {
        for sizes in [FULL, RESUMED] {
            let most = [sizes.hashed, sizes.sealed, sizes.opened].concat().into_iter().max();
            let mut text = vec![7; most.expect("it has sizes")];
            assert!(play(sizes, &mut text));
        }
    }
}
