//! The one thing of a ClientHello that rustls does not tell: for which groups it has key shares.

use rustls::NamedGroup;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const KEY_SHARE: u16 = 51;

/// The groups for which a ClientHello has key shares (RFC 9846 §4.2.8), in the client's order. `wire`
/// are its records as they arrived. Whatever is out of order gives no groups: judging the hello is
/// rustls' business.
pub(crate) fn key_share_groups(wire: &[u8]) -> Vec<NamedGroup> {
    parse(&handshake_bytes(wire)).unwrap_or_default()
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

fn parse(handshake: &[u8]) -> Option<Vec<NamedGroup>> {
    let mut input = Input(handshake);
    if input.u8()? != CLIENT_HELLO {
        return None;
    }
    let length = usize::from(input.u8()?) * 65_536 + usize::from(input.u16()?);
    let mut hello = input.take(length)?;
    hello.take(2 + 32)?; // legacy_version, random
    hello.vector8()?; // legacy_session_id
    hello.vector16()?; // cipher_suites
    hello.vector8()?; // legacy_compression_methods
    let mut extensions = hello.vector16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut extension = extensions.vector16()?;
        if kind != KEY_SHARE {
            continue;
        }
        let mut shares = extension.vector16()?;
        let mut groups = Vec::new();
        while !shares.0.is_empty() {
            groups.push(NamedGroup::from(shares.u16()?));
            shares.vector16()?;
        }
        return Some(groups);
    }
    Some(Vec::new())
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
