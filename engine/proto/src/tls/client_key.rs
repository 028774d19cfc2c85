//! The key of a known client, parsed once.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::CertificateDer;

use crate::identity::Certificate;

/// Verifies with the end entity's key of one chain. It is parsed when it is first asked for: a client
/// that comes once does not pay for those that come again.
#[derive(Default)]
pub(crate) struct ClientKey {
    /// `None` for a kind of key that is not worth it, or that we leave to webpki.
    parsed: OnceLock<Option<(SignatureScheme, ParsedPublicKey)>>,
}

/// A kind of key by the beginning of its SubjectPublicKeyInfo: everything up to the key itself, which
/// has one length.
struct Kind {
    prefix: &'static [u8],
    key_bytes: usize,
    scheme: SignatureScheme,
    algorithm: &'static dyn VerificationAlgorithm,
}

/// RFC 5480 §2.1.1 (with the point uncompressed, §2.2) and RFC 8410 §4. RSA keys are read quickly beside
/// what else an RSA handshake costs.
static KINDS: [Kind; 3] = [
    Kind {
        prefix: &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        key_bytes: 65,
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        algorithm: &ECDSA_P256_SHA256_ASN1,
    },
    Kind {
        prefix: &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
        ],
        key_bytes: 97,
        scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
        algorithm: &ECDSA_P384_SHA384_ASN1,
    },
    Kind {
        prefix: &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00],
        key_bytes: 32,
        scheme: SignatureScheme::ED25519,
        algorithm: &ED25519,
    },
];

impl ClientKey {
    /// Bytes that a parsed key takes, about: what aws-lc allocates for one.
    pub(crate) const BYTES: usize = 512;

    /// Verifies the signature of a CertificateVerify over `message` by the key of `end_entity`, always
    /// the same one. `None` leaves it to webpki: another kind of key, or a scheme that is not the one
    /// for this kind (TLS 1.2 also has others).
    pub(crate) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        message: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Option<Result<(), Error>> {
        let (scheme, key) = self.parsed.get_or_init(|| parse(end_entity)).as_ref()?;
        if signed.scheme != *scheme {
            return None;
        }
        let verdict = key.verify_sig(message, signed.signature());
        Some(verdict.map_err(|_| CertificateError::BadSignature.into()))
    }
}

fn parse(end_entity: &CertificateDer<'_>) -> Option<(SignatureScheme, ParsedPublicKey)> {
    let spki = Certificate::read(end_entity).ok()?.spki;
    KINDS.iter().find_map(|kind| {
        let key = spki.strip_prefix(kind.prefix).filter(|key| key.len() == kind.key_bytes)?;
        Some((kind.scheme, ParsedPublicKey::new(kind.algorithm, key).ok()?))
    })
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey")
    }
}
