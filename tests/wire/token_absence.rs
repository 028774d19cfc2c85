//! Tokens that are not there when the engine starts: it serves with the others, and takes them in when they come.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use countersign_tests::client::Version;
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::program;
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::test_token::{Action, Fault, TestToken};
use serde_json::{Value, json};

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::tokens::identity;

const BOTH: [&str; 2] = ["process", "thread"];
const UP: &str = "countersign_token_up";
const EDGE: &str = "pkcs11:token=edge";
const SPARE: &str = "pkcs11:token=spare";

/// Two tokens with the server's key, a listener that has both, and its clients.
struct Pair {
    pki: Pki,
    edge: TestToken,
    spare: TestToken,
    address: SocketAddr,
}

impl Pair {
    fn new() -> Self {
        Self::of(KeyKind::EcdsaP256)
    }

    fn of(kind: KeyKind) -> Self {
        let pki = Pki::new(kind);
        let edge = TestToken::new(&pki.directory().join("edge"));
        let edge = edge.with_key("server", &pki.server.key_file);
        let spare = spare(&pki, "spare").with_key("server", &pki.server.key_file);
        Self { pki, edge, spare, address: own_address() }
    }

    /// The listener, and whatever else its identity's keys are.
    fn listener(&self, more: &[String]) -> ListenerSection {
        let mut keys = vec![self.edge.uri("server"), self.spare.uri("server")];
        keys.extend_from_slice(more);
        let identity = identity(&self.pki, &self.pki.server, "").set("key", json!(keys));
        ListenerSection::new("door", self.address).identity(identity)
    }

    fn configuration(&self, isolation: &str) -> Configuration {
        Configuration::new().tokens("isolation", isolation).listener(self.listener(&[]))
    }

    #[track_caller]
    fn start(&self, isolation: &str) -> Configured {
        Configured::start(&self.pki, self.configuration(isolation))
    }

    #[track_caller]
    fn serves(&self, count: usize) {
        for number in 0..count {
            let config = tls(&self.pki, Some(&self.pki.alice), Version::ALL[number % 2]);
            assert!(ask_whoami(SERVER_NAME, self.address, &config).is_ok(), "handshake {number}");
        }
    }

    /// Serves until that many operations of the spare token have come to this.
    #[track_caller]
    fn serves_until(&self, configured: &Configured, result: &str, count: u64) {
        let labels = [("token", SPARE), ("result", result)];
        wait_for(&format!("{count} operations of the spare token to be {result}"), || {
            self.serves(2);
            let counted = configured.metrics().count("countersign_token_operations_total", &labels);
            (counted >= count).then_some(())
        });
    }
}

/// A token with another name than the usual one, and nothing on it.
fn spare(pki: &Pki, name: &str) -> TestToken {
    let token = TestToken::new(&pki.directory().join(name));
    token.change_token(|token| {
        token.label = name.to_owned();
        token.serial = format!("{name}-0001");
    });
    token
}

#[track_caller]
fn is_up(configured: &Configured, token: &str) -> bool {
    configured.metrics().count(UP, &[("token", token)]) == 1
}

/// The words in which a line of the log tells of a token.
#[track_caller]
fn told(configured: &Configured, event: &str, token: &str) -> Value {
    configured.engine.log().wait_for(&format!("{event} of {token}"), |events| {
        let mut events = events.iter();
        events.find(|line| line["event"] == event && line["token"] == token).cloned()
    })
}

#[test]
fn an_engine_serves_with_one_of_its_tokens_and_takes_the_other_in_when_it_comes() {
    for isolation in BOTH {
        let pair = Pair::new();
        pair.spare.remove(true);
        let configured = pair.start(isolation);
        pair.serves(10);
        assert!(is_up(&configured, EDGE) && !is_up(&configured, SPARE), "{isolation}");
        let line = told(&configured, "token_absent", SPARE);
        assert!(line["problem"].as_str().is_some_and(|text| text.contains("spare")), "{line}");
        let keys = line["keys"].as_array().expect("the keys that are served without it");
        assert!(keys.len() == 1 && keys[0].as_str().is_some_and(|at| at.ends_with("identity.key")));
        let status = configured.engine.status();
        let tokens = status["tokens"].as_array().expect("the tokens");
        assert_eq!(tokens.len(), 2, "{status}");
        pair.spare.remove(false);
        configured.wait_for_count(UP, &[("token", SPARE)], 1);
        pair.serves_until(&configured, "signed", 5);
        assert!(pair.spare.counters().signatures >= 5);
        assert_eq!(configured.metrics().nonzero(REFUSED), [], "{isolation}");
        assert_eq!(configured.engine.terminate().code, Some(0));
    }
}

#[test]
fn where_no_token_is_there_the_start_is_refused_and_each_is_named() {
    for isolation in BOTH {
        let pair = Pair::new();
        pair.edge.remove(true);
        pair.spare.remove(true);
        let file = ConfigurationFile::new(&pair.pki, &pair.configuration(isolation));
        let said = file.start_in_vain().stderr;
        let errors: Vec<_> = said.lines().filter(|line| line.contains("identity.key: ")).collect();
        assert_eq!(errors.len(), 2, "{said}");
        assert!(errors[0].contains(EDGE) && errors[1].contains(SPARE), "{said}");
    }
}

#[test]
fn what_waiting_does_not_mend_refuses_the_start() {
    let refused = |what: &str, spoil: &dyn Fn(&Pair), expected: &str| {
        for isolation in BOTH {
            let pair = Pair::new();
            spoil(&pair);
            let file = ConfigurationFile::new(&pair.pki, &pair.configuration(isolation));
            let said = file.start_in_vain().stderr;
            let mut errors = said.lines().filter(|line| line.contains("identity.key: "));
            let (error, none) = (errors.next(), errors.next());
            assert!(error.is_some_and(|error| error.contains(expected)), "{what}: {said}");
            assert_eq!(none, None, "{what}: {said}");
        }
    };
    refused("its PIN", &|pair| pair.spare.write_pin_file("wrong-pin"), "CKR_PIN_INCORRECT");
    refused("a missing key", &|pair| pair.spare.delete("server", true), "server");
    let another = |pair: &Pair| {
        let file = pair.pki.unrelated_server_key_file();
        pair.spare.change_token(|token| token.keys[0].file = Some(file));
    };
    refused("another key", &another, "SHA-256");
    let no_module = |pair: &Pair| fs::write(pair.spare.module(), "not a library").expect("a file");
    refused("its module", &no_module, "dlopen");
}

#[test]
fn checks_report_a_token_that_is_absent() {
    let pair = Pair::new();
    pair.spare.remove(true);
    let file = ConfigurationFile::new(&pair.pki, &pair.configuration("process"));
    let (is_right, said) = file.check();
    assert!(!is_right && said.contains(SPARE) && !said.contains(EDGE), "{said}");
    let mut command = Command::new(program());
    let checked = command.args(["hsm", "check", "--config"]).arg(file.path()).output();
    let checked = checked.expect("the program under test");
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("spare"), "{said}");
}

#[test]
fn a_pin_that_an_absent_token_refuses_when_it_comes_is_tried_once() {
    for isolation in BOTH {
        let pair = Pair::new();
        pair.spare.remove(true);
        pair.spare.write_pin_file("wrong-pin");
        let configured = pair.start(isolation);
        pair.spare.remove(false);
        let line = configured.engine.log().wait_for("the token that needs a human", |events| {
            let is_it = |line: &&Value| {
                line["event"] == "token_down" && line["is_tried_again"] == Value::Bool(false)
            };
            events.iter().find(is_it).cloned()
        });
        assert_eq!(line["token"], SPARE);
        let problem = line["problem"].as_str().expect("why");
        assert!(problem.contains("CKR_PIN_INCORRECT") && problem.contains("pin-source"), "{line}");
        pair.serves(10);
        assert!(!is_up(&configured, SPARE));
        // It does not come back by itself: HUP opens it anew, and tries a PIN only if it is another.
        let errors = configured.engine.reload_refused();
        assert!(errors.len() == 1 && errors[0].contains("has refused this PIN"), "{errors:?}");
        assert_eq!(pair.spare.counters().failed_logins, 1, "{isolation}");
        pair.serves(2);
        assert!(is_up(&configured, EDGE));
    }
}

#[test]
fn nothing_is_sent_that_another_key_has_signed_in_a_token_that_comes_late() {
    for (tells, result) in [(true, "key_missing"), (false, "wrong_signature")] {
        for isolation in BOTH {
            let pair = Pair::new();
            let file = pair.pki.unrelated_server_key_file();
            pair.spare.change_token(|token| {
                token.removed = true;
                let key = &mut token.keys[0];
                (key.file, key.public_object, key.public_key_info) = (Some(file), tells, tells);
            });
            let configured = pair.start(isolation);
            pair.spare.remove(false);
            configured.wait_for_count(UP, &[("token", SPARE)], 1);
            // Every client is served meanwhile, and verifies what it is sent.
            pair.serves_until(&configured, result, 1);
            if tells {
                configured.engine.log().wait_for("word of the other key", |events| {
                    let says = |line: &Value| {
                        let message = line["message"].as_str().unwrap_or_default();
                        line["token"] == SPARE && message.contains("cannot be used")
                    };
                    events.iter().any(says).then_some(())
                });
                assert_eq!(pair.spare.counters().signatures, 0, "{isolation}");
            } else {
                told(&configured, "token_wrong_signature", SPARE);
            }
            // What was served without that key is served on without it.
            configured.engine.reloaded();
            pair.serves(10);
            assert_eq!(configured.metrics().nonzero(REFUSED), [], "{isolation}");
        }
    }
}

#[test]
fn a_token_that_comes_late_and_has_fewer_schemes_is_helped_by_the_other() {
    let pair = Pair::of(KeyKind::Rsa2048);
    pair.spare.change_token(|token| {
        token.removed = true;
        token.mechanisms.retain(|name| !name.contains("PSS"));
    });
    let configured = pair.start("process");
    pair.spare.remove(false);
    configured.wait_for_count(UP, &[("token", SPARE)], 1);
    pair.serves_until(&configured, "failed", 1);
    assert_eq!(configured.metrics().nonzero(REFUSED), []);
    // HUP looks the key up, and offers clients what both can do.
    configured.engine.reloaded();
    let config = tls(&pair.pki, Some(&pair.pki.alice), Version::Tls13);
    assert!(ask_whoami(SERVER_NAME, pair.address, &config).is_err(), "TLS 1.3 wants PSS");
}

#[test]
fn a_module_that_crashes_at_the_start_is_started_again_until_it_does_not() {
    let pair = Pair::new();
    pair.spare.fault_of_module(Fault::new("C_Initialize", Action::Abort));
    let configured = pair.start("process");
    pair.serves(10);
    let line = told(&configured, "token_absent", SPARE);
    assert!(line["problem"].as_str().is_some_and(|text| text.contains("signal: 6")), "{line}");
    pair.spare.mend();
    configured.wait_for_count(UP, &[("token", SPARE)], 1);
    pair.serves_until(&configured, "signed", 1);
    assert_eq!(configured.metrics().nonzero(REFUSED), []);
}

#[test]
fn modules_that_hang_at_the_start_do_not_keep_the_engine_from_serving() {
    hang("process");
}

#[test]
fn modules_that_hang_in_the_engine_do_not_keep_it_from_serving() {
    hang("thread");
}

/// The patience with each of them is half of that with the engine: they are opened side by side.
fn hang(isolation: &str) {
    let pair = Pair::new();
    let third = spare(&pair.pki, "third").with_key("server", &pair.pki.server.key_file);
    for token in [&pair.spare, &third] {
        token.fault_of_module(Fault::new("C_Initialize", Action::Hang));
    }
    let listener = pair.listener(&[third.uri("server")]);
    let configuration = Configuration::new().tokens("isolation", isolation).listener(listener);
    let configured = Configured::start(&pair.pki, configuration);
    pair.serves(10);
    let line = told(&configured, "token_absent", SPARE);
    assert!(line["problem"].as_str().is_some_and(|text| text.contains("open the token")), "{line}");
    told(&configured, "token_down", SPARE);
    for token in [&pair.spare, &third] {
        token.mend();
    }
    configured.wait_for_count(UP, &[("token", SPARE)], 1);
    configured.wait_for_count(UP, &[("token", "pkcs11:token=third")], 1);
    pair.serves_until(&configured, "signed", 1);
    assert_eq!(configured.metrics().nonzero(REFUSED), []);
}

#[test]
fn reloads_leave_a_token_that_is_absent_since_the_start_as_it_is() {
    for isolation in BOTH {
        let pair = Pair::new();
        pair.spare.remove(true);
        let configured = pair.start(isolation);
        configured.engine.reloaded();
        let keys = json!([pair.edge.uri("server"), pair.spare.uri("server")]);
        let second = own_address();
        let with_second = || {
            let identity = identity(&pair.pki, &pair.pki.server, "").set("key", keys.clone());
            let listener = ListenerSection::new("second", second).identity(identity);
            pair.configuration(isolation).listener(listener)
        };
        configured.reload(with_second());
        let config = tls(&pair.pki, Some(&pair.pki.alice), Version::Tls13);
        assert!(ask_whoami(SERVER_NAME, second, &config).is_ok());
        configured.reload(pair.configuration(isolation));
        // An identity that would have nothing but the absent token is not taken.
        let lone = identity(&pair.pki, &pair.pki.server, &pair.spare.uri("server"));
        let lone = ListenerSection::new("lone", own_address()).identity(lone);
        configured.rewrite(pair.configuration(isolation).listener(lone));
        let errors = configured.engine.reload_refused();
        assert!(errors.len() == 1 && errors[0].contains("listener.identity.key"), "{errors:?}");
        configured.reload(with_second());
        assert!(is_up(&configured, EDGE) && !is_up(&configured, SPARE));
        pair.spare.remove(false);
        configured.wait_for_count(UP, &[("token", SPARE)], 1);
        pair.serves_until(&configured, "signed", 2);
        // One that is there again is not opened again, and its key is looked up.
        let before = pair.spare.counters();
        configured.reload(pair.configuration(isolation));
        assert_eq!(pair.spare.counters().logins, before.logins);
        pair.serves_until(&configured, "signed", 4);
        assert_eq!(configured.metrics().nonzero(REFUSED), [], "{isolation}");
    }
}

#[test]
fn a_token_that_a_reload_adds_has_to_be_there() {
    let pair = Pair::new();
    let alone = identity(&pair.pki, &pair.pki.server, &pair.edge.uri("server"));
    let alone =
        Configuration::new().listener(ListenerSection::new("door", pair.address).identity(alone));
    let configured = Configured::start(&pair.pki, alone);
    pair.spare.remove(true);
    configured.rewrite(pair.configuration("process"));
    let errors = configured.engine.reload_refused();
    assert!(errors.len() == 1 && errors[0].contains(SPARE), "{errors:?}");
    assert_eq!(configured.metrics().value(UP, &[("token", SPARE)]), None);
    pair.spare.remove(false);
    configured.reload(pair.configuration("process"));
    pair.serves_until(&configured, "signed", 1);
}
