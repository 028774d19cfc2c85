//! Which connections get a line in the log.

use std::sync::Arc;

use countersign_tests::client::{Client, Ending, Version, config};
use countersign_tests::engine::Launch;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki};
use rustls::AlertDescription;

#[test]
fn problems_are_refusals_and_nothing_that_a_client_did_itself() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).option("--log-connections", "problems").start();
    let config = |identity| Arc::new(config(&pki, identity, Version::Tls13));

    let mut well = Client::established(engine.address, &config(Some(&pki.alice)));
    assert!(names(&whoami(&mut well), "alice"));
    well.close_notify();
    assert_eq!(well.ending(), (Vec::new(), Ending::CloseNotify));
    let resets = Client::established(engine.address, &config(Some(&pki.alice)));
    resets.reset();
    let mut refused = Client::connect(engine.address, &config(None));
    refused.handshake().expect("TLS 1.3: this side is complete before it is judged");
    assert_eq!(refused.ending().1, Ending::refused_with(AlertDescription::CertificateRequired));
    drop((well, refused));

    // Everybody is counted, whatever the log says.
    let counters = engine.wait_until_idle();
    assert_eq!(counters["accepted"], 3, "{counters}");
    let lines = engine.log().events("connection");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["reason"], "client_certificate_missing");
}
