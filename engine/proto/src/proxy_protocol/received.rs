//! A header that a balancer in front sends (proxy-protocol.txt sections 2.1 and 2.2).
//!
//! Nothing is allocated, everything is bounded, and nobody is asked to send more before what is there can still be
//! the beginning of a header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::addresses::V1_BYTES_MAX;
use super::crc32c;
use super::{
    FIXED_BYTES, IPV4_BYTES, IPV6_BYTES, PP2_TYPE_CRC32C, SIGNATURE, TCP_OVER_IPV4, TCP_OVER_IPV6,
    TLV_HEAD_BYTES,
};
use crate::limits::RECEIVED_PROXY_HEADER_BYTES_MAX;

const V1_PREFIX: &[u8] = b"PROXY ";
const VERSION_2: u8 = 0x20;
const COMMAND_LOCAL: u8 = 0x0;
const COMMAND_PROXY: u8 = 0x1;
const AF_UNSPEC: u8 = 0x0;
const CRC32C_BYTES: usize = 4;

/// What has arrived of a header so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The beginning of one. With fewer bytes than this it cannot be whole.
    Partial {
        /// Bytes from its start.
        needs: usize,
    },
    /// A whole one.
    Whole {
        /// Its bytes. What follows them is not the header's.
        length: usize,
        /// Source and destination of the connection that it speaks for; `None` if it speaks for the connection that
        /// it came over (LOCAL, as for health checks), or says that it does not know (UNSPEC, UNKNOWN).
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
}

/// Why this is no header. Whoever sent it is misconfigured, or is not who it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither the word PROXY nor the signature of version 2.
    #[error("it begins like neither version of a PROXY header")]
    NoHeader,
    /// Another version than 2 behind the signature of version 2.
    #[error("its version is {0}; there are 1 and 2")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("its command is {0:#x}; there are LOCAL (0x0) and PROXY (0x1)")]
    Command(u8),
    /// Not TCP over IPv4 or IPv6.
    #[error(
        "its family is {0:#04x}; there are TCP over IPv4 (0x11) and IPv6 (0x21), and unspecified (0x00)"
    )]
    Family(u8),
    /// The header says that it is longer than we read.
    #[error("it announces {0} bytes; at most {RECEIVED_PROXY_HEADER_BYTES_MAX} are read")]
    TooLong(usize),
    /// The addresses of its family do not fit into its length.
    #[error("its addresses are cut short")]
    AddressesCut,
    /// A TLV reaches beyond the header.
    #[error("a TLV reaches beyond its end")]
    TlvCut,
    /// The checksum is not that of the header, there are two, or it has no four bytes.
    #[error("its checksum is wrong")]
    Checksum,
    /// Version 1: no line of at most 107 bytes that ends with CRLF.
    #[error("its line does not end with CRLF within {V1_BYTES_MAX} bytes")]
    Line,
    /// Version 1: not what the line should hold.
    #[error("its line is not `PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT` or `PROXY UNKNOWN`")]
    Fields,
}

/// Reads a header of either version at the start of `bytes`.
///
/// Fit for a fuzzer: any bytes give an answer, without allocating. More bytes never change a verdict other than
/// [`Received::Partial`].
///
/// # Errors
/// If no header can begin so.
pub fn parse(bytes: &[u8]) -> Result<Received, Malformed> {
    if begins(bytes, V1_PREFIX) {
        parse_v1(bytes)
    } else if begins(bytes, &SIGNATURE) {
        parse_v2(bytes)
    } else {
        Err(Malformed::NoHeader)
    }
}

/// Is one the beginning of the other?
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(byte, expected)| byte == expected)
}

/// Section 2.1.
fn parse_v1(bytes: &[u8]) -> Result<Received, Malformed> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| byte.is_ascii_control()) else {
        if window.len() == V1_BYTES_MAX {
            return Err(Malformed::Line);
        }
        return Ok(Received::Partial { needs: (window.len() + 1).max(V1_PREFIX.len() + 2) });
    };
    match window[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if window.len() < V1_BYTES_MAX => {
            return Ok(Received::Partial { needs: end + 2 });
        }
        _ => return Err(Malformed::Line),
    }
    let line = window.get(V1_PREFIX.len()..end).ok_or(Malformed::Line)?;
    let line = str::from_utf8(line).map_err(|_| Malformed::Fields)?;
    let mut fields = line.split(' ');
    let addresses = match fields.next() {
        Some("TCP4") => Some(fields_v1::<Ipv4Addr>(fields)?),
        Some("TCP6") => Some(fields_v1::<Ipv6Addr>(fields)?),
        // "the receiver must ignore anything presented before the CRLF"
        Some("UNKNOWN") => None,
        _ => return Err(Malformed::Fields),
    };
    Ok(Received::Whole { length: end + 2, addresses })
}

fn fields_v1<'a, A: FromStr + Into<IpAddr>>(
    mut fields: impl Iterator<Item = &'a str>,
) -> Result<(SocketAddr, SocketAddr), Malformed> {
    let mut next = || fields.next().ok_or(Malformed::Fields);
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if fields.next().is_some() {
        return Err(Malformed::Fields);
    }
    let end = |address: &str, port| {
        let address: A = address.parse().map_err(|_| Malformed::Fields)?;
        Ok(SocketAddr::new(address.into(), port_v1(port)?))
    };
    Ok((end(source, source_port)?, end(destination, destination_port)?))
}

/// 0 to 65535 in decimal, "exactly": without a sign and without leading zeros.
fn port_v1(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if is_plain { text.parse().map_err(|_| Malformed::Fields) } else { Err(Malformed::Fields) }
}

/// Section 2.2.
fn parse_v2(bytes: &[u8]) -> Result<Received, Malformed> {
    let mut command = None;
    if let Some(byte) = bytes.get(SIGNATURE.len()) {
        if byte & 0xf0 != VERSION_2 {
            return Err(Malformed::Version(byte >> 4));
        }
        match byte & 0x0f {
            known @ (COMMAND_LOCAL | COMMAND_PROXY) => command = Some(known),
            other => return Err(Malformed::Command(other)),
        }
    }
    let (Some(fixed), Some(command)) = (bytes.first_chunk::<FIXED_BYTES>(), command) else {
        return Ok(Received::Partial { needs: FIXED_BYTES });
    };
    let [.., family, high, low] = *fixed;
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > RECEIVED_PROXY_HEADER_BYTES_MAX {
        return Err(Malformed::TooLong(length));
    }
    // LOCAL: "the receiver must accept this connection as valid and must use the real connection endpoints and
    // discard the protocol block including the family which is ignored". Without a family nobody can tell where
    // TLVs would begin.
    let is_discarded = command == COMMAND_LOCAL || family >> 4 == AF_UNSPEC;
    let needed = match (is_discarded, family) {
        (true, _) => 0,
        (false, TCP_OVER_IPV4) => IPV4_BYTES,
        (false, TCP_OVER_IPV6) => IPV6_BYTES,
        (false, other) => return Err(Malformed::Family(other)),
    };
    if length < FIXED_BYTES + needed {
        return Err(Malformed::AddressesCut);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Received::Partial { needs: length });
    };
    if is_discarded {
        return Ok(Received::Whole { length, addresses: None });
    }
    let (addresses, tlvs) = header[FIXED_BYTES..].split_at(needed);
    check_tlvs(header, tlvs)?;
    let addresses = addresses_v2(addresses).ok_or(Malformed::AddressesCut)?;
    Ok(Received::Whole { length, addresses: Some(addresses) })
}

fn addresses_v2(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (ips, ports) = bytes.split_last_chunk::<4>()?;
    let (source, destination) = ips.split_at(ips.len() / 2);
    let address = |octets: &[u8]| {
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
    };
    let &[a, b, c, d] = ports;
    Some((
        SocketAddr::new(address(source)?, u16::from_be_bytes([a, b])),
        SocketAddr::new(address(destination)?, u16::from_be_bytes([c, d])),
    ))
}

/// Skips every TLV, and verifies the checksum if there is one (section 2.2.3).
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), Malformed> {
    let mut checksum = None;
    while let Some((&[kind, high, low], rest)) = tlvs.split_first_chunk::<TLV_HEAD_BYTES>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::TlvCut)?;
        if kind == PP2_TYPE_CRC32C {
            let value = <[u8; CRC32C_BYTES]>::try_from(value).map_err(|_| Malformed::Checksum)?;
            // Two of them could not both be zero while the other is computed.
            if checksum.replace((u32::from_be_bytes(value), rest.len())).is_some() {
                return Err(Malformed::Checksum);
            }
        }
        tlvs = rest;
    }
    if !tlvs.is_empty() {
        return Err(Malformed::TlvCut);
    }
    if let Some((expected, behind)) = checksum {
        let (before, behind) = header.split_at(header.len() - behind);
        let before = &before[..before.len() - CRC32C_BYTES];
        if crc32c::checksum(&[before, &[0; CRC32C_BYTES], behind]) != expected {
            return Err(Malformed::Checksum);
        }
    }
    Ok(())
}
