//! `openssl s_client`'s command line, as several topics need it.

use std::net::SocketAddr;

use countersign_tests::client::Version;
use countersign_tests::pki::{Identity, Pki, SERVER_NAME};

/// Connects to `port` of this machine, verifies the server, shows `identity`, speaks `version` alone.
pub(crate) fn arguments(
    pki: &Pki,
    port: u16,
    identity: Option<&Identity>,
    version: Version,
) -> Vec<String> {
    let mut arguments = unversioned_arguments(pki, port, identity);
    arguments.push(version_flag(version).to_owned());
    arguments
}

/// Connects to `address`, asks for `server_name` or for none, verifies the server's chain though not its name,
/// shows `identity`, speaks `version` alone.
pub(crate) fn arguments_to(
    pki: &Pki,
    address: SocketAddr,
    server_name: Option<&str>,
    identity: Option<&Identity>,
    version: Version,
) -> Vec<String> {
    let mut arguments = vec!["s_client".into(), "-connect".into(), address.to_string()];
    match server_name {
        Some(name) => arguments.extend(["-servername", name].map(str::to_owned)),
        None => arguments.push("-noservername".to_owned()),
    }
    arguments.extend(credentials(pki, identity));
    arguments.push(version_flag(version).to_owned());
    arguments
}

/// Like [`arguments`], with the versions left to the caller.
pub(crate) fn unversioned_arguments(
    pki: &Pki,
    port: u16,
    identity: Option<&Identity>,
) -> Vec<String> {
    let mut arguments: Vec<String> = ["s_client", "-connect"].map(str::to_owned).into();
    arguments.push(format!("127.0.0.1:{port}"));
    arguments
        .extend(["-servername", SERVER_NAME, "-verify_hostname", SERVER_NAME].map(str::to_owned));
    arguments.extend(credentials(pki, identity));
    arguments
}

fn credentials(pki: &Pki, identity: Option<&Identity>) -> Vec<String> {
    let mut arguments = vec![
        "-verify_return_error".to_owned(),
        "-CAfile".to_owned(),
        pki.server_root_file.display().to_string(),
    ];
    if let Some(identity) = identity {
        arguments.extend(["-cert".into(), identity.chain_file.display().to_string()]);
        arguments.extend(["-key".into(), identity.key_file.display().to_string()]);
        if let Some(issuers) = &identity.issuers_file {
            arguments.extend(["-cert_chain".into(), issuers.display().to_string()]);
        }
    }
    arguments
}

fn version_flag(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "-tls1_2",
        Version::Tls13 => "-tls1_3",
    }
}

/// How s_client calls the version when it says what was negotiated.
pub(crate) fn version_name(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "TLSv1.2",
        Version::Tls13 => "TLSv1.3",
    }
}
