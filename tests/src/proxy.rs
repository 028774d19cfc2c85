//! The PROXY protocol, version 2, as a receiver reads it and a balancer writes it: written from HAProxy's
//! proxy-protocol.txt, and strict.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const FIXED_BYTES: usize = 16;
const TYPE_CRC32C: u8 = 0x03;
const TYPE_SSL: u8 = 0x20;
const TYPE_IDENTITY: u8 = 0xe0;

/// `PP2_TYPE_ALPN`.
pub const ALPN: u8 = 0x01;
/// `PP2_TYPE_AUTHORITY`.
pub const AUTHORITY: u8 = 0x02;
/// `PP2_TYPE_UNIQUE_ID`.
pub const UNIQUE_ID: u8 = 0x05;

/// A header of command PROXY over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who connected.
    pub source: SocketAddr,
    /// Whereto.
    pub destination: SocketAddr,
    /// Type and value of each TLV, in their order.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// The TLV `PP2_TYPE_SSL` (section 2.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssl {
    /// The bits `PP2_CLIENT_*`.
    pub client: u8,
    /// Zero for a certificate that was verified.
    pub verify: u32,
    /// Type and value of each TLV within, in their order.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// `PP2_CLIENT_SSL`: the client came over TLS.
pub const CLIENT_SSL: u8 = 0x01;
/// `PP2_CLIENT_CERT_CONN`: it showed a certificate over this connection.
pub const CLIENT_CERT_CONN: u8 = 0x02;
/// `PP2_CLIENT_CERT_SESS`: it showed one over this TLS session.
pub const CLIENT_CERT_SESS: u8 = 0x04;
/// `PP2_SUBTYPE_SSL_VERSION`.
pub const SSL_VERSION: u8 = 0x21;
/// `PP2_SUBTYPE_SSL_CN`.
pub const SSL_CN: u8 = 0x22;
/// `PP2_SUBTYPE_SSL_CIPHER`.
pub const SSL_CIPHER: u8 = 0x23;
/// `PP2_SUBTYPE_SSL_SIG_ALG`.
pub const SSL_SIG_ALG: u8 = 0x24;
/// `PP2_SUBTYPE_SSL_KEY_ALG`.
pub const SSL_KEY_ALG: u8 = 0x25;
/// `PP2_SUBTYPE_SSL_GROUP`.
pub const SSL_GROUP: u8 = 0x26;
/// `PP2_SUBTYPE_SSL_SIG_SCHEME`.
pub const SSL_SIG_SCHEME: u8 = 0x27;
/// `PP2_SUBTYPE_SSL_CLIENT_CERT`.
pub const SSL_CLIENT_CERT: u8 = 0x28;

impl Header {
    /// Reads exactly one header, not a byte beyond it, and gives its bytes too.
    ///
    /// # Errors
    ///
    /// As the stream has them; `InvalidData` for what is no such header.
    pub fn read(stream: &mut impl Read) -> io::Result<(Self, Vec<u8>)> {
        let mut bytes = vec![0; FIXED_BYTES];
        stream.read_exact(&mut bytes)?;
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        bytes.resize(FIXED_BYTES + length, 0);
        stream.read_exact(&mut bytes[FIXED_BYTES..])?;
        let invalid = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
        Ok((Self::parse(&bytes).map_err(invalid)?, bytes))
    }

    /// Reads a header that is exactly `bytes`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES).ok_or("too short")?;
        if fixed[..12] != SIGNATURE {
            return Err(format!("the signature is {:02x?}", &fixed[..12]));
        }
        if fixed[12] != 0x21 {
            return Err(format!("version and command are {:#04x}", fixed[12]));
        }
        if rest.len() != usize::from(u16::from_be_bytes([fixed[14], fixed[15]])) {
            return Err(format!("{} bytes follow the length", rest.len()));
        }
        let (source, destination, tlvs) = match fixed[13] {
            0x11 => {
                let (addresses, tlvs) = rest.split_first_chunk::<12>().ok_or("no addresses")?;
                let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
                let ip = |bytes: [u8; 4]| Ipv4Addr::from(bytes).into();
                let [source, destination] = both_ports(ports);
                (
                    SocketAddr::new(ip([a, b, c, d]), source),
                    SocketAddr::new(ip([e, f, g, h]), destination),
                    tlvs,
                )
            }
            0x21 => {
                let (source, rest) = rest.split_first_chunk::<16>().ok_or("no source")?;
                let (destination, rest) = rest.split_first_chunk::<16>().ok_or("no destination")?;
                let (ports, tlvs) = rest.split_first_chunk::<4>().ok_or("no ports")?;
                let ports = both_ports(*ports);
                (
                    SocketAddr::new(Ipv6Addr::from(*source).into(), ports[0]),
                    SocketAddr::new(Ipv6Addr::from(*destination).into(), ports[1]),
                    tlvs,
                )
            }
            other => return Err(format!("the family is {other:#04x}")),
        };
        let header = Self { source, destination, tlvs: parse_tlvs(tlvs)? };
        header.verify_checksum(bytes)?;
        Ok(header)
    }

    /// Section 2.2.3: whoever understands the checksum must refuse one that is wrong.
    fn verify_checksum(&self, bytes: &[u8]) -> Result<(), String> {
        let mut place = bytes.len();
        for (kind, value) in self.tlvs.iter().rev() {
            if *kind == TYPE_CRC32C {
                let expected = checksum_of(bytes, place - value.len());
                return if value[..] == expected { Ok(()) } else { Err("a wrong checksum".into()) };
            }
            place -= 3 + value.len();
        }
        Ok(())
    }

    /// The value of the one TLV of this type; `None` if there is none.
    ///
    /// # Panics
    ///
    /// When there are several.
    #[must_use]
    #[track_caller]
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        only(&self.tlvs, kind)
    }

    /// The same, of a TLV whose value is a text.
    ///
    /// # Panics
    ///
    /// When there are several, or it is no UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self, kind: u8) -> Option<&str> {
        self.value(kind).map(|value| str::from_utf8(value).expect("a text in UTF-8"))
    }

    /// Is there a checksum? That it is right was seen when the header was read.
    #[must_use]
    pub fn has_checksum(&self) -> bool {
        self.value(TYPE_CRC32C).is_some()
    }

    /// The engine's own TLV: type and value of each TLV within, in their order.
    ///
    /// # Panics
    ///
    /// When it is malformed.
    #[must_use]
    #[track_caller]
    pub fn identity(&self) -> Option<Vec<(u8, Vec<u8>)>> {
        self.value(TYPE_IDENTITY).map(|value| parse_tlvs(value).expect("TLVs within"))
    }

    /// The one TLV `PP2_TYPE_SSL`.
    ///
    /// # Errors
    ///
    /// If there is none, or more than one, or it is malformed.
    pub fn ssl(&self) -> Result<Ssl, String> {
        let found: Vec<_> = self.tlvs.iter().filter(|(kind, _)| *kind == TYPE_SSL).collect();
        let [(_, value)] = found[..] else {
            return Err(format!("{} TLVs of type SSL", found.len()));
        };
        let ([client, verify @ ..], tlvs) = value.split_first_chunk::<5>().ok_or("too short")?;
        Ok(Ssl { client: *client, verify: u32::from_be_bytes(*verify), tlvs: parse_tlvs(tlvs)? })
    }
}

impl Ssl {
    /// The text of the one TLV of this type within; `None` if there is none.
    ///
    /// # Panics
    ///
    /// When there are several, or it is no UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self, kind: u8) -> Option<&str> {
        only(&self.tlvs, kind).map(|value| str::from_utf8(value).expect("a text in UTF-8"))
    }
}

/// The value of the one TLV of this type among several; `None` if there is none.
///
/// # Panics
///
/// When there are several.
#[must_use]
#[track_caller]
pub fn only(tlvs: &[(u8, Vec<u8>)], kind: u8) -> Option<&[u8]> {
    let found: Vec<_> = tlvs.iter().filter(|(known, _)| *known == kind).collect();
    assert!(found.len() < 2, "{found:?}");
    found.first().map(|(_, value)| &value[..])
}

/// A header of command PROXY over TCP, as section 2.2 has it. Both addresses are of one family.
///
/// # Panics
///
/// When they are not.
#[must_use]
#[track_caller]
pub fn header(source: SocketAddr, destination: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let (family, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            (0x11, [source.octets(), destination.octets()].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            (0x21, [source.octets(), destination.octets()].concat())
        }
        both => panic!("of two families: {both:?}"),
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    with_command(0x21, family, &[&addresses, &ports, tlvs].concat())
}

/// A header of any command and family.
///
/// # Panics
///
/// When `rest` is longer than a header can be.
#[must_use]
#[track_caller]
pub fn with_command(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length of two bytes").to_be_bytes();
    [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
}

/// A TLV.
///
/// # Panics
///
/// When `value` is longer than it can be.
#[must_use]
#[track_caller]
pub fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a length of two bytes").to_be_bytes();
    [&[kind][..], &length, value].concat()
}

/// A header whose last TLV is its checksum.
#[must_use]
pub fn checked(source: SocketAddr, destination: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let tlvs = [tlvs, &tlv(TYPE_CRC32C, &[0; 4])].concat();
    let mut header = header(source, destination, &tlvs);
    let place = header.len() - 4;
    let checksum = checksum_of(&header, place);
    header[place..].copy_from_slice(&checksum);
    header
}

/// CRC32c (RFC 4960 Appendix B), bit by bit, over `header` with zeros in the four bytes at `place`.
fn checksum_of(header: &[u8], place: usize) -> [u8; 4] {
    let mut crc = u32::MAX;
    for (at, byte) in header.iter().enumerate() {
        let byte = if (place..place + 4).contains(&at) { 0 } else { *byte };
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    (!crc).to_be_bytes()
}

fn both_ports([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

fn parse_tlvs(mut bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
    let mut tlvs = Vec::new();
    while let Some(([kind, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or("a TLV is cut short")?;
        tlvs.push((*kind, value.to_vec()));
        bytes = rest;
    }
    if bytes.is_empty() { Ok(tlvs) } else { Err("a TLV's head is cut short".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(family: u8, rest: &[u8]) -> Vec<u8> {
        with_command(0x21, family, rest)
    }

    #[test]
    fn a_checksum_is_the_one_of_rfc_3720() {
        // Appendix B.4: 32 bytes of zeros.
        assert_eq!(checksum_of(&[0; 32], 0), 0x8a91_36aa_u32.to_be_bytes());
        let address = "192.0.2.7:1".parse().expect("an address");
        let mut checked = checked(address, address, &tlv(ALPN, b"h2"));
        assert!(Header::parse(&checked).expect("a header").has_checksum());
        checked[20] ^= 1;
        assert!(Header::parse(&checked).is_err());
    }

    #[test]
    fn a_header_is_read_and_not_a_byte_more() {
        let ssl = [7, 0, 0, 0, 0, 0x22, 0, 2, b'a', b'b'];
        let rest = [&[10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 187, 0x20, 0, 10][..], &ssl].concat();
        let bytes = header(0x11, &rest);
        let mut stream = &[&bytes[..], b"payload"].concat()[..];
        let (read, raw) = Header::read(&mut stream).expect("a header");
        assert_eq!((stream, raw), (&b"payload"[..], bytes));
        assert_eq!(read.source.to_string(), "10.0.0.1:80");
        assert_eq!(read.destination.to_string(), "10.0.0.2:443");
        let ssl = read.ssl().expect("a TLV");
        assert_eq!((ssl.client, ssl.verify, ssl.text(SSL_CN)), (7, 0, Some("ab")));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let addresses = [0; 12];
        assert!(Header::parse(&header(0x11, &addresses)).is_ok());
        for wrong in [
            header(0x12, &addresses),
            header(0x11, &addresses[1..]),
            header(0x21, &addresses),
            header(0x11, &[&addresses[..], &[0x20, 0]].concat()),
            header(0x11, &[&addresses[..], &[0x20, 0, 1]].concat()),
            [header(0x11, &addresses), vec![0]].concat(),
        ] {
            assert!(Header::parse(&wrong).is_err(), "{wrong:02x?}");
        }
    }
}
