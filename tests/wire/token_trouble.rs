//! Tokens that hang, fill up or lie: who is refused for it, how fast, and who is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use countersign_tests::client::{Client, Version};
use countersign_tests::configuration::{Configuration, ListenerSection, own_address};
use countersign_tests::deadline::wait_for;
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::test_token::{Action, Fault, TestToken};
use rustls::ClientConfig;

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::resumption_sessions::Visitor;
use crate::tokens::{identity, serving};

fn token(pki: &Pki, folder: &str) -> TestToken {
    let token = TestToken::new(&pki.directory().join(folder));
    token.with_key("server", &pki.server.key_file)
}

#[test]
fn a_full_queue_refuses_at_once_and_tickets_are_still_taken() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let token = token(&pki, "token");
    let address = own_address();
    let listener = ListenerSection::new("door", address)
        .limit("operation_timeout", "30s")
        .limit("handshake_timeout", "60s")
        .identity(identity(&pki, &pki.server, &token.uri("server")));
    let configuration = Configuration::new()
        .tokens("max_sessions", 1)
        .tokens("lanes", 1)
        .tokens("queue", 2)
        .tokens("operation_timeout", "20s")
        .listener(listener);
    let configured = Configured::start(&pki, configuration);
    let visitors = Version::ALL.map(|version| Visitor::new(&pki, Some(&pki.alice), version));
    for visitor in &visitors {
        assert!(!visitor.resumes(address));
    }
    token.fault(Fault::new("C_Sign", Action::Hang));
    let config = tls(&pki, Some(&pki.alice), Version::Tls13);
    let waiting: Vec<_> = (0..3).map(|_| handshake(address, &config)).collect();
    configured.wait_for_count(
        "countersign_token_operations_in_flight",
        &[("token", "pkcs11:token=edge")],
        3,
    );
    for version in Version::ALL {
        let config = tls(&pki, Some(&pki.alice), version);
        assert!(ask_whoami(SERVER_NAME, address, &config).is_err(), "there is no room");
    }
    let metrics = configured.metrics();
    assert_eq!(metrics.count(REFUSED, &[("reason", "token_busy")]), 2);
    for visitor in &visitors {
        assert!(visitor.resumes(address), "a ticket needs no signature");
    }
    token.mend();
    for client in waiting {
        client.join().expect("a thread");
    }
    configured.engine.wait_until_idle();
    let metrics = configured.metrics();
    assert_eq!(metrics.count(REFUSED, &[("reason", "token_busy")]), 2);
    assert_eq!(metrics.nonzero(REFUSED).len(), 1, "{:?}", metrics.nonzero(REFUSED));
}

#[test]
fn while_one_token_hangs_other_identities_are_served() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (hanging, sound) = (token(&pki, "hanging"), token(&pki, "sound"));
    let (stuck, beside, software) = (own_address(), own_address(), own_address());
    let listener = |name: &str, address, uri: &str| {
        ListenerSection::new(name, address).identity(identity(&pki, &pki.server, uri))
    };
    let configuration = Configuration::new()
        .tokens("operation_timeout", "500ms")
        .listener(listener("stuck", stuck, &hanging.uri("server")))
        .listener(listener("beside", beside, &sound.uri("server")))
        .listener(ListenerSection::of("software", software, &pki));
    let configured = Configured::start(&pki, configuration);
    hanging.fault(Fault::new("C_Sign", Action::Hang));
    let config = tls(&pki, Some(&pki.alice), Version::Tls13);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let config = Arc::clone(&config);
            thread::spawn(move || ask_whoami(SERVER_NAME, stuck, &config).is_err())
        })
        .collect();
    for address in [beside, software, beside, software] {
        for version in Version::ALL {
            let config = tls(&pki, Some(&pki.alice), version);
            assert!(ask_whoami(SERVER_NAME, address, &config).is_ok());
        }
    }
    for client in waiting {
        assert!(client.join().expect("a thread"), "it hangs beyond the deadline");
    }
    hanging.mend();
    let refused: u64 = ["operation_timeout", "token_unavailable", "token_busy"]
        .iter()
        .map(|reason| configured.metrics().count(REFUSED, &[("reason", reason)]))
        .sum();
    assert_eq!(refused, 8, "{:?}", configured.metrics().nonzero(REFUSED));
}

#[test]
fn a_wrong_signature_is_not_sent() {
    for kind in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let pki = Pki::new(kind);
        let token = token(&pki, "token");
        let address = own_address();
        let configured = Configured::start(&pki, serving(&pki, address, &token.uri("server")));
        token.fault(Fault::new("C_Sign", Action::WrongSignature));
        let config = tls(&pki, Some(&pki.alice), Version::Tls13);
        assert!(ask_whoami(SERVER_NAME, address, &config).is_err());
        let metrics = configured.metrics();
        assert_eq!(metrics.count(REFUSED, &[("reason", "token_wrong_signature")]), 1);
        configured.engine.log().wait_for_event("token_wrong_signature");
    }
}

#[test]
fn two_tokens_with_one_key_share_the_work_and_help_each_other() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (one, other) = (token(&pki, "one"), token(&pki, "other"));
    let address = own_address();
    let keys = serde_json::json!([one.uri("server"), other.uri("server")]);
    let identity = identity(&pki, &pki.server, "").set("key", keys);
    let listener = ListenerSection::new("door", address).identity(identity);
    let configured = Configured::start(&pki, Configuration::new().listener(listener));
    let config = tls(&pki, Some(&pki.alice), Version::Tls13);
    let served = |count: usize| {
        for _ in 0..count {
            assert!(ask_whoami(SERVER_NAME, address, &config).is_ok());
        }
    };
    // Whoever is slow for a moment gets less in it: how many handshakes that takes is not said.
    wait_for("both to have signed", || {
        served(1);
        let least = one.counters().signatures.min(other.counters().signatures);
        (least > 4).then_some(())
    });
    one.fault(Fault::new("C_Sign", Action::Hang));
    served(20);
    one.mend();
    one.fault(Fault::new("C_Sign", Action::WrongSignature));
    served(20);
    one.mend();
    one.fault(Fault::code("C_Sign", "CKR_FUNCTION_FAILED"));
    served(20);
    assert_eq!(configured.metrics().nonzero(REFUSED), []);
}

/// A client that waits for its handshake, however long that takes.
fn handshake(address: SocketAddr, config: &Arc<ClientConfig>) -> thread::JoinHandle<()> {
    let config = Arc::clone(config);
    thread::spawn(move || {
        let mut client = Client::connect(address, &config);
        client.handshake().expect("let in in the end");
        client.close_notify();
        client.ending();
    })
}
