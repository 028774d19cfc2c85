//! PINs that are wrong: changed on the token while it is in use, or wrong in the configuration. Each is tried once, so
//! that neither many sessions nor many reloads lock a token.

use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::test_token::{TestToken, Token};
use countersign_tests::tool::PKCS11_TOOL;

use super::crowd::Crowd;
use super::scene::{Isolation, Scene};
use crate::tokens::{identity, serving};

/// What the operator reads of a PIN that was refused.
const WHAT_TO_DO: &str = "where pin-source says and reload";

/// Clients of each version: they keep many sessions busy at a time.
const MANY: usize = 12;

#[test]
fn a_pin_that_is_changed_on_the_token_is_tried_once_and_the_new_one_serves_after_hup() {
    change_pins(Isolation::Process);
}

#[test]
fn a_pin_that_is_changed_on_a_token_of_threads_is_tried_once_and_the_new_one_serves_after_hup() {
    change_pins(Isolation::Thread);
}

fn change_pins(isolation: Isolation) {
    let mut scene = Scene::new(KeyKind::EcdsaP256, isolation, 1, |all| {
        all.tokens("lanes", 64).tokens("max_sessions", 64)
    });
    // Slow enough for many sessions to be in use when all of them find out.
    scene.token().change_token(|token| token.latency_us = 5_000);
    let refused = Crowd::visits(&mut scene, MANY, |scene, crowd| {
        scene.changes_pin(crowd, "second-5678", |token| token.login_lost += 1);
        scene.reloads_in_vain(0, WHAT_TO_DO);
        scene.reloads_with(crowd, "second-5678");

        scene.changes_pin(crowd, "third-9012", |token| token.sessions_invalid += 1);
        scene.reloads_in_vain(0, WHAT_TO_DO);
        scene.reloads_with(crowd, "third-9012");

        scene.token().remove(true);
        wait_for("the token to be away", || {
            (scene.count("countersign_token_up", &[]) == 0).then_some(())
        });
        scene.changes_pin(crowd, "fourth-3456", |token| token.removed = false);
        // The operator mistypes it, which makes two wrong ones: a third would lock the token.
        scene.token().write_pin_file("forth-3456");
        scene.reloads_in_vain(1, WHAT_TO_DO);
        scene.token().write_pin_file("fourth-3456");
        scene.reloads_in_vain(0, "log in once by hand with the right one");
        log_in_by_hand(scene.token(), "fourth-3456");
        scene.reloads_with(crowd, "fourth-3456");
    });
    scene.close(refused);
}

impl Scene {
    /// Changes the PIN on the token, and something by which the engine learns of it: it tries the old one once, and
    /// refuses whoever comes.
    #[track_caller]
    fn changes_pin(&mut self, crowd: &Crowd, pin: &str, reveal: impl FnOnce(&mut Token)) {
        let (wrong, told) = (self.wrong_pins(), self.told(WHAT_TO_DO));
        self.token().change_token(|token| {
            pin.clone_into(&mut token.pin);
            reveal(token);
        });
        wait_for("what to do about the PIN", || (self.told(WHAT_TO_DO) > told).then_some(()));
        let refused = crowd.refused();
        wait_for("refusals", || (crowd.refused() > refused + 10).then_some(()));
        assert_eq!(self.wrong_pins(), wrong + 1, "one of many sessions has tried it");
        self.serves_who_is_in("its PIN was changed");
    }

    /// Ten reloads, in which the PIN in the file is tried so often, and each of which says so.
    #[track_caller]
    fn reloads_in_vain(&mut self, tries: u64, says: &str) {
        let wrong = self.wrong_pins();
        for _ in 0..10 {
            let errors = self.configured.engine.reload_refused();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains("listener.identity.key: "), "{errors:?}");
            assert!(errors[0].contains(says), "{errors:?}");
        }
        assert_eq!(self.wrong_pins(), wrong + tries);
        self.serves_who_is_in("reloads in vain");
    }

    /// The operator puts the new PIN where it belongs and sends HUP: that is all.
    #[track_caller]
    fn reloads_with(&mut self, crowd: &Crowd, pin: &str) {
        let wrong = self.wrong_pins();
        self.token().write_pin_file(pin);
        self.configured.engine.reloaded();
        crowd.wait_for_served(50);
        self.lets_in("the new PIN");
        self.serves_who_is_in("the new PIN");
        assert_eq!(self.wrong_pins(), wrong);
    }

    fn wrong_pins(&self) -> u64 {
        self.token().counters().failed_logins
    }

    /// How often the log has said this of a token that is down.
    fn told(&self, words: &str) -> usize {
        let lines = self.configured.engine.log().events("token_down");
        let says = |line: &serde_json::Value| {
            line["problem"].as_str().is_some_and(|problem| problem.contains(words))
        };
        lines.into_iter().filter(says).count()
    }
}

/// As the engine asks for where one more wrong PIN would lock the token.
fn log_in_by_hand(token: &TestToken, pin: &str) {
    let module = token.module().display().to_string();
    let finished =
        PKCS11_TOOL.run(&["--module", &module, "--login", "--pin", pin, "--list-objects"]);
    assert!(finished.status.success(), "{finished:?}");
}

/// Puts a configuration to the test; whether it is right, and what was said.
type Way = fn(&ConfigurationFile) -> (bool, String);

#[test]
fn a_wrong_pin_in_the_configuration_is_refused_by_each_command_and_tried_once() {
    let start: Way = |file| {
        let failure = file.start_in_vain();
        (failure.status.success(), failure.stderr)
    };
    for way in [ConfigurationFile::check, ConfigurationFile::hsm_check, start] {
        // Other processes remember nothing, and ask the token; one that does not tell is tried once by each.
        for (tells, times) in [(true, 10), (false, 1)] {
            let pki = Pki::new(KeyKind::EcdsaP256);
            let token = mispinned(&pki, tells);
            let file = ConfigurationFile::new(&pki, &three_keys(&pki, &token));
            for time in 0..times {
                let (is_right, said) = way(&file);
                assert!(!is_right && !said.contains("wrong-pin"), "{said}");
                assert_eq!(said.contains("CKR_PIN_INCORRECT"), time == 0, "{said}");
            }
            assert_eq!(token.counters().failed_logins, 1, "whether it tells: {tells}");
        }
    }
}

#[test]
fn ten_reloads_to_a_wrong_pin_with_64_sessions_each_try_it_once() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let token = mispinned(&pki, false);
    let software = ListenerSection::of("door", own_address(), &pki);
    let file = ConfigurationFile::new(&pki, &Configuration::new().listener(software));
    let engine = file.start();
    file.rewrite(&three_keys(&pki, &token));
    for _ in 0..10 {
        assert!(!engine.reload_refused().is_empty());
    }
    assert_eq!(token.counters().failed_logins, 1);
}

/// A token whose PIN is another than the one in the file, and that tells of wrong ones or does not.
fn mispinned(pki: &Pki, tells: bool) -> TestToken {
    let token = TestToken::new(&pki.directory().join("token"));
    token.change_token(|token| token.tells_wrong_pins = tells);
    token.write_pin_file("wrong-pin");
    ["first", "second", "third"]
        .into_iter()
        .fold(token, |token, label| token.with_key(label, &pki.server.key_file))
}

/// Three identities whose keys are in one token, with many sessions.
fn three_keys(pki: &Pki, token: &TestToken) -> Configuration {
    let listener = |label: &str| {
        let identity = identity(pki, &pki.server, &token.uri(label));
        ListenerSection::new(label, own_address()).identity(identity)
    };
    serving(pki, own_address(), &token.uri("first"))
        .tokens("lanes", 64)
        .tokens("max_sessions", 64)
        .listener(listener("second"))
        .listener(listener("third"))
}
