//! Several identities on one listener: which one answers to a name, and whose clients it lets in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::http::{GET_AND_CLOSE, names};
use countersign_tests::pki::{Identity, KeyKind, Pki};
use countersign_tests::tool::OPENSSL;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::s_client;

const FIRST: &str = "first.example";
const SECOND: &str = "second.example";

/// The end of the validity of server certificates that nobody looks at.
const LAST_YEAR: i32 = 2090;

#[test]
fn required_certificates_of_two_hosts_are_not_exchanged() {
    let scene = Hosts::new("require", &["any-verified"]);
    scene.knows_each_hosts_clients();
    for host in [FIRST, SECOND] {
        scene.refuses(
            host,
            None,
            AlertDescription::CertificateRequired,
            "client_certificate_missing",
        );
    }
}

#[test]
fn optional_certificates_of_two_hosts_are_not_exchanged() {
    let scene = Hosts::new("optional", &["any-verified", "anonymous"]);
    scene.knows_each_hosts_clients();
    for host in [FIRST, SECOND] {
        scene.lets_in(host, None, "allow anonymous");
    }
}

#[test]
fn hosts_that_ask_for_no_certificate_have_anonymous_clients_only() {
    let scene = Hosts::new("none", &["cn=alice", "anonymous"]);
    for host in [FIRST, SECOND] {
        for identity in [None, Some(&scene.pki.alice), Some(&scene.stranger)] {
            scene.lets_in(host, identity, "allow anonymous");
        }
        for version in Version::ALL {
            let asked = Arc::new(Asked::default());
            let mut config = config(&scene.pki, None, version);
            config.client_auth_cert_resolver = Arc::clone(&asked) as _;
            ask_whoami(host, scene.address, &Arc::new(config)).expect("an anonymous client");
            assert!(!asked.0.load(Ordering::SeqCst), "{host} asked for a certificate");
        }
    }
}

#[test]
fn a_host_that_requires_a_certificate_asks_for_it() {
    // The test above could not fail if this client were never asked at all.
    let scene = Hosts::new("require", &["any-verified"]);
    for version in Version::ALL {
        let asked = Arc::new(Asked::default());
        let mut config = config(&scene.pki, None, version);
        config.client_auth_cert_resolver = Arc::clone(&asked) as _;
        assert!(ask_whoami(FIRST, scene.address, &Arc::new(config)).is_err());
        assert!(asked.0.load(Ordering::SeqCst));
    }
}

#[test]
fn a_host_without_certificates_needs_a_rule_for_anonymous_clients() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let identity = IdentitySection::without_clients(&pki.server).set("client_auth", "none");
    let listener = ListenerSection::new("door", own_address()).identity(identity);
    for allow in ["any-verified", "cn=alice"] {
        let configuration = Configuration::new().listener(listener.clone().set("allow", [allow]));
        let file = ConfigurationFile::new(&pki, &configuration);
        let failure = file.start_in_vain();
        assert_eq!(failure.status.code(), Some(1), "{failure:?}");
        assert!(failure.stderr.contains("anonymous"), "{failure:?}");
        assert!(failure.stderr.contains(&file.path().display().to_string()), "{failure:?}");
    }
    let configuration = Configuration::new().listener(listener.set("allow", ["anonymous"]));
    drop(ConfigurationFile::new(&pki, &configuration).start());
}

#[test]
fn a_host_for_everybody_beside_one_for_the_known() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let first = pki.server_for(&[FIRST], LAST_YEAR);
    let second = pki.server_for(&[SECOND], LAST_YEAR);
    let address = own_address();
    let listener = ListenerSection::new("door", address)
        .set("allow", ["cn=alice", "anonymous"])
        .identity(IdentitySection::new(&first, &pki.client_root_file).names([FIRST]))
        .identity(
            IdentitySection::without_clients(&second).names([SECOND]).set("client_auth", "none"),
        );
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    for version in Version::ALL {
        let (alice, nobody) = (tls(&pki, Some(&pki.alice), version), tls(&pki, None, version));
        assert!(names(&ask_whoami(FIRST, address, &alice).expect("alice"), "alice"));
        assert_eq!(
            ask_whoami(FIRST, address, &nobody),
            Err(Ending::refused_with(AlertDescription::CertificateRequired)),
            "a rule for anonymous clients makes no certificate optional"
        );
        assert!(!names(&ask_whoami(SECOND, address, &alice).expect("anybody"), "alice"));
        ask_whoami(SECOND, address, &nobody).expect("anybody");
    }
    drop(configured);
}

#[test]
fn an_optional_certificate_tells_who_has_one() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let with_rules = |allow: &[&str]| {
        let listener = ListenerSection::new("door", address)
            .set("allow", allow.to_vec())
            .identity(IdentitySection::of(&pki).set("client_auth", "optional"));
        Configuration::new().listener(listener)
    };
    let configured = Configured::start(&pki, with_rules(&["cn=alice", "anonymous"]));
    let bob = pki.client("bob");
    for version in Version::ALL {
        let alice = whoami(address, &pki, Some(&pki.alice), version).expect("alice");
        assert!(names(&alice, "alice") && names(&alice, "allow cn=alice"), "{alice}");
        let nobody = whoami(address, &pki, None, version).expect("an anonymous client");
        assert!(names(&nobody, "allow anonymous"), "{nobody}");
        assert_eq!(nobody["client"].get("common_name"), None, "{nobody}");
        // Whoever has a certificate is not anonymous: no way around a rule.
        assert_eq!(
            whoami(address, &pki, Some(&bob), version),
            Err(Ending::refused_with(AlertDescription::AccessDenied))
        );
    }
    configured.reload(with_rules(&["cn=alice"]));
    for version in Version::ALL {
        assert!(names(&whoami(address, &pki, Some(&pki.alice), version).expect("alice"), "alice"));
        assert_eq!(
            whoami(address, &pki, None, version),
            Err(Ending::refused_with(AlertDescription::CertificateRequired))
        );
    }
    configured.engine.wait_until_idle();
    assert_eq!(
        configured.metrics().nonzero(REFUSED),
        [("client_certificate_missing".to_owned(), 2), ("denied_by_rule".to_owned(), 2)]
    );
}

#[test]
fn the_identity_is_chosen_by_the_name() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let default = pki.server_for(&["main.example"], LAST_YEAR);
    let wildcard = pki.server_for(&["*.example"], LAST_YEAR);
    let exact = pki.server_for(&["exact.example", "other.example", "unlisted.test"], LAST_YEAR);
    let deep = pki.server_for(&["*.deep.example"], LAST_YEAR);
    let ca = &pki.client_root_file;
    // The wildcard stands before the exact name in the file: the order must not decide.
    let listener = ListenerSection::new("door", address)
        .identity(IdentitySection::new(&default, ca).names(["main.example"]))
        .identity(IdentitySection::new(&wildcard, ca).names(["*.example"]))
        .identity(IdentitySection::new(&exact, ca).names(["exact.example", "other.example"]))
        .identity(IdentitySection::new(&deep, ca).names(["*.deep.example"]));
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let mut asked = 0;
    for (name, expected) in [
        (Some("main.example"), "main.example"),
        (Some("any.example"), "*.example"),
        (Some("deep.example"), "*.example"),
        (Some("exact.example"), "exact.example"),
        (Some("other.example"), "exact.example"),
        (Some("EXACT.Example"), "exact.example"),
        (Some("ANY.EXAMPLE"), "*.example"),
        (Some("x.deep.example"), "*.deep.example"),
        // A wildcard stands for one label, and for one label only.
        (Some("x.y.deep.example"), "main.example"),
        (Some("x.exact.example"), "main.example"),
        (Some("example"), "main.example"),
        (Some("unknown.test"), "main.example"),
        // The names in a certificate do not choose it.
        (Some("unlisted.test"), "main.example"),
        (None, "main.example"),
    ] {
        for version in Version::ALL {
            let arguments = s_client::arguments_to(&pki, address, name, Some(&pki.alice), version);
            let mut client = OPENSSL.start(&[&arguments[..], &["-crlf".to_owned()]].concat());
            client.input("GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n");
            let finished = client.outlast();
            let subject = format!("subject=CN = {expected}");
            assert!(finished.said.contains(&subject), "{name:?}: {finished:?}");
            assert!(finished.said.contains("HTTP/1.1 200 OK"), "{name:?}: {finished:?}");
            asked += 1;
        }
    }
    configured.engine.wait_until_idle();
    let records = configured.engine.connection_records(asked);
    assert!(records.iter().all(|record| record["result"] == "allowed"), "{records:?}");
    let unnamed = records.iter().filter(|record| record["server_name"].is_null()).count();
    assert_eq!(unnamed, Version::ALL.len(), "{records:?}");
}

#[test]
fn an_application_protocol_is_agreed_on_and_logged() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let listener = ListenerSection::of("door", address, &pki).set("alpn", ["http/1.1", "h2"]);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    for version in Version::ALL {
        for (offered, agreed) in [
            // The server's order decides.
            (&["h2", "http/1.1"][..], Some("http/1.1")),
            (&["other", "h2"][..], Some("h2")),
            (&[][..], None),
        ] {
            let mut config = config(&pki, Some(&pki.alice), version);
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut client = Client::established(address, &Arc::new(config));
            assert_eq!(client.tls().alpn_protocol(), agreed.map(str::as_bytes));
            client.send(GET_AND_CLOSE);
            client.ending();
            client.close_notify();
            let record = configured.engine.connection_record(client.address());
            assert_eq!(record["alpn"].as_str(), agreed, "{record}");
        }
    }
}

fn whoami(
    address: SocketAddr,
    pki: &Pki,
    identity: Option<&Identity>,
    version: Version,
) -> Result<serde_json::Value, Ending> {
    ask_whoami("localhost", address, &tls(pki, identity, version))
}

/// One listener with two hosts: alice's CA is the first's, the stranger's the second's.
struct Hosts {
    configured: Configured,
    address: SocketAddr,
    stranger: Identity,
    pki: Pki,
}

impl Hosts {
    fn new(client_auth: &str, allow: &[&str]) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let address = own_address();
        let host = |name: &'static str, ca| {
            let server = pki.server_for(&[name], LAST_YEAR);
            let identity = match client_auth {
                "none" => IdentitySection::without_clients(&server),
                _ => IdentitySection::new(&server, ca),
            };
            identity.names([name]).set("client_auth", client_auth)
        };
        let listener = ListenerSection::new("door", address)
            .set("allow", allow.to_vec())
            .identity(host(FIRST, &pki.client_root_file))
            .identity(host(SECOND, &pki.stranger_root_file));
        let configured = Configured::start(&pki, Configuration::new().listener(listener));
        let stranger = pki.client_of_another_ca();
        Self { configured, address, stranger, pki }
    }

    #[track_caller]
    fn knows_each_hosts_clients(&self) {
        let (alice, stranger) = (Some(&self.pki.alice), Some(&self.stranger));
        self.lets_in(FIRST, alice, "allow any-verified");
        self.lets_in(SECOND, stranger, "allow any-verified");
        self.refuses(SECOND, alice, AlertDescription::UnknownCA, "unknown_issuer");
        self.refuses(FIRST, stranger, AlertDescription::UnknownCA, "unknown_issuer");
    }

    #[track_caller]
    fn lets_in(&self, host: &str, identity: Option<&Identity>, rule: &str) {
        for version in Version::ALL {
            let config = tls(&self.pki, identity, version);
            let answer = ask_whoami(host, self.address, &config).expect("a client let in");
            assert_eq!(answer["rule"], rule, "{answer}");
            let expected = identity.filter(|_| rule != "allow anonymous");
            assert_eq!(
                answer["client"].get("common_name").and_then(|name| name.as_str()),
                expected.map(|identity| identity.common_name.as_str()),
                "{answer}"
            );
            let client = answer["client"]["address"].as_str().and_then(|text| text.parse().ok());
            let record = self.configured.engine.connection_record(client.expect("an address"));
            assert_eq!((&record["result"], &record["rule"]), (&"allowed".into(), &rule.into()));
            assert_eq!(record["identity"].is_null(), expected.is_none(), "{record}");
            assert_eq!(record["server_name"], host, "{record}");
        }
    }

    #[track_caller]
    fn refuses(
        &self,
        host: &str,
        identity: Option<&Identity>,
        alert: AlertDescription,
        reason: &str,
    ) {
        let count = |scene: &Self| scene.configured.metrics().count(REFUSED, &[("reason", reason)]);
        let before = count(self);
        for version in Version::ALL {
            let config = tls(&self.pki, identity, version);
            assert_eq!(
                ask_whoami(host, self.address, &config),
                Err(Ending::refused_with(alert)),
                "{host} {version:?}"
            );
            let arguments =
                s_client::arguments_to(&self.pki, self.address, Some(host), identity, version);
            let finished = OPENSSL.start(&arguments).outlast();
            let number = format!("SSL alert number {}", u8::from(alert));
            assert!(finished.said.contains(&number), "{host} {version:?}: {finished:?}");
        }
        self.configured.engine.wait_until_idle();
        assert_eq!(count(self) - before, 4, "{host}: {reason}");
    }
}

/// Notes that it was asked for a certificate, and has none.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}
