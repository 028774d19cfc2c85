//! A caller of the module: cryptoki, in this process.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use countersign_tests::test_token::{PIN, TestToken};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::MechanismType;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _, SignatureAlgorithm,
};
use tempfile::TempDir;

pub(crate) const MESSAGE: &[u8] = b"what the client and the server said";

/// A module that is loaded and initialized.
pub(crate) struct Caller {
    pub(crate) module: Pkcs11,
    pub(crate) slot: Slot,
}

impl Caller {
    pub(crate) fn new(token: &TestToken) -> Self {
        Self::try_new(token).unwrap_or_else(|error| panic!("{error}: {:?}", token.problem()))
    }

    pub(crate) fn try_new(token: &TestToken) -> Result<Self, Error> {
        let module = load(token);
        initialize(&module)?;
        let slot = module.get_slots_with_token()?.remove(0);
        Ok(Self { module, slot })
    }

    /// A session without a login.
    pub(crate) fn open(&self) -> Result<Session, Error> {
        self.module.open_ro_session(self.slot)
    }

    /// A session of somebody who is logged in.
    pub(crate) fn session(&self) -> Session {
        let session = self.open().expect("a session");
        match login(&session, PIN) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn load(token: &TestToken) -> Pkcs11 {
    Pkcs11::new(token.module()).expect("the module")
}

pub(crate) fn initialize(module: &Pkcs11) -> Result<(), Error> {
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

pub(crate) fn login(session: &Session, pin: &str) -> Result<(), Error> {
    session.login(UserType::User, Some(&AuthPin::new(pin.into())))
}

/// The private or secret key of that label.
pub(crate) fn key(session: &Session, label: &str) -> ObjectHandle {
    let found = keys(session, label);
    assert_eq!(found.len(), 1, "keys '{label}'");
    found[0]
}

pub(crate) fn keys(session: &Session, label: &str) -> Vec<ObjectHandle> {
    let label = Attribute::Label(label.into());
    let classes = [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY];
    let of_class = |class| session.find_objects(&[Attribute::Class(class), label.clone()]);
    classes.into_iter().flat_map(|class| of_class(class).expect("a search")).collect()
}

/// The function and the code of what must have failed.
#[track_caller]
pub(crate) fn refusal<T>(result: Result<T, Error>) -> (Function, RvError) {
    match result {
        Err(Error::Pkcs11(code, function)) => (function, code),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it went well"),
    }
}

#[track_caller]
pub(crate) fn assert_refused<T>(result: Result<T, Error>, function: Function, code: RvError) {
    let (failed, given) = refusal(result);
    // Neither is comparable.
    assert_eq!(format!("{failed} {given:?}"), format!("{function} {code:?}"));
}

/// A key pair in a file, and what signs with it.
pub(crate) struct SigningKey {
    pub(crate) label: &'static str,
    pub(crate) file: PathBuf,
    pub(crate) pair: KeyPair,
}

/// Keys of every kind that TLS servers have.
pub(crate) struct Keys {
    pub(crate) folder: TempDir,
    pub(crate) p256: SigningKey,
    pub(crate) p384: SigningKey,
    pub(crate) rsa: SigningKey,
    pub(crate) ed25519: SigningKey,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let new = |label, algorithm| SigningKey::new(folder.path(), label, algorithm);
        Self {
            p256: new("p256", &PKCS_ECDSA_P256_SHA256),
            p384: new("p384", &PKCS_ECDSA_P384_SHA384),
            rsa: new("rsa", &PKCS_RSA_SHA256),
            ed25519: new("ed25519", &PKCS_ED25519),
            folder,
        }
    }

    /// A token with all of them.
    pub(crate) fn on_token(&self) -> TestToken {
        let keys = [&self.p256, &self.p384, &self.rsa, &self.ed25519];
        let token = TestToken::new(&self.folder.path().join("token"));
        keys.into_iter().fold(token, |token, key| token.with_key(key.label, &key.file))
    }
}

/// A token with one key on P-256, `server`.
pub(crate) struct OneKey {
    pub(crate) _folder: TempDir,
    pub(crate) token: TestToken,
    pub(crate) key: SigningKey,
}

impl OneKey {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let key = SigningKey::new(folder.path(), "server", &PKCS_ECDSA_P256_SHA256);
        let token = TestToken::new(&folder.path().join("token")).with_key("server", &key.file);
        Self { _folder: folder, token, key }
    }

    /// Signs by hash with that key, in a session of its own if it must be.
    pub(crate) fn sign(&self, session: &Session, key: ObjectHandle) -> Result<Vec<u8>, Error> {
        session.sign(&Mechanism::Ecdsa, key, sha256(MESSAGE).as_ref())
    }

    #[track_caller]
    pub(crate) fn assert_signs(&self, session: &Session, key: ObjectHandle) {
        let signature = self.sign(session, key).expect("a signature");
        assert!(self.key.verifies(&ECDSA_P256_SHA256_FIXED, &signature));
    }
}

impl SigningKey {
    fn new(folder: &Path, label: &'static str, algorithm: &'static SignatureAlgorithm) -> Self {
        let pair = KeyPair::generate_for(algorithm).expect("a key pair");
        let file = folder.join(format!("{label}.pem"));
        fs::write(&file, pair.serialize_pem()).expect("the key's file");
        Self { label, file, pair }
    }

    pub(crate) fn verifies(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        signature: &[u8],
    ) -> bool {
        let key = UnparsedPublicKey::new(algorithm, self.pair.der_bytes());
        key.verify(MESSAGE, signature).is_ok()
    }
}

pub(crate) fn sha256(message: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, message)
}

/// SHA-256 throughout, as TLS has it.
pub(crate) fn pss_parameters() -> PkcsPssParams {
    PkcsPssParams {
        hash_alg: MechanismType::SHA256,
        mgf: PkcsMgfType::MGF1_SHA256,
        s_len: 32.into(),
    }
}

/// The label of a key, a mechanism, what is given to it for [`MESSAGE`], and how the signature is verified.
pub(crate) type Way =
    (&'static str, Mechanism<'static>, Vec<u8>, &'static dyn VerificationAlgorithm);

/// Each kind of key, hashed before and by the token.
pub(crate) fn ways() -> Vec<Way> {
    let hash = || sha256(MESSAGE).as_ref().to_vec();
    let hash_384 = digest::digest(&digest::SHA384, MESSAGE).as_ref().to_vec();
    // RFC 8017, section 9.2, note 1.
    let mut info = vec![0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01];
    info.extend([0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20]);
    info.extend(hash());
    let message = || MESSAGE.to_vec();
    let pss = pss_parameters();
    vec![
        ("p256", Mechanism::Ecdsa, hash(), &ECDSA_P256_SHA256_FIXED),
        ("p256", Mechanism::EcdsaSha256, message(), &ECDSA_P256_SHA256_FIXED),
        ("p384", Mechanism::Ecdsa, hash_384, &ECDSA_P384_SHA384_FIXED),
        ("p384", Mechanism::EcdsaSha384, message(), &ECDSA_P384_SHA384_FIXED),
        ("rsa", Mechanism::RsaPkcs, info, &RSA_PKCS1_2048_8192_SHA256),
        ("rsa", Mechanism::Sha256RsaPkcs, message(), &RSA_PKCS1_2048_8192_SHA256),
        ("rsa", Mechanism::RsaPkcsPss(pss), hash(), &RSA_PSS_2048_8192_SHA256),
        ("rsa", Mechanism::Sha256RsaPkcsPss(pss), message(), &RSA_PSS_2048_8192_SHA256),
        ("ed25519", eddsa(), message(), &ED25519),
    ]
}

fn eddsa() -> Mechanism<'static> {
    Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519))
}
