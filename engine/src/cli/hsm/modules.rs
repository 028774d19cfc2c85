//! Where vendors put their modules.

use std::path::{Path, PathBuf};

/// By the documentation of their vendors and by what Debian, Red Hat and others package. p11-kit's proxy is not among them: it
/// would show the tokens of the others once more.
const USUAL: [&str; 24] = [
    // SoftHSM2
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    // Thales Luna
    "/usr/safenet/lunaclient/lib/libCryptoki2_64.so",
    "/usr/safenet/lunaclient/lib/libCryptoki2.so",
    // Entrust nShield
    "/opt/nfast/toolkits/pkcs11/libcknfast.so",
    // YubiHSM 2
    "/usr/lib/x86_64-linux-gnu/pkcs11/yubihsm_pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/yubihsm_pkcs11.so",
    "/usr/lib64/pkcs11/yubihsm_pkcs11.so",
    "/usr/local/lib/pkcs11/yubihsm_pkcs11.so",
    // AWS CloudHSM
    "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
    // OpenSC: smart cards
    "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib64/opensc-pkcs11.so",
    // YubiKeys (PIV)
    "/usr/lib/x86_64-linux-gnu/libykcs11.so",
    "/usr/lib/aarch64-linux-gnu/libykcs11.so",
    "/usr/lib64/libykcs11.so",
    // TPM 2.0
    "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1",
    "/usr/lib/aarch64-linux-gnu/libtpm2_pkcs11.so.1",
    "/usr/lib64/pkcs11/libtpm2_pkcs11.so",
    // openCryptoki
    "/usr/lib/opencryptoki/libopencryptoki.so",
    "/usr/lib64/opencryptoki/libopencryptoki.so",
];

/// Those that are here, each once by whatever name it has.
pub(super) fn installed() -> Vec<PathBuf> {
    let mut real = Vec::new();
    let mut found = Vec::new();
    for path in USUAL.map(Path::new) {
        if let Ok(file) = path.canonicalize()
            && !real.contains(&file)
        {
            real.push(file);
            found.push(path.to_owned());
        }
    }
    found
}

/// For a message: where was looked.
pub(super) fn usual() -> String {
    USUAL.join("\n  ")
}
