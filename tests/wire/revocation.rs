//! Revocation lists from files: who is kept out, by which list, and what becomes of those without one.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use countersign_tests::client::{Ending, Version};
use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::crl::{Authority, Crl, OpensslAuthority};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::program;
use countersign_tests::pki::{Identity, KeyKind, Pki};
use countersign_tests::tool::OPENSSL;
use rustls::AlertDescription;
use serde_json::Value;

use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::s_client;

/// An engine whose clients are looked up in the lists of a folder.
pub(crate) struct Scene {
    pub(crate) configured: Configured,
    pub(crate) address: SocketAddr,
    pub(crate) pki: Pki,
}

/// How a client fared.
pub(crate) type Fate = Result<(), AlertDescription>;

const REVOKED: Fate = Err(AlertDescription::CertificateRevoked);
const UNKNOWN: Fate = Err(AlertDescription::CertificateUnknown);

/// The folder of the lists.
pub(crate) fn folder(pki: &Pki) -> PathBuf {
    let folder = pki.directory().join("crls");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Puts a file into its place at once, as somebody would who replaces a list.
pub(crate) fn put(pki: &Pki, name: &str, content: impl AsRef<[u8]>) {
    let (hidden, place) = (folder(pki).join(format!(".{name}")), folder(pki).join(name));
    fs::write(&hidden, content).expect("a file");
    fs::rename(hidden, place).expect("a rename");
}

pub(crate) fn configuration(
    pki: &Pki,
    address: SocketAddr,
    settings: &[(&str, Value)],
) -> Configuration {
    let crls = format!("{}/", folder(pki).display());
    let mut identity = IdentitySection::of(pki).set("crl", vec![crls]);
    for (key, value) in settings {
        identity = identity.set(key, value.clone());
    }
    Configuration::new().listener(ListenerSection::new("door", address).identity(identity))
}

impl Scene {
    /// With an empty list of each CA; `more` may put others in their places.
    #[track_caller]
    pub(crate) fn start(settings: &[(&str, Value)], more: impl FnOnce(&Pki)) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        put(&pki, "root.crl", Crl::new(1).signed(&pki, Authority::Root).der());
        put(&pki, "issuing.crl", Crl::new(1).signed(&pki, Authority::Intermediate).der());
        more(&pki);
        let address = own_address();
        let configured = Configured::start(&pki, configuration(&pki, address, settings));
        Self { configured, address, pki }
    }

    pub(crate) fn fate(&self, client: &Identity, version: Version) -> Fate {
        let fate = self.fate_or_ending(client, version);
        fate.unwrap_or_else(|ending| panic!("{ending:?}\n{}", self.log()))
    }

    fn fate_or_ending(&self, client: &Identity, version: Version) -> Result<Fate, Ending> {
        match ask_whoami("localhost", self.address, &tls(&self.pki, Some(client), version)) {
            Ok(_) => Ok(Ok(())),
            Err(ending) => {
                let alert = [REVOKED, UNKNOWN].into_iter().filter_map(Result::err);
                let mut alert = alert.filter(|alert| ending == Ending::refused_with(*alert));
                alert.next().map(Err).ok_or(ending)
            }
        }
    }

    /// The same in either version.
    #[track_caller]
    pub(crate) fn meets(&self, client: &Identity, fate: Fate) {
        for version in Version::ALL {
            assert_eq!(self.fate(client, version), fate, "{version:?}\n{}", self.log());
        }
    }

    /// The same, soon: a list has just been put there.
    #[track_caller]
    pub(crate) fn comes_to_meet(&self, client: &Identity, fate: Fate) {
        wait_for(&format!("{fate:?} of {}", client.common_name), || {
            // Whoever was let in as the list came is cut off: that is not what is waited for.
            (self.fate_or_ending(client, Version::Tls13) == Ok(fate)).then_some(())
        });
        self.meets(client, fate);
    }

    #[track_caller]
    fn refused(&self, reason: &str) -> u64 {
        self.configured.metrics().count(REFUSED, &[("reason", reason)])
    }

    fn log(&self) -> String {
        self.configured.engine.log().tail()
    }
}

#[test]
fn a_revoked_client_stays_out_and_others_come_in() {
    let scene = Scene::start(&[], |pki| {
        let list = Crl::new(2).revoke(&pki.alice).signed(pki, Authority::Intermediate);
        put(pki, "issuing.crl", list.der());
    });
    let bob = scene.pki.client("bob");
    scene.meets(&scene.pki.alice, REVOKED);
    scene.meets(&bob, Ok(()));
    for version in Version::ALL {
        let arguments = s_client::arguments_to(
            &scene.pki,
            scene.address,
            None,
            Some(&scene.pki.alice),
            version,
        );
        let finished = OPENSSL.start(&arguments).outlast();
        assert!(finished.said.contains("SSL alert number 44"), "{finished:?}");
    }
    scene.configured.engine.wait_until_idle();
    assert_eq!(scene.refused("client_certificate_revoked"), 4);
    let metrics = scene.configured.metrics();
    let checks = |verdict| {
        let labels = [("lists", "live"), ("verdict", verdict)];
        metrics.count("countersign_revocation_checks_total", &labels)
    };
    // Two certificates on each path; a chain that the worker knows is not looked up again while the lists
    // are the same.
    assert_eq!((checks("revoked"), checks("good")), (4, 4 + 2));
    assert_eq!(metrics.count("countersign_crls", &[]), 2);
    assert_eq!(metrics.count("countersign_crl_entries", &[]), 1);
    let refused = scene.configured.engine.connection_records(6);
    let refused = refused.iter().find(|record| record["result"] == "refused").expect("one refused");
    let detail = refused["detail"].as_str().expect("a detail");
    assert!(detail.contains("is revoked (keyCompromise); CRL 2 made at"), "{detail}");
}

#[test]
fn whoever_is_below_a_revoked_intermediate_stays_out() {
    let scene = Scene::start(&[], |pki| {
        let list = Crl::new(2).revoke_certificate(&pki.alice.chain[1]);
        put(pki, "root.crl", list.signed(pki, Authority::Root).der());
    });
    scene.meets(&scene.pki.alice, REVOKED);
    scene.configured.engine.wait_until_idle();
    assert_eq!(scene.refused("client_certificate_revoked"), 2);
}

#[test]
fn a_list_that_is_replaced_holds_without_a_signal() {
    let scene = Scene::start(&[], |_| {});
    let alice = &scene.pki.alice;
    scene.meets(alice, Ok(()));
    let revoking = Crl::new(2).revoke(alice).signed(&scene.pki, Authority::Intermediate);
    put(&scene.pki, "issuing.crl", revoking.pem().expect("PEM"));
    scene.comes_to_meet(alice, REVOKED);
    // Taken off again, by a symbolic link that points elsewhere.
    let (new, link) = (scene.pki.directory().join("new.crl"), folder(&scene.pki).join(".link"));
    let empty = Crl::new(3).between(-30, 60).signed(&scene.pki, Authority::Intermediate);
    fs::write(&new, empty.der()).expect("a file");
    std::os::unix::fs::symlink(&new, &link).expect("a link");
    fs::rename(link, folder(&scene.pki).join("issuing.crl")).expect("a rename");
    scene.comes_to_meet(alice, Ok(()));
    // A further file in the folder, and away again.
    let further = Crl::new(4).between(-10, 60).revoke(alice);
    put(&scene.pki, "further.crl", further.signed(&scene.pki, Authority::Intermediate).der());
    scene.comes_to_meet(alice, REVOKED);
    fs::remove_file(folder(&scene.pki).join("further.crl")).expect("a file");
    scene.comes_to_meet(alice, Ok(()));
    scene.configured.engine.reloaded();
    scene.meets(alice, Ok(()));
}

#[test]
fn the_freshest_list_decides_whatever_the_order_of_files() {
    for (first, second) in [("a.crl", "b.crl"), ("b.crl", "a.crl")] {
        for revoked_lately in [false, true] {
            let scene = Scene::start(&[], |pki| {
                fs::remove_file(folder(pki).join("issuing.crl")).expect("a file");
                let with = Crl::new(7).revoke(&pki.alice);
                let (older, newer) = match revoked_lately {
                    true => (Crl::new(6), with.between(-30, 60)),
                    false => (with, Crl::new(8).between(-30, 60)),
                };
                put(pki, first, older.signed(pki, Authority::Intermediate).der());
                put(pki, second, newer.signed(pki, Authority::Intermediate).der());
            });
            let fate = if revoked_lately { REVOKED } else { Ok(()) };
            scene.meets(&scene.pki.alice, fate);
        }
    }
}

#[test]
fn a_list_counts_only_with_its_cas_signature() {
    for (first, second) in [("a.crl", "b.crl"), ("b.crl", "a.crl")] {
        let scene = Scene::start(&[], |pki| {
            fs::remove_file(folder(pki).join("issuing.crl")).expect("a file");
            // Forged, fresher than the real one: neither its word against a client counts nor for one.
            let forged = Crl::new(99).between(-5, 60).revoke(&pki.alice).forged();
            put(pki, first, forged.der());
        });
        scene.meets(&scene.pki.alice, UNKNOWN);
        let real = Crl::new(1).signed(&scene.pki, Authority::Intermediate);
        put(&scene.pki, second, real.der());
        scene.comes_to_meet(&scene.pki.alice, Ok(()));
        let mallory = scene.pki.client("mallory");
        let real = Crl::new(2).between(-50, 60).revoke(&mallory);
        put(&scene.pki, second, real.signed(&scene.pki, Authority::Intermediate).der());
        scene.comes_to_meet(&mallory, REVOKED);
        scene.meets(&scene.pki.alice, Ok(()));
    }
}

#[test]
fn every_ca_of_the_path_needs_a_list() {
    for missing in ["root.crl", "issuing.crl"] {
        let without = |pki: &Pki| fs::remove_file(folder(pki).join(missing)).expect("a file");
        let scene = Scene::start(&[], without);
        scene.meets(&scene.pki.alice, UNKNOWN);
        scene.configured.engine.wait_until_idle();
        assert_eq!(scene.refused("revocation_unknown"), 2);
        let scene = Scene::start(&[("crl_unknown", "allow".into())], without);
        scene.meets(&scene.pki.alice, Ok(()));
    }
}

#[test]
fn a_list_that_is_out_of_date_is_judged_as_configured() {
    let expired = |pki: &Pki| {
        let mallory = Crl::new(2).between(-300, -30).revoke(&pki.alice);
        put(pki, "issuing.crl", mallory.signed(pki, Authority::Intermediate).der());
    };
    let settings: [(&[(&str, Value)], Fate); 5] = [
        (&[], UNKNOWN),
        (&[("crl_expired", "fail_closed".into()), ("crl_grace", "10m".into())], UNKNOWN),
        (&[("crl_grace", "1h".into())], Ok(())),
        (&[("crl_expired", "fail_open".into())], Ok(())),
        (&[("crl_unknown", "allow".into())], UNKNOWN),
    ];
    for (settings, fate) in settings {
        let scene = Scene::start(settings, expired);
        let bob = scene.pki.client("bob");
        scene.meets(&bob, fate);
        // Whoever it has stays out, however old it is.
        scene.meets(&scene.pki.alice, REVOKED);
        let event = scene.configured.engine.log().wait_for_event("crl_expired");
        assert_eq!(event["crl_number"], "2", "{event}");
        scene.configured.engine.wait_until_idle();
        let refused = if fate.is_ok() { 0 } else { 2 };
        assert_eq!(scene.refused("revocation_list_expired"), refused);
    }
}

#[test]
fn what_is_no_list_keeps_the_engine_from_starting_and_says_where() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    put(&pki, "root.crl", Crl::new(1).signed(&pki, Authority::Root).der());
    let good = Crl::new(1).signed(&pki, Authority::Intermediate).der().to_vec();
    let cut = &good[..good.len() - 3];
    let text = configuration(&pki, own_address(), &[]);
    let file = ConfigurationFile::new(&pki, &text);
    for (content, problem) in [
        (&b"rubbish"[..], "there is no CRL in it"),
        (cut, "it ends in the middle"),
        (&pki.alice.chain[0][..], "it has no signature algorithm; is it a certificate?"),
        (b"", "there is no CRL in it"),
    ] {
        put(&pki, "bad.crl", content);
        let failure = file.start_in_vain();
        assert_eq!(failure.status.code(), Some(1), "{failure:?}");
        let place = folder(&pki).join("bad.crl").display().to_string();
        assert!(failure.stderr.contains(&place), "{failure:?}");
        assert!(failure.stderr.contains(problem), "{problem}: {failure:?}");
        let path = file.path().display().to_string();
        let checked = Command::new(program()).args(["check", "--config", &path]).output();
        let checked = checked.expect("the program runs");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(!checked.status.success() && said.contains(problem), "{problem}: {said}");
    }
}

#[test]
fn a_file_that_becomes_bad_leaves_the_last_good_list_and_a_reload_says_so() {
    let scene = Scene::start(&[], |pki| {
        let list = Crl::new(2).revoke(&pki.alice).signed(pki, Authority::Intermediate);
        put(pki, "issuing.crl", list.der());
    });
    put(&scene.pki, "issuing.crl", "rubbish");
    let event = scene.configured.engine.log().wait_for_event("crl_failed");
    assert!(
        event["source"].as_str().is_some_and(|source| source.ends_with("issuing.crl")),
        "{event}"
    );
    scene.meets(&scene.pki.alice, REVOKED);
    assert_eq!(scene.configured.metrics().count("countersign_crl_failures_total", &[]), 1);
    let errors = scene.configured.engine.reload_refused();
    assert!(errors[0].contains("issuing.crl") && errors[0].contains("no CRL in it"), "{errors:?}");
    scene.meets(&scene.pki.alice, REVOKED);
    let list = Crl::new(3).between(-30, 60).signed(&scene.pki, Authority::Intermediate);
    put(&scene.pki, "issuing.crl", list.der());
    scene.comes_to_meet(&scene.pki.alice, Ok(()));
    scene.configured.engine.reloaded();
}

#[test]
fn a_list_for_some_distribution_points_speaks_of_their_certificates_only() {
    const EAST: &str = "http://crl.example/east.crl";
    const WEST: &str = "http://crl.example/west.crl";
    let scene =
        Scene::start(&[], |pki| fs::remove_file(folder(pki).join("issuing.crl")).expect("a file"));
    let east = scene.pki.client_with_points("east", &[EAST]);
    let west = scene.pki.client_with_points("west", &["http://crl.example/old.crl", WEST]);
    let list = |number, point: &str| Crl::new(number).only_for(point);
    let sign = |list: &Crl| list.signed(&scene.pki, Authority::Intermediate);
    put(&scene.pki, "east.crl", sign(&list(1, EAST)).der());
    scene.comes_to_meet(&east, Ok(()));
    scene.meets(&west, UNKNOWN);
    scene.meets(&scene.pki.alice, UNKNOWN);
    // The other part's list has the serial number of a certificate that it does not speak of.
    put(&scene.pki, "west.crl", sign(&list(9, WEST).between(-5, 60).revoke(&east)).der());
    scene.comes_to_meet(&west, Ok(()));
    scene.meets(&east, Ok(()));
    put(&scene.pki, "west.crl", sign(&list(10, WEST).between(-4, 60).revoke(&west)).der());
    scene.comes_to_meet(&west, REVOKED);
}

#[test]
fn a_delta_builds_upon_the_list_whose_number_fits() {
    let scene = Scene::start(&[], |pki| {
        let ca = OpensslAuthority::new(pki);
        ca.revoke(&pki.alice);
        ca.generate(Some(5), &[], &folder(pki).join("issuing.crl"));
    });
    let (ca, bob) = (OpensslAuthority::new(&scene.pki), scene.pki.client("bob"));
    scene.meets(&scene.pki.alice, REVOKED);
    scene.meets(&bob, Ok(()));
    let delta = |number, base: &str, revoked: &Identity| {
        ca.forget();
        ca.revoke(revoked);
        let out = scene.pki.directory().join("delta.crl");
        ca.generate(Some(number), &[&format!("2.5.29.27 = critical,DER:{base}")], &out);
        put(&scene.pki, "delta.crl", fs::read(out).expect("a file"));
    };
    // Its base is newer than the list: it is not taken.
    delta(8, "02:01:06", &bob);
    let log = scene.configured.engine.log();
    log.wait_for("the delta", |events| {
        events.iter().find(|event| event["event"] == "crl_published" && event["crls"] == 3).cloned()
    });
    scene.meets(&bob, Ok(()));
    delta(8, "02:01:05", &bob);
    scene.comes_to_meet(&bob, REVOKED);
    scene.meets(&scene.pki.alice, REVOKED);
}

#[test]
fn lists_of_openssl_are_read_in_either_form_and_version() {
    for number in [None, Some(0x00ff_1234)] {
        let scene = Scene::start(&[], |pki| {
            let ca = OpensslAuthority::new(pki);
            ca.revoke(&pki.alice);
            ca.generate(number, &[], &folder(pki).join("issuing.crl"));
        });
        scene.meets(&scene.pki.alice, REVOKED);
        scene.meets(&scene.pki.client("bob"), Ok(()));
    }
}

#[test]
fn what_would_be_misunderstood_is_refused_loudly() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let ca = OpensslAuthority::new(&pki);
    let file = ConfigurationFile::new(&pki, &configuration(&pki, own_address(), &[]));
    for (extension, problem) in [
        ("issuingDistributionPoint = critical,indirectCRL:TRUE", "indirect CRL"),
        ("1.3.6.1.4.1.55555.1 = critical,DER:05:00", "1.3.6.1.4.1.55555.1"),
        ("issuingDistributionPoint = critical,onlysomereasons:keyCompromise", "onlySomeReasons"),
    ] {
        ca.generate(Some(1), &[extension], &folder(&pki).join("issuing.crl"));
        let failure = file.start_in_vain();
        assert!(failure.stderr.contains(problem), "{problem}: {failure:?}");
    }
}

#[test]
fn shadow_lists_are_asked_and_keep_nobody_out() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let shadow = pki.directory().join("shadow.pem");
    let lists = [
        Crl::new(1).signed(&pki, Authority::Root).pem().expect("PEM"),
        Crl::new(2).revoke(&pki.alice).signed(&pki, Authority::Intermediate).pem().expect("PEM"),
    ];
    fs::write(&shadow, lists.concat()).expect("a file");
    let address = own_address();
    let identity = IdentitySection::of(&pki).set("shadow_crl", shadow.display().to_string());
    let configuration =
        Configuration::new().listener(ListenerSection::new("door", address).identity(identity));
    let configured = Configured::start(&pki, configuration);
    let scene = Scene { configured, address, pki };
    scene.meets(&scene.pki.alice, Ok(()));
    scene.meets(&scene.pki.client("bob"), Ok(()));
    scene.configured.engine.wait_until_idle();
    let metrics = scene.configured.metrics();
    let labels = [("lists", "shadow"), ("verdict", "revoked")];
    assert_eq!(metrics.count("countersign_revocation_checks_total", &labels), 1);
    let records = scene.configured.engine.connection_records(4);
    for record in &records {
        let is_alice = record["identity"]["common_name"] == "alice";
        assert_eq!(record["shadow_revocation"].is_string(), is_alice, "{record}");
        assert_eq!(record["result"], "allowed");
    }
}
