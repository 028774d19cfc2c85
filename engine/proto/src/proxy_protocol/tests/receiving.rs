//! What a balancer tells.

use super::*;
use crate::limits::RECEIVED_PROXY_HEADER_BYTES_MAX;
use crate::proxy_protocol::Malformed as M;

fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short test").to_be_bytes();
    [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xc0, 0x01, 0x01, 0xbb];

fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&V4, tlvs].concat())
}

fn told(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match parse(bytes) {
        Ok(Received::Whole { length, addresses }) => {
            assert_eq!(length, bytes.len());
            addresses
        }
        other => panic!("{other:?}"),
    }
}

fn pair(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((address(source), address(destination)))
}

/// Headers of every kind that are right.
fn good() -> Vec<Vec<u8>> {
    let mut v6 = vec![0; 36];
    (v6[15], v6[31], v6[33], v6[35]) = (7, 1, 1, 2);
    let mut checked = Vec::new();
    let announcement = Announcement {
        source: address("192.0.2.7:1"),
        destination: address("192.0.2.1:2"),
        connection: None,
        authority: Some("api.example.org"),
        alpn: Some("h2"),
        tls: None,
    };
    write_v2(&mut checked, &announcement, &Format::default());
    vec![
        b"PROXY TCP4 192.0.2.7 198.51.100.1 49153 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN anything at all 1 2 3\r\n".to_vec(),
        with_tlvs(&[]),
        with_tlvs(&[0x04, 0, 2, 9, 9, 0xe0, 0, 0]),
        v2(0x21, 0x21, &v6),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, b"discarded"),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &V4),
        v2(0x20, 0xff, b"discarded"),
        checked,
    ]
}

#[test]
fn both_versions_tell_source_and_destination() {
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 49153 443\r\n";
    assert_eq!(told(line), pair("192.0.2.7:49153", "198.51.100.1:443"));
    let line = b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 0 65535\r\n";
    assert_eq!(told(line), pair("[2001:db8::7]:0", "[::ffff:192.0.2.1]:65535"));
    assert_eq!(told(&with_tlvs(&[])), pair("192.0.2.7:49153", "198.51.100.1:443"));
    let mut v6 = [0; 36];
    (v6[0], v6[1], v6[15], v6[31], v6[33], v6[35]) = (0x20, 0x01, 7, 1, 1, 2);
    assert_eq!(told(&v2(0x21, 0x21, &v6)), pair("[2001::7]:1", "[::1]:2"));
}

#[test]
fn local_and_unknown_leave_the_connection_its_own_addresses() {
    for header in good() {
        let is_own = header.starts_with(b"PROXY UNKNOWN")
            || header.starts_with(&SIGNATURE) && (header[12] == 0x20 || header[13] == 0x00);
        assert_eq!(told(&header).is_none(), is_own, "{header:02x?}");
    }
}

#[test]
fn what_follows_is_not_the_headers_and_what_is_missing_is_waited_for() {
    for header in good() {
        let followed = [&header[..], b"\x16\x03\x01"].concat();
        let whole = parse(&header);
        assert_eq!(parse(&followed), whole);
        for length in 0..header.len() {
            match parse(&header[..length]) {
                Ok(Received::Partial { needs }) => {
                    assert!(needs > length && needs <= header.len(), "{length} {needs}");
                }
                other => panic!("{other:?} after {length} of {header:02x?}"),
            }
        }
    }
}

#[test]
fn a_line_of_text_is_read_to_the_letter() {
    let line = |text: &str| parse(format!("{text}\r\n").as_bytes());
    for wrong in [
        "PROXY ",
        "PROXY  TCP4 192.0.2.7 192.0.2.1 1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 ",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 65536",
        "PROXY TCP4 192.0.2.7 192.0.2.1 +1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 01 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 -1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1  2",
        "PROXY TCP4 192.0.2.07 192.0.2.1 1 2",
        "PROXY TCP4 192.0.2 192.0.2.1 1 2",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 2",
        "PROXY TCP6 192.0.2.7 192.0.2.1 1 2",
        "PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2",
        "PROXY tcp4 192.0.2.7 192.0.2.1 1 2",
        "PROXY UDP4 192.0.2.7 192.0.2.1 1 2",
        "PROXY UNKNOWNS",
        "PROXY \u{e9}",
    ] {
        assert_eq!(line(wrong), Err(M::Fields), "{wrong}");
    }
    assert_eq!(parse(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n"), Err(M::Line));
    assert_eq!(parse(b"PROXY UNKNOWN\0\r\n"), Err(M::Line));
    assert_eq!(parse(b"PROXY UNKNOWN\rx"), Err(M::Line), "noticed as soon as it is wrong");
    for wrong in [&b"proxy "[..], b"PROXZ", b"GET /", b"\x16\x03\x01", b"X"] {
        assert_eq!(parse(wrong), Err(M::NoHeader), "{wrong:02x?}");
    }
}

#[test]
fn a_line_has_107_bytes_at_most() {
    let of = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(told(of(V1_BYTES_MAX).as_bytes()), None);
    assert_eq!(parse(of(V1_BYTES_MAX + 1).as_bytes()), Err(M::Line));
    assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat()), Err(M::Line));
}

#[test]
fn what_version_2_does_not_know_is_refused_as_soon_as_it_is_seen() {
    for (header, error) in [
        (v2(0x11, 0x11, &V4), M::Version(1)),
        (v2(0x31, 0x11, &V4), M::Version(3)),
        (v2(0x22, 0x11, &V4), M::Command(2)),
        (v2(0x2f, 0x11, &V4), M::Command(15)),
        (v2(0x21, 0x12, &V4), M::Family(0x12)),
        (v2(0x21, 0x31, &[0; 216]), M::Family(0x31)),
        (v2(0x21, 0x10, &V4), M::Family(0x10)),
        (v2(0x21, 0x41, &V4), M::Family(0x41)),
        (v2(0x21, 0x11, &V4[1..]), M::AddressesCut),
        (v2(0x21, 0x21, &[0; 35]), M::AddressesCut),
        (v2(0x21, 0x11, &[0; RECEIVED_PROXY_HEADER_BYTES_MAX]), M::TooLong(16 + 8_192)),
    ] {
        assert_eq!(parse(&header), Err(error.clone()), "{header:02x?}");
        assert_eq!(parse(&header[..16]), Err(error), "before the rest has come");
    }
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIX"), Err(M::NoHeader));
    let longest = RECEIVED_PROXY_HEADER_BYTES_MAX - 16 - 12 - 3;
    let [high, low] = (longest as u16).to_be_bytes();
    assert!(told(&with_tlvs(&[&[4, high, low][..], &vec![0; longest]].concat())).is_some());
}

#[test]
fn tlvs_end_where_the_header_does() {
    for wrong in [&[0x04][..], &[0x04, 0], &[0x04, 0, 1], &[0x04, 0xff, 0xff, 0], &[4, 0, 0, 4]] {
        assert_eq!(parse(&with_tlvs(wrong)), Err(M::TlvCut), "{wrong:02x?}");
    }
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    let of = |tlvs: &[u8], place: usize| {
        let mut header = with_tlvs(tlvs);
        let value = crc32c::checksum(&[&header]).to_be_bytes();
        header[place..place + 4].copy_from_slice(&value);
        header
    };
    let alone = of(&[3, 0, 4, 0, 0, 0, 0], 31);
    let between = of(&[1, 0, 2, b'h', b'2', 3, 0, 4, 0, 0, 0, 0, 2, 0, 1, b'a'], 36);
    for header in [alone, between] {
        assert!(told(&header).is_some());
        for index in 16..header.len() {
            for bit in 0..8 {
                let mut damaged = header.clone();
                damaged[index] ^= 1 << bit;
                let is_told = matches!(parse(&damaged), Ok(Received::Whole { .. }));
                // A flip that makes the TLV of the checksum another one leaves a header without.
                let is_unchecked = damaged[28] != 3 && damaged[33.min(header.len() - 1)] != 3;
                assert!(!is_told || is_unchecked, "bit {bit} of byte {index}");
            }
        }
    }
    for wrong in [
        &[3, 0, 0][..],
        &[3, 0, 3, 0, 0, 0],
        &[3, 0, 5, 0, 0, 0, 0, 0],
        &[3, 0, 4, 0, 0, 0, 0],
        &[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0],
    ] {
        assert_eq!(parse(&with_tlvs(wrong)), Err(M::Checksum), "{wrong:02x?}");
    }
}

/// Any bytes get an answer, the same whether they come at once or one by one, and are asked for no more than is read.
#[test]
fn whatever_comes_gets_one_answer() {
    let mut draw = Draw(0x1234_5678_9abc_def1);
    let good = good();
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..30_000 {
        let mut bytes = good[draw.index(good.len())].clone();
        for _ in 0..draw.below(4) {
            let at = draw.index(bytes.len());
            match draw.below(6) {
                0 => bytes[at] = draw.byte(),
                1 => bytes[at] ^= 1 << draw.below(8),
                2 => bytes.truncate(at + 1),
                3 => bytes.insert(at, draw.byte()),
                4 => {
                    bytes.remove(at);
                    bytes.push(draw.byte());
                }
                _ => bytes.extend((0..draw.below(300)).map(|_| b'x').collect::<Vec<_>>()),
            }
        }
        let verdict = parse(&bytes);
        match &verdict {
            Ok(Received::Whole { length, .. }) => {
                whole += 1;
                assert!((1..=bytes.len()).contains(length));
            }
            Ok(Received::Partial { needs }) => {
                assert!(*needs > bytes.len() && *needs <= RECEIVED_PROXY_HEADER_BYTES_MAX);
            }
            Err(_) => refused += 1,
        }
        let settled = (0..=bytes.len())
            .map(|length| parse(&bytes[..length]))
            .find(|verdict| !matches!(verdict, Ok(Received::Partial { .. })));
        match (&verdict, settled) {
            (Ok(Received::Partial { .. }), settled) => assert_eq!(settled, None),
            // Which fault is noticed first may depend on how much is there, that there is one not.
            (Err(_), settled) => assert!(matches!(settled, Some(Err(_))), "{settled:?}"),
            (Ok(Received::Whole { .. }), settled) => assert_eq!(settled, Some(verdict)),
        }
    }
    assert!(whole > 5_000 && refused > 5_000, "{whole} {refused}");
}
