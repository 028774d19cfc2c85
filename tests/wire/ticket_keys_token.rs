//! Ticket keys that a token derives: nodes with one token resume each other's sessions, and nothing is on disk.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_tests::admin::Admin;
use countersign_tests::client::Version;
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::Engine;
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::token::{PIN, SoftToken};

use crate::resumption_sessions::{DECLINED, Visitor};
use crate::tokens::seeing;

const REFUSED: &str = "countersign_ticket_keys_refused_total";

/// A token with keys for tickets, and one PKI for all nodes.
struct Estate {
    token: SoftToken,
    pki: Pki,
}

/// An engine. Engines find SoftHSM's configuration in their environment.
struct Node {
    engine: Engine,
    admin: Admin,
    address: SocketAddr,
    file: ConfigurationFile,
}

impl Estate {
    fn new() -> Self {
        let estate = Self { token: SoftToken::softhsm("edge"), pki: Pki::new(KeyKind::EcdsaP256) };
        for (label, id, kind) in [
            ("tickets", "01", "GENERIC:32"),
            ("others", "02", "GENERIC:32"),
            ("blocks", "03", "AES:32"),
        ] {
            estate.token.pkcs11_tool(&[
                "--keygen",
                "--key-type",
                kind,
                "--label",
                label,
                "--id",
                id,
                "--sensitive",
            ]);
        }
        estate
    }

    fn uri(&self, label: &str) -> String {
        self.token.key_uri(label).replace("type=private", "type=secret-key")
    }

    fn configuration(&self, label: &str, epoch: &str, address: SocketAddr) -> Configuration {
        let listener = ListenerSection::of("door", address, &self.pki)
            .set("tickets", 4)
            .set("ticket_lifetime", "60s");
        Configuration::new()
            .set("workers", 2)
            .set("ticket_keys.derive", self.uri(label))
            .set("ticket_keys.epoch", epoch)
            .listener(listener)
    }

    #[track_caller]
    fn node(&self, label: &str, epoch: &str) -> Node {
        let address = own_address();
        let socket = self.pki.directory().join(format!("{}.sock", address.ip()));
        let admin = Admin::Unix(socket);
        let configuration = self.configuration(label, epoch, address).admin(&admin.listen());
        let file = ConfigurationFile::new(&self.pki, &configuration).under(seeing(&self.token));
        let engine = file.start();
        Node { engine, admin, address, file }
    }

    fn visitors(&self) -> [Visitor; 2] {
        Version::ALL.map(|version| Visitor::new(&self.pki, Some(&self.pki.alice), version))
    }

    /// Where SoftHSM keeps its tokens, and where they are when they are away.
    fn places(&self) -> [PathBuf; 2] {
        ["tokens", "away"].map(|name| self.token.pin_file().with_file_name(name))
    }
}

impl Node {
    #[track_caller]
    fn changed_keys(&self, generation: u64) {
        self.engine.log().wait_for(&format!("generation {generation} of keys"), |events| {
            let changes = events.iter().filter(|event| event["event"] == "ticket_keys_changed");
            changes
                .filter_map(|event| event["ticket_key_generation"].as_u64())
                .any(|changed| changed >= generation)
                .then_some(())
        });
    }

    fn refused(&self) -> u64 {
        self.admin.metrics().count(REFUSED, &[])
    }
}

#[test]
fn nodes_with_one_token_resume_each_others_sessions_across_epochs() {
    let estate = Estate::new();
    let [here, there] = [(); 2].map(|()| estate.node("tickets", "2s"));
    let other = estate.node("others", "2s");
    let visitors = estate.visitors();
    let mut saved = visitors.each_ref().map(|alice| {
        assert!(!alice.resumes(here.address), "the first visit is a full handshake");
        assert!(alice.resumes(there.address), "the other node has the same keys");
        alice.saved()
    });
    // Two epochs later at least: each changes the keys twice, when it begins and when the next one's is there.
    for node in [&here, &there] {
        node.changed_keys(6);
    }
    for (alice, saved) in visitors.iter().zip(&mut saved) {
        alice.restore(saved);
        assert!(alice.resumes(here.address), "sealed by the other node, in an epoch that is over");
        assert!(alice.resumes(there.address));
        assert!(!alice.resumes(other.address), "another key derives other keys");
    }
    assert_eq!(other.admin.metrics().nonzero(DECLINED), [("unknown_key".to_owned(), 2)]);
    for node in [here, there, other] {
        assert!(!node.engine.log().text().contains(PIN));
        assert_eq!(node.engine.terminate().code, Some(0));
    }
}

#[test]
fn a_token_that_is_away_at_the_change_of_epochs_is_counted_and_keys_go_on() {
    let estate = Estate::new();
    let node = estate.node("tickets", "2s");
    let visitors = estate.visitors();
    for alice in &visitors {
        assert!(!alice.resumes(node.address));
    }
    let [there, away] = estate.places();
    fs::rename(&there, &away).expect("the token away");
    wait_for("a derivation that was refused twice", || (node.refused() >= 2).then_some(()));
    let refused = node.engine.log().wait_for_event("ticket_keys_refused");
    let error = refused["error"].as_str().expect("a text");
    assert!(error.contains("object=tickets") && error.contains("asked again"), "{error}");
    for alice in &visitors {
        assert!(alice.resumes(node.address), "with the keys that there are");
        assert!(alice.resumes(node.address), "and they seal");
    }
    fs::rename(&away, &there).expect("the token back");
    let generation = node.engine.log().wait_for("keys that were derived", |events| {
        let changes = events.iter().filter(|event| event["event"] == "ticket_keys_changed");
        changes.filter_map(|event| event["ticket_key_generation"].as_u64()).max()
    });
    node.changed_keys(generation + 2);
    for alice in &visitors {
        assert!(alice.resumes(node.address));
    }
    assert_eq!(node.engine.terminate().code, Some(0));
}

#[test]
fn an_aes_key_derives_as_well_and_a_reload_keeps_the_keys() {
    let estate = Estate::new();
    let node = estate.node("blocks", "1h");
    let visitors = estate.visitors();
    for alice in &visitors {
        assert!(!alice.resumes(node.address));
    }
    let configuration =
        |label| estate.configuration(label, "1h", node.address).admin(&node.admin.listen());
    node.file.rewrite(&configuration("blocks"));
    node.engine.reloaded();
    for alice in &visitors {
        assert!(alice.resumes(node.address), "the same key: nothing has changed");
    }
    node.file.rewrite(&configuration("tickets"));
    node.engine.reloaded();
    for alice in &visitors {
        assert!(!alice.resumes(node.address), "another key");
        assert!(alice.resumes(node.address));
    }
    node.file.rewrite(&configuration("nowhere"));
    let errors = node.engine.reload_refused();
    assert!(errors.len() == 1 && errors[0].contains("nowhere"), "{errors:?}");
    for alice in &visitors {
        assert!(alice.resumes(node.address), "nothing has changed");
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let estate = Estate::new();
    let file = ConfigurationFile::new(&estate.pki, &Configuration::new());
    let file = file.under(seeing(&estate.token));
    let address = own_address();
    let listener = ListenerSection::of("door", address, &estate.pki);
    let with =
        |key: &str, value: &str| Configuration::new().set(key, value).listener(listener.clone());
    let module = estate.token.module().display().to_string();
    let good = estate.uri("tickets");
    for (configuration, place, words) in [
        (with("ticket_keys", &good), "ticket_keys: ", "ticket_keys = { derive = "),
        (with("ticket_keys.derive", "tickets"), "ticket_keys.derive: ", "begins with 'pkcs11:'"),
        (
            with("ticket_keys.derive", "pkcs11:token=edge;object=a"),
            "ticket_keys.derive: ",
            "module-path",
        ),
        (
            with("ticket_keys.derive", &format!("pkcs11:token=edge?module-path={module}")),
            "ticket_keys.derive: ",
            "names no key",
        ),
        (
            with("ticket_keys.derive", &good.replace("secret-key", "private")),
            "ticket_keys.derive: ",
            "type=secret-key",
        ),
        (with("ticket_keys.derive", &estate.uri("nowhere")), "ticket_keys.derive: ", "nowhere"),
        (
            with("ticket_keys.derive", &good).set("ticket_keys.epoch", "1500ms"),
            "ticket_keys.epoch: ",
            "whole seconds, 1s to 720h",
        ),
        (
            with("ticket_keys.derive", &good).set("ticket_keys.epoch", "1s"),
            "ticket_keys.epoch: ",
            "more than 64 keys",
        ),
        (with("ticket_keys.epoch", "1h"), "ticket_keys.derive: ", "missing"),
        (with("ticket_keys.epochs", "1h"), "ticket_keys.epochs: ", "did you mean `epoch`?"),
    ] {
        file.rewrite(&configuration);
        let (is_right, said) = file.check();
        assert!(
            !is_right && said.contains(place) && said.contains(words),
            "{place}{words}: {said}"
        );
    }
    file.rewrite(&with("ticket_keys.derive", &good));
    let (is_right, said) = file.check();
    assert!(is_right, "{said}");
}
