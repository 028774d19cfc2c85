//! Ticket keys: whose they are, how long they last, where they come from.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign_tests::client::Version;
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::pki::{KeyKind, Pki};

use crate::configured::Configured;
use crate::resumption_sessions::{DECLINED, Visitor};

const REFUSED: &str = "countersign_ticket_keys_refused_total";
const KEYS: &str = "countersign_ticket_keys";

/// A key, by its number.
fn key(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

fn write_keys(file: &Path, lines: &str) {
    // As tools for secrets do it: the file is there whole, or not at all.
    let new = file.with_extension("new");
    fs::write(&new, lines).expect("ticket keys");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::rename(&new, file).expect("ticket keys in their place");
}

struct Door {
    pki: Pki,
    address: SocketAddr,
    keys: PathBuf,
}

impl Door {
    fn new() -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let keys = pki.directory().join("ticket-keys");
        Self { pki, address: own_address(), keys }
    }

    fn configuration(&self) -> Configuration {
        Configuration::new()
            .set("workers", 2)
            .listener(ListenerSection::of("door", self.address, &self.pki).set("tickets", 4))
    }

    fn with_file(&self) -> Configuration {
        self.configuration().set("ticket_keys", self.keys.display().to_string())
    }

    fn visitors(&self) -> [Visitor; 2] {
        Version::ALL.map(|version| Visitor::new(&self.pki, Some(&self.pki.alice), version))
    }
}

#[test]
fn tickets_outlive_a_restart_with_a_file_of_keys_and_not_without() {
    for with_file in [true, false] {
        let door = Door::new();
        write_keys(&door.keys, &key(1));
        let configuration = if with_file { door.with_file() } else { door.configuration() };
        let visitors = door.visitors();
        let before = Configured::start(&door.pki, configuration.clone());
        for alice in &visitors {
            assert!(!alice.resumes(door.address));
        }
        assert_eq!(before.engine.terminate().code, Some(0));
        let after = Configured::start(&door.pki, configuration);
        for alice in &visitors {
            assert_eq!(alice.resumes(door.address), with_file);
        }
        let declined: &[_] = if with_file { &[] } else { &[("unknown_key".to_owned(), 2)] };
        assert_eq!(after.metrics().nonzero(DECLINED), declined);
    }
}

#[test]
fn a_ticket_of_another_process_is_somebody_elses() {
    let door = Door::new();
    let here = Configured::start(&door.pki, door.configuration());
    let elsewhere = own_address();
    let listener = ListenerSection::of("door", elsewhere, &door.pki);
    let there = Configuration::new().listener(listener);
    let _there = ConfigurationFile::new(&door.pki, &there).start();
    for (alice, count) in door.visitors().iter().zip(1..) {
        assert!(!alice.resumes(elsewhere));
        assert!(!alice.resumes(door.address));
        assert!(alice.resumes(door.address));
        assert_eq!(here.metrics().nonzero(DECLINED), [("unknown_key".to_owned(), count)]);
    }
}

#[test]
fn keys_of_its_own_are_replaced_and_open_what_they_have_sealed() {
    let door = Door::new();
    let listener =
        ListenerSection::of("door", door.address, &door.pki).set("ticket_lifetime", "30s");
    let configuration =
        Configuration::new().set("workers", 2).set("ticket_key_lifetime", "1s").listener(listener);
    let configured = Configured::start(&door.pki, configuration);
    let visitors = door.visitors();
    let mut saved = visitors.each_ref().map(|alice| {
        assert!(!alice.resumes(door.address));
        alice.saved()
    });
    let changed = |count: usize| {
        configured.engine.log().wait_for(&format!("change {count} of keys"), |events| {
            let changes = events.iter().filter(|event| event["event"] == "ticket_keys_changed");
            changes.clone().nth(count - 1).cloned()
        })
    };
    let last = changed(2);
    assert_eq!((&last["ticket_keys"], &last["ticket_key_generation"]), (&3.into(), &3.into()));
    for (alice, saved) in visitors.iter().zip(&mut saved) {
        // Under a key that seals no more.
        alice.restore(saved);
        assert!(alice.resumes(door.address));
        assert!(alice.resumes(door.address));
    }
    assert_eq!(configured.metrics().nonzero(DECLINED), []);
    assert!(configured.metrics().count(KEYS, &[]) >= 3);
}

#[test]
fn keys_of_its_own_live_through_a_reload() {
    let door = Door::new();
    let configured = Configured::start(&door.pki, door.configuration());
    let visitors = door.visitors();
    for alice in &visitors {
        assert!(!alice.resumes(door.address));
    }
    configured.reload(door.configuration());
    for alice in &visitors {
        assert!(alice.resumes(door.address));
    }
    // Another place for the keys means other keys, there and back.
    write_keys(&door.keys, &key(1));
    for configuration in [door.with_file(), door.configuration()] {
        configured.reload(configuration);
        for alice in &visitors {
            assert!(!alice.resumes(door.address));
            assert!(alice.resumes(door.address));
        }
    }
    assert_eq!(configured.metrics().nonzero(DECLINED), [("unknown_key".to_owned(), 4)]);
}

#[test]
fn a_changed_file_is_taken_while_the_engine_runs() {
    let door = Door::new();
    write_keys(&door.keys, &key(1));
    let configured = Configured::start(&door.pki, door.with_file());
    let visitors = door.visitors();
    let mut of_first = visitors.each_ref().map(|alice| {
        assert!(!alice.resumes(door.address));
        alice.saved()
    });
    let changed = |count: usize| {
        let log = configured.engine.log();
        log.wait_for(&format!("change {count} of keys"), |events| {
            let name = "ticket_keys_changed";
            (events.iter().filter(|event| event["event"] == name).count() == count).then_some(())
        });
    };
    // A new one seals, the old one still opens.
    write_keys(&door.keys, &format!("{}\n{}\n", key(2), key(1)));
    changed(1);
    for (alice, saved) in visitors.iter().zip(&mut of_first) {
        alice.restore(saved);
        assert!(alice.resumes(door.address));
    }
    let mut of_second = visitors.each_ref().map(Visitor::saved);
    // What is wrong is told once, and changes nothing.
    write_keys(&door.keys, "not a key!\n");
    configured.wait_for_count(REFUSED, &[], 1);
    let refused = configured.engine.log().wait_for_event("ticket_keys_refused");
    let error = refused["error"].as_str().expect("a text");
    assert!(error.contains("line 1: is neither hex nor base64"), "{error}");
    assert!(error.starts_with(&door.keys.display().to_string()), "{error}");
    for (alice, saved) in visitors.iter().zip(&mut of_second) {
        alice.restore(saved);
        assert!(alice.resumes(door.address));
    }
    // Without the old one its tickets are nobody's.
    write_keys(&door.keys, &key(2));
    changed(2);
    for ((alice, of_first), of_second) in visitors.iter().zip(&mut of_first).zip(&mut of_second) {
        alice.restore(of_second);
        assert!(alice.resumes(door.address));
        alice.restore(of_first);
        assert!(!alice.resumes(door.address));
    }
    let metrics = configured.metrics();
    assert_eq!(metrics.nonzero(DECLINED), [("unknown_key".to_owned(), 2)]);
    assert_eq!((metrics.count(KEYS, &[]), metrics.count(REFUSED, &[])), (1, 1));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_place() {
    let door = Door::new();
    let file = ConfigurationFile::new(&door.pki, &door.with_file());
    let refused = |mode: u32, content: &str, words: &[&str]| {
        write_keys(&door.keys, content);
        fs::set_permissions(&door.keys, fs::Permissions::from_mode(mode)).expect("a mode");
        let failure = file.start_in_vain();
        assert_eq!(failure.status.code(), Some(1), "{failure:?}");
        for word in words.iter().chain(&["ticket_keys: ", "ticket-keys`: "]) {
            assert!(failure.stderr.contains(word), "{word}: {failure:?}");
        }
        assert!(!failure.stderr.contains(&key(1)), "a key is no text for a log: {failure:?}");
    };
    let missing = file.start_in_vain();
    assert!(missing.stderr.contains("ticket-keys`: cannot be read: No such file"), "{missing:?}");
    for mode in [0o640, 0o604, 0o620] {
        refused(mode, &key(1), &["may be read or changed by others", "chmod 600"]);
    }
    refused(0o600, "", &["has no key in it", "openssl rand -hex 32"]);
    refused(0o600, &format!("{}\nabcd\n", key(1)), &["line 2: ", "has 32 to 128 bytes"]);
    refused(0o600, &format!("{0}\n\n{0}\n", key(1)), &["line 3: is the key of line 1 again"]);

    // A reload takes the whole configuration or nothing of it.
    write_keys(&door.keys, &key(1));
    let engine = file.start();
    let visitors = door.visitors();
    for alice in &visitors {
        assert!(!alice.resumes(door.address));
    }
    let other = door.pki.directory().join("other-keys");
    fs::write(&other, key(2)).expect("other keys");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).expect("a mode");
    file.rewrite(&door.configuration().set("ticket_keys", other.display().to_string()));
    let errors = engine.reload_refused();
    assert!(errors.len() == 1 && errors[0].contains("chmod 600"), "{errors:?}");
    for alice in &visitors {
        assert!(alice.resumes(door.address));
    }
}

#[test]
fn lifetimes_out_of_their_bounds_are_refused() {
    let door = Door::new();
    for (key, value, words) in [
        ("ticket_lifetime", "169h", "whole seconds, 1s to 168h"),
        ("ticket_lifetime", "0s", "whole seconds, 1s to 168h"),
        ("ticket_lineage", "1500ms", "whole seconds, 1s to 720h"),
    ] {
        let listener = ListenerSection::of("door", door.address, &door.pki).set(key, value);
        let configuration = Configuration::new().listener(listener);
        let failure = ConfigurationFile::new(&door.pki, &configuration).start_in_vain();
        assert!(failure.stderr.contains(words), "{failure:?}");
    }
    for (value, words) in [("721h", "1s to 720h"), ("1m", "more than 64 keys")] {
        let configuration = door.configuration().set("ticket_key_lifetime", value);
        let failure = ConfigurationFile::new(&door.pki, &configuration).start_in_vain();
        assert!(failure.stderr.contains(words), "{failure:?}");
    }
    let listener = ListenerSection::of("door", door.address, &door.pki).set("tickets", 5);
    let failure =
        ConfigurationFile::new(&door.pki, &Configuration::new().listener(listener)).start_in_vain();
    assert!(failure.stderr.contains("0 to 4"), "{failure:?}");
}
