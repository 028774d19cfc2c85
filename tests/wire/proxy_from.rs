//! Balancers in front: who may say on whose behalf it connects, and must; and from whom that is no TLS.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use countersign_tests::client::{Client, Ending, StreamEnd, Version, dial, read_to_end};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::program;
use countersign_tests::http::whoami;
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::proxy::{checked, header, tlv, with_command};
use countersign_tests::record::lone_fatal_alert;
use countersign_tests::tool::HAPROXY;
use rustls::AlertDescription;
use serde_json::Value;

use crate::announced::Scene as Announcing;
use crate::configured::{Configured, REFUSED, tls};

/// Every test connects from here.
const TRUSTED: [&str; 2] = ["192.0.2.128/25", "127.0.0.0/8"];

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Headers that speak for somebody, with who that is.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let (source, destination) = (address("192.0.2.7:49153"), address("198.51.100.1:443"));
    let (source_v6, destination_v6) = (address("[2001:db8::7]:1"), address("[2001:db8::1]:443"));
    vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 49153 443\r\n".to_vec(), "192.0.2.7:49153"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n".to_vec(), "[2001:db8::7]:1"),
        (header(source, destination, &[]), "192.0.2.7:49153"),
        (header(source_v6, destination_v6, &[]), "[2001:db8::7]:1"),
        (header(source, destination, &tlv(0xe5, &[7; 4_000])), "192.0.2.7:49153"),
        (checked(source, destination, &tlv(1, b"h2")), "192.0.2.7:49153"),
    ]
}

/// Headers with which a balancer speaks for itself.
fn own_headers() -> Vec<Vec<u8>> {
    vec![
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN whatever else it says\r\n".to_vec(),
        with_command(0x20, 0x00, &[]),
        with_command(0x20, 0x11, &[1; 12]),
        with_command(0x21, 0x00, b"discarded"),
    ]
}

struct Scene {
    configured: Configured,
    address: SocketAddr,
    pki: Pki,
}

impl Scene {
    fn new(balancers: &[&str]) -> Self {
        Self::with(balancers, |listener| listener)
    }

    fn with(balancers: &[&str], further: impl FnOnce(ListenerSection) -> ListenerSection) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let listener =
            ListenerSection::of("door", address, &pki).set("proxy_from", balancers.to_vec());
        let configuration = Configuration::new().listener(further(listener));
        Self { configured: Configured::start(&pki, configuration), address, pki }
    }

    /// A client's TLS behind what has been sent over a socket already.
    fn client(&self, socket: TcpStream, version: Version) -> Client {
        Client::over(socket, &tls(&self.pki, Some(&self.pki.alice), version))
    }

    /// Asks the built-in upstream, and ends the connection. Gives the upstream's answer and the log's line.
    #[track_caller]
    fn served(&self, mut client: Client) -> (Value, Value) {
        let own = client.address();
        client.handshake().expect("a handshake");
        let answer = whoami(&mut client);
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        // The line comes when the socket is released.
        drop(client);
        (answer, self.record(own))
    }

    /// The line of the connection that came from this address.
    #[track_caller]
    fn record(&self, own: SocketAddr) -> Value {
        let own = own.to_string();
        self.configured.engine.log().wait_for(&format!("the record of {own}"), |events| {
            let is_it = |event: &&Value| event["balancer"] == *own || event["client"] == *own;
            events.iter().filter(|event| event["event"] == "connection").find(is_it).cloned()
        })
    }

    /// Sends bytes and then, if `ends`, FIN; gives what came back and the log's line.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], ends: bool) -> (Vec<u8>, Value) {
        let mut socket = dial(self.address);
        let own = socket.local_addr().expect("its address");
        socket.write_all(bytes).expect("a small write");
        if ends {
            socket.shutdown(Shutdown::Write).expect("FIN");
        }
        let (answer, end) = read_to_end(&socket);
        assert_eq!(end, StreamEnd::Eof, "never a reset");
        drop(socket);
        let record = self.record(own);
        assert_eq!(record["result"], "refused", "{record}");
        (answer, record)
    }
}

#[test]
fn a_balancer_speaks_for_its_clients() {
    let scene = Scene::new(&TRUSTED);
    for (header, source) in headers() {
        for version in Version::ALL {
            let mut socket = dial(scene.address);
            socket.write_all(&header).expect("a small write");
            let balancer = socket.local_addr().expect("its address").to_string();
            let (answer, record) = scene.served(scene.client(socket, version));
            assert_eq!(answer["client"]["address"], source, "{answer}");
            assert_eq!(
                (&record["client"], &record["balancer"]),
                (&source.into(), &balancer.into())
            );
            assert_eq!(record["result"], "allowed", "{record}");
        }
    }
}

#[test]
fn a_balancer_may_speak_for_itself() {
    let scene = Scene::new(&TRUSTED);
    for header in own_headers() {
        let mut socket = dial(scene.address);
        socket.write_all(&header).expect("a small write");
        let own = socket.local_addr().expect("its address").to_string();
        let (answer, record) = scene.served(scene.client(socket, Version::Tls13));
        assert_eq!(answer["client"]["address"], own, "{answer}");
        assert_eq!((&record["client"], &record["balancer"]), (&own.clone().into(), &own.into()));
    }
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let scene = Scene::new(&TRUSTED);
    let short = |header: &&(Vec<u8>, &str)| header.0.len() < 200;
    for (header, source) in headers().iter().filter(short) {
        // Byte by byte, and whole with the ClientHello behind it.
        let mut socket = dial(scene.address);
        for byte in header {
            socket.write_all(&[*byte]).expect("a byte");
        }
        let (answer, _) = scene.served(scene.client(socket, Version::Tls13));
        assert_eq!(answer["client"]["address"], *source, "{answer}");
        let mut client = scene.client(dial(scene.address), Version::Tls12);
        let hello = client.take_pending();
        client.write_raw(&[&header[..], &hello].concat());
        let (answer, _) = scene.served(client);
        assert_eq!(answer["client"]["address"], *source, "{answer}");
    }
}

#[test]
fn the_upstream_is_told_what_the_balancer_told() {
    let scene = Announcing::with(IdentitySection::of, &["any-verified"], |listener| {
        listener.set("proxy_from", TRUSTED.to_vec())
    });
    let (source, destination) = (address("192.0.2.7:49153"), address("198.51.100.1:443"));
    let mut socket = dial(scene.address);
    socket.write_all(&header(source, destination, &[])).expect("a small write");
    let config = tls(&scene.pki, Some(&scene.pki.alice), Version::Tls13);
    let mut client = Client::over(socket, &config);
    client.handshake().expect("a handshake");
    let told = scene.backend.next();
    assert_eq!((told.header.source, told.header.destination), (source, destination));
    client.close_notify();
    client.ending();
    assert_eq!(told.rest(), b"", "and the balancer's own header is not passed on");
}

#[test]
fn a_balancer_without_a_header_is_refused() {
    let scene = Scene::new(&TRUSTED);
    let (source, destination) = (address("192.0.2.7:1"), address("192.0.2.1:2"));
    let hello = scene.client(dial(scene.address), Version::Tls13).take_pending();
    let mut wrong_checksum = checked(source, destination, &tlv(1, b"h2"));
    wrong_checksum[20] ^= 1;
    let longest = with_command(0x21, 0x11, &[4; 8_177]);
    let whole = header(source, destination, &tlv(1, b"h2"));
    let cases: [(&str, &[u8], bool); 16] = [
        ("TLS at once", &hello, false),
        ("garbage", b"\x80garbage", false),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", false),
        ("another word", b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", false),
        ("a line without an end", &[b'P'; 1], true),
        ("a line too long", &[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), false),
        ("a line cut short", b"PROXY TCP4 192.0.2.7 192.0.2.1 1", true),
        ("cut short", &whole[..whole.len() - 1], true),
        ("a signature cut short", &whole[..5], true),
        ("another version", &with_command(0x31, 0x11, &[0; 12]), false),
        ("another command", &with_command(0x2f, 0x11, &[0; 12]), false),
        ("UDP", &with_command(0x21, 0x12, &[0; 12]), false),
        ("addresses too short", &with_command(0x21, 0x21, &[0; 12]), false),
        ("too long", &longest[..16], false),
        ("a TLV beyond the end", &header(source, destination, &[1, 0, 9, 0]), false),
        ("a wrong checksum", &wrong_checksum, false),
    ];
    // The client that made the hello above has gone without a word.
    let silent = 1;
    for (number, (what, bytes, ends)) in cases.iter().enumerate() {
        let (answer, record) = scene.refuses(bytes, *ends);
        assert_eq!(answer, b"", "{what}: nothing is said in reply");
        assert_eq!(record["reason"], "proxy_header", "{what}: {record}");
        assert_eq!(record["client"], record["balancer"], "{what}: {record}");
        assert!(record["tls_version"].is_null() && record["detail"].is_string(), "{record}");
        let labels = [("reason", "proxy_header")];
        scene.configured.wait_for_count(REFUSED, &labels, number as u64 + 1);
    }
    let labels = [("reason", "client_closed")];
    scene.configured.wait_for_count(REFUSED, &labels, silent);
    // And it goes on serving.
    let mut socket = dial(scene.address);
    socket.write_all(&whole).expect("a small write");
    scene.served(scene.client(socket, Version::Tls13));
    scene.configured.engine.wait_until_idle();
}

#[test]
fn a_look_whether_somebody_listens_is_no_malformed_header() {
    let scene = Scene::new(&TRUSTED);
    let (answer, record) = scene.refuses(b"", true);
    assert_eq!((answer, &record["reason"]), (Vec::new(), &"client_closed".into()), "{record}");
}

#[test]
fn a_header_is_waited_for_no_longer_than_a_handshake() {
    let scene = Scene::with(&TRUSTED, |listener| listener.limit("handshake_timeout", "200ms"));
    for bytes in [&b""[..], b"PROXY TCP4 192.0.2.7 ", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
        let (answer, record) = scene.refuses(bytes, false);
        assert_eq!((answer, &record["reason"]), (Vec::new(), &"handshake_timeout".into()));
    }
    // The time runs from accept, not from the header.
    let (header, _) = &headers()[0];
    let (_, record) = scene.refuses(header, false);
    assert_eq!(record["reason"], "handshake_timeout", "{record}");
}

#[test]
fn from_anybody_else_a_header_is_no_tls() {
    let scene = Scene::new(&["192.0.2.0/24", "::/0"]);
    for (header, _) in headers() {
        let (answer, record) = scene.refuses(&header, false);
        let alert = lone_fatal_alert(&answer).expect("an alert in plaintext");
        assert_eq!(alert, AlertDescription::DecodeError);
        assert_eq!(record["reason"], "malformed_message", "{record}");
        assert!(record["balancer"].is_null(), "{record}");
    }
    // Whoever is no balancer speaks for itself, as ever.
    let client = scene.client(dial(scene.address), Version::Tls13);
    let own = client.address().to_string();
    let (answer, record) = scene.served(client);
    assert_eq!(answer["client"]["address"], own);
    assert!(record["balancer"].is_null() && record["client"] == own, "{record}");
}

#[test]
fn haproxy_speaks_for_its_clients() {
    let scene = Scene::new(&TRUSTED);
    let fronts = [own_address(), own_address(), own_address()];
    let options =
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"];
    let mut text =
        "defaults\n mode tcp\n timeout client 60s\n timeout connect 60s\n timeout server 60s\n\
         unique-id-format %[uuid()]\n"
            .to_owned();
    for (number, (front, options)) in fronts.iter().zip(options).enumerate() {
        text.push_str(&format!(
            "listen front-{number}\n bind {front}\n server engine {} {options}\n",
            scene.address
        ));
    }
    let file = scene.pki.directory().join("haproxy.cfg");
    fs::write(&file, text).expect("HAProxy's configuration");
    let haproxy = HAPROXY.start(&["-db", "-f", &file.display().to_string()]);
    for (front, options) in fronts.iter().zip(options) {
        let socket = wait_for("HAProxy", || TcpStream::connect(front).ok());
        let own = socket.local_addr().expect("its address").to_string();
        let (answer, record) = {
            let mut client = scene.client(socket, Version::Tls13);
            client.handshake().expect(options);
            let answer = whoami(&mut client);
            client.close_notify();
            client.ending();
            drop(client);
            (answer, scene.record(address(&own)))
        };
        assert_eq!(answer["client"]["address"], own, "{options}: {answer}");
        assert_ne!(record["balancer"], own, "{options}: {record}");
    }
    drop(haproxy);
}

#[test]
fn check_says_what_is_wrong_with_it() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let check = |listener: ListenerSection| {
        let file = ConfigurationFile::new(&pki, &Configuration::new().listener(listener));
        let output = Command::new(program()).args(["check", "--config"]).arg(file.path()).output();
        let output = output.expect("the program");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("a text"))
    };
    let listener = || {
        ListenerSection::of("door", own_address(), &pki)
            .set("upstream", "127.0.0.1:8080")
            .set("proxy_protocol", "v2")
    };
    let (code, said) = check(
        listener()
            .set("proxy_tlvs", ["ssl", "ssl_client_cert"])
            .set("proxy_header_bytes", 8_192)
            .set("proxy_tlv_bytes", 4_096)
            .set("proxy_from", ["10.0.0.0/24", "2001:db8::7"]),
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the configuration is right") && !said.contains("proxy_"), "{said}");
    for (key, value, problem) in [
        ("proxy_tlvs", Value::from(vec!["netns"]), "`netns` is nothing that can be told"),
        ("proxy_tlvs", vec!["ssl_cn"].into(), "stands within the TLV `ssl`"),
        ("proxy_header_bytes", 100.into(), "it must be 107 to 65535"),
        ("proxy_from", vec!["here"].into(), "`here` is no IP address"),
        ("proxy_from", vec!["10.0.0.0/24"; 257].into(), "there may be 256"),
    ] {
        let (code, said) = check(listener().set(key, value));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("listener.{key}: ")) && said.contains(problem), "{said}");
    }
}
