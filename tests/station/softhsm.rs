//! A token that is not ours: SoftHSM2.

use std::path::{Path, PathBuf};
use std::process::Command;

use countersign::signing::station::{KeySpec, StationSpec};
use countersign_hsm::{Scheme, Uri};
use rcgen::{KeyPair, PublicKeyData as _};

use crate::desk::{BOTH, Desk, Token, pin};

const PIN: &str = "soft-1234";

/// Says to the inner test that it was started by the outer one.
const INNER: &str = "softhsm::signs_by_softhsm";

/// SoftHSM2 finds its configuration by a variable of the environment, and a test cannot set one for itself: it
/// starts itself once more with it.
#[test]
fn softhsm_signs_in_both_isolations() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).expect("a folder");
    let configuration = folder.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&configuration, text).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let file = folder.path().join("server.key");
    std::fs::write(&file, key.serialize_pem()).expect("a file");
    let spki = folder.path().join("server.spki");
    std::fs::write(&spki, key.subject_public_key_info()).expect("a file");
    let util = |arguments: &[&str]| {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", &configuration)
            .output()
            .expect("softhsm2-util: install the Debian package softhsm2");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    util(&["--init-token", "--free", "--label", "soft", "--pin", PIN, "--so-pin", "so-1234"]);
    let path = file.to_string_lossy();
    util(&["--import", &path, "--token", "soft", "--pin", PIN, "--label", "server", "--id", "01"]);
    let inner = Command::new(std::env::current_exe().expect("this executable"))
        .args(["--exact", INNER, "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", &configuration)
        .env("SOFTHSM2_TEST_SPKI", &spki)
        .output()
        .expect("this executable");
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "started by softhsm_signs_in_both_isolations, with a token"]
fn signs_by_softhsm() {
    let Some(spki) = std::env::var_os("SOFTHSM2_TEST_SPKI").map(PathBuf::from) else { return };
    let spki = std::fs::read(spki).expect("a file");
    let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
    let module = module.iter().map(Path::new).find(|path| path.exists()).expect("softhsm2");
    for isolation in BOTH {
        let like = Token::new();
        let spec = StationSpec {
            module: module.to_owned(),
            token: Uri::parse("pkcs11:token=soft").expect("a URI"),
            pin: Some(pin(PIN)),
            ..like.spec(isolation)
        };
        let desk = Desk::open(spec).expect("the token is there");
        let uri = Uri::parse("pkcs11:token=soft;object=server;type=private").expect("a URI");
        let facts = desk.key(KeySpec { id: 1, uri, spki: spki.clone() }).expect("the key");
        assert_eq!(facts.schemes, [Scheme::EcdsaP256Sha256]);
        let operations = desk.submit_many(200);
        for answer in desk.answers(&operations) {
            let signature = answer.expect("a signature");
            aws_lc_rs::signature::UnparsedPublicKey::new(
                &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
                &spki,
            )
            .verify(b"message", &signature)
            .expect("the key's signature");
        }
    }
}
