//! What a PROXY header tells beyond addresses, compared with what OpenSSL sees: in certificates, and as a client.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use countersign_tests::client::{Client, Version, config};
use countersign_tests::configuration::{IdentitySection, ListenerSection};
use countersign_tests::pki::{ClientProfile, KeyKind, Pki, SERVER_NAME};
use countersign_tests::proxy::{
    ALPN, AUTHORITY, Header, SSL_CIPHER, SSL_CLIENT_CERT, SSL_CN, SSL_GROUP, SSL_KEY_ALG,
    SSL_SIG_ALG, SSL_SIG_SCHEME, SSL_VERSION, UNIQUE_ID, only,
};
use countersign_tests::tool::OPENSSL;
use rcgen::SanType;
use serde_json::json;

use crate::announced::{Scene, finish};
use crate::s_client;

// The engine's own TLVs within `identity`, as docs/proxy-protocol.md has them.
const RESUMED: u8 = 0x01;
const CERTIFICATE_SHA256: u8 = 0x02;
const X5T_S256: u8 = 0x03;
const SPKI_SHA256: u8 = 0x04;
const SIGNATURE_SCHEME: u8 = 0x05;
const SPIFFE_ID: u8 = 0x06;
const DNS_NAME: u8 = 0x10;
const URI: u8 = 0x11;
const EMAIL: u8 = 0x12;
const IP_ADDRESS: u8 = 0x13;
const NAMES_LEFT_OUT: u8 = 0x1f;

const KINDS: [KeyKind; 4] =
    [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048];

fn openssl(arguments: &[&str]) -> String {
    let finished = OPENSSL.run(arguments);
    assert!(finished.status.success(), "{arguments:?}: {}", finished.said);
    finished.said
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn handshake_and_server_certificate_are_those_that_openssl_sees() {
    for kind in KINDS {
        let scene = Scene::of(
            Pki::new(kind),
            IdentitySection::of,
            &["any-verified"],
            |listener: ListenerSection| listener,
        );
        let certificate =
            openssl(&["x509", "-noout", "-text", "-in", &shown(&scene.pki.server.chain_file)]);
        for (version, group) in [
            (Version::Tls13, "X25519"),
            (Version::Tls13, "P-256"),
            (Version::Tls13, "P-384"),
            // In TLS 1.2 the curve of the server's key has to be among them (RFC 8422 section 5.1).
            (Version::Tls12, "X25519:P-256:P-384"),
            (Version::Tls12, "P-256:P-384"),
        ] {
            let port = scene.address;
            let mut arguments = s_client::arguments_to(
                &scene.pki,
                port,
                Some(SERVER_NAME),
                Some(&scene.pki.alice),
                version,
            );
            arguments.extend(["-groups".into(), group.into()]);
            let client = OPENSSL.start(&arguments);
            client.wait_for_output("Cipher is");
            let told = scene.backend.next();
            let said = client.finish().said;
            let header = &told.header;
            let ssl = header.ssl().expect("a TLV of type SSL");
            let text = |kind| ssl.text(kind).unwrap_or_else(|| panic!("no {kind:#x} in {ssl:?}"));

            let version_name = s_client::version_name(version);
            assert_eq!(text(SSL_VERSION), version_name);
            let cipher = text(SSL_CIPHER);
            assert!(said.contains(&format!("{version_name}, Cipher is {cipher}")), "{said}");
            let key = match text(SSL_GROUP) {
                "x25519" => "Server Temp Key: X25519",
                "secp256r1" => "Server Temp Key: ECDH, prime256v1",
                "secp384r1" => "Server Temp Key: ECDH, secp384r1",
                other => panic!("{other}"),
            };
            assert!(said.contains(key), "{key}: {said}");
            let (digest, of) = match text(SSL_SIG_SCHEME) {
                "ecdsa_secp256r1_sha256" => ("SHA256", "ECDSA"),
                "ecdsa_secp384r1_sha384" => ("SHA384", "ECDSA"),
                "ed25519" => ("", "ed25519"),
                "rsa_pss_rsae_sha256" => ("SHA256", "RSA-PSS"),
                "rsa_pss_rsae_sha384" => ("SHA384", "RSA-PSS"),
                "rsa_pss_rsae_sha512" => ("SHA512", "RSA-PSS"),
                other => panic!("{other}"),
            };
            assert!(said.contains(&format!("Peer signature type: {of}")), "{of}: {said}");
            assert!(digest.is_empty() || said.contains(&format!("Peer signing digest: {digest}")));

            let algorithm = format!("Signature Algorithm: {}", text(SSL_SIG_ALG));
            assert!(certificate.contains(&algorithm), "{algorithm}: {certificate}");
            let (algorithm, bits) = match text(SSL_KEY_ALG) {
                "ED25519" => ("ED25519", "ED25519 Public-Key"),
                "EC256" => ("id-ecPublicKey", "Public-Key: (256 bit)"),
                "EC384" => ("id-ecPublicKey", "Public-Key: (384 bit)"),
                "RSA2048" => ("rsaEncryption", "Public-Key: (2048 bit)"),
                other => panic!("{other}"),
            };
            assert!(certificate.contains(&format!("Public Key Algorithm: {algorithm}")));
            assert!(certificate.contains(bits), "{bits}: {certificate}");
            assert!(header.has_checksum());
        }
    }
}

#[test]
fn the_identity_is_the_one_that_openssl_reads() {
    let scene = Scene::new(IdentitySection::of, &["any-verified"]);
    let ia5 = |text: &str| text.try_into().expect("ASCII");
    let names = vec![
        SanType::DnsName(ia5("payments-7.clients.example")),
        SanType::DnsName(ia5("*.wild.example")),
        SanType::URI(ia5("spiffe://clients.example/payments/7")),
        SanType::Rfc822Name(ia5("ops@clients.example")),
        SanType::IpAddress(Ipv4Addr::new(192, 0, 2, 7).into()),
        SanType::IpAddress(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into()),
    ];
    let identity = scene.pki.client_with_names("payments-7", names);
    let file = shown(&identity.chain_file);
    let in_directory = |name: &str| shown(&scene.pki.directory().join(name));
    let digest = |of: &str| {
        let out = in_directory("digest");
        openssl(&["dgst", "-sha256", "-binary", "-out", &out, of]);
        fs::read(out).expect("a digest")
    };
    let (der, public, spki) = (in_directory("c.der"), in_directory("p.pem"), in_directory("p.der"));
    openssl(&["x509", "-in", &file, "-outform", "DER", "-out", &der]);
    openssl(&["x509", "-in", &file, "-noout", "-pubkey", "-out", &public]);
    openssl(&["pkey", "-pubin", "-in", &public, "-outform", "DER", "-out", &spki]);
    let (sha256, spki_sha256) = (digest(&der), digest(&spki));
    fs::write(in_directory("hash"), &sha256).expect("a file");
    let base64 = openssl(&["base64", "-A", "-in", &in_directory("hash")]);
    let thumbprint = base64.trim().replace('+', "-").replace('/', "_").replace('=', "");
    let extension = openssl(&["x509", "-in", &file, "-noout", "-ext", "subjectAltName"]);

    for version in Version::ALL {
        let (mut client, told) = scene.tells_of(Some(&identity), version);
        let told = told.header.identity().expect("who it is");
        assert_eq!(only(&told, RESUMED), Some(&[0][..]));
        assert_eq!(only(&told, CERTIFICATE_SHA256), Some(&sha256[..]));
        assert_eq!(only(&told, X5T_S256), Some(thumbprint.as_bytes()));
        assert_eq!(only(&told, SPKI_SHA256), Some(&spki_sha256[..]));
        assert_eq!(only(&told, SIGNATURE_SCHEME), Some(&b"ecdsa_secp256r1_sha256"[..]));
        assert_eq!(only(&told, SPIFFE_ID), Some(&b"spiffe://clients.example/payments/7"[..]));
        assert_eq!(only(&told, NAMES_LEFT_OUT), None);
        // As OpenSSL writes them, in the order of the certificate.
        let names: Vec<String> = told
            .iter()
            .filter(|(kind, _)| (DNS_NAME..=IP_ADDRESS).contains(kind))
            .map(|(kind, value)| alt_name(*kind, value))
            .collect();
        assert!(extension.contains(&names.join(", ")), "{names:?}: {extension}");
        assert_eq!(names.len(), 6);
        finish(&mut client);
    }
}

/// A name as OpenSSL shows it.
fn alt_name(kind: u8, value: &[u8]) -> String {
    let text = || str::from_utf8(value).expect("ASCII");
    match (kind, value.len()) {
        (DNS_NAME, _) => format!("DNS:{}", text()),
        (URI, _) => format!("URI:{}", text()),
        (EMAIL, _) => format!("email:{}", text()),
        (IP_ADDRESS, 4) => {
            format!("IP Address:{}", Ipv4Addr::from(<[u8; 4]>::try_from(value).expect("4 bytes")))
        }
        (IP_ADDRESS, 16) => {
            let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(value).expect("16 bytes"));
            let groups: Vec<_> = v6.segments().iter().map(|group| format!("{group:X}")).collect();
            format!("IP Address:{}", groups.join(":"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_clients_scheme_is_the_one_of_its_key() {
    let scene = Scene::new(IdentitySection::of, &["any-verified"]);
    for (key, expected) in KINDS.into_iter().zip([
        "ecdsa_secp256r1_sha256",
        "ecdsa_secp384r1_sha384",
        "ed25519",
        "rsa_pss_rsae_sha",
    ]) {
        let client = scene.pki.issue(&ClientProfile { key, ..ClientProfile::good("keyed") });
        for version in Version::ALL {
            let (mut client, told) = scene.tells_of(Some(&client), version);
            let identity = told.header.identity().expect("who it is");
            let scheme = only(&identity, SIGNATURE_SCHEME).expect("a scheme");
            let scheme = str::from_utf8(scheme).expect("ASCII");
            assert!(scheme.starts_with(expected), "{scheme} of {key:?}");
            // Ours is another matter.
            let ssl = told.header.ssl().expect("a TLV of type SSL");
            assert_eq!(ssl.text(SSL_SIG_SCHEME), Some("ecdsa_secp256r1_sha256"));
            finish(&mut client);
        }
    }
}

#[test]
fn name_protocol_and_connection_are_those_of_the_log() {
    let scene = Scene::with(IdentitySection::of, &["any-verified"], |listener| {
        listener.set("alpn", ["h2", "http/1.1"])
    });
    let mut connections = Vec::new();
    for version in Version::ALL {
        let mut tls = config(&scene.pki, Some(&scene.pki.alice), version);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut client = Client::established(scene.address, &Arc::new(tls));
        let header = scene.backend.next().header;
        finish(&mut client);
        let record = scene.configured.engine.connection_record(client.address());
        assert_eq!(
            (header.text(AUTHORITY), header.text(ALPN)),
            (Some(SERVER_NAME), Some("http/1.1"))
        );
        let connection = header.text(UNIQUE_ID).expect("a connection").to_owned();
        assert_eq!(record["connection"], connection, "{record}");
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(connection.len() == 32 && connection.bytes().all(is_digit), "{connection}");
        connections.push(connection);
    }
    // Without a name and a protocol neither is told, and every connection is another.
    let mut tls = config(&scene.pki, Some(&scene.pki.alice), Version::Tls13);
    tls.enable_sni = false;
    let mut client = Client::established(scene.address, &Arc::new(tls));
    let header = scene.backend.next().header;
    assert_eq!((header.value(AUTHORITY), header.value(ALPN)), (None, None));
    connections.push(header.text(UNIQUE_ID).expect("a connection").to_owned());
    finish(&mut client);
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 3);
}

#[test]
fn an_anonymous_client_has_no_identity() {
    let optional = |pki: &Pki| IdentitySection::of(pki).set("client_auth", "optional");
    let scene = Scene::with(optional, &["anonymous"], |listener| {
        listener.set("proxy_tlvs", ["ssl", "ssl_cn", "ssl_client_cert", "identity"])
    });
    for version in Version::ALL {
        let (mut client, told) = scene.tells_of(None, version);
        assert_eq!(told.header.identity(), None);
        let ssl = told.header.ssl().expect("a TLV of type SSL");
        assert_eq!((ssl.client, ssl.verify, only(&ssl.tlvs, SSL_CLIENT_CERT)), (0x01, 1, None));
        finish(&mut client);
    }
}

#[test]
fn only_what_was_chosen_is_told() {
    for (tlvs, kinds) in [
        (vec![], vec![]),
        (vec!["unique_id", "crc32c"], vec![0x03, 0x05]),
        (vec!["identity"], vec![0xe0]),
        (vec!["ssl"], vec![0x20]),
    ] {
        let scene = Scene::with(IdentitySection::of, &["any-verified"], |listener| {
            listener.set("proxy_tlvs", tlvs)
        });
        let (mut client, told) = scene.tells_of(Some(&scene.pki.alice), Version::Tls13);
        let told: Vec<u8> = told.header.tlvs.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(told, kinds);
        finish(&mut client);
    }
}

#[test]
fn the_certificate_is_told_whole_where_there_is_room_for_it() {
    let every = ["ssl", "ssl_cn", "ssl_client_cert", "identity", "crc32c"];
    let scene = Scene::with(IdentitySection::of, &["any-verified"], |listener| {
        listener.set("proxy_tlvs", every)
    });
    let certificate_of = |header: &Header| {
        let ssl = header.ssl().expect("a TLV of type SSL");
        only(&ssl.tlvs, SSL_CLIENT_CERT).map(<[u8]>::to_vec)
    };
    // Many names make a certificate too long for HAProxy, and are too many for it themselves.
    let names = (0..60)
        .map(|number| format!("name-number-{number}.with.labels.clients.example"))
        .map(|name| SanType::DnsName(name.try_into().expect("a DNS name")));
    let large = scene.pki.client_with_names("large", names.collect());
    for version in Version::ALL {
        let (mut client, told) = scene.tells_of(Some(&scene.pki.alice), version);
        assert_eq!(
            certificate_of(&told.header).as_deref(),
            Some(scene.pki.alice.chain[0].as_ref())
        );
        finish(&mut client);
        let record = scene.configured.engine.connection_record(client.address());
        assert!(record["proxy_tlvs_left_out"].is_null(), "{record}");

        let (mut client, told) = scene.tells_of(Some(&large), version);
        assert_eq!(certificate_of(&told.header), None);
        assert!(told.header.tlvs.iter().all(|(_, value)| value.len() <= 1_024));
        let identity = told.header.identity().expect("who it is");
        let told_names = identity.iter().filter(|(kind, _)| *kind == DNS_NAME).count();
        let left_out = only(&identity, NAMES_LEFT_OUT).expect("a number");
        assert_eq!(told_names + usize::from(u16::from_be_bytes([left_out[0], left_out[1]])), 60);
        finish(&mut client);
        let record = scene.configured.engine.connection_record(client.address());
        assert_eq!(record["proxy_tlvs_left_out"], json!(["ssl_client_cert", "identity"]));
    }
    // Another receiver takes it all.
    let roomy = Scene::with(IdentitySection::of, &["any-verified"], |listener| {
        listener
            .set("proxy_tlvs", every)
            .set("proxy_tlv_bytes", 16_384)
            .set("proxy_header_bytes", 16_384)
    });
    let names = (0..60).map(|number| format!("name-number-{number}.with.labels.clients.example"));
    let names = names.map(|name| SanType::DnsName(name.try_into().expect("a DNS name")));
    let large = roomy.pki.client_with_names("large", names.collect());
    let (mut client, told) = roomy.tells_of(Some(&large), Version::Tls13);
    assert_eq!(certificate_of(&told.header).as_deref(), Some(large.chain[0].as_ref()));
    assert_eq!(only(&told.header.identity().expect("who it is"), NAMES_LEFT_OUT), None);
    assert!(told.raw.len() > 4_096, "{}", told.raw.len());
    finish(&mut client);
}

#[test]
fn a_receiver_that_takes_little_is_told_the_most_important() {
    let scene = Scene::with(IdentitySection::of, &["any-verified"], |listener| {
        listener.set("proxy_header_bytes", 107)
    });
    let (mut client, told) = scene.tells_of(Some(&scene.pki.alice), Version::Tls13);
    assert!(told.raw.len() <= 107 && told.header.has_checksum(), "{}", told.raw.len());
    let ssl = told.header.ssl().expect("a TLV of type SSL");
    assert_eq!((ssl.client, ssl.verify, ssl.text(SSL_CN)), (0x07, 0, Some("alice")));
    finish(&mut client);
    let record = scene.configured.engine.connection_record(client.address());
    let left_out = record["proxy_tlvs_left_out"].as_array().expect("what is missing");
    assert!(left_out.contains(&json!("identity")) && !left_out.contains(&json!("ssl_cn")));
}
