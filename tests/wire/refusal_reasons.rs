//! Every refusal has its own reason, in the log line and in the metric, and the client learns nothing of it but
//! the alert: one record, then the end of the stream.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{
    Client, Ending, Progress, StreamEnd, Version, config, config_with, dial, read_to_end,
};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::pki::{Identity, KeyKind, Pki, SERVER_NAME};
use countersign_tests::record::{
    ALERT, APPLICATION_DATA, HANDSHAKE, Record, lone_fatal_alert, padded_client_hello, records,
};
use countersign_tests::tool::OPENSSL;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::configured::{Configured, REFUSED, showing};
use crate::s_client;

/// `ContentType.change_cipher_spec`: sent for middleboxes' sake (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: u8 = 20;

/// An alert, sealed: level, description, the true content type, and the tag.
const SEALED_ALERT_BYTES: usize = 2 + 1 + 16;

#[test]
fn no_certificate() {
    let scene = Scene::new();
    scene.refuses_identity(
        None,
        AlertDescription::CertificateRequired,
        "client_certificate_missing",
    );
}

#[test]
fn another_ca() {
    let scene = Scene::new();
    let identity = scene.pki.client_of_another_ca();
    scene.refuses_identity(Some(&identity), AlertDescription::UnknownCA, "unknown_issuer");
}

#[test]
fn an_intermediate_is_missing() {
    let scene = Scene::new();
    let identity = scene.pki.client_without_intermediate();
    scene.refuses_identity(Some(&identity), AlertDescription::UnknownCA, "unknown_issuer");
}

#[test]
fn expired() {
    let scene = Scene::new();
    let identity = scene.pki.expired_client();
    scene.refuses_identity(
        Some(&identity),
        AlertDescription::CertificateExpired,
        "client_certificate_expired",
    );
}

#[test]
fn not_yet_valid() {
    let scene = Scene::new();
    let identity = scene.pki.client_not_yet_valid();
    scene.refuses_identity(
        Some(&identity),
        AlertDescription::CertificateExpired,
        "client_certificate_not_yet_valid",
    );
}

#[test]
fn a_certificate_for_servers_only() {
    let scene = Scene::new();
    let identity = scene.pki.client_with_server_purpose();
    scene.refuses_identity(
        Some(&identity),
        AlertDescription::UnsupportedCertificate,
        "client_certificate_purpose",
    );
}

#[test]
fn denied_by_each_kind_of_rule() {
    for (allow, deny) in [
        ("cn=alice", ""),
        ("any-verified", "cn=mallory"),
        ("dns=a*.clients.example", ""),
        ("any-verified", "dns=mallory.clients.example"),
        ("uri=spiffe://clients.example/al*", ""),
        ("any-verified", "uri=spiffe://clients.example/mal*"),
    ] {
        let deny: Vec<&str> = Some(deny).filter(|rule| !rule.is_empty()).into_iter().collect();
        let scene =
            Scene::with(|listener| listener.set("allow", [allow]).set("deny", deny.clone()));
        let identity = scene.pki.client("mallory");
        scene.refuses_identity(Some(&identity), AlertDescription::AccessDenied, "denied_by_rule");
    }
}

#[test]
fn the_key_of_another_certificate() {
    let scene = Scene::new();
    let other = scene.pki.client("other");
    let config = |version| scene.showing(&scene.pki.alice.chain, &other, version);
    scene.refuses_rustls(config, AlertDescription::DecryptError, "possession_not_proven");
}

#[test]
fn a_certificate_that_is_none() {
    let scene = Scene::new();
    let chain = vec![CertificateDer::from(vec![0x30, 3, 2, 1, 1])];
    let config = |version| scene.showing(&chain, &scene.pki.alice, version);
    scene.refuses_rustls(config, AlertDescription::BadCertificate, "client_certificate_malformed");
}

#[test]
fn a_signature_of_the_ca_that_is_wrong() {
    let scene = Scene::new();
    let mut chain = scene.pki.alice.chain.clone();
    let mut forged = chain[0].to_vec();
    *forged.last_mut().expect("a certificate") ^= 1;
    chain[0] = forged.into();
    let config = |version| scene.showing(&chain, &scene.pki.alice, version);
    scene.refuses_rustls(
        config,
        AlertDescription::DecryptError,
        "client_certificate_bad_signature",
    );
}

#[test]
fn a_chain_that_is_too_long() {
    let scene = Scene::new();
    let alice = &scene.pki.alice.chain;
    let chain: Vec<_> = alice.iter().chain([&alice[1]; 8]).cloned().collect();
    let config = |version| scene.showing(&chain, &scene.pki.alice, version);
    scene.refuses_rustls(config, AlertDescription::CertificateUnknown, "client_chain_too_large");
}

#[test]
fn an_unknown_server_name() {
    let scene = Scene::with(|listener| listener.set("strict_sni", true));
    let (alert, reason) = (AlertDescription::UnrecognisedName, "unknown_server_name");
    for version in Version::ALL {
        scene.refuses_hello("nowhere.example", &scene.alice(version), alert, reason);
        // Neither is a client served that asks for no name.
        let mut config = config(&scene.pki, Some(&scene.pki.alice), version);
        config.enable_sni = false;
        scene.refuses_hello(SERVER_NAME, &Arc::new(config), alert, reason);
        for server_name in [Some("nowhere.example"), None] {
            scene.refuses_openssl(
                s_client::arguments_to(
                    &scene.pki,
                    scene.address,
                    server_name,
                    Some(&scene.pki.alice),
                    version,
                ),
                alert,
            );
        }
    }
    scene.counts(reason, 8);
    let records = scene.configured.engine.connection_records(8);
    let asked = records.iter().filter(|record| record["server_name"] == "nowhere.example");
    assert_eq!(asked.count(), 4, "{records:?}");
    scene.lets_alice_in();
}

#[test]
fn no_application_protocol_in_common() {
    let scene = Scene::with(|listener| listener.set("alpn", ["http/1.1"]));
    let (alert, reason) = (AlertDescription::NoApplicationProtocol, "no_application_protocol");
    for version in Version::ALL {
        let mut config = config(&scene.pki, Some(&scene.pki.alice), version);
        config.alpn_protocols = vec![b"h2".to_vec()];
        scene.refuses_hello(SERVER_NAME, &Arc::new(config), alert, reason);
        let mut arguments = s_client::arguments_to(
            &scene.pki,
            scene.address,
            Some(SERVER_NAME),
            Some(&scene.pki.alice),
            version,
        );
        arguments.extend(["-alpn", "h2"].map(str::to_owned));
        scene.refuses_openssl(arguments, alert);
    }
    scene.counts(reason, 4);
    scene.lets_alice_in();
}

#[test]
fn a_version_that_the_listener_does_not_speak() {
    for (spoken, other) in [("1.3", Version::Tls12), ("1.2", Version::Tls13)] {
        let scene = Scene::with(|listener| listener.set("versions", [spoken]));
        let (alert, reason) = (AlertDescription::ProtocolVersion, "protocol_version");
        scene.refuses_hello(SERVER_NAME, &scene.alice(other), alert, reason);
        scene.refuses_openssl(
            s_client::arguments_to(
                &scene.pki,
                scene.address,
                Some(SERVER_NAME),
                Some(&scene.pki.alice),
                other,
            ),
            alert,
        );
        scene.counts(reason, 2);
    }
}

#[test]
fn no_group_in_common() {
    let scene = Scene::new();
    let groups = vec![aws_lc_rs::kx_group::SECP256R1MLKEM768];
    let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    let config = config_with(provider, &scene.pki, Some(&scene.pki.alice), Version::Tls13);
    let (alert, reason) = (AlertDescription::HandshakeFailure, "nothing_in_common");
    scene.refuses_hello(SERVER_NAME, &Arc::new(config), alert, reason);
    let mut arguments = s_client::arguments_to(
        &scene.pki,
        scene.address,
        Some(SERVER_NAME),
        Some(&scene.pki.alice),
        Version::Tls12,
    );
    arguments.extend(["-groups", "P-521"].map(str::to_owned));
    scene.refuses_openssl(arguments, alert);
    scene.counts(reason, 2);
    scene.lets_alice_in();
}

#[test]
fn no_signature_scheme_in_common() {
    let scene = Scene::new();
    let (alert, reason) = (AlertDescription::HandshakeFailure, "nothing_in_common");
    // No signature of an ECDSA key at all, and none of one on our key's curve.
    for (version, schemes) in Version::ALL
        .into_iter()
        .flat_map(|version| ["RSA+SHA256", "ECDSA+SHA384"].map(|schemes| (version, schemes)))
    {
        let identity = Some(&scene.pki.alice);
        let name = Some(SERVER_NAME);
        let mut arguments =
            s_client::arguments_to(&scene.pki, scene.address, name, identity, version);
        arguments.extend(["-sigalgs", schemes].map(str::to_owned));
        scene.refuses_openssl(arguments, alert);
    }
    scene.counts(reason, 4);
    scene.lets_alice_in();
}

#[test]
fn what_is_not_tls() {
    let scene = Scene::new();
    scene.refuses_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", None);
    scene.counts("malformed_message", 1);
    scene.lets_alice_in();
}

#[test]
fn a_hello_that_is_too_large() {
    let scene = Scene::with(|listener| listener.limit("client_hello_bytes", 2_000));
    let hello = Client::connect(scene.address, &scene.alice(Version::Tls13)).take_pending();
    scene.counts("client_closed", 1);
    scene.refuses_bytes(&padded_client_hello(&hello, 3_000), Some(AlertDescription::DecodeError));
    let reasons = scene.configured.metrics().nonzero(REFUSED);
    let expected = [("client_hello_too_large".to_owned(), 1), ("client_closed".to_owned(), 1)];
    assert_eq!(reasons, expected);
}

#[test]
fn a_handshake_that_takes_too_long() {
    let scene = Scene::with(|listener| listener.limit("handshake_timeout", "300ms"));
    scene.refuses_bytes(b"", Some(AlertDescription::HandshakeFailure));
    scene.counts("handshake_timeout", 1);
    for version in Version::ALL {
        // The engine has sent its flight: in TLS 1.3 it can say nothing in plaintext any more.
        let mut client = Client::connect(scene.address, &scene.alice(version));
        let hello = client.take_pending();
        client.write_raw(&hello);
        let (bytes, end) = read_to_end(&client.socket);
        assert_eq!(end, StreamEnd::Eof);
        let (sent, rest) = records(&bytes);
        assert!(rest.is_empty(), "{version:?}");
        let alerts = sent.iter().filter(|record| record.content_type == ALERT).count();
        assert_eq!(alerts, usize::from(version == Version::Tls12), "{sent:?}");
    }
    scene.counts("handshake_timeout", 3);
}

#[test]
fn a_client_that_goes_away() {
    let scene = Scene::new();
    for version in Version::ALL {
        let mut client = Client::connect(scene.address, &scene.alice(version));
        assert_eq!(client.handshake_up_to(50), Ok(Progress::Cut));
        client.truncate();
        assert_eq!(read_to_end(&client.socket), (Vec::new(), StreamEnd::Eof));
    }
    scene.counts("client_closed", 2);
    let mut client = Client::connect(scene.address, &scene.alice(Version::Tls13));
    assert_eq!(client.handshake_up_to(50), Ok(Progress::Cut));
    let address = client.address();
    client.reset();
    assert_eq!(scene.configured.engine.connection_record(address)["reason"], "client_reset");
    assert_eq!(scene.configured.metrics().count(REFUSED, &[("reason", "client_reset")]), 1);
}

#[test]
fn a_client_that_does_not_trust_the_server() {
    let scene = Scene::new();
    for version in Version::ALL {
        let mut distrusting = config(&scene.pki, Some(&scene.pki.alice), version);
        distrusting.dangerous().set_certificate_verifier(Arc::new(Distrusting));
        let mut client = Client::connect(scene.address, &Arc::new(distrusting));
        let address = client.address();
        assert!(matches!(client.handshake(), Err(Ending::Broken(_))));
        assert_eq!(read_to_end(&client.socket).1, StreamEnd::Eof);
        drop(client);
        let record = scene.configured.engine.connection_record(address);
        assert_eq!(record["reason"], "client_alert", "{record}");
        let detail = record["detail"].as_str().expect("a detail");
        assert!(detail.to_lowercase().contains("unknownca"), "{record}");
    }
    scene.counts("client_alert", 2);
}

/// An engine with one listener, and a backend that nobody must reach who is refused.
struct Scene {
    configured: Configured,
    backend: Backend,
    address: SocketAddr,
    pki: Pki,
}

impl Scene {
    fn new() -> Self {
        Self::with(|listener| listener)
    }

    fn with(change: impl FnOnce(ListenerSection) -> ListenerSection) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::recording();
        let address = own_address();
        let identity = IdentitySection::of(&pki).names([SERVER_NAME]);
        let listener = ListenerSection::new("door", address)
            .set("upstream", backend.upstream())
            .identity(identity);
        let configured = Configured::start(&pki, Configuration::new().listener(change(listener)));
        Self { configured, backend, address, pki }
    }

    fn alice(&self, version: Version) -> Arc<ClientConfig> {
        Arc::new(config(&self.pki, Some(&self.pki.alice), version))
    }

    /// A client that shows any chain, and signs with the key of `signer`.
    fn showing(
        &self,
        chain: &[CertificateDer<'static>],
        signer: &Identity,
        version: Version,
    ) -> Arc<ClientConfig> {
        showing(&self.pki, chain, signer, version)
    }

    /// Refused by what its certificate is: rustls and openssl, both versions.
    #[track_caller]
    fn refuses_identity(&self, identity: Option<&Identity>, alert: AlertDescription, reason: &str) {
        for version in Version::ALL {
            let config = Arc::new(config(&self.pki, identity, version));
            self.refuses_last_flight(&config, version, alert, reason);
            let arguments = s_client::arguments_to(
                &self.pki,
                self.address,
                Some(SERVER_NAME),
                identity,
                version,
            );
            self.refuses_openssl(arguments, alert);
        }
        self.counts(reason, 4);
        self.lets_alice_in();
    }

    /// Refused by what only rustls can be made to send, both versions.
    #[track_caller]
    fn refuses_rustls(
        &self,
        config: impl Fn(Version) -> Arc<ClientConfig>,
        alert: AlertDescription,
        reason: &str,
    ) {
        for version in Version::ALL {
            self.refuses_last_flight(&config(version), version, alert, reason);
        }
        self.counts(reason, 2);
        self.lets_alice_in();
    }

    /// After the server's flight: nothing comes behind it but the alert, sealed in TLS 1.3.
    #[track_caller]
    fn refuses_last_flight(
        &self,
        config: &Arc<ClientConfig>,
        version: Version,
        alert: AlertDescription,
        reason: &str,
    ) {
        let mut client = Client::connect(self.address, config);
        client.send_last_flight().expect("the server's flight");
        let (bytes, ending) = client.last_bytes();
        assert_eq!(ending, Ending::refused_with(alert), "{}", self.configured.engine.log().tail());
        match version {
            Version::Tls12 => assert_eq!(lone_fatal_alert(&bytes), Some(alert), "{bytes:02x?}"),
            Version::Tls13 => assert_sealed_alert(&records(&bytes).0),
        }
        self.is_logged(client, reason);
    }

    /// On the ClientHello: nothing comes but the alert, and in TLS 1.3 perhaps a ServerHello before it.
    #[track_caller]
    fn refuses_hello(
        &self,
        server_name: &str,
        config: &Arc<ClientConfig>,
        alert: AlertDescription,
        reason: &str,
    ) {
        let mut client = Client::connect_to(server_name, self.address, config);
        let hello = client.take_pending();
        client.write_raw(&hello);
        let (bytes, ending) = client.last_bytes();
        assert_eq!(ending, Ending::refused_with(alert), "{}", self.configured.engine.log().tail());
        let (sent, rest) = records(&bytes);
        assert!(rest.is_empty(), "{bytes:02x?}");
        match &sent[..] {
            [hello, change, sealed @ ..]
                if (hello.content_type, change.content_type) == (HANDSHAKE, CHANGE_CIPHER_SPEC) =>
            {
                assert_sealed_alert(sealed);
            }
            _ => assert_eq!(lone_fatal_alert(&bytes), Some(alert), "{sent:?}"),
        }
        self.is_logged(client, reason);
    }

    /// What no TLS library would send: a lone alert comes back, and nothing more.
    #[track_caller]
    fn refuses_bytes(&self, bytes: &[u8], alert: Option<AlertDescription>) {
        let mut socket = dial(self.address);
        std::io::Write::write_all(&mut socket, bytes).expect("a write");
        let (answer, end) = read_to_end(&socket);
        assert_eq!(end, StreamEnd::Eof);
        let said = lone_fatal_alert(&answer);
        assert!(said.is_some() && (alert.is_none() || alert == said), "{answer:02x?}");
    }

    #[track_caller]
    fn refuses_openssl(&self, arguments: Vec<String>, alert: AlertDescription) {
        let finished = OPENSSL.start(&arguments).outlast();
        assert!(!finished.status.success(), "{finished:?}");
        let number = format!("SSL alert number {}", u8::from(alert));
        assert!(finished.said.contains(&number), "no {number}: {finished:?}");
        // ECONNRESET and EPIPE, as s_client prints them.
        let reset = finished.said.contains("errno=104") || finished.said.contains("errno=32");
        assert!(!reset, "{finished:?}");
    }

    /// The log says why, and of which listener.
    #[track_caller]
    fn is_logged(&self, client: Client, reason: &str) {
        let address = client.address();
        // The engine drains until this side closes too; the record comes after that.
        drop(client);
        let record = self.configured.engine.connection_record(address);
        let said = (&record["result"], &record["reason"], &record["listener"]);
        assert_eq!(said, (&"refused".into(), &reason.into(), &"door".into()), "{record}");
    }

    /// So many refusals so far, all for this reason, in metrics and log; none of them reached the backend.
    #[track_caller]
    fn counts(&self, reason: &str, count: u64) {
        self.configured.engine.wait_until_idle();
        let metrics = self.configured.metrics();
        assert_eq!(metrics.nonzero(REFUSED), [(reason.to_owned(), count)]);
        let records = self.configured.engine.connection_records(count as usize);
        assert_eq!(records.len() as u64, count, "{records:?}");
        let all_say_so = records
            .iter()
            .all(|record| record["result"] == "refused" && record["reason"] == reason);
        assert!(all_say_so, "{records:?}");
        let seen = self.backend.seen();
        assert_eq!((seen.connections(), seen.received_bytes()), (0, 0));
    }

    #[track_caller]
    fn lets_alice_in(&self) {
        let mut client = Client::established(self.address, &self.alice(Version::Tls13));
        client.send(b"hello");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        assert_eq!(self.backend.seen().wait_for_ended(1)[0].received.length, 5);
    }
}

/// One sealed record that has room for an alert and for nothing else.
#[track_caller]
fn assert_sealed_alert(sent: &[Record<'_>]) {
    let shape: Vec<_> =
        sent.iter().map(|record| (record.content_type, record.payload.len())).collect();
    assert_eq!(shape, [(APPLICATION_DATA, SEALED_ALERT_BYTES)]);
}

/// A client for whom every server is a stranger.
#[derive(Debug)]
struct Distrusting;

impl ServerCertVerifier for Distrusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
