//! Balancers that stand between clients and the engine, and say so by a PROXY header.

use std::net::{IpAddr, SocketAddr};

use countersign_proto::policy::AddressPrefix;
use countersign_proto::proxy_protocol::{Announcement, Format, write_v1, write_v2};

/// What a balancer sends before the client's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A header of version 1.
    Line,
    /// A header of version 2, with a checksum.
    Binary,
    /// The same, damaged.
    Damaged,
}

impl Front {
    /// For one in five clients; takes nothing from the source of chance, so that worlds without stay what they were.
    pub(crate) fn of_key(key: u64) -> Option<Self> {
        match key % 40 {
            0..=3 => Some(Self::Line),
            4..=6 => Some(Self::Binary),
            7 => Some(Self::Damaged),
            _ => None,
        }
    }

    /// Who it says that the client is.
    pub(crate) fn client(key: u64) -> SocketAddr {
        let [_, _, a, b, c, d, ports @ ..] = key.to_be_bytes();
        SocketAddr::new(IpAddr::from([a, b, c, d]), u16::from_be_bytes(ports))
    }

    pub(crate) fn header(self, key: u64) -> Vec<u8> {
        let (source, destination) = (Self::client(key), SocketAddr::from(([192, 0, 2, 1], 8_443)));
        let mut header = Vec::new();
        if self == Self::Line {
            write_v1(&mut header, source, destination);
            return header;
        }
        let announcement = Announcement {
            source,
            destination,
            connection: None,
            authority: Some("engine.example"),
            alpn: None,
            tls: None,
        };
        write_v2(&mut header, &announcement, &Format::default());
        if self == Self::Damaged {
            // One of its addresses: only the checksum can tell.
            header[16 + (key >> 32) as usize % 8] ^= 0x10;
        }
        header
    }
}

/// Where balancers connect from.
pub(crate) fn balancers() -> Vec<AddressPrefix> {
    vec!["203.0.113.0/24".parse().expect("a range")]
}

/// One of them.
pub(crate) const BALANCER: [u8; 4] = [203, 0, 113, 9];
