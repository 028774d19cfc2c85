//! Every kind of rule, to allow and to deny, with a client that it is about and one that it is not.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use countersign_tests::client::{Ending, Version};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::engine::program;
use countersign_tests::pki::{ClientProfile, Identity, KeyKind, Pki, SERVER_NAME};
use countersign_tests::tool::OPENSSL;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, SanType, SerialNumber};
use rustls::AlertDescription;

use crate::configured::{Configured, ask_whoami, tls};
use crate::s_client;

const HOUR: Duration = Duration::from_secs(3_600);

/// A rule, a client that it is about, and one that it is not.
struct Case {
    rule: &'static str,
    fits: Identity,
    other: Identity,
    allow: SocketAddr,
    deny: SocketAddr,
}

fn changed(pki: &Pki, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    pki.issue_changed(&ClientProfile::good(name), change)
}

fn with_key(pki: &Pki, key: KeyKind) -> Identity {
    pki.issue(&ClientProfile { key, ..ClientProfile::good("keyed") })
}

/// Valid since an hour, and for so much longer.
fn valid_for(pki: &Pki, remaining: Duration) -> Identity {
    changed(pki, "timed", |params| {
        params.not_before = (SystemTime::now() - HOUR).into();
        params.not_after = (SystemTime::now() + remaining).into();
    })
}

/// The URI has nothing to do with its common name.
fn with_uris(pki: &Pki, uris: &[&str]) -> Identity {
    changed(pki, "named", |params| {
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("a URI"));
        params.subject_alt_names = uris.iter().map(uri).collect();
    })
}

/// certificatePolicies with 1.3.6.1.4.1.99999.7 alone.
fn with_policy(pki: &Pki) -> Identity {
    const VALUE: [u8; 15] = [48, 13, 48, 11, 6, 9, 43, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 7];
    changed(pki, "policy", |params| {
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 32], VALUE.to_vec());
        params.custom_extensions.push(extension);
    })
}

fn cases(pki: &Pki) -> Vec<Case> {
    let alice = || pki.client("alice");
    let serial = |number: u8| {
        changed(pki, "numbered", |params| {
            params.serial_number = Some(SerialNumber::from_slice(&[0x0a, number]));
        })
    };
    let mail = changed(pki, "mail", |params| {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::EmailProtection);
    });
    let cases = [
        (
            "spiffe=spiffe://clients.example/*",
            alice(),
            with_uris(pki, &["spiffe://b.example/alice"]),
        ),
        (
            "spiffe=SPIFFE://Clients.Example/a/**",
            with_uris(pki, &["spiffe://CLIENTS.example/a/b"]),
            with_uris(pki, &["https://clients.example/a/b"]),
        ),
        ("issuer=CN=Countersign test client intermediate", alice(), pki.client_of_another_ca()),
        ("issuer-cn=Countersign test *", alice(), pki.client_of_another_ca()),
        ("serial=0a:01 && issuer-cn=**", serial(1), serial(2)),
        ("key=ec-p384", with_key(pki, KeyKind::EcdsaP384), alice()),
        ("key=ed25519", with_key(pki, KeyKind::Ed25519), alice()),
        ("key=rsa>=2048", with_key(pki, KeyKind::Rsa2048), alice()),
        ("key=rsa<3072", with_key(pki, KeyKind::Rsa2048), with_key(pki, KeyKind::Ed25519)),
        ("eku=emailProtection", mail, alice()),
        ("policy-oid=1.3.6.1.4.1.99999.7", with_policy(pki), alice()),
        ("lifetime<=24h", valid_for(pki, 2 * HOUR), alice()),
        ("lifetime>24h", alice(), valid_for(pki, 2 * HOUR)),
        ("remaining>=1d", alice(), valid_for(pki, 2 * HOUR)),
        ("remaining<1d", valid_for(pki, 2 * HOUR), alice()),
        (
            "spiffe=spiffe://clients.example/** && lifetime<=24h && key=ec-p256",
            valid_for(pki, 2 * HOUR),
            with_key(pki, KeyKind::EcdsaP256),
        ),
        ("dns=*.clients.example && lifetime>24h", alice(), valid_for(pki, 2 * HOUR)),
    ];
    cases
        .into_iter()
        .map(|(rule, fits, other)| Case {
            rule,
            fits,
            other,
            allow: own_address(),
            deny: own_address(),
        })
        .collect()
}

/// Both client roots in one file.
fn both_roots(pki: &Pki) -> PathBuf {
    let read = |file| fs::read_to_string(file).expect("a PEM file");
    let both = read(&pki.client_root_file) + &read(&pki.stranger_root_file);
    let file = pki.directory().join("both-roots.pem");
    fs::write(&file, both).expect("a file");
    file
}

#[test]
fn every_kind_of_rule_allows_and_denies_whom_it_is_about() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (cases, roots) = (cases(&pki), both_roots(&pki));
    let mut configuration = Configuration::new();
    for (number, case) in cases.iter().enumerate() {
        let door = |name: &str, address| {
            ListenerSection::new(&format!("{name}-{number}"), address)
                .identity(IdentitySection::new(&pki.server, &roots))
        };
        configuration = configuration
            .listener(door("allow", case.allow).set("allow", case.rule))
            .listener(door("deny", case.deny).set("deny", case.rule));
    }
    let configured = Configured::start(&pki, configuration);
    for Case { rule, fits, other, allow, deny } in &cases {
        for version in Version::ALL {
            lets_in(&pki, &configured, *allow, fits, version);
            refuses(&pki, &configured, *allow, other, version);
            refuses(&pki, &configured, *deny, fits, version);
            lets_in(&pki, &configured, *deny, other, version);
        }
        let record = &configured.engine.connection_records(1)[0];
        assert!(!record["rule"].is_null(), "{rule}: {record}");
        openssl_is_refused(&pki, *deny, fits);
    }
    assert_eq!(cases.len(), 17);
}

#[test]
fn a_certificate_with_two_uris_is_no_svid() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let two = with_uris(&pki, &["spiffe://clients.example/a", "https://clients.example/"]);
    let (allow, deny) = (own_address(), own_address());
    let rule = "spiffe=spiffe://clients.example/**";
    let configuration = Configuration::new()
        .listener(ListenerSection::of("allow", allow, &pki).set("allow", rule))
        .listener(ListenerSection::of("deny", deny, &pki).set("deny", rule));
    let configured = Configured::start(&pki, configuration);
    for version in Version::ALL {
        refuses(&pki, &configured, allow, &two, version);
        refuses(&pki, &configured, deny, &two, version);
        lets_in(&pki, &configured, allow, &pki.alice, version);
    }
}

#[test]
fn trust_domains_of_one_listener_are_told_apart() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let host = |name: &'static str, ca, domain: &str| {
        let server = pki.server_for(&[name], 2090);
        IdentitySection::new(&server, ca).names([name]).set("trust_domain", domain)
    };
    let listener = ListenerSection::new("door", address)
        .set("allow", ["trust-domain=staff && cn=a*", "trust-domain=partners"])
        .set("deny", "trust-domain=partners && cn=stranger && lifetime>1d")
        .identity(host("staff.example", &pki.client_root_file, "staff"))
        .identity(host("partners.example", &pki.stranger_root_file, "partners"));
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let (bob, stranger) = (pki.client("bob"), pki.client_of_another_ca());
    let denied = Err(Ending::refused_with(AlertDescription::AccessDenied));
    for version in Version::ALL {
        let ask = |host, identity| ask_whoami(host, address, &tls(&pki, Some(identity), version));
        let answer = ask("staff.example", &pki.alice).expect("alice");
        assert_eq!(answer["rule"], "allow trust-domain=staff && cn=a*");
        assert_eq!(ask("staff.example", &bob), denied);
        assert_eq!(ask("partners.example", &stranger), denied);
    }
    configured.engine.wait_until_idle();
    let records = configured.engine.connection_records(6);
    let by = "deny trust-domain=partners && cn=stranger && lifetime>1d";
    assert_eq!(records.iter().filter(|record| record["rule"] == by).count(), 2, "{records:?}");
}

#[test]
fn check_names_the_rule_the_term_and_what_would_be_right() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    for (allow, place, words) in [
        (
            "cn=a && lifetime<=24",
            ":7:9: listener.allow: term 2: ",
            "write a whole number and a unit",
        ),
        ("cn=a && trust-domain=b", ":7:9: listener.allow: no identity", "trust_domain = \"b\""),
        ("cn=a&&cn=b", ":7:9: listener.allow: `&&` stands", "one blank before and one behind"),
        ("serial=1", ":7:9: listener.allow: a serial", "issuer-serial=HEX@ISSUER"),
    ] {
        let listener = ListenerSection::of("door", own_address(), &pki).set("allow", allow);
        let file = ConfigurationFile::new(&pki, &Configuration::new().listener(listener));
        let output = Command::new(program())
            .args(["check", "--config"])
            .arg(file.path())
            .output()
            .expect("the program");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        let place = format!("{}{place}", file.path().display());
        for word in [&place, allow, words] {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    }
}

#[track_caller]
fn lets_in(
    pki: &Pki,
    configured: &Configured,
    address: SocketAddr,
    identity: &Identity,
    version: Version,
) {
    let answer = ask_whoami(SERVER_NAME, address, &tls(pki, Some(identity), version));
    let answer =
        answer.unwrap_or_else(|ending| panic!("{ending:?} {}", configured.engine.log().tail()));
    assert_eq!(answer["client"]["common_name"], identity.common_name.as_str());
}

#[track_caller]
fn refuses(
    pki: &Pki,
    configured: &Configured,
    address: SocketAddr,
    identity: &Identity,
    version: Version,
) {
    assert_eq!(
        ask_whoami(SERVER_NAME, address, &tls(pki, Some(identity), version)),
        Err(Ending::refused_with(AlertDescription::AccessDenied)),
        "{}",
        configured.engine.log().tail()
    );
}

#[track_caller]
fn openssl_is_refused(pki: &Pki, address: SocketAddr, identity: &Identity) {
    let arguments =
        s_client::arguments_to(pki, address, Some(SERVER_NAME), Some(identity), Version::Tls13);
    let finished = OPENSSL.start(&arguments).outlast();
    assert!(finished.said.contains("SSL alert number 49"), "{finished:?}");
}
