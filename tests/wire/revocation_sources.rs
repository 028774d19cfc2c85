//! Revocation lists over HTTP: fetched, kept while the server is away, and never believed without a signature.

use std::net::SocketAddr;

use countersign_tests::configuration::own_address;
use countersign_tests::crl::{Authority, Crl};
use countersign_tests::http_server::HttpServer;
use countersign_tests::pki::{KeyKind, Pki};
use rustls::AlertDescription;
use serde_json::Value;

use crate::configured::Configured;
use crate::revocation::{Fate, Scene, configuration, put};

const REVOKED: Fate = Err(AlertDescription::CertificateRevoked);
const UNKNOWN: Fate = Err(AlertDescription::CertificateUnknown);

/// The root's list in a folder, the intermediate's at a URL.
fn start(url: &str) -> Scene {
    let pki = Pki::new(KeyKind::EcdsaP256);
    put(&pki, "root.crl", Crl::new(1).signed(&pki, Authority::Root).der());
    let address = own_address();
    let crls = format!("{}/", crate::revocation::folder(&pki).display());
    let settings: [(&str, Value); 2] =
        [("crl", vec![crls, url.to_owned()].into()), ("crl_refresh", "1s".into())];
    let configured = Configured::start(&pki, configuration(&pki, address, &settings));
    Scene { configured, address, pki }
}

#[test]
fn a_list_is_fetched_and_kept_whatever_the_server_says_later() {
    // Nobody is there yet: the start does not fail.
    let address = SocketAddr::new(own_address().ip(), 8_080);
    let scene = start(&format!("http://{address}/clients.crl"));
    let event = scene.configured.engine.log().wait_for_event("crl_failed");
    assert!(
        event["source"].as_str().is_some_and(|source| source.starts_with("http://")),
        "{event}"
    );
    scene.meets(&scene.pki.alice, UNKNOWN);
    let server = HttpServer::start(address);
    let sign = |list: &Crl| list.signed(&scene.pki, Authority::Intermediate);
    server.serve(sign(&Crl::new(1)).der());
    scene.comes_to_meet(&scene.pki.alice, Ok(()));
    server.serve(sign(&Crl::new(2).between(-30, 60).revoke(&scene.pki.alice)).der());
    scene.comes_to_meet(&scene.pki.alice, REVOKED);
    for (answer, problem) in [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), "404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrubbish".to_vec(), "no CRL in it"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n0".to_vec(), "larger than"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x30\x84\xff\xff\xff\xff\x30".to_vec(), "larger than"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
            "redirects are not followed",
        ),
        (Vec::new(), "cannot be fetched"),
    ] {
        server.say(answer);
        scene.configured.engine.log().wait_for(problem, |events| {
            let said = |event: &&Value| {
                event["error"].as_str().is_some_and(|error| error.contains(problem))
            };
            events.iter().find(|event| event["event"] == "crl_failed" && said(event)).cloned()
        });
        scene.meets(&scene.pki.alice, REVOKED);
    }
    // Forged: what was fetched before is replaced by something that nobody believes.
    server.serve(Crl::new(9).between(-5, 60).forged().der());
    scene.comes_to_meet(&scene.pki.alice, UNKNOWN);
    server.serve(sign(&Crl::new(3).between(-10, 60)).der());
    scene.comes_to_meet(&scene.pki.alice, Ok(()));
}

#[test]
fn a_list_that_a_certificate_names_is_fetched_if_that_is_allowed() {
    let server = HttpServer::start(SocketAddr::from(([127, 0, 0, 1], 0)));
    let settings: [(&str, Value); 2] =
        [("crl_distribution_points", true.into()), ("crl_refresh", "1s".into())];
    let remove = |pki: &Pki| {
        std::fs::remove_file(crate::revocation::folder(pki).join("issuing.crl")).expect("a file");
    };
    let scene = Scene::start(&settings, remove);
    let carol = scene.pki.client_with_points("carol", &[&server.url()]);
    let sign = |list: &Crl| list.signed(&scene.pki, Authority::Intermediate);
    server.serve(sign(&Crl::new(1)).der());
    assert_eq!(server.requests(), 0);
    // The first one asks in vain, and is why it is fetched.
    scene.comes_to_meet(&carol, Ok(()));
    server.serve(sign(&Crl::new(2).between(-30, 60).revoke(&carol)).der());
    scene.comes_to_meet(&carol, REVOKED);
    let scene = Scene::start(&[], remove);
    let dave = scene.pki.client_with_points("dave", &[&server.url()]);
    let before = server.requests();
    scene.meets(&dave, UNKNOWN);
    scene.meets(&dave, UNKNOWN);
    assert_eq!(server.requests(), before);
}
