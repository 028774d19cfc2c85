//! Clients asked about by OCSP: who comes in, who does not, and who waits for whom.

use std::net::SocketAddr;

use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::{names, whoami};
use countersign_tests::ocsp::{Reply, Responder, Standing};
use countersign_tests::pki::{Identity, KeyKind, Pki};
use rustls::AlertDescription;
use serde_json::{Value, json};
use time::Duration;

use crate::configured::{Configured, tls};

const QUESTIONS: &str = "countersign_ocsp_questions_total";
const USED: &str = "countersign_ocsp_answers_used_total";

/// A listener that asks this responder about its clients.
struct Door {
    configured: Configured,
    address: SocketAddr,
}

impl Door {
    #[track_caller]
    fn open(pki: &Pki, url: &str, set: &[(&str, Value)]) -> Self {
        let identity = IdentitySection::of(pki).set("ocsp", "on").set("ocsp_responder", url);
        Self::with(pki, identity, set)
    }

    #[track_caller]
    fn with(pki: &Pki, identity: IdentitySection, set: &[(&str, Value)]) -> Self {
        let address = own_address();
        let identity =
            set.iter().fold(identity, |identity, (key, value)| identity.set(key, value.clone()));
        let listener = ListenerSection::new("door", address).identity(identity);
        let configuration = Configuration::new().listener(listener);
        Self { configured: Configured::start(pki, configuration), address }
    }

    /// Comes in, and gives the connection's line in the log.
    #[track_caller]
    fn lets_in(&self, pki: &Pki, identity: &Identity, version: Version) -> Value {
        let mut client = Client::established(self.address, &tls(pki, Some(identity), version));
        assert!(names(&whoami(&mut client), &identity.common_name));
        client.close_notify();
        let own = client.address();
        drop(client);
        self.configured.engine.connection_record(own)
    }

    /// Is refused with this alert and reason; gives the connection's line in the log.
    #[track_caller]
    fn keeps_out(
        &self,
        pki: &Pki,
        identity: &Identity,
        version: Version,
        alert: AlertDescription,
        reason: &str,
    ) -> Value {
        let mut client = Client::connect(self.address, &tls(pki, Some(identity), version));
        let ending = match client.handshake() {
            Ok(()) => client.ending().1,
            Err(ending) => ending,
        };
        let own = client.address();
        drop(client);
        let line = self.configured.engine.connection_record(own);
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(ending, Ending::refused_with(alert), "{line}");
        line
    }

    #[track_caller]
    fn asked(&self, result: &str) -> u64 {
        self.configured.metrics().count(QUESTIONS, &[("result", result)])
    }

    /// Nobody gets in whom no answer that holds speaks for; the log's detail says `problem`.
    #[track_caller]
    fn keeps_out_for_want_of_an_answer(&self, pki: &Pki, identity: &Identity, problem: &str) {
        for version in Version::ALL {
            let alert = AlertDescription::CertificateUnknown;
            let line = self.keeps_out(pki, identity, version, alert, "revocation_not_answered");
            let detail = line["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(problem) && detail.contains("CN="), "{line}");
            assert_eq!(line["ocsp"], Value::Null);
        }
    }
}

#[test]
fn the_good_come_in_the_revoked_and_the_unknown_do_not_and_the_second_time_nobody_is_asked() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (bob, eve) = (pki.client("bob"), pki.client("eve"));
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good), (&bob, Standing::Revoked)]);
    let responder = ca.responder(&index, None);
    let door = Door::open(&pki, &responder.url, &[]);
    for (visit, version) in [Version::Tls13, Version::Tls12].into_iter().enumerate() {
        let source = ["asked", "cached"][visit];
        let line = door.lets_in(&pki, &pki.alice, version);
        assert_eq!(
            (&line["ocsp"]["status"], &line["ocsp"]["source"]),
            (&json!("good"), &json!(source))
        );
        assert!(line["ocsp"]["this_update"].as_i64().is_some_and(|at| at > 0), "{line}");
        let alert = AlertDescription::CertificateRevoked;
        let line = door.keeps_out(&pki, &bob, version, alert, "client_certificate_revoked");
        assert_eq!(
            (&line["ocsp"]["status"], &line["ocsp"]["source"]),
            (&json!("revoked"), &json!(source))
        );
        let alert = AlertDescription::CertificateUnknown;
        let line = door.keeps_out(&pki, &eve, version, alert, "revocation_unknown");
        assert_eq!(line["ocsp"]["status"], "unknown");
    }
    for result in ["good", "revoked", "unknown"] {
        assert_eq!(door.asked(result), 1, "{result}");
    }
    let metrics = door.configured.metrics();
    assert_eq!(metrics.count(USED, &[("source", "worker")]), 3);
    assert_eq!(metrics.count("countersign_ocsp_answers", &[]), 3);
    assert_eq!(metrics.count("countersign_ocsp_questions_in_flight", &[]), 0);
    assert_eq!(metrics.count("countersign_ocsp_answer_duration_seconds_count", &[]), 3);
    // Without the responder those who are known go on as before.
    responder.stop();
    let line = door.lets_in(&pki, &pki.alice, Version::Tls13);
    assert_eq!((&line["chain"], &line["ocsp"]["source"]), (&json!("cached"), &json!("cached")));
    door.configured.engine.wait_until_idle();
}

#[test]
fn hash_and_nonce_are_as_configured_and_a_delegate_of_the_ca_may_sign() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good)]);
    let signer = pki.answer_signer(true);
    let responder = ca.responder(&index, Some(&signer));
    for (hash, nonce) in [("sha1", "off"), ("sha256", "prefer"), ("sha256", "require")] {
        let set = [("ocsp_hash", json!(hash)), ("ocsp_nonce", json!(nonce))];
        let door = Door::open(&pki, &responder.url, &set);
        door.lets_in(&pki, &pki.alice, Version::Tls13);
        assert_eq!(door.asked("good"), 1, "{hash}, nonce {nonce}");
    }
}

#[test]
fn the_certificate_names_its_responder_where_that_is_allowed() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let responder = Responder::start(|_| Reply::Silence);
    let bob = pki.client_naming_responder("bob", &responder.url);
    let ca = pki.client_authority();
    let index = ca.index(&[(&bob, Standing::Good)]);
    responder.say(Reply::Body(ca.answer(&bob, &index, None)));
    let identity = IdentitySection::of(&pki).set("ocsp", "on").set("ocsp_from_certificate", true);
    let door = Door::with(&pki, identity, &[]);
    door.lets_in(&pki, &bob, Version::Tls13);
    assert_eq!(responder.requests(), 1);
    door.keeps_out_for_want_of_an_answer(&pki, &pki.alice, "names no OCSP responder");
}

#[test]
fn an_answer_that_does_not_hold_is_none() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let bob = pki.client("bob");
    let (ca, stranger) = (pki.client_authority(), pki.stranger_authority());
    let index = ca.index(&[(&pki.alice, Standing::Good), (&bob, Standing::Good)]);
    let good = ca.answer(&pki.alice, &index, None);
    let hour = Duration::hours(1);
    let mut forged = ca.retimed(&good, hour, hour);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    // The first has to hold, or the others prove nothing.
    let held = ca.retimed(&good, hour, hour);
    let responder = Responder::start(move |_| Reply::Body(held.clone()));
    Door::open(&pki, &responder.url, &[]).lets_in(&pki, &pki.alice, Version::Tls13);

    let unfit = pki.answer_signer(false);
    let door = Door::open(&pki, &responder.url, &[]);
    let replies: [(Reply, &str); 10] = [
        (Reply::Body(ca.retimed(&good, hour * 3, -hour)), "it was right until"),
        (Reply::Body(ca.retimed(&good, -hour, hour * 3)), "it is right only from"),
        (Reply::Body(ca.answer(&bob, &index, None)), "not about the certificate"),
        (Reply::Body(stranger.retimed(&good, hour, hour)), "signature is wrong"),
        (Reply::Body(forged), "signature is wrong"),
        (Reply::Body(ca.answer(&pki.alice, &index, Some(&unfit))), "extended key usage"),
        (Reply::Body(b"no DER at all".to_vec()), "no OCSPResponse"),
        (Reply::Body(vec![0x30, 3, 10, 1, 6]), "unauthorized"),
        (Reply::Body(vec![0; 200_000]), "its answer broke"),
        (Reply::Status(503), "503"),
    ];
    for (reply, problem) in replies {
        responder.say(reply);
        door.keeps_out_for_want_of_an_answer(&pki, &pki.alice, problem);
    }
    responder.say(Reply::Raw(b"SSH-2.0-x\r\n".to_vec()));
    door.keeps_out_for_want_of_an_answer(&pki, &pki.alice, "broke");
    // None of it was remembered.
    responder.say(Reply::Body(good));
    door.lets_in(&pki, &pki.alice, Version::Tls13);
    assert_eq!(door.asked("good"), 1);
    assert_eq!(door.asked("invalid"), 16);
    door.configured.engine.wait_until_idle();
}

#[test]
fn a_nonce_that_is_required_and_not_answered_is_no_answer() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good)]);
    let answer = ca.answer(&pki.alice, &index, None);
    let responder = Responder::start(move |_| Reply::Body(answer.clone()));
    let door = Door::open(&pki, &responder.url, &[("ocsp_nonce", json!("prefer"))]);
    door.lets_in(&pki, &pki.alice, Version::Tls13);
    drop(door);
    let door = Door::open(&pki, &responder.url, &[("ocsp_nonce", json!("require"))]);
    door.keeps_out_for_want_of_an_answer(&pki, &pki.alice, "it has no nonce");
}

#[test]
fn a_responder_that_is_down_or_silent_closes_the_door_or_leaves_it_open_as_configured() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let silent = Responder::start(|_| Reply::Silence);
    let down = format!("http://{}/", own_address());
    for (url, problem) in [(&silent.url, "nothing came within"), (&down, "cannot connect")] {
        let timeout = ("ocsp_timeout", json!("100ms"));
        let door = Door::open(&pki, url, std::slice::from_ref(&timeout));
        door.keeps_out_for_want_of_an_answer(&pki, &pki.alice, problem);
        assert_eq!(door.asked("not_answered"), 2);
        drop(door);
        let door = Door::open(&pki, url, &[timeout, ("ocsp_no_answer", json!("fail_open"))]);
        for version in Version::ALL {
            let line = door.lets_in(&pki, &pki.alice, version);
            assert_eq!(line["ocsp"]["status"], "not_answered", "{line}");
        }
    }
}

/// An answer is an answer: it is only its absence that `fail_open` forgives.
#[test]
fn the_revoked_stay_out_where_the_door_fails_open() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.client_authority();
    let responder = ca.responder(&ca.index(&[(&pki.alice, Standing::Revoked)]), None);
    let door = Door::open(&pki, &responder.url, &[("ocsp_no_answer", json!("fail_open"))]);
    let alert = AlertDescription::CertificateRevoked;
    door.keeps_out(&pki, &pki.alice, Version::Tls13, alert, "client_certificate_revoked");
    let alert = AlertDescription::CertificateUnknown;
    door.keeps_out(&pki, &pki.client("bob"), Version::Tls13, alert, "revocation_unknown");
}

#[test]
fn others_come_in_while_some_wait_and_who_asks_the_same_waits_for_the_same_answer() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let bob = pki.client("bob");
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good), (&bob, Standing::Good)]);
    let (about_alice, about_bob) =
        (ca.answer(&pki.alice, &index, None), ca.answer(&bob, &index, None));
    // Bob is asked about first, and known from then on; nobody hears anything about Alice.
    let responder = Responder::start(move |number| match number {
        0 => Reply::Body(about_bob.clone()),
        _ => Reply::Silence,
    });
    let address = own_address();
    let identity =
        IdentitySection::of(&pki).set("ocsp", "on").set("ocsp_responder", responder.url.clone());
    let listener = ListenerSection::new("door", address)
        .limit("operation_timeout", "100s")
        .limit("handshake_timeout", "100s")
        .identity(identity.set("ocsp_timeout", "60s"));
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let door = Door { configured, address };
    door.lets_in(&pki, &bob, Version::Tls13);
    let mut waiting: Vec<_> = Version::ALL
        .into_iter()
        .map(|version| {
            let mut client = Client::connect(address, &tls(&pki, Some(&pki.alice), version));
            std::thread::spawn(move || (client.handshake(), client))
        })
        .collect();
    let suspended = || {
        let status = door.configured.engine.status();
        (status["stacks_suspended"] == 2).then_some(())
    };
    wait_for("two handshakes that wait for an answer", suspended);
    let metrics = door.configured.metrics();
    assert_eq!(metrics.count("countersign_ocsp_questions_in_flight", &[]), 1);
    assert_eq!(metrics.count(USED, &[("source", "under_way")]), 1);
    for _ in 0..3 {
        door.lets_in(&pki, &bob, Version::Tls13);
    }
    responder.say(Reply::Body(about_alice));
    for thread in waiting.drain(..) {
        let (result, mut client) = thread.join().expect("a client");
        assert_eq!(result, Ok(()));
        assert!(names(&whoami(&mut client), "alice"));
    }
    assert_eq!(responder.requests(), 2);
    door.configured.engine.wait_until_idle();
}

#[test]
fn a_client_that_is_gone_while_it_waits_leaves_nothing_behind() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let responder = Responder::start(|_| Reply::Silence);
    let door = Door::open(&pki, &responder.url, &[("ocsp_timeout", json!("2s"))]);
    let mut client = Client::connect(door.address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    client.send_last_flight().expect("a flight");
    wait_for("the question", || (responder.requests() == 1).then_some(()));
    drop(client);
    door.configured.engine.wait_until_idle();
}

/// A crowd must not open the door that is left open to a responder's silence.
#[test]
fn who_finds_no_place_to_wait_is_refused_even_where_the_door_fails_open() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let responder = Responder::start(|_| Reply::Silence);
    let address = own_address();
    let identity = IdentitySection::of(&pki)
        .set("ocsp", "on")
        .set("ocsp_responder", responder.url.clone())
        .set("ocsp_no_answer", "fail_open")
        .set("ocsp_timeout", "60s");
    let listener = ListenerSection::new("door", address)
        .limit("lookup_suspensions", 1)
        .limit("operation_timeout", "100s")
        .limit("handshake_timeout", "100s")
        .identity(identity);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let mut waiting = Client::connect(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    waiting.send_last_flight().expect("a flight");
    wait_for("the question", || (responder.requests() == 1).then_some(()));
    let bob = pki.client("bob");
    for version in Version::ALL {
        let mut client = Client::connect(address, &tls(&pki, Some(&bob), version));
        let ending = match client.handshake() {
            Ok(()) => client.ending().1,
            Err(ending) => ending,
        };
        assert!(matches!(ending, Ending::Alert { .. }), "{ending:?}");
        let own = client.address();
        drop(client);
        let line = configured.engine.connection_record(own);
        assert_eq!(line["reason"], "suspensions_exhausted", "{line}");
    }
    // Whoever has waited in vain is let in.
    responder.say(Reply::Status(500));
    assert!(names(&whoami(&mut waiting), "alice"));
}

#[test]
fn a_silent_responder_is_waited_for_by_one_client_at_a_time_until_it_answers() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let bob = pki.client("bob");
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good), (&bob, Standing::Good)]);
    let about_alice = ca.answer(&pki.alice, &index, None);
    let responder = Responder::start(|_| Reply::Status(500));
    let address = own_address();
    let identity = IdentitySection::of(&pki)
        .set("ocsp", "on")
        .set("ocsp_responder", responder.url.clone())
        .set("ocsp_timeout", "60s");
    let listener = ListenerSection::new("door", address)
        .limit("operation_timeout", "100s")
        .limit("handshake_timeout", "100s")
        .identity(identity);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let door = Door { configured, address };
    let alert = AlertDescription::CertificateUnknown;
    for _ in 0..5 {
        door.keeps_out(&pki, &bob, Version::Tls13, alert, "revocation_not_answered");
    }
    responder.say(Reply::Silence);
    let mut waiting = Client::connect(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    waiting.send_last_flight().expect("a flight");
    wait_for("the question", || (responder.requests() == 6).then_some(()));
    let line = door.keeps_out(&pki, &bob, Version::Tls13, alert, "revocation_not_answered");
    assert!(line["detail"].as_str().is_some_and(|text| text.contains("the last ones")), "{line}");
    assert_eq!((responder.requests(), door.asked("skipped")), (6, 1));
    responder.say(Reply::Body(about_alice));
    assert!(names(&whoami(&mut waiting), "alice"));
    responder.say(Reply::Body(ca.answer(&bob, &index, None)));
    door.lets_in(&pki, &bob, Version::Tls13);
}

#[test]
fn what_is_wrong_in_the_configuration_is_said() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let refused = |set: &[(&str, Value)], problem: &str| {
        let identity = IdentitySection::of(&pki).set("ocsp", "on");
        let identity =
            set.iter().fold(identity, |identity, (key, value)| identity.set(key, value.clone()));
        let listener = ListenerSection::new("door", own_address()).identity(identity);
        let file = countersign_tests::configuration::ConfigurationFile::new(
            &pki,
            &Configuration::new().listener(listener),
        );
        let failure = file.start_in_vain();
        assert!(failure.stderr.contains(problem), "{problem}: {}", failure.stderr);
    };
    refused(&[], "does not say whom to ask");
    let url = ("ocsp_responder", json!("http://127.0.0.1:1/"));
    refused(&[("ocsp_responder", json!("https://ocsp.example/"))], "answers are signed");
    refused(&[("ocsp_responder", json!("ocsp.example"))], "must begin with http://");
    refused(&[url.clone(), ("ocsp_timeout", json!("5s"))], "shorter than operation_timeout");
    refused(&[url.clone(), ("ocsp_max_age", json!("30d"))], "ocsp_max_age");
    refused(&[url, ("ocsp_staple", json!("on"))], "names no responder");
}
