//! Engines whose keys are in tokens.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;

use countersign_tests::configuration::{Configuration, IdentitySection, ListenerSection};
use countersign_tests::pki::{Identity, Pki};
use countersign_tests::token::SoftToken;

/// Words before a command line by which its program sees the token.
pub(crate) fn seeing(token: &SoftToken) -> Vec<OsString> {
    let command = token.command("env");
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(OsString::from));
    for (name, value) in command.get_envs() {
        let mut word = name.to_owned();
        word.push("=");
        word.push(value.unwrap_or_default());
        words.push(word);
    }
    words
}

/// A token of SoftHSM2 that has the server's key as `server`.
pub(crate) fn softhsm_with(identity: &Identity) -> SoftToken {
    let token = SoftToken::softhsm("edge");
    put(&token, identity, "server", 1);
    token
}

/// Puts an identity's key into a token.
pub(crate) fn put(token: &SoftToken, identity: &Identity, label: &str, id: u8) {
    let pem = fs::read_to_string(&identity.key_file).expect("the key");
    token.import(&pem, label, &[id]);
}

/// An identity with its key at `uri`.
pub(crate) fn identity(pki: &Pki, server: &Identity, uri: &str) -> IdentitySection {
    IdentitySection::new(server, &pki.client_root_file).set("key", uri)
}

/// One listener, with the PKI's server, whose key is at `uri`.
pub(crate) fn serving(pki: &Pki, address: SocketAddr, uri: &str) -> Configuration {
    let listener = ListenerSection::new("door", address).identity(identity(pki, &pki.server, uri));
    Configuration::new().listener(listener)
}
