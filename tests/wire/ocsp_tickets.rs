//! Clients that come back by a ticket where OCSP is asked about them: nobody waits for the ticket's sake.

use std::net::SocketAddr;

use countersign_tests::client::Version;
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::ocsp::{Reply, Responder, Standing};
use countersign_tests::pki::{KeyKind, Pki};

use crate::configured::Configured;
use crate::resumption_sessions::{DECLINED, Visitor};

/// Asks this responder; without an answer its clients come in all the same.
fn open_door(pki: &Pki, address: SocketAddr, responder: &Responder, nonce: &str) -> Configuration {
    let identity = IdentitySection::of(pki)
        .set("ocsp", "on")
        .set("ocsp_responder", responder.url.clone())
        .set("ocsp_no_answer", "fail_open")
        .set("ocsp_nonce", nonce);
    Configuration::new().listener(ListenerSection::new("door", address).identity(identity))
}

#[test]
fn a_ticket_goes_on_by_a_good_answer_that_is_remembered_and_without_one_its_client_is_asked_about()
{
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good)]);
    let answer = ca.answer(&pki.alice, &index, None);
    for version in Version::ALL {
        let body = answer.clone();
        let responder = Responder::start(move |_| Reply::Body(body.clone()));
        let address = own_address();
        let configured = Configured::start(&pki, open_door(&pki, address, &responder, "off"));
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        let first = alice.visit(address).expect("let in");
        let line = configured.engine.connection_record(first.client);
        assert_eq!((first.resumed, &line["ocsp"]["source"]), (false, &"asked".into()), "{line}");
        for _ in 0..2 {
            let again = alice.visit(address).expect("let in");
            let line = configured.engine.connection_record(again.client);
            assert!(again.resumed, "{version:?}: {line}");
            assert_eq!(line["ocsp"]["status"], "good", "{line}");
            assert_eq!(line["ocsp"]["source"], "cached", "{line}");
        }
        assert_eq!(responder.requests(), 1);
        assert_eq!(configured.metrics().nonzero(DECLINED), []);

        // What is remembered has no nonce, and does not do any more.
        configured.reload(open_door(&pki, address, &responder, "require"));
        let last = alice.visit(address).expect("let in");
        let line = configured.engine.connection_record(last.client);
        assert!(!last.resumed, "{version:?}: {line}");
        assert_eq!(line["ocsp"]["status"], "not_answered", "{line}");
        assert_eq!(responder.requests(), 2);
        let declined = configured.metrics().nonzero(DECLINED);
        assert_eq!(declined, [("status_unknown".into(), 1)]);
        configured.engine.wait_until_idle();
    }
}

/// A resumption does not wait for a responder, and need not: what one worker was told, all of them know.
#[test]
fn a_ticket_goes_on_with_whichever_worker_once_the_responder_has_answered_one() {
    const WORKERS: u64 = 4;
    const VISITS: u64 = 24;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = pki.client_authority();
    let index = ca.index(&[(&pki.alice, Standing::Good)]);
    let answer = ca.answer(&pki.alice, &index, None);
    let responder = Responder::start(move |_| Reply::Body(answer.clone()));
    let address = own_address();
    let configuration = open_door(&pki, address, &responder, "off").set("workers", WORKERS);
    let configured = Configured::start(&pki, configuration);
    for version in Version::ALL {
        let alice = Visitor::new(&pki, Some(&pki.alice), version);
        assert!(!alice.resumes(address));
        wait_for("every worker to know the answer", || {
            let known = configured.metrics().count("countersign_ocsp_answers", &[]);
            (known == WORKERS).then_some(())
        });
        for _ in 0..VISITS {
            assert!(alice.resumes(address), "{version:?}");
        }
    }
    let metrics = configured.metrics();
    assert_eq!(responder.requests(), 1);
    assert_eq!(metrics.nonzero(DECLINED), []);
}
