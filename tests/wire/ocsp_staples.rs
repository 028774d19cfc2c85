//! Staples: what clients are shown about the engine's own certificate.

use countersign_tests::client::Version;
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::ocsp::{Reply, Responder, Standing};
use countersign_tests::pki::{Identity, KeyKind, Pki};
use countersign_tests::tool::OPENSSL;
use serde_json::{Value, json};
use std::net::SocketAddr;
use time::Duration;

use crate::configured::Configured;
use crate::s_client;

const UNTIL: &str = "countersign_ocsp_staple_next_update_timestamp_seconds";
const FETCHES: &str = "countersign_ocsp_staple_fetches_total";

fn start(
    pki: &Pki,
    server: &Identity,
    set: &[(&str, Value)],
) -> (Configured, SocketAddr, Configuration) {
    let address = own_address();
    let identity = IdentitySection::new(server, &pki.client_root_file);
    let identity =
        set.iter().fold(identity, |identity, (key, value)| identity.set(key, value.clone()));
    let listener = ListenerSection::new("door", address).identity(identity);
    let configuration = Configuration::new().set("workers", 2).listener(listener);
    (Configured::start(pki, configuration.clone()), address, configuration)
}

/// What `openssl s_client -status` says.
fn status(pki: &Pki, address: SocketAddr, version: Version) -> String {
    let mut arguments =
        s_client::arguments_to(pki, address, Some("localhost"), Some(&pki.alice), version);
    arguments.push("-status".to_owned());
    OPENSSL.run(&arguments).said
}

fn is_stapled(said: &str) -> bool {
    said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good")
}

#[test]
fn clients_that_ask_are_shown_what_the_responder_says_through_a_reload_too() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.server_authority();
    let responder = ca.responder(&ca.index(&[(&pki.server, Standing::Good)]), None);
    let url = json!(responder.url);
    let set = [("ocsp_staple", json!("on")), ("ocsp_staple_responder", url)];
    let (configured, address, configuration) = start(&pki, &pki.server, &set);
    // It was there before the first client.
    for version in Version::ALL {
        let said = status(&pki, address, version);
        assert!(is_stapled(&said), "{said}");
    }
    let metrics = configured.metrics();
    assert_eq!(metrics.count(FETCHES, &[("result", "taken")]), 1);
    // A reload has nothing to fetch, and loses nothing.
    responder.stop();
    configured.reload(configuration);
    for _ in 0..4 {
        let said = status(&pki, address, Version::Tls13);
        assert!(is_stapled(&said), "{said}");
    }
    assert_eq!(configured.metrics().count(FETCHES, &[("result", "taken")]), 1);
}

#[test]
fn a_staple_is_renewed_before_it_runs_out_and_taken_back_when_it_has() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.server_authority();
    let index = ca.index(&[(&pki.server, Standing::Good)]);
    let answer = ca.answer(&pki.server, &index, None);
    let responder = Responder::start(|_| Reply::Silence);
    let short = {
        let answer = ca.retimed(&answer, Duration::minutes(1), Duration::seconds(4));
        move || answer.clone()
    };
    responder.say(Reply::Body(short()));
    let set = [("ocsp_staple", json!("on")), ("ocsp_staple_responder", json!(responder.url))];
    let (configured, address, _) = start(&pki, &pki.server, &set);
    configured.engine.log().wait_for_event("ocsp_staple");
    // Renewed by itself.
    wait_for("a second request", || (responder.requests() >= 2).then_some(()));
    // And when nothing comes any more, what has run out is not shown.
    responder.say(Reply::Status(500));
    configured.engine.log().wait_for_event("ocsp_staple_failed");
    configured.engine.log().wait_for_event("ocsp_staple_expired");
    wait_for("a handshake without a staple", || {
        status(&pki, address, Version::Tls13).contains("no response sent").then_some(())
    });
    let metrics = configured.metrics();
    let serial = metrics.count(FETCHES, &[("result", "failed")]);
    assert!(serial >= 1);
}

#[test]
fn a_file_is_read_and_watched_and_what_does_not_hold_is_not_shown() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.server_authority();
    let index = ca.index(&[(&pki.server, Standing::Good)]);
    let file = pki.directory().join("staple.der");
    std::fs::write(&file, b"nothing").expect("a file");
    let set =
        [("ocsp_staple", json!("on")), ("ocsp_staple_file", json!(file.display().to_string()))];
    let (configured, address, _) = start(&pki, &pki.server, &set);
    let failed = configured.engine.log().wait_for_event("ocsp_staple_failed");
    assert!(failed["problem"].as_str().is_some_and(|text| text.contains("staple.der")), "{failed}");
    let said = status(&pki, address, Version::Tls13);
    assert!(said.contains("no response sent"), "{said}");
    let fresh = pki.directory().join("fresh.der");
    std::fs::write(&fresh, ca.answer(&pki.server, &index, None)).expect("a file");
    std::fs::rename(&fresh, &file).expect("in its place");
    wait_for("the staple", || is_stapled(&status(&pki, address, Version::Tls13)).then_some(()));
}

#[test]
fn a_must_staple_certificate_is_stapled_without_being_asked_to_and_served_without_if_need_be() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.server_authority();
    let responder = Responder::start(|_| Reply::Status(500));
    let server = pki.must_staple_server(Some(&responder.url));
    let (configured, address, _) = start(&pki, &server, &[]);
    let failed = configured.engine.log().wait_for_event("ocsp_staple_failed");
    assert_eq!((&failed["must_staple"], &failed["served_until"]), (&json!(true), &Value::Null));
    assert_eq!(configured.metrics().nonzero(UNTIL), []);
    // The engine refuses nobody for it: that is for clients to do.
    let said = status(&pki, address, Version::Tls13);
    assert!(said.contains("no response sent"), "{said}");
    let index = ca.index(&[(&server, Standing::Good)]);
    responder.say(Reply::Body(ca.answer(&server, &index, None)));
    wait_for("the staple", || is_stapled(&status(&pki, address, Version::Tls13)).then_some(()));
    assert_eq!(configured.metrics().nonzero(UNTIL).len(), 1);
}

#[test]
fn a_must_staple_certificate_that_cannot_be_stapled_is_worth_a_warning() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let server = pki.must_staple_server(None);
    for (set, problem) in [
        (vec![], "names no responder"),
        (vec![("ocsp_staple", json!("off"))], "clients that keep to that refuse it"),
    ] {
        let (configured, _, _) = start(&pki, &server, &set);
        let warning = configured.engine.log().wait_for_event("configuration_warning");
        assert!(
            warning["message"].as_str().is_some_and(|text| text.contains(problem)),
            "{warning}"
        );
    }
}
