//! The PROXY protocol: what the upstream is told of the client, byte for byte, and by a receiver that is not ours.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use countersign_tests::backend::{Backend, Connection};
use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::{GET_AND_CLOSE, read_response};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::proxy::{
    CLIENT_CERT_CONN, CLIENT_CERT_SESS, CLIENT_SSL, SSL_CIPHER, SSL_CN, SSL_VERSION, header, tlv,
};
use countersign_tests::tool::{HAPROXY, NGINX};
use rustls::{CipherSuite, ProtocolVersion};

use crate::announced::{Announced, Scene, finish};
use crate::configured::{Configured, tls};

#[test]
fn a_verified_client_byte_for_byte() {
    let scene = Scene::with(IdentitySection::of, &["any-verified"], |listener| {
        listener.set("proxy_tlvs", ["ssl", "ssl_cn", "ssl_cipher"])
    });
    for version in Version::ALL {
        let (mut client, told) = scene.tells_of(Some(&scene.pki.alice), version);
        let (version_name, cipher) = negotiated(&client);
        let ssl = [
            &[CLIENT_SSL | CLIENT_CERT_CONN | CLIENT_CERT_SESS, 0, 0, 0, 0][..],
            &tlv(SSL_VERSION, version_name.as_bytes()),
            &tlv(SSL_CN, b"alice"),
            &tlv(SSL_CIPHER, cipher.as_bytes()),
        ]
        .concat();
        let expected = header(client.address(), scene.address, &tlv(0x20, &ssl));
        assert_eq!(told.raw, expected, "\n{:02x?}\n{:02x?}", told.raw, expected);
        // As the receiver reads it.
        let ssl = told.header.ssl().expect("a TLV of type SSL");
        assert_eq!(
            (told.header.source, told.header.destination),
            (client.address(), scene.address)
        );
        assert_eq!((ssl.verify, ssl.text(SSL_CN)), (0, Some("alice")));
        finish(&mut client);
    }
}

#[test]
fn an_anonymous_client_has_no_certificate() {
    let optional = |pki: &Pki| IdentitySection::of(pki).set("client_auth", "optional");
    let scene = Scene::new(optional, &["cn=alice", "anonymous"]);
    for version in Version::ALL {
        let (mut client, told) = scene.tells_of(None, version);
        let ssl = told.header.ssl().expect("a TLV of type SSL");
        assert_eq!((ssl.client, ssl.verify, ssl.text(SSL_CN)), (CLIENT_SSL, 1, None), "{ssl:?}");
        let (version_name, cipher) = negotiated(&client);
        assert_eq!(ssl.text(SSL_VERSION), Some(version_name));
        assert_eq!(ssl.text(SSL_CIPHER), Some(cipher));
        finish(&mut client);
        // Beside it, on the same listener, somebody known.
        let (mut client, told) = scene.tells_of(Some(&scene.pki.alice), version);
        let ssl = told.header.ssl().expect("a TLV of type SSL");
        assert_eq!((ssl.verify, ssl.text(SSL_CN)), (0, Some("alice")));
        finish(&mut client);
    }
}

#[test]
fn the_header_comes_before_the_first_byte_and_once() {
    let scene = Scene::new(IdentitySection::of, &["any-verified"]);
    for version in Version::ALL {
        // The payload is sent in one go with the client's Finished, long before the upstream is there.
        let mut client =
            Client::connect(scene.address, &tls(&scene.pki, Some(&scene.pki.alice), version));
        client.handshake().expect("a handshake");
        let pieces: Vec<Vec<u8>> = (0..20).map(|piece| vec![piece; 5_000]).collect();
        for piece in &pieces {
            client.send(piece);
        }
        client.close_notify();
        let told = scene.backend.next();
        assert_eq!(told.header.source, client.address());
        assert_eq!(told.rest(), pieces.concat());
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
}

#[test]
fn the_header_does_not_wait_for_the_client_to_speak() {
    let scene = Scene::new(IdentitySection::of, &["any-verified"]);
    for version in Version::ALL {
        let (mut client, told) = scene.tells_of(Some(&scene.pki.alice), version);
        // It is here, and the client has not said a word.
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        assert_eq!(told.rest(), b"");
    }
}

#[test]
fn a_refused_client_is_not_told_of() {
    let scene = Scene::new(IdentitySection::of, &["cn=alice"]);
    let bob = scene.pki.client("bob");
    for version in Version::ALL {
        let mut client = Client::connect(scene.address, &tls(&scene.pki, Some(&bob), version));
        drop(client.send_last_flight());
        client.ending();
    }
    scene.configured.engine.wait_until_idle();
    assert_eq!(scene.backend.backend.seen().connections(), 0);
}

#[test]
fn without_being_asked_for_there_is_no_header() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    for setting in [None, Some("none")] {
        let address = own_address();
        let mut listener =
            ListenerSection::of("door", address, &pki).set("upstream", backend.upstream());
        if let Some(setting) = setting {
            listener = listener.set("proxy_protocol", setting);
        }
        let configured = Configured::start(&pki, Configuration::new().listener(listener));
        let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
        client.send(b"hello");
        client.close_notify();
        assert_eq!(client.ending(), (b"hello".to_vec(), Ending::CloseNotify));
        drop(configured);
    }
}

#[test]
fn names_that_mislead_are_left_out() {
    let scene = Scene::new(IdentitySection::of, &["any-verified"]);
    // A receiver in C would see the first of them end at the NUL.
    for (name, told_name) in [
        ("alice\0.evil", None),
        ("alice\nmallory", None),
        ("Zo\u{eb} \u{2713}", Some("Zo\u{eb} \u{2713}")),
        ("a b\"c,d=e", Some("a b\"c,d=e")),
    ] {
        let identity = scene.pki.client_named(name);
        let (mut client, told) = scene.tells_of(Some(&identity), Version::Tls13);
        let ssl = told.header.ssl().expect("a TLV of type SSL");
        assert_eq!((ssl.verify, ssl.text(SSL_CN)), (0, told_name), "{name:?}");
        finish(&mut client);
    }
}

#[test]
fn ipv6() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Announced::new();
    let Ok(free) = std::net::TcpListener::bind("[::1]:0") else {
        // A machine without IPv6: there is nothing to test.
        return;
    };
    let address = free.local_addr().expect("its address");
    drop(free);
    let listener = ListenerSection::of("door", address, &pki)
        .set("upstream", backend.backend.upstream())
        .set("proxy_protocol", "v2");
    let _configured = Configured::start(&pki, Configuration::new().listener(listener));
    let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    let told = backend.next();
    assert_eq!((told.header.source, told.header.destination), (client.address(), address));
    assert!(told.header.source.is_ipv6());
    finish(&mut client);
}

#[test]
fn a_port_that_the_kernel_chose_is_told_as_it_is() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Announced::new();
    let any_port = SocketAddr::new(own_address().ip(), 0);
    let listener = ListenerSection::of("door", any_port, &pki)
        .set("upstream", backend.backend.upstream())
        .set("proxy_protocol", "v2");
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let address = configured.engine.address;
    let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    assert_eq!(backend.next().header.destination, address);
    finish(&mut client);
}

#[test]
fn version_1_tells_addresses_alone() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::tcp(|mut connection: Connection| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            if connection.read_exact(&mut byte).is_err() {
                return;
            }
            line.extend(byte);
        }
        // The client hears what its upstream has heard of it.
        drop(connection.write_all(&line));
        connection.shutdown_write();
    });
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki)
        .set("upstream", backend.upstream())
        .set("proxy_protocol", "v1");
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    for version in Version::ALL {
        let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), version));
        let own = client.address();
        let ports = (own.port(), address.port());
        let line = format!("PROXY TCP4 {} {} {} {}\r\n", own.ip(), address.ip(), ports.0, ports.1);
        assert_eq!(client.ending(), (line.into_bytes(), Ending::CloseNotify));
        client.close_notify();
    }
    drop(configured);
}

#[test]
fn haproxy_takes_the_header() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let receiver = own_address();
    let file = pki.directory().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode http\n timeout client 60s\n timeout connect 60s\n timeout server 60s\n\
         frontend receiver\n bind {receiver} accept-proxy\n \
         http-request return status 200 content-type application/json lf-string \
         '{{\"source\":\"%[src]:%[src_port]\",\"destination\":\"%[dst]:%[dst_port]\",\
         \"authority\":\"%[fc_pp_authority]\",\"connection\":\"%[fc_pp_unique_id]\"}}'\n"
    );
    fs::write(&file, text).expect("HAProxy's configuration");
    let haproxy = HAPROXY.start(&["-db", "-f", &file.display().to_string()]);
    wait_for("HAProxy", || TcpStream::connect(receiver).ok());

    let every: Vec<&str> = EVERY_TLV.to_vec();
    for setting in ["v1", "v2"] {
        let address = own_address();
        let mut listener = ListenerSection::of("door", address, &pki)
            .set("upstream", receiver.to_string())
            .set("proxy_protocol", setting);
        if setting == "v2" {
            listener = listener.set("proxy_tlvs", every.clone());
        }
        let configured = Configured::start(&pki, Configuration::new().listener(listener));
        for version in Version::ALL {
            let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), version));
            client.send(GET_AND_CLOSE);
            let answer = read_response(&mut client).expect("HAProxy's answer");
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            let told = answer.json();
            assert_eq!(told["source"], client.address().to_string(), "{told}");
            assert_eq!(told["destination"], address.to_string(), "{told}");
            client.close_notify();
            client.ending();
            let record = configured.engine.connection_record(client.address());
            if setting == "v2" {
                assert_eq!(told["authority"], SERVER_NAME, "{told}");
                assert_eq!(told["connection"], record["connection"], "both logs can be joined");
            }
            assert!(record["proxy_tlvs_left_out"].is_null(), "it all fits: {record}");
        }
    }
    drop(haproxy);
}

#[test]
fn nginx_takes_the_header() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let receiver = own_address();
    let directory = pki.directory().display();
    let file = pki.directory().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; error_log stderr; pid {directory}/nginx.pid; events {{}}\n\
         http {{ access_log off; client_body_temp_path {directory}/a; proxy_temp_path {directory}/b;\n\
         fastcgi_temp_path {directory}/c; uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;\n\
         server {{ listen {receiver} proxy_protocol; default_type application/json; return 200 \
         '{{\"source\":\"$proxy_protocol_addr:$proxy_protocol_port\",\
         \"destination\":\"$proxy_protocol_server_addr:$proxy_protocol_server_port\"}}'; }} }}\n"
    );
    fs::write(&file, text).expect("nginx's configuration");
    let nginx = NGINX.start(&["-c", &file.display().to_string()]);
    wait_for("nginx", || TcpStream::connect(receiver).ok());

    for setting in ["v1", "v2"] {
        let address = own_address();
        let mut listener = ListenerSection::of("door", address, &pki)
            .set("upstream", receiver.to_string())
            .set("proxy_protocol", setting);
        if setting == "v2" {
            // Before 1.23.3 it takes no more.
            listener = listener.set("proxy_header_bytes", 107);
        }
        let configured = Configured::start(&pki, Configuration::new().listener(listener));
        for version in Version::ALL {
            let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), version));
            client.send(GET_AND_CLOSE);
            let told = read_response(&mut client).expect("nginx's answer").json();
            assert_eq!(told["source"], client.address().to_string(), "{told}");
            assert_eq!(told["destination"], address.to_string(), "{told}");
            client.close_notify();
            client.ending();
        }
        drop(configured);
    }
    drop(nginx);
}

/// All that `proxy_tlvs` may say.
const EVERY_TLV: [&str; 13] = [
    "crc32c",
    "alpn",
    "authority",
    "unique_id",
    "ssl",
    "ssl_cn",
    "ssl_cipher",
    "ssl_sig_alg",
    "ssl_key_alg",
    "ssl_group",
    "ssl_sig_scheme",
    "ssl_client_cert",
    "identity",
];

/// What was agreed on, as OpenSSL calls it.
#[track_caller]
fn negotiated(client: &Client) -> (&'static str, &'static str) {
    let version = match client.tls().protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        other => panic!("{other:?}"),
    };
    let suite = client.tls().negotiated_cipher_suite().map(|suite| suite.suite());
    let cipher = match suite {
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => {
            "ECDHE-ECDSA-AES128-GCM-SHA256"
        }
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        other => panic!("{other:?}"),
    };
    (version, cipher)
}
