//! What rustls does not tell of a ClientHello: for which groups it has key shares, and whether it is one
//! of a version before TLS 1.2.

use rustls::NamedGroup;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const TLS12: u16 = 0x0303;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// The groups for which a ClientHello has key shares (RFC 9846 §4.2.8), in the client's order. `wire`
/// are its records as they arrived. Whatever is out of order gives no groups: judging the hello is
/// rustls' business.
pub(crate) fn key_share_groups(wire: &[u8]) -> Vec<NamedGroup> {
    read(wire).map(|hello| hello.key_shares).unwrap_or_default()
}

/// Is it a ClientHello of a version before TLS 1.2? rustls looks for extensions first, which such a
/// hello does not have, and would send handshake_failure where protocol_version is meant
/// (RFC 9846 §4.2.1).
pub(crate) fn predates_tls12(wire: &[u8]) -> bool {
    read(wire).is_some_and(|hello| hello.legacy_version < TLS12 && !hello.has_supported_versions)
}

struct Hello {
    legacy_version: u16,
    has_supported_versions: bool,
    key_shares: Vec<NamedGroup>,
}

fn read(wire: &[u8]) -> Option<Hello> {
    parse(&handshake_bytes(wire))
}

/// The payloads of the leading handshake records.
fn handshake_bytes(wire: &[u8]) -> Vec<u8> {
    let mut input = Input(wire);
    let mut payloads = Vec::with_capacity(wire.len());
    while input.u8() == Some(HANDSHAKE_RECORD) {
        let Some(record) = input.take(2).and_then(|_version| input.vector16()) else { break };
        payloads.extend_from_slice(record.0);
    }
    payloads
}

fn parse(handshake: &[u8]) -> Option<Hello> {
    let mut input = Input(handshake);
    if input.u8()? != CLIENT_HELLO {
        return None;
    }
    let length = usize::from(input.u8()?) * 65_536 + usize::from(input.u16()?);
    let mut body = input.take(length)?;
    let legacy_version = body.u16()?;
    let mut hello = Hello { legacy_version, has_supported_versions: false, key_shares: Vec::new() };
    body.take(32)?; // random
    body.vector8()?; // legacy_session_id
    body.vector16()?; // cipher_suites
    body.vector8()?; // legacy_compression_methods
    if body.0.is_empty() {
        // Before TLS 1.2 there need be no extensions at all.
        return Some(hello);
    }
    let mut extensions = body.vector16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let extension = extensions.vector16()?;
        match kind {
            SUPPORTED_VERSIONS => hello.has_supported_versions = true,
            KEY_SHARE => hello.key_shares = shares(extension)?,
            _ => {}
        }
    }
    Some(hello)
}

fn shares(mut extension: Input<'_>) -> Option<Vec<NamedGroup>> {
    let mut shares = extension.vector16()?;
    let mut groups = Vec::new();
    while !shares.0.is_empty() {
        groups.push(NamedGroup::from(shares.u16()?));
        shares.vector16()?;
    }
    Some(groups)
}

/// Bytes not read yet; every reader gives `None` where they do not suffice.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<Self> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(Self(taken))
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn vector8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn hello() -> Vec<u8> {
        let mut provider = default_provider();
        provider.kx_groups = vec![kx_group::SECP384R1, kx_group::X25519];
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        wire
    }

    #[test]
    fn the_share_of_a_real_hello_is_found() {
        assert_eq!(key_share_groups(&hello()), [NamedGroup::secp384r1]);
    }

    #[test]
    fn only_an_old_version_without_supported_versions_predates_tls12() {
        let modern = hello();
        assert!(!predates_tls12(&modern));
        // TLS 1.1, nothing but a suite: RFC 4346 §7.4.1.2.
        let mut old = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
        old.extend_from_slice(&[7; 32]);
        old.extend_from_slice(&[0, 0, 2, 0xc0, 0x13, 1, 0]);
        assert!(predates_tls12(&old));
        old[10] = 3;
        assert!(!predates_tls12(&old));
    }

    #[test]
    fn a_hello_in_many_records_is_the_same_hello() {
        let wire = hello();
        let mut split = Vec::new();
        for chunk in wire[5..].chunks(7) {
            split.extend_from_slice(&[22, 3, 1, 0, chunk.len() as u8]);
            split.extend_from_slice(chunk);
        }
        assert_eq!(key_share_groups(&split), [NamedGroup::secp384r1]);
    }

    #[test]
    fn cut_and_damaged_hellos_never_panic() {
        let wire = hello();
        for length in 0..wire.len() {
            assert_eq!(key_share_groups(&wire[..length]), []);
        }
        for index in 0..wire.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = wire.clone();
                damaged[index] = value;
                let _ = key_share_groups(&damaged);
            }
        }
    }
}
