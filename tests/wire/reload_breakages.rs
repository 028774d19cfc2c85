//! HUP with a broken file: each of the many ways in which the loader is tested to object, through the
//! running program. Nothing changes, and the log says why with the words of the loader.

use std::collections::BTreeSet;

use countersign_tests::client::{Client, Version};
use countersign_tests::configuration::{Configuration, ListenerSection, own_address};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};

use crate::configured::{Configured, ask_whoami, tls};

#[allow(dead_code, reason = "shared with the loader's own tests, which use all of it")]
#[path = "../../engine/tests/support/breakages.rs"]
mod breakages;
#[path = "../../engine/tests/support/certificates.rs"]
mod certificates;

#[test]
fn no_broken_file_changes_anything_and_each_is_told_of_with_its_place() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let good = Configuration::new().listener(ListenerSection::of("door", address, &pki));
    let configured = Configured::start(&pki, good.clone());
    // The breakages name files beside the configuration.
    certificates::write(pki.directory());
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let mut open = Client::established(address, &alice);
    let mut kinds = BTreeSet::new();
    for breakage in breakages::BREAKAGES {
        configured.file.rewrite_text(&breakage.apply());
        let errors = configured.engine.reload_refused();
        assert!(
            breakage.is_described_by(&errors, configured.file.path()),
            "{}: {errors:#?}",
            breakage.name
        );
        kinds.insert(breakage.name);
    }
    assert!(kinds.len() >= 20, "only {} kinds of breakage", kinds.len());
    let refused = [("result", "refused")];
    assert_eq!(
        configured.metrics().count("countersign_reloads_total", &refused),
        breakages::BREAKAGES.len() as u64
    );
    assert!(names(&whoami(&mut open), "alice"), "who was in is still in");
    let answer = ask_whoami(SERVER_NAME, address, &alice).expect("the old configuration serves");
    assert!(names(&answer, "alice"));
    assert_eq!(configured.reload(good)["generation"], 2);
}
