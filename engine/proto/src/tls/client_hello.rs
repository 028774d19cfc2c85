//! What the engine must know of a ClientHello before rustls sees it: whether it has arrived whole, and
//! what the choice of an identity and a group rests on (RFC 9846 §4.1.2). Judging it is rustls'
//! business: whatever is out of order here is `Foreign` or `None`, and the verdict rustls'.

use std::borrow::Cow;

use rustls::NamedGroup;
use rustls_pki_types::ServerName;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER_BYTES: usize = 5;
const HANDSHAKE_HEADER_BYTES: usize = 4;
/// RFC 9846 §5.1.
const PLAINTEXT_BYTES_MAX: usize = 1 << 14;
const TLS12: u16 = 0x0303;
/// TLS 1.3 suites have this first byte (RFC 9846 §B.4).
const TLS13_SUITE: u8 = 0x13;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const HOST_NAME: u8 = 0;

/// How much of a ClientHello has arrived.
pub(crate) enum Arrival<'a> {
    /// It may become one, but not before `wire` has this many bytes.
    Partial { needs: usize },
    /// The message with its header, put together if it came in several records.
    Whole(Cow<'a, [u8]>),
    /// It does not begin as one.
    Foreign,
}

impl<'a> Arrival<'a> {
    /// Looks at `wire`, which begins where the connection began.
    pub(crate) fn of(wire: &'a [u8]) -> Self {
        let mut message = Cow::Borrowed(&[][..]);
        let mut end = 0;
        loop {
            let header = &wire[end..wire.len().min(end + RECORD_HEADER_BYTES)];
            if !matches!(header, [] | [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3, ..]) {
                return Self::Foreign;
            }
            let &[_, _, _, high, low] = header else {
                return Self::Partial { needs: end + RECORD_HEADER_BYTES };
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length == 0 || length > PLAINTEXT_BYTES_MAX {
                return Self::Foreign;
            }
            let start = end + RECORD_HEADER_BYTES;
            end = start + length;
            let Some(payload) = wire.get(start..end) else {
                return match wire.get(start) {
                    Some(kind) if message.is_empty() && *kind != CLIENT_HELLO => Self::Foreign,
                    _ => Self::Partial { needs: end },
                };
            };
            if message.is_empty() {
                message = Cow::Borrowed(payload);
            } else {
                message.to_mut().extend_from_slice(payload);
            }
            if message[0] != CLIENT_HELLO {
                return Self::Foreign;
            }
            let [_, high, middle, low, ..] = *message else { continue };
            let length = usize::from(high) * 65_536 + usize::from(middle) * 256 + usize::from(low);
            match (HANDSHAKE_HEADER_BYTES + length).cmp(&message.len()) {
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal => {
                    return Self::Whole(message);
                }
                // Keys change behind it, so nothing else may stand in its record (RFC 9846 §5.1).
                std::cmp::Ordering::Less => return Self::Foreign,
            }
        }
    }
}

/// The parts of a ClientHello on which a choice rests, as slices of the message.
pub(crate) struct ClientHello<'a> {
    legacy_version: u16,
    has_supported_versions: bool,
    cipher_suites: Input<'a>,
    groups: Input<'a>,
    key_shares: Input<'a>,
    server_name: Option<&'a str>,
}

impl<'a> ClientHello<'a> {
    /// Reads a message with its header; `None` where that cannot be done.
    pub(crate) fn read(message: &'a [u8]) -> Option<Self> {
        let mut body = Input(message.get(HANDSHAKE_HEADER_BYTES..)?);
        let mut hello = Self {
            legacy_version: body.u16()?,
            has_supported_versions: false,
            cipher_suites: Input(&[]),
            groups: Input(&[]),
            key_shares: Input(&[]),
            server_name: None,
        };
        body.take(32)?; // random
        body.vector8()?; // legacy_session_id
        hello.cipher_suites = body.vector16()?;
        body.vector8()?; // legacy_compression_methods
        if body.0.is_empty() {
            // Before TLS 1.2 there need be no extensions at all.
            return Some(hello);
        }
        let mut extensions = body.vector16()?;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let mut extension = extensions.vector16()?;
            match kind {
                SERVER_NAME => hello.server_name = host_name(extension)?,
                SUPPORTED_GROUPS => hello.groups = extension.vector16()?,
                SUPPORTED_VERSIONS => hello.has_supported_versions = true,
                KEY_SHARE => {
                    hello.key_shares = extension.vector16()?;
                    // All of them can be read, so that looking for one later cannot fail.
                    hello.key_share_groups().try_for_each(|share| share.map(drop))?;
                }
                _ => {}
            }
        }
        Some(hello)
    }

    /// The DNS name that the client asks for, in its own spelling (RFC 6066 §3).
    pub(crate) fn server_name(&self) -> Option<&'a str> {
        self.server_name
    }

    /// Does it offer a suite of TLS 1.3?
    pub(crate) fn speaks_tls13(&self) -> bool {
        self.cipher_suites.0.chunks_exact(2).any(|suite| suite[0] == TLS13_SUITE)
    }

    /// Does it offer to agree in `group` (RFC 9846 §4.2.7)?
    pub(crate) fn offers(&self, group: NamedGroup) -> bool {
        let code = u16::from(group).to_be_bytes();
        self.groups.0.chunks_exact(2).any(|offered| offered == code)
    }

    /// Does it carry a key share for `group` (RFC 9846 §4.2.8)?
    pub(crate) fn has_key_share(&self, group: NamedGroup) -> bool {
        self.key_share_groups().any(|share| share == Some(group))
    }

    /// Is it of a version before TLS 1.2? rustls looks for extensions first, which such a hello does
    /// not have, and would send handshake_failure where protocol_version is meant (RFC 9846 §4.2.1).
    pub(crate) fn predates_tls12(&self) -> bool {
        self.legacy_version < TLS12 && !self.has_supported_versions
    }

    /// Ends with `None` where a share is cut.
    fn key_share_groups(&self) -> impl Iterator<Item = Option<NamedGroup>> {
        let mut shares = self.key_shares.clone();
        std::iter::from_fn(move || {
            if shares.0.is_empty() {
                return None;
            }
            let share = shares.u16().and_then(|group| shares.vector16().map(|_key| group));
            if share.is_none() {
                shares = Input(&[]);
            }
            Some(share.map(NamedGroup::from))
        })
    }
}

/// The one host_name of a server_name extension; `Some(None)` where it is an address, which rustls
/// takes for no name (RFC 6066 §3 forbids it).
fn host_name(mut extension: Input<'_>) -> Option<Option<&str>> {
    let mut names = extension.vector16()?;
    if names.u8()? != HOST_NAME {
        return None;
    }
    let name = std::str::from_utf8(names.vector16()?.0).ok()?;
    if !names.0.is_empty() {
        return None;
    }
    match ServerName::try_from(name).ok()? {
        ServerName::DnsName(_) => Some(Some(name)),
        _ => Some(None),
    }
}

/// Bytes not read yet; every reader gives `None` where they do not suffice.
#[derive(Clone)]
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

    fn wire() -> Vec<u8> {
        let mut provider = default_provider();
        provider.kx_groups = vec![kx_group::SECP384R1, kx_group::X25519];
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = "Edge.example".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        wire
    }

    fn whole(wire: &[u8]) -> Option<Cow<'_, [u8]>> {
        match Arrival::of(wire) {
            Arrival::Whole(message) => Some(message),
            Arrival::Partial { .. } | Arrival::Foreign => None,
        }
    }

    #[test]
    fn a_real_hello_is_read() {
        let wire = wire();
        let message = whole(&wire).unwrap();
        let hello = ClientHello::read(&message).unwrap();
        assert!(hello.server_name().unwrap().eq_ignore_ascii_case("edge.example"));
        assert!(hello.speaks_tls13());
        assert!(hello.offers(NamedGroup::X25519) && hello.offers(NamedGroup::secp384r1));
        assert!(!hello.offers(NamedGroup::secp256r1));
        assert!(hello.has_key_share(NamedGroup::secp384r1));
        assert!(!hello.has_key_share(NamedGroup::X25519));
        assert!(!hello.predates_tls12());
    }

    #[test]
    fn only_an_old_version_without_supported_versions_predates_tls12() {
        // TLS 1.1, nothing but a suite: RFC 4346 §7.4.1.2.
        let mut old = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
        old.extend_from_slice(&[7; 32]);
        old.extend_from_slice(&[0, 0, 2, 0xc0, 0x13, 1, 0]);
        let predates =
            |wire: &[u8]| ClientHello::read(&whole(wire).unwrap()).unwrap().predates_tls12();
        assert!(predates(&old));
        old[10] = 3;
        assert!(!predates(&old));
    }

    #[test]
    fn a_hello_in_many_records_is_the_same_hello() {
        let wire = wire();
        let mut split = Vec::new();
        for chunk in wire[5..].chunks(7) {
            split.extend_from_slice(&[22, 3, 1, 0, chunk.len() as u8]);
            split.extend_from_slice(chunk);
        }
        for length in 0..split.len() {
            let Arrival::Partial { needs } = Arrival::of(&split[..length]) else {
                panic!("{length} bytes are not all of it");
            };
            assert!(needs > length);
        }
        split.extend_from_slice(b"what follows");
        assert_eq!(*whole(&split).unwrap(), wire[5..]);
    }

    #[test]
    fn what_cannot_become_a_hello_is_foreign_at_once() {
        for start in [&b"G"[..], &[23], &[22, 2, 0, 0, 9], &[22, 3, 1, 0, 0], &[22, 3, 1, 0, 1, 2]]
        {
            assert!(matches!(Arrival::of(start), Arrival::Foreign), "{start:?}");
        }
        // More in the record than the hello.
        assert!(matches!(Arrival::of(&[22, 3, 1, 0, 6, 1, 0, 0, 1, 3, 3]), Arrival::Foreign));
    }

    #[test]
    fn cut_and_damaged_hellos_never_panic() {
        let wire = wire();
        for length in 0..wire.len() {
            assert!(matches!(Arrival::of(&wire[..length]), Arrival::Partial { .. }));
            let _ = ClientHello::read(&wire[5..length.max(5)]);
        }
        for index in 0..wire.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = wire.clone();
                damaged[index] = value;
                if let Some(message) = whole(&damaged) {
                    let _ = ClientHello::read(&message);
                }
            }
        }
    }
}
