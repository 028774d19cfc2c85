//! Other people's callers: pkcs11-tool, and OpenSSL with libp11's engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_tests::test_token::{LABEL, PIN};
use countersign_tests::tool::PKCS11_TOOL;

use crate::caller::{Keys, MESSAGE, SigningKey};

#[test]
fn pkcs11_tool_lists_the_keys_and_signs() {
    let keys = Keys::new();
    let token = keys.on_token();
    let module = token.module().display().to_string();
    let listed = PKCS11_TOOL.run(&["--module", &module, "--list-objects", "--login", "--pin", PIN]);
    for expected in ["Private Key Object; EC", "Private Key Object; RSA", "ed25519", "sensitive"] {
        assert!(listed.said.contains(expected), "{expected}: {listed:?}");
    }
    let folder = keys.folder.path();
    let (message, signature) = message_and_signature(folder);
    for (key, id, mechanism, hash) in [
        (&keys.p256, "01", "ECDSA-SHA256", "-sha256"),
        (&keys.p384, "02", "ECDSA-SHA384", "-sha384"),
        (&keys.rsa, "03", "SHA256-RSA-PKCS", "-sha256"),
    ] {
        let finished = PKCS11_TOOL.run(&[
            "--module",
            &module,
            "--login",
            "--pin",
            PIN,
            "--sign",
            "--id",
            id,
            "--mechanism",
            mechanism,
            "--signature-format",
            "openssl",
            "--input-file",
            &message.display().to_string(),
            "--output-file",
            &signature.display().to_string(),
        ]);
        assert!(finished.status.success(), "{finished:?}");
        assert_verifies(folder, key, &[hash]);
    }
}

/// libp11 0.4 gives up where a token has a key of a kind that it does not know, so there is no Ed25519 key here.
#[test]
fn openssl_signs_through_its_engine() {
    let keys = Keys::new();
    let token = keys.on_token();
    token.delete("ed25519", true);
    let folder = keys.folder.path();
    let (message, signature) = message_and_signature(folder);
    let configuration = folder.join("openssl.cnf");
    let text = format!(
        "openssl_conf = start\n[start]\nengines = all\n[all]\npkcs11 = pkcs11\n[pkcs11]\nengine_id = pkcs11\n\
         dynamic_path = {}\nMODULE_PATH = {}\ninit = 0\n",
        engine().display(),
        token.module().display()
    );
    fs::write(&configuration, text).expect("a configuration");
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    for (key, options) in [(&keys.p256, &[][..]), (&keys.rsa, &[]), (&keys.rsa, &pss)] {
        let uri = format!("pkcs11:token={LABEL};object={};type=private?pin-value={PIN}", key.label);
        let mut command = Command::new("openssl");
        command.env("OPENSSL_CONF", &configuration);
        command.args(["dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256"]);
        command.args(options).args(["-sign", &uri, "-out"]).arg(&signature).arg(&message);
        let output = command.output().expect("openssl");
        assert!(output.status.success(), "{output:?}");
        assert_verifies(folder, key, &[&["-sha256"], options].concat());
    }
    assert_eq!(token.counters().signatures, 3);
}

fn engine() -> PathBuf {
    let places = fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let engines = places.map(|place| place.path().join("engines-3/pkcs11.so"));
    engines
        .into_iter()
        .find(|engine| engine.is_file())
        .expect("the Debian package libengine-pkcs11-openssl")
}

fn message_and_signature(folder: &Path) -> (PathBuf, PathBuf) {
    let message = folder.join("message");
    fs::write(&message, MESSAGE).expect("a message");
    (message, folder.join("signature"))
}

fn assert_verifies(folder: &Path, key: &SigningKey, options: &[&str]) {
    let public = folder.join("public.pem");
    fs::write(&public, key.pair.public_key_pem()).expect("a public key");
    let (message, signature) = message_and_signature(folder);
    let mut command = Command::new("openssl");
    command.arg("dgst").args(options).arg("-verify").arg(public);
    let output = command.arg("-signature").arg(signature).arg(message).output().expect("openssl");
    assert!(output.status.success(), "{} {options:?}: {output:?}", key.label);
}
