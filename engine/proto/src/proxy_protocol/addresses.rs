//! Both ends of a connection, in one family.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{TCP_OVER_IPV4, TCP_OVER_IPV6};

/// The longest header of version 1, its CRLF included (proxy-protocol.txt section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// Appends a header of version 1 for a connection that `source` made to `destination`: a line of text.
///
/// Families are treated as by [`write_v2`](super::write_v2).
pub fn write_v1(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let ports = (source.port(), destination.port());
    let line = match Addresses::new(source, destination) {
        Addresses::V4([source, destination]) => {
            write!(out, "PROXY TCP4 {} {} {} {}\r\n", source.0, destination.0, ports.0, ports.1)
        }
        Addresses::V6([source, destination]) => {
            write!(out, "PROXY TCP6 {} {} {} {}\r\n", source.0, destination.0, ports.0, ports.1)
        }
    };
    // Writing to memory does not fail.
    debug_assert!(line.is_ok());
}

pub(super) enum Addresses {
    V4([(Ipv4Addr, u16); 2]),
    V6([(Ipv6Addr, u16); 2]),
}

impl Addresses {
    /// Two IPv4 addresses stay such, also where they are written as IPv4-mapped; of two families the IPv4 address is
    /// mapped.
    pub(super) fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let ports = (source.port(), destination.port());
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::V4([(source, ports.0), (destination, ports.1)])
            }
            (source, destination) => {
                Self::V6([(in_ipv6(source), ports.0), (in_ipv6(destination), ports.1)])
            }
        }
    }

    pub(super) fn family(&self) -> u8 {
        match self {
            Self::V4(_) => TCP_OVER_IPV4,
            Self::V6(_) => TCP_OVER_IPV6,
        }
    }

    /// Both addresses, then both ports.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let ports = match self {
            Self::V4([source, destination]) => {
                out.extend_from_slice(&source.0.octets());
                out.extend_from_slice(&destination.0.octets());
                [source.1, destination.1]
            }
            Self::V6([source, destination]) => {
                out.extend_from_slice(&source.0.octets());
                out.extend_from_slice(&destination.0.octets());
                [source.1, destination.1]
            }
        };
        for port in ports {
            out.extend_from_slice(&port.to_be_bytes());
        }
    }
}

fn in_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
