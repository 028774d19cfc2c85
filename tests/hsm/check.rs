//! What holds for every token.

use std::fs;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use countersign_hsm::{KeyKind, PrivateKey, Remedy, Scheme, Session};
use countersign_tests::token::SoftToken;
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm};

use crate::own_process::{Given, with_token};

/// How often each scheme signs: enough for r or s to begin with a zero bit, and with a one.
const SIGNATURES: u8 = 12;

/// Whether `signature` is one of the key with `spki`, by another implementation.
pub(crate) fn verifies(scheme: Scheme, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match scheme {
        Scheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        Scheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        Scheme::EcdsaP521Sha512 => &signature::ECDSA_P521_SHA512_ASN1,
        Scheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Scheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Scheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        Scheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        Scheme::Ed25519 => &signature::ED25519,
    };
    UnparsedPublicKey::new(algorithm, spki).verify(message, signature).is_ok()
}

/// Every scheme of the key signs, and what it signs is right.
pub(crate) fn signs(session: &Session, key: &PrivateKey, spki: &[u8], schemes: &[Scheme]) {
    assert_eq!(key.schemes(), schemes, "{key:?}");
    for scheme in key.schemes() {
        for number in 0..SIGNATURES {
            let message = vec![number; usize::from(number) * 20];
            let signature = session.sign(key, scheme, &message, None).expect("signed");
            assert!(
                verifies(scheme, spki, &message, &signature),
                "{scheme} of {key:?}, message {number}"
            );
            assert!(!verifies(scheme, spki, b"another", &signature), "{scheme}");
        }
    }
}

/// Keys that were made elsewhere and imported, one for each algorithm: what the token holds is what its certificate says.
#[track_caller]
pub(crate) fn imported_keys_sign(
    test: &str,
    token: impl FnOnce() -> SoftToken,
    algorithms: &[&'static SignatureAlgorithm],
) {
    let import = || {
        let token = token();
        for (number, algorithm) in (1..).zip(algorithms) {
            let key = KeyPair::generate_for(algorithm).expect("a key");
            token.import(&key.serialize_pem(), "server", &[number]);
            let spki = token.pin_file().with_file_name(format!("{number}.spki"));
            fs::write(spki, key.subject_public_key_info()).expect("its SPKI");
        }
        token
    };
    with_token(test, import, |given| {
        let session = given.session();
        for (number, _) in (1..).zip(algorithms) {
            let spki = fs::read(given.beside_token(&format!("{number}.spki"))).expect("its SPKI");
            let uri = given.uri().with_object("server", &[number]);
            let key = session.private_key(&uri, Some(&spki)).expect("found");
            assert_eq!(key.spki(), Some(&spki[..]));
            signs(&session, &key, &spki, key.kind().schemes());
            let by_label = given.uri().with_object("server", &[]);
            let key =
                session.private_key(&by_label, Some(&spki)).expect("told apart by the certificate");
            assert_eq!(key.uri().id(), Some(&[number][..]));
        }
    });
}

/// A key of `kind` is made in the token, signs, is found again by its names and is kept apart from others.
pub(crate) fn makes_keys_that_sign(given: &Given, kind: KeyKind) {
    let session = given.session();
    let made = session.generate_key_pair(kind, "server", &[7, 1]).expect("made");
    assert_eq!(made.kind(), kind);
    let spki = made.spki().expect("the token tells the public key").to_vec();
    signs(&session, &made, &spki, kind.schemes());

    // The login is the application's: another session needs none, and the same handle signs there.
    let other = given.token().open().expect("another session");
    signs(&other, &made, &spki, kind.schemes());
    for uri in [
        given.uri().with_object("server", &[]),
        given.uri().with_object("", &[7, 1]),
        made.uri().clone(),
        given.uri(),
    ] {
        let found =
            other.private_key(&uri, Some(&spki)).unwrap_or_else(|error| panic!("{uri}: {error}"));
        assert_eq!(found.spki(), Some(&spki[..]));
    }

    let error =
        other.private_key(made.uri(), Some(&spki[1..])).expect_err("not this certificate's");
    assert_eq!(error.remedy(), Remedy::Fatal);
    let text = error.to_string();
    let hashes = text.split([' ', ',']).filter(|word| word.len() == 64).count();
    assert_eq!(hashes, 2, "the SHA-256 of both are shown: {text}");
    let error =
        other.private_key(&given.uri().with_object("serve", &[]), None).expect_err("no such key");
    assert!(error.to_string().contains("object=server;"), "what there is is listed: {error}");

    let twice =
        session.generate_key_pair(kind, "server", &[7, 1]).expect_err("not to be told apart");
    assert!(twice.to_string().contains("exists already"), "{twice}");
}
