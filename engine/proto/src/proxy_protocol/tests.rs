use std::net::{SocketAddrV4, SocketAddrV6};

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn encoded(source: &str, destination: &str, tls: Option<&ProxyTls<'_>>) -> Vec<u8> {
    let mut out = Vec::new();
    header(&mut out, address(source), address(destination), tls);
    out
}

const ANONYMOUS: ProxyTls<'_> = ProxyTls {
    version: "TLSv1.3",
    cipher: "TLS_AES_256_GCM_SHA384",
    common_name: None,
    certificate: CertificateState::None,
};

const PAYMENTS: ProxyTls<'_> = ProxyTls {
    common_name: Some("payments-7"),
    certificate: CertificateState::Verified,
    ..ANONYMOUS
};

#[test]
fn two_ipv4_addresses_go_as_twelve_bytes() {
    let expected = [
        0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, // signature
        0x21, 0x11, 0x00, 0x0c, // version 2 PROXY, TCP over IPv4, 12 bytes follow
        192, 0, 2, 7, // source
        198, 51, 100, 1, // destination
        0xc0, 0x01, // 49153
        0x01, 0xbb, // 443
    ];
    assert_eq!(encoded("192.0.2.7:49153", "198.51.100.1:443", None), expected);
    let mapped = encoded("[::ffff:192.0.2.7]:49153", "[::ffff:198.51.100.1]:443", None);
    assert_eq!(mapped, expected, "two IPv4-mapped addresses are IPv4");
    let half = encoded("[::ffff:192.0.2.7]:49153", "198.51.100.1:443", None);
    assert_eq!(half, expected, "however each of them is written");
}

#[test]
fn two_ipv6_addresses_go_as_36_bytes() {
    let expected = [
        0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, // signature
        0x21, 0x21, 0x00, 0x24, // version 2 PROXY, TCP over IPv6, 36 bytes follow
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, // source
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // destination
        0x00, 0x01, // 1
        0xff, 0xff, // 65535
    ];
    assert_eq!(encoded("[2001:db8::7]:1", "[2001:db8::1]:65535", None), expected);
}

#[test]
fn of_two_families_the_ipv4_address_is_mapped() {
    let expected = [
        0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, // signature
        0x21, 0x21, 0x00, 0x24, // version 2 PROXY, TCP over IPv6, 36 bytes follow
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7, // source
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // destination
        0x00, 0x01, // 1
        0x00, 0x02, // 2
    ];
    assert_eq!(encoded("192.0.2.7:1", "[2001:db8::1]:2", None), expected);
    assert_eq!(encoded("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2", None), expected);
}

#[test]
fn a_verified_client_is_told_of_with_its_common_name() {
    let header = encoded("192.0.2.7:49153", "198.51.100.1:443", Some(&PAYMENTS));
    let expected = [
        &[0x20, 0x00, 0x35][..],   // SSL, 5 + 3 + 7 + 3 + 10 + 3 + 22 = 53 bytes
        &[0x07],                   // TLS, a certificate over this connection and in this session
        &[0x00, 0x00, 0x00, 0x00], // verified
        &[0x21, 0x00, 0x07],
        b"TLSv1.3",
        &[0x22, 0x00, 0x0a],
        b"payments-7",
        &[0x23, 0x00, 0x16],
        b"TLS_AES_256_GCM_SHA384",
    ]
    .concat();
    assert_eq!(header[14..16], [0x00, 0x44], "12 bytes of addresses and 56 of TLV");
    assert_eq!(header[28..], expected);
}

#[test]
fn a_client_without_a_certificate_is_not_verified_and_has_no_name() {
    let header = encoded("192.0.2.7:49153", "198.51.100.1:443", Some(&ANONYMOUS));
    let expected = [
        &[0x20, 0x00, 0x28][..],   // SSL, 5 + 3 + 7 + 3 + 22 = 40 bytes
        &[0x01],                   // TLS, and no more
        &[0x00, 0x00, 0x00, 0x01], // not verified
        &[0x21, 0x00, 0x07],
        b"TLSv1.3",
        &[0x23, 0x00, 0x16],
        b"TLS_AES_256_GCM_SHA384",
    ]
    .concat();
    assert_eq!(header[28..], expected);
    let named = ProxyTls { common_name: Some("admin"), ..ANONYMOUS };
    let named = encoded("192.0.2.7:49153", "198.51.100.1:443", Some(&named));
    assert_eq!(named, header, "a name that nobody verified is no name");
}

#[test]
fn a_name_is_told_of_whole_or_not_at_all() {
    let name_of = |name: &str| {
        let tls = ProxyTls { common_name: Some(name), ..PAYMENTS };
        let header = encoded("[2001:db8::7]:1", "[2001:db8::1]:2", Some(&tls));
        let parsed = parse(&header);
        assert_eq!(
            parsed.cipher.as_deref(),
            Some(PAYMENTS.cipher),
            "which stays, whatever the name"
        );
        parsed.common_name
    };
    let longest = "a".repeat(MAX_COMMON_NAME_BYTES);
    assert_eq!(name_of(&longest), Some(longest.clone()));
    assert_eq!(name_of(&format!("{longest}a")), None);
    assert_eq!(
        name_of("Zürich, ein Name"),
        Some("Zürich, ein Name".to_owned()),
        "UTF-8, unescaped"
    );
    assert_eq!(name_of("admin\0.evil.example"), None, "an upstream in C would read `admin`");
    assert_eq!(name_of("a\r\nb"), None);
    assert_eq!(name_of(""), None);
}

#[test]
fn the_header_is_appended() {
    let mut out = b"before".to_vec();
    header(&mut out, address("192.0.2.7:1"), address("192.0.2.8:2"), None);
    assert_eq!(out[..6], *b"before");
    assert_eq!(out[6..], encoded("192.0.2.7:1", "192.0.2.8:2", None));
}

#[test]
fn every_header_reads_back_and_keeps_the_receivers_limits() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut longest = 0;
    for _ in 0..20_000 {
        let mut end = || {
            let port = u16::try_from(draw(65_536)).expect("a port");
            let v4 = Ipv4Addr::from_bits(u32::try_from(draw(1 << 32)).expect("32 bits"));
            let (high, low) = (draw(u64::MAX), draw(u64::MAX));
            match draw(3) {
                0 => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                1 => SocketAddr::V6(SocketAddrV6::new(v4.to_ipv6_mapped(), port, 0, 0)),
                _ => {
                    let v6 = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
                    SocketAddr::V6(SocketAddrV6::new(v6, port, 1, 2))
                }
            }
        };
        let (source, destination) = (end(), end());
        let mut name = |longest: u64| -> String {
            let length = draw(longest);
            (0..length).map(|_| ['a', 'ü', '\u{1d11e}', '*'][draw(4) as usize]).collect()
        };
        let (version, cipher, common_name) = (name(40), name(40), name(1200));
        let is_verified = draw(2) == 0;
        let certificate =
            if is_verified { CertificateState::Verified } else { CertificateState::None };
        let common_name = (draw(4) > 0).then_some(common_name.as_str());
        let tls = ProxyTls { version: &version, cipher: &cipher, common_name, certificate };
        let is_tls = draw(4) > 0;

        let mut out = Vec::new();
        header(&mut out, source, destination, is_tls.then_some(&tls));
        longest = longest.max(out.len());
        let parsed = parse(&out);

        assert_eq!(parsed.source, (source.ip().to_canonical(), source.port()));
        assert_eq!(parsed.destination, (destination.ip().to_canonical(), destination.port()));
        let kept = |text: &str, longest| {
            (is_tls && !text.is_empty() && text.len() <= longest).then(|| text.to_owned())
        };
        let flags = if is_verified { (0x07, 0) } else { (0x01, 1) };
        assert_eq!(parsed.client_and_verify, is_tls.then_some(flags));
        assert_eq!(parsed.version, kept(&version, MAX_NAME_BYTES));
        assert_eq!(parsed.cipher, kept(&cipher, MAX_NAME_BYTES));
        let expected = common_name.filter(|_| is_verified);
        assert_eq!(parsed.common_name, expected.and_then(|name| kept(name, MAX_COMMON_NAME_BYTES)));
    }
    assert!(longest > 800, "only {longest} bytes: the limits were not tried");
}

/// What a receiver makes of a header. It shares nothing with the encoder.
#[derive(Debug)]
struct Parsed {
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    client_and_verify: Option<(u8, u32)>,
    version: Option<String>,
    common_name: Option<String>,
    cipher: Option<String>,
}

/// Reads a whole header, strictly; panics on anything a receiver would refuse.
fn parse(mut header: &[u8]) -> Parsed {
    assert!(header.len() <= 4096, "nginx refuses it");
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
    let mut parsed = Parsed {
        source: (source, port()),
        destination: (destination, port()),
        client_and_verify: None,
        version: None,
        common_name: None,
        cipher: None,
    };
    if header.is_empty() {
        return parsed;
    }
    assert!(header.len() <= 1024, "HAProxy refuses it");
    assert_eq!(take(&mut header, 1), [0x20]);
    assert_eq!(number(&mut header, 2), header.len(), "it is the only TLV");
    let client = take(&mut header, 1)[0];
    let verify = u32::try_from(number(&mut header, 4)).expect("32 bits");
    parsed.client_and_verify = Some((client, verify));
    while !header.is_empty() {
        let kind = take(&mut header, 1)[0];
        let length = number(&mut header, 2);
        let text = String::from_utf8(take(&mut header, length).to_vec()).expect("UTF-8");
        let place = match kind {
            0x21 => &mut parsed.version,
            0x22 => &mut parsed.common_name,
            0x23 => &mut parsed.cipher,
            _ => panic!("no sub-TLV {kind:#x}"),
        };
        assert_eq!(place.replace(text), None, "twice");
    }
    parsed
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn number(bytes: &mut &[u8], count: usize) -> usize {
    take(bytes, count).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
