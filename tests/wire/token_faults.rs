//! What tokens do wrong, one after the other, to an engine that is not restarted: who was connected stays, each handshake that
//! fails is counted with its reason, and once the token does right again clients are let in again.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use countersign_tests::client::{Client, Version};
use countersign_tests::configuration::{Configuration, ListenerSection, own_address};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::test_token::{Action, Counters, Fault, TestToken};
use rustls::ClientConfig;

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::tokens::identity;

/// Reasons that are a token's, by their labels.
const OF_TOKENS: [&str; 5] = [
    "signing_failed",
    "token_unavailable",
    "token_busy",
    "token_wrong_signature",
    "operation_timeout",
];

/// How a token goes wrong, and what makes it right again.
struct Trouble {
    name: &'static str,
    begin: fn(&TestToken),
    shows: Shows,
}

/// By what it is seen that the trouble was there.
enum Shows {
    Refusals,
    /// The engine does more of this with the token. Handshakes may all have been made good in time.
    Repair(fn(&Counters) -> u64),
}

const fn lasting(name: &'static str, begin: fn(&TestToken)) -> Trouble {
    Trouble { name, begin, shows: Shows::Refusals }
}

const fn passing(
    name: &'static str,
    repair: fn(&Counters) -> u64,
    begin: fn(&TestToken),
) -> Trouble {
    Trouble { name, begin, shows: Shows::Repair(repair) }
}

const TROUBLES: [Trouble; 11] = [
    passing(
        "its process is killed",
        |did| did.initializes,
        |token| {
            let child = token.processes().last().expect("the module's process").pid;
            assert!(child > 1, "a process of its own");
            let killed = Command::new("kill").args(["-9", &child.to_string()]).status();
            assert!(killed.is_ok_and(|status| status.success()), "it is there");
        },
    ),
    lasting("it is taken away", |token| token.remove(true)),
    passing("its sessions end", |did| did.sessions_opened, TestToken::end_sessions),
    passing("its login is lost", |did| did.logins, TestToken::end_login),
    lasting("CKR_DEVICE_ERROR", |token| fails_with(token, "CKR_DEVICE_ERROR")),
    lasting("CKR_HOST_MEMORY", |token| fails_with(token, "CKR_HOST_MEMORY")),
    lasting("CKR_FUNCTION_FAILED", |token| fails_with(token, "CKR_FUNCTION_FAILED")),
    lasting("it hangs", |token| _ = token.fault(Fault::new("C_Sign", Action::Hang))),
    lasting("it lies", |token| _ = token.fault(Fault::new("C_Sign", Action::WrongSignature))),
    lasting("its key is deleted", |token| token.delete("server", true)),
    passing(
        "its module crashes",
        |did| did.initializes,
        |token| {
            token.fault(Fault::new("C_Sign", Action::Abort).times(1));
        },
    ),
];

fn fails_with(token: &TestToken, code: &'static str) {
    token.fault(Fault::code("C_Sign", code));
}

#[test]
fn a_p256_key_whose_token_does_everything_wrong() {
    suffer(KeyKind::EcdsaP256);
}

#[test]
fn an_rsa_key_whose_token_does_everything_wrong() {
    suffer(KeyKind::Rsa2048);
}

fn suffer(kind: KeyKind) {
    let pki = Pki::new(kind);
    let token = TestToken::new(&pki.directory().join("token"));
    let token = token.with_key("server", &pki.server.key_file);
    let address = own_address();
    let listener = ListenerSection::new("door", address)
        .limit("idle_timeout", "5m")
        .identity(identity(&pki, &pki.server, &token.uri("server")));
    let configuration =
        Configuration::new().tokens("operation_timeout", "500ms").listener(listener);
    let configured = Configured::start(&pki, configuration);
    let config = tls(&pki, Some(&pki.alice), Version::Tls13);
    let mut kept = Client::connect(address, &config);
    kept.handshake().expect("let in");
    let mut refused = 0;
    for trouble in &TROUBLES {
        let crowd = Crowd::new(&pki, address);
        thread::scope(|scope| {
            let leaving = Leaving(&crowd.is_over);
            crowd.visit(scope);
            crowd.wait_for_served(5);
            let before = token.counters();
            (trouble.begin)(&token);
            match trouble.shows {
                Shows::Refusals => crowd.wait_for_refused(trouble.name),
                Shows::Repair(of) => {
                    token.wait_for(trouble.name, |now| of(now) > of(&before));
                }
            }
            assert!(names(&whoami(&mut kept), "alice"), "{}: who was in stays", trouble.name);
            token.mend();
            token.remove(false);
            token.delete("server", false);
            // Long enough for everything that had begun before it was mended.
            crowd.wait_for_served(20);
            drop(leaving);
        });
        refused += crowd.refused.load(Ordering::SeqCst);
        assert!(ask_whoami(SERVER_NAME, address, &config).is_ok(), "{}: is over", trouble.name);
        assert!(names(&whoami(&mut kept), "alice"), "{}: who was in is in", trouble.name);
    }
    let counted = configured.metrics().nonzero(REFUSED);
    let sum: u64 = counted.iter().map(|(_, count)| count).sum();
    assert_eq!(sum, refused, "each one, and no other: {counted:?}");
    for (labels, _) in &counted {
        assert!(OF_TOKENS.iter().any(|reason| labels.contains(reason)), "{counted:?}");
    }
    kept.close_notify();
    kept.ending();
    assert_eq!(configured.engine.terminate().code, Some(0));
}

/// Clients that come again and again, for as long as they are wanted.
struct Crowd {
    address: SocketAddr,
    configs: [Arc<ClientConfig>; 2],
    is_over: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
}

impl Crowd {
    fn new(pki: &Pki, address: SocketAddr) -> Self {
        Self {
            address,
            configs: Version::ALL.map(|version| tls(pki, Some(&pki.alice), version)),
            is_over: AtomicBool::new(false),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn visit<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>) {
        for config in &self.configs {
            scope.spawn(move || {
                while !self.is_over.load(Ordering::SeqCst) {
                    // Each a full handshake: nobody keeps tickets here.
                    let count = match ask_whoami(SERVER_NAME, self.address, config) {
                        Ok(_) => &self.served,
                        Err(_) => &self.refused,
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    }

    #[track_caller]
    fn wait_for_served(&self, count: u64) {
        let before = self.served.load(Ordering::SeqCst);
        wait_for("clients to be let in", || {
            (self.served.load(Ordering::SeqCst) >= before + count).then_some(())
        });
    }

    #[track_caller]
    fn wait_for_refused(&self, trouble: &str) {
        wait_for(&format!("somebody to be refused while {trouble}"), || {
            (self.refused.load(Ordering::SeqCst) > 0).then_some(())
        });
    }
}

/// Sends the crowd home, also where the test fails.
struct Leaving<'a>(&'a AtomicBool);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
