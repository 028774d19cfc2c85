//! The PROXY protocol, version 2, as a receiver reads it: written from HAProxy's proxy-protocol.txt, and strict.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const FIXED_BYTES: usize = 16;
const TYPE_SSL: u8 = 0x20;

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
        Ok(Self { source, destination, tlvs: parse_tlvs(tlvs)? })
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
        let found: Vec<_> = self.tlvs.iter().filter(|(known, _)| *known == kind).collect();
        assert!(found.len() < 2, "{found:?}");
        found.first().map(|(_, value)| str::from_utf8(value).expect("a text in UTF-8"))
    }
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
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x21, family], &length, rest].concat()
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
