//! The load generator beside a token that does wrong: what it counts as failed and what the engine counts as refused is
//! the same.

use countersign_tests::deadline::wait_for;
use countersign_tests::loadgen::Load;
use countersign_tests::pki::KeyKind;

use super::scene::{Isolation, Scene};
use super::trouble::{self, troubles};

/// At once, at most.
const CONNECTIONS: u64 = 64;

#[test]
fn what_the_load_generator_counts_as_failed_is_counted_with_its_reason() {
    let mut scene = Scene::new(KeyKind::EcdsaP256, Isolation::Process, 1, |all| {
        all.tokens("verify_own", "always")
    });
    let load = Load::new(&scene.pki, scene.address)
        .option("--connections", &CONNECTIONS.to_string())
        .option("--rate", "200")
        // Until it is told to end, whatever happens.
        .option("--count", "1000000000000")
        .option("--ramp", "10m")
        .option("--give-up", "10m");
    let load = load.begin(&scene.pki);
    signs(&scene);
    for trouble in troubles(Isolation::Process) {
        scene.strike(trouble, || scene.refused());
        scene.serves_who_is_in(trouble.name);
        trouble::end(scene.token());
        signs(&scene);
    }
    // Nobody waits any more that came before it was mended, and the load generator has read what it was told.
    wait_for("a moment without anybody who waits for a signature", || {
        (scene.configured.engine.status()["stacks_suspended"] == 0).then_some(())
    });
    signs(&scene);
    let loaded = load.interrupt();
    wait_for("nobody to be left but who was there before", || {
        let status = scene.configured.engine.status();
        let released = status["released"].as_u64().expect("a count");
        (status["accepted"] == released + 1).then_some(())
    });
    let errors = loaded.json["errors"].as_object().expect("what failed").clone();
    let failed: u64 = errors.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(failed, loaded.count("/handshakes/failed"), "{loaded:?}");
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["tls_alert:internal_error"], "{loaded:?}");
    // Whom the end of the load generator cut off is told apart.
    let cut_off = scene.refused_otherwise();
    let of_clients = |reason: &str| ["client_reset", "client_closed"].contains(&reason);
    assert!(cut_off.iter().all(|(reason, _)| of_clients(reason)), "{cut_off:?}");
    let cut_off: u64 = cut_off.iter().map(|(_, count)| count).sum();
    assert!(cut_off <= CONNECTIONS, "{cut_off}");
    assert!(loaded.count("/handshakes/full") > 0 && failed > 0, "{loaded:?}");
    assert_eq!(scene.refused(), failed, "none is uncounted: {loaded:?}");
}

/// Waits until the token signs.
fn signs(scene: &Scene) {
    let before = scene.token().counters().signatures;
    scene.token().wait_for("the token to sign", |now| now.signatures > before + 20);
}
