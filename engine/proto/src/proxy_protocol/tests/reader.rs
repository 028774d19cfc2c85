//! What a receiver makes of a header. It shares nothing with the encoder.

use std::net::{IpAddr, SocketAddr};

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) tlvs: Vec<(u8, Vec<u8>)>,
}

#[derive(Debug)]
pub(super) struct ParsedSsl {
    pub(super) client: u8,
    pub(super) verify: u32,
    pub(super) tlvs: Vec<(u8, Vec<u8>)>,
}

impl Parsed {
    /// Reads a whole header, strictly; panics on anything a receiver would refuse.
    pub(super) fn of(mut header: &[u8]) -> Self {
        assert_eq!(take(&mut header, 12), [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]);
        assert_eq!(take(&mut header, 1), [0x21]);
        let family = take(&mut header, 1)[0];
        assert_eq!(number(&mut header, 2), header.len(), "the length is that of the rest");
        let address = |header: &mut &[u8]| -> IpAddr {
            match family {
                0x11 => IpAddr::from(<[u8; 4]>::try_from(take(header, 4)).expect("4 bytes")),
                0x21 => IpAddr::from(<[u8; 16]>::try_from(take(header, 16)).expect("16 bytes"))
                    .to_canonical(),
                _ => panic!("no family {family:#x}"),
            }
        };
        let (source, destination) = (address(&mut header), address(&mut header));
        let mut port = || u16::try_from(number(&mut header, 2)).expect("a port");
        Self {
            source: SocketAddr::new(source, port()),
            destination: SocketAddr::new(destination, port()),
            tlvs: tlvs(header),
        }
    }

    pub(super) fn value(&self, kind: u8) -> Option<&[u8]> {
        value(&self.tlvs, kind)
    }

    pub(super) fn ssl(&self) -> Option<ParsedSsl> {
        let mut value = self.value(0x20)?;
        Some(ParsedSsl {
            client: take(&mut value, 1)[0],
            verify: number(&mut value, 4) as u32,
            tlvs: tlvs(value),
        })
    }

    /// The TLVs within the one of our own.
    pub(super) fn identity(&self) -> Option<Vec<(u8, Vec<u8>)>> {
        self.value(0xe0).map(tlvs)
    }
}

impl ParsedSsl {
    pub(super) fn text(&self, kind: u8) -> Option<&str> {
        value(&self.tlvs, kind).map(|value| str::from_utf8(value).expect("UTF-8"))
    }
}

/// The value of the only TLV of a kind.
pub(super) fn value(tlvs: &[(u8, Vec<u8>)], kind: u8) -> Option<&[u8]> {
    let mut found = tlvs.iter().filter(|(known, _)| *known == kind);
    let first = found.next();
    assert!(found.next().is_none(), "{kind:#x} twice");
    first.map(|(_, value)| value.as_slice())
}

fn tlvs(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut tlvs = Vec::new();
    while !bytes.is_empty() {
        let kind = take(&mut bytes, 1)[0];
        let length = number(&mut bytes, 2);
        tlvs.push((kind, take(&mut bytes, length).to_vec()));
    }
    tlvs
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn number(bytes: &mut &[u8], count: usize) -> usize {
    take(bytes, count).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
