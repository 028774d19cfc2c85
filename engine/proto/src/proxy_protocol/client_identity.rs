//! The TLV of our own: who the client is, as docs/proxy-protocol.md specifies it.

use std::net::IpAddr;

use super::TLV_HEAD_BYTES;
use super::announcement::{CertificateState, ProxyTls};
use super::spiffe;
use super::writer::Writer;

/// The first of the types for applications (section 2.2.8).
pub(super) const TYPE_CLIENT_IDENTITY: u8 = 0xe0;

pub(super) const RESUMED: u8 = 0x01;
pub(super) const CERTIFICATE_SHA256: u8 = 0x02;
pub(super) const X5T_S256: u8 = 0x03;
pub(super) const SPKI_SHA256: u8 = 0x04;
pub(super) const SIGNATURE_SCHEME: u8 = 0x05;
pub(super) const SPIFFE_ID: u8 = 0x06;
pub(super) const DNS_NAME: u8 = 0x10;
pub(super) const URI: u8 = 0x11;
pub(super) const EMAIL: u8 = 0x12;
pub(super) const IP_ADDRESS: u8 = 0x13;
pub(super) const NAMES_LEFT_OUT: u8 = 0x1f;

/// The value of [`NAMES_LEFT_OUT`]: a number of two bytes.
const LEFT_OUT_BYTES: usize = 2;

/// Appends the TLV with at most `most` bytes of value. `false` if that is not all: then either names are missing, as
/// the TLV itself says, or there is no TLV.
pub(super) fn write(writer: &mut Writer<'_>, tls: &ProxyTls<'_>, most: usize) -> bool {
    let Some(identity) = writer.open(TYPE_CLIENT_IDENTITY, 0, most) else { return false };
    let client = &tls.client;
    let is_resumed = tls.certificate == CertificateState::Resumed;
    let scheme = client.signature_scheme.filter(|_| !is_resumed);
    let has_facts = writer.tlv(RESUMED, &[u8::from(is_resumed)])
        && writer.tlv(CERTIFICATE_SHA256, &client.sha256)
        && writer.tlv(X5T_S256, &base64url(&client.sha256))
        && writer.tlv(SPKI_SHA256, &client.spki_sha256)
        && scheme.is_none_or(|scheme| writer.tlv(SIGNATURE_SCHEME, scheme.as_bytes()));
    // There is room to say that names are missing, or there is no TLV: a reader that compares names must know.
    if !has_facts || writer.room() < TLV_HEAD_BYTES + LEFT_OUT_BYTES {
        writer.abandon(identity);
        return false;
    }
    let mut names = Names { writer, left_out: 0 };
    if let Some(id) = spiffe::id(client.uris) {
        names.tell(SPIFFE_ID, id.as_bytes());
    }
    client.dns_names.iter().for_each(|name| names.tell(DNS_NAME, name.as_bytes()));
    client.uris.iter().for_each(|name| names.tell(URI, name.as_bytes()));
    client.emails.iter().for_each(|name| names.tell(EMAIL, name.as_bytes()));
    for address in client.ip_addresses {
        match address {
            IpAddr::V4(v4) => names.tell(IP_ADDRESS, &v4.octets()),
            IpAddr::V6(v6) => names.tell(IP_ADDRESS, &v6.octets()),
        }
    }
    let left_out = names.left_out;
    if left_out > 0 {
        writer.tlv(NAMES_LEFT_OUT, &left_out.to_be_bytes());
    }
    writer.close(identity);
    left_out == 0
}

struct Names<'a, 'b> {
    writer: &'a mut Writer<'b>,
    left_out: u16,
}

impl Names<'_, '_> {
    /// A name whole, or counted among those that are missing.
    fn tell(&mut self, kind: u8, name: &[u8]) {
        let reserved = TLV_HEAD_BYTES + LEFT_OUT_BYTES;
        let fits = TLV_HEAD_BYTES + name.len() + reserved <= self.writer.room();
        if !(fits && self.writer.tlv(kind, name)) {
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}

/// RFC 4648 section 5, without padding, as RFC 8705 section 3.1 wants the thumbprint: 43 characters.
fn base64url(hash: &[u8; 32]) -> [u8; 43] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = [0; 43];
    for (group, characters) in hash.chunks(3).zip(text.chunks_mut(4)) {
        let bits = group
            .iter()
            .chain(&[0; 2])
            .take(3)
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for (character, shift) in characters.iter_mut().zip([18, 12, 6, 0]) {
            *character = ALPHABET[(bits >> shift & 0x3f) as usize];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_43_characters_without_padding() {
        assert_eq!(&base64url(&[0; 32]), &[b'A'; 43]);
        assert_eq!(&base64url(&[0xff; 32])[..42], &[b'_'; 42]);
        assert_eq!(base64url(&[0xff; 32])[42], b'8');
        // SHA-256 of nothing.
        let empty = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
            0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b,
            0x78, 0x52, 0xb8, 0x55,
        ];
        assert_eq!(&base64url(&empty), b"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }
}
