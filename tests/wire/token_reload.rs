//! HUP between keys in files and keys in tokens, under load: no handshake is lost, and what a reload does not
//! change is left alone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use countersign_tests::client::Version;
use countersign_tests::configuration::{Configuration, ListenerSection, own_address};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::names;
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::test_token::TestToken;

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::tokens::{seeing, serving, softhsm_with};

#[test]
fn from_software_to_a_token_to_another_and_back_under_load() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let soft = softhsm_with(&pki.server);
    let test = TestToken::new(&pki.directory().join("token"));
    let test = test.with_key("server", &pki.server.key_file);
    let address = own_address();
    let software = || Configuration::new().listener(ListenerSection::of("door", address, &pki));
    let configured = Configured::start_under(&pki, software(), seeing(&soft));
    let stop = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    thread::scope(|scope| {
        let stopped = Stop(&stop);
        for version in [Version::Tls13, Version::Tls12, Version::Tls13] {
            let config = tls(&pki, Some(&pki.alice), version);
            let (stop, served) = (&stop, &served);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let answer = ask_whoami(SERVER_NAME, address, &config).expect("let in");
                    assert!(names(&answer, "alice"));
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..3 {
            for uri in [soft.key_uri("server"), test.uri("server")] {
                configured.reload(serving(&pki, address, &uri));
                let before = served.load(Ordering::SeqCst);
                wait_for("handshakes", || {
                    (served.load(Ordering::SeqCst) > before + 10).then_some(())
                });
            }
            configured.reload(software());
        }
        drop(stopped);
    });
    configured.engine.wait_until_idle();
    let metrics = configured.metrics();
    assert_eq!(metrics.nonzero(REFUSED), []);
    assert!(test.counters().signatures > 10, "the token has signed");
    // Nobody has its key any more: its process ends.
    wait_for("the end of the token's sessions", || {
        let is_told_of = configured.metrics().families.contains_key("countersign_token_up");
        (!is_told_of && test.counters().sessions_open == 0).then_some(())
    });
    assert_eq!(configured.engine.terminate().code, Some(0));
}

#[test]
fn what_a_reload_does_not_change_is_not_opened_again() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let token = TestToken::new(&pki.directory().join("token"));
    let token = token.with_key("server", &pki.server.key_file);
    let address = own_address();
    let configured = Configured::start(&pki, serving(&pki, address, &token.uri("server")));
    let before = token.counters();
    let second = ListenerSection::of("second", own_address(), &pki);
    configured.reload(serving(&pki, address, &token.uri("server")).listener(second));
    configured.reload(serving(&pki, address, &token.uri("server")));
    let after = token.counters();
    assert_eq!((after.logins, after.initializes), (before.logins, before.initializes));
    assert_eq!(after.searches, before.searches, "no key is looked up again");
    assert!(ask_whoami(SERVER_NAME, address, &tls(&pki, Some(&pki.alice), Version::Tls13)).is_ok());
}

#[test]
fn a_refused_reload_leaves_tokens_as_they_were() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let token = TestToken::new(&pki.directory().join("token"));
    let token = token.with_key("server", &pki.server.key_file);
    let other = TestToken::new(&pki.directory().join("other"));
    let address = own_address();
    let configured = Configured::start(&pki, serving(&pki, address, &token.uri("server")));
    let other = other.with_key("server", &pki.unrelated_server_key_file());
    configured.rewrite(serving(&pki, address, &other.uri("server")));
    let errors = configured.engine.reload_refused();
    assert!(errors.len() == 1 && errors[0].contains("listener.identity.key"), "{errors:?}");
    wait_for("the end of the refused token's process", || {
        (other.counters().sessions_open == 0).then_some(())
    });
    assert_eq!(token.counters().initializes, 1);
    for version in Version::ALL {
        assert!(ask_whoami(SERVER_NAME, address, &tls(&pki, Some(&pki.alice), version)).is_ok());
    }
    assert_eq!(configured.metrics().nonzero(REFUSED), []);
}

/// Stops the clients, also where the test fails: else it would wait for them for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
