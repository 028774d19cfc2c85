//! What an upstream is told.

use std::net::IpAddr;

use super::reader::{Parsed, value};
use super::*;
use crate::connection_id::ConnectionNumbers;
use crate::limits::{PROXY_HEADER_BYTES, PROXY_TLV_BYTES};

const ANONYMOUS: ProxyTls<'_> = ProxyTls {
    version: "TLSv1.3",
    cipher: "TLS_AES_256_GCM_SHA384",
    group: Some("X25519MLKEM768"),
    certificate_signature: Some("RSA-SHA256"),
    certificate_key: Some("EC256"),
    signature_scheme: Some("ecdsa_secp256r1_sha256"),
    certificate: CertificateState::None,
    client: NOBODY,
};

const NOBODY: ProxyClient<'_> = ProxyClient {
    common_name: None,
    dns_names: &[],
    uris: &[],
    emails: &[],
    ip_addresses: &[],
    sha256: [0; 32],
    spki_sha256: [0; 32],
    signature_scheme: None,
    certificate: None,
};

const PAYMENTS: ProxyTls<'_> = ProxyTls {
    certificate: CertificateState::Verified,
    client: ProxyClient {
        common_name: Some("payments-7"),
        sha256: [0xab; 32],
        spki_sha256: [0xcd; 32],
        signature_scheme: Some("ed25519"),
        ..NOBODY
    },
    ..ANONYMOUS
};

fn of(tlvs: &[Tlv]) -> Format {
    Format { tlvs: tlvs.iter().copied().collect(), ..Format::default() }
}

fn everything() -> Format {
    of(Tlv::ALL)
}

fn between<'a>(source: &str, destination: &str, tls: Option<ProxyTls<'a>>) -> Announcement<'a> {
    Announcement {
        source: address(source),
        destination: address(destination),
        connection: None,
        authority: None,
        alpn: None,
        tls,
    }
}

fn of_payments(tls: ProxyTls<'_>) -> Announcement<'_> {
    between("192.0.2.7:49153", "198.51.100.1:443", Some(tls))
}

fn encoded(announcement: &Announcement<'_>, format: &Format) -> (Vec<u8>, TlvSet) {
    let mut out = Vec::new();
    let untold = write_v2(&mut out, announcement, format);
    (out, untold)
}

/// A header of which nothing was left out.
fn whole(announcement: &Announcement<'_>, format: &Format) -> Vec<u8> {
    let (header, untold) = encoded(announcement, format);
    assert_eq!(untold, TlvSet::default());
    header
}

fn addresses(source: &str, destination: &str) -> Vec<u8> {
    whole(&between(source, destination, None), &everything_but_checksum())
}

fn everything_but_checksum() -> Format {
    let tlvs = Tlv::ALL.iter().copied().filter(|tlv| *tlv != Tlv::Crc32c).collect();
    Format { tlvs, ..Format::default() }
}

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
    assert_eq!(addresses("192.0.2.7:49153", "198.51.100.1:443"), expected);
    let mapped = addresses("[::ffff:192.0.2.7]:49153", "[::ffff:198.51.100.1]:443");
    assert_eq!(mapped, expected, "two IPv4-mapped addresses are IPv4");
    let half = addresses("[::ffff:192.0.2.7]:49153", "198.51.100.1:443");
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
    assert_eq!(addresses("[2001:db8::7]:1", "[2001:db8::1]:65535"), expected);
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
    assert_eq!(addresses("192.0.2.7:1", "[2001:db8::1]:2"), expected);
    assert_eq!(addresses("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2"), expected);
}

#[test]
fn version_1_is_a_line_of_text() {
    for (source, destination, line) in [
        ("192.0.2.7:49153", "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 49153 443\r\n"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.1:2", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n"),
        ("[2001:db8::7]:1", "192.0.2.1:2", "PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 1 2\r\n"),
    ] {
        let mut out = b"before".to_vec();
        write_v1(&mut out, address(source), address(destination));
        assert_eq!(str::from_utf8(&out), Ok(format!("before{line}").as_str()));
    }
    let mut draw = Draw(7);
    for _ in 0..10_000 {
        let mut out = Vec::new();
        write_v1(&mut out, draw.address(), draw.address());
        assert!(out.len() <= V1_BYTES_MAX);
    }
}

#[test]
fn a_verified_client_is_told_of_with_its_common_name() {
    let format = of(&[Tlv::Ssl, Tlv::SslCn, Tlv::SslCipher]);
    let header = whole(&of_payments(PAYMENTS), &format);
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
fn a_client_without_a_certificate_is_not_verified_and_nobody() {
    let header = whole(&of_payments(ANONYMOUS), &of(&[Tlv::Ssl, Tlv::SslCn, Tlv::SslCipher]));
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
    // What nobody verified is not told.
    let named = ProxyTls { certificate: CertificateState::None, ..PAYMENTS };
    assert_eq!(
        whole(&of_payments(named), &everything()),
        whole(&of_payments(ANONYMOUS), &everything())
    );
}

#[test]
fn a_resumed_client_has_shown_its_certificate_before() {
    let resumed = ProxyTls {
        certificate: CertificateState::Resumed,
        client: ProxyClient { certificate: Some(b"DER"), ..PAYMENTS.client },
        ..PAYMENTS
    };
    let parsed = Parsed::of(&whole(&of_payments(resumed), &everything()));
    let ssl = parsed.ssl().expect("SSL");
    assert_eq!((ssl.client, ssl.verify), (0x05, 0), "CERT_SESS without CERT_CONN, verified");
    assert_eq!(ssl.text(0x22), Some("payments-7"));
    assert_eq!(ssl.text(0x27), None, "nobody has signed this handshake");
    assert_eq!(value(&ssl.tlvs, 0x28), Some(&b"DER"[..]));
    let identity = parsed.identity().expect("who it is");
    assert_eq!(value(&identity, 0x01), Some(&[1][..]));
    assert_eq!(value(&identity, 0x02), Some(&[0xab; 32][..]));
    assert_eq!(value(&identity, 0x05), None, "nor has the client");
}

#[test]
fn everything_that_is_known_is_told() {
    let names = ["a.example".to_owned(), "b.example".to_owned()];
    let uris = ["spiffe://example.org/payments".to_owned()];
    let emails = ["ops@example.org".to_owned()];
    let ips: [IpAddr; 2] = [[192, 0, 2, 7].into(), "2001:db8::7".parse().expect("an address")];
    let connection = ConnectionNumbers::new(0x0123_4567_89ab_cdef).take();
    let tls = ProxyTls {
        client: ProxyClient {
            dns_names: &names,
            uris: &uris,
            emails: &emails,
            ip_addresses: &ips,
            certificate: Some(&[0x30; 300]),
            ..PAYMENTS.client
        },
        ..PAYMENTS
    };
    let announcement = Announcement {
        connection: Some(connection),
        authority: Some("api.example.org"),
        alpn: Some("h2"),
        ..of_payments(tls)
    };
    let header = whole(&announcement, &everything());
    let parsed = Parsed::of(&header);
    assert_eq!(parsed.value(0x01), Some(&b"h2"[..]));
    assert_eq!(parsed.value(0x02), Some(&b"api.example.org"[..]));
    assert_eq!(parsed.value(0x05), Some(&b"0123456789abcdef0000000000000000"[..]));
    let ssl = parsed.ssl().expect("SSL");
    for (kind, text) in [
        (0x21, "TLSv1.3"),
        (0x22, "payments-7"),
        (0x23, "TLS_AES_256_GCM_SHA384"),
        (0x24, "RSA-SHA256"),
        (0x25, "EC256"),
        (0x26, "X25519MLKEM768"),
        (0x27, "ecdsa_secp256r1_sha256"),
    ] {
        assert_eq!(ssl.text(kind), Some(text), "{kind:#x}");
    }
    assert_eq!(value(&ssl.tlvs, 0x28), Some(&[0x30; 300][..]));
    let expected = [
        (0x01, vec![0]),
        (0x02, vec![0xab; 32]),
        (0x03, b"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s".to_vec()),
        (0x04, vec![0xcd; 32]),
        (0x05, b"ed25519".to_vec()),
        (0x06, b"spiffe://example.org/payments".to_vec()),
        (0x10, b"a.example".to_vec()),
        (0x10, b"b.example".to_vec()),
        (0x11, b"spiffe://example.org/payments".to_vec()),
        (0x12, b"ops@example.org".to_vec()),
        (0x13, vec![192, 0, 2, 7]),
        (0x13, vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
    ];
    assert_eq!(parsed.identity(), Some(expected.to_vec()));
    // Our own reading of it, which verifies the checksum, agrees; of a damaged one it does not.
    assert_eq!(
        parse(&header),
        Ok(Received::Whole {
            length: header.len(),
            addresses: Some((announcement.source, announcement.destination)),
        })
    );
    // All but the type of the checksum, without which there is none.
    for index in (16..28).chain(29..header.len()) {
        let mut damaged = header.clone();
        damaged[index] ^= 0x40;
        assert!(parse(&damaged).is_err(), "byte {index}");
    }
    // What is not asked for is not told.
    let nothing = whole(&announcement, &of(&[]));
    assert_eq!(Parsed::of(&nothing).tlvs, []);
}

#[test]
fn a_name_is_told_of_whole_or_not_at_all() {
    let name_of = |name: &str| {
        let client = ProxyClient { common_name: Some(name), ..PAYMENTS.client };
        let (header, untold) = encoded(
            &of_payments(ProxyTls { client, ..PAYMENTS }),
            &of(&[Tlv::Ssl, Tlv::SslCn, Tlv::SslCipher]),
        );
        let ssl = Parsed::of(&header).ssl().expect("SSL");
        assert_eq!(ssl.text(0x23), Some(PAYMENTS.cipher), "which stays, whatever the name");
        (ssl.text(0x22).map(str::to_owned), untold.contains(Tlv::SslCn))
    };
    let longest = "a".repeat(MAX_COMMON_NAME_BYTES);
    assert_eq!(name_of(&longest), (Some(longest.clone()), false));
    assert_eq!(name_of(&format!("{longest}a")), (None, true));
    assert_eq!(
        name_of("Zürich, ein Name"),
        (Some("Zürich, ein Name".to_owned()), false),
        "UTF-8, unescaped"
    );
    assert_eq!(
        name_of("admin\0.evil.example"),
        (None, true),
        "an upstream in C would read `admin`"
    );
    assert_eq!(name_of("a\r\nb"), (None, true));
    assert_eq!(name_of(""), (None, false), "there was nothing to tell");
}

#[test]
fn names_that_do_not_fit_are_counted() {
    let names: Vec<String> =
        (0..256).map(|number| format!("{number:03}{}", "x".repeat(97))).collect();
    let client = ProxyClient { dns_names: &names, ..PAYMENTS.client };
    let announcement = of_payments(ProxyTls { client, ..PAYMENTS });
    let (header, untold) = encoded(&announcement, &everything());
    assert_eq!(untold.iter().collect::<Vec<_>>(), [Tlv::Identity]);
    let identity = Parsed::of(&header).identity().expect("who it is");
    let told = identity.iter().filter(|(kind, _)| *kind == 0x10).count();
    assert!(told > 5, "{told}");
    assert_eq!(value(&identity, 0x1f), Some(&(256 - told as u16).to_be_bytes()[..]));
    // A short one behind them still finds its place.
    let mut mixed = names[..20].to_vec();
    mixed.push("short.example".to_owned());
    let client = ProxyClient { dns_names: &mixed, ..PAYMENTS.client };
    let (header, _) = encoded(&of_payments(ProxyTls { client, ..PAYMENTS }), &everything());
    let identity = Parsed::of(&header).identity().expect("who it is");
    assert!(identity.iter().any(|(_, value)| value == b"short.example"));
}

#[test]
fn the_certificate_goes_where_there_is_room_for_it() {
    let der = vec![0x30; 950];
    let client = ProxyClient { certificate: Some(&der), ..PAYMENTS.client };
    let announcement = of_payments(ProxyTls { client, ..PAYMENTS });
    let (header, untold) = encoded(&announcement, &everything());
    assert_eq!(untold.iter().collect::<Vec<_>>(), [Tlv::SslClientCert], "HAProxy takes 1,024");
    assert_eq!(header, whole(&announcement, &Format { tlvs: TlvSet::usual(), ..everything() }));
    let roomy = Format { tlv_bytes: 2_048, ..everything() };
    let header = whole(&announcement, &roomy);
    let ssl = Parsed::of(&header).ssl().expect("SSL");
    assert_eq!(ssl.tlvs.last(), Some(&(0x28, der)));
    assert!(parse(&header).is_ok(), "the checksum is of the whole");
}

#[test]
fn the_header_is_appended() {
    let announcement = of_payments(PAYMENTS);
    let mut out = b"before".to_vec();
    write_v2(&mut out, &announcement, &everything());
    assert_eq!(out[..6], *b"before");
    assert_eq!(out[6..], whole(&announcement, &everything()));
}

#[test]
fn every_header_reads_back_and_keeps_the_receivers_limits() {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let mut seen_left_out = TlvSet::default();
    for _ in 0..20_000 {
        let name = |draw: &mut Draw, longest: u64| -> String {
            let length = draw.below(longest);
            (0..length)
                .map(|_| ['a', 'ü', '\u{1d11e}', '*', '\0'][draw.index(29).min(4) % 5])
                .collect()
        };
        let names = |draw: &mut Draw, longest| -> Vec<String> {
            (0..draw.below(8)).map(|_| name(draw, longest)).collect()
        };
        let texts: Vec<String> = (0..6).map(|_| name(&mut draw, 40)).collect();
        let longest = [20, 300, 5_000][draw.index(3)];
        let common_name = name(&mut draw, 1_200);
        let (dns_names, uris) = (names(&mut draw, longest), names(&mut draw, 60));
        let emails = names(&mut draw, 60);
        let ips: Vec<IpAddr> = (0..draw.below(4)).map(|_| draw.address().ip()).collect();
        let most = [100, 1_500, 70_000][draw.index(3)];
        let certificate = vec![draw.byte(); draw.index(most)];
        let state = [CertificateState::None, CertificateState::Verified, CertificateState::Resumed]
            [draw.index(3)];
        let tls = ProxyTls {
            version: &texts[0],
            cipher: &texts[1],
            group: Some(&texts[2]),
            certificate_signature: Some(&texts[3]),
            certificate_key: Some(&texts[4]),
            signature_scheme: Some(&texts[5]),
            certificate: state,
            client: ProxyClient {
                common_name: Some(&common_name),
                dns_names: &dns_names,
                uris: &uris,
                emails: &emails,
                ip_addresses: &ips,
                signature_scheme: Some("ed25519"),
                certificate: Some(&certificate),
                ..NOBODY
            },
        };
        let announcement = Announcement {
            source: draw.address(),
            destination: draw.address(),
            connection: Some(ConnectionNumbers::new(1).take()),
            authority: Some(dns_names.first().map_or("", String::as_str)),
            alpn: Some(&texts[0]),
            tls: (draw.below(4) > 0).then_some(tls),
        };
        let format = Format {
            tlvs: Tlv::ALL.iter().copied().filter(|_| draw.below(4) > 0).collect(),
            header_bytes: [0, 107, 200, 536, 4_096, 70_000][draw.index(6)],
            tlv_bytes: [0, 64, 200, 1_024, 70_000][draw.index(5)],
        };
        let (header, untold) = encoded(&announcement, &format);
        untold.iter().for_each(|tlv| seen_left_out.insert(tlv));
        untold.iter().for_each(|tlv| assert!(format.tlvs.contains(tlv)));

        let header_bytes =
            format.header_bytes.clamp(*PROXY_HEADER_BYTES.start(), *PROXY_HEADER_BYTES.end());
        let tlv_bytes = format.tlv_bytes.clamp(*PROXY_TLV_BYTES.start(), *PROXY_TLV_BYTES.end());
        assert!(header.len() <= header_bytes, "{} {format:?}", header.len());
        let parsed = Parsed::of(&header);
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        assert_eq!(canonical(parsed.source), canonical(announcement.source));
        assert_eq!(canonical(parsed.destination), canonical(announcement.destination));
        assert!(parsed.tlvs.iter().all(|(_, value)| value.len() <= tlv_bytes), "{format:?}");
        assert_eq!(parsed.value(0x03).is_some(), format.tlvs.contains(Tlv::Crc32c));
        if header.len() <= crate::limits::RECEIVED_PROXY_HEADER_BYTES_MAX {
            assert!(
                matches!(parse(&header), Ok(Received::Whole { length, .. }) if length == header.len())
            );
        }
        if let Some(ssl) = parsed.ssl() {
            let expected = match state {
                CertificateState::None => (0x01, 1),
                CertificateState::Verified => (0x07, 0),
                CertificateState::Resumed => (0x05, 0),
            };
            assert_eq!((ssl.client, ssl.verify), expected);
            let told = ssl.text(0x22);
            assert!(told.is_none_or(|told| told == common_name && state != CertificateState::None));
            let told = value(&ssl.tlvs, 0x28);
            assert!(told.is_none_or(|told| told == certificate));
        }
        if let Some(identity) = parsed.identity() {
            assert_ne!(state, CertificateState::None);
            let names = dns_names.len() + uris.len() + emails.len() + ips.len();
            let told = identity.iter().filter(|(kind, _)| (0x10..=0x13).contains(kind)).count();
            let left_out = value(&identity, 0x1f)
                .map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])));
            assert_eq!(told + left_out, names, "every name is told or counted");
            assert_eq!(left_out > 0, untold.contains(Tlv::Identity));
        }
    }
    let never = Tlv::ALL.iter().filter(|tlv| !seen_left_out.contains(**tlv));
    let never: Vec<_> = never.map(|tlv| tlv.name()).collect();
    assert_eq!(never, ["crc32c"], "the bounds were tried on everything else");
}
