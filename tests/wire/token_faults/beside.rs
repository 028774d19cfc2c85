//! A key in two tokens: whatever one of them does wrong the other carries, so that no handshake fails at all; and the
//! faulty one is used again afterwards.

use countersign_tests::deadline::wait_for;
use countersign_tests::pki::KeyKind;

use super::crowd::Crowd;
use super::scene::{Isolation, Scene};
use super::trouble::{self, troubles};

const OPERATIONS: &str = "countersign_token_operations_total";

#[test]
fn a_p256_key_of_which_one_token_of_two_does_everything_wrong() {
    carry(KeyKind::EcdsaP256, Isolation::Process);
}

#[test]
fn an_rsa_key_of_which_one_token_of_two_does_everything_wrong_to_threads_of_the_engine() {
    carry(KeyKind::Rsa2048, Isolation::Thread);
}

fn carry(kind: KeyKind, isolation: Isolation) {
    // By default ECDSA is verified by sample: what a lying token gives away before it is found out is refused by clients.
    let mut scene = Scene::new(kind, isolation, 2, |all| all.tokens("verify_own", "always"));
    for trouble in troubles(isolation) {
        let refused = Crowd::visits(&mut scene, 1, |scene, crowd| {
            scene.strike(trouble, || failures(scene));
            scene.serves_who_is_in(trouble.name);
            trouble::end(scene.token());
            let signed = signed(scene);
            wait_for(&format!("the token to sign again after {}", trouble.name), || {
                let is_trusted = scene.count("countersign_token_breaker", &[]) == 0;
                (is_trusted && self::signed(scene) > signed + 5).then_some(())
            });
            crowd.wait_for_served(5);
        });
        assert_eq!(refused, 0, "{}: {:?}", trouble.name, scene.configured.metrics());
        scene.serves_who_is_in(trouble.name);
    }
    scene.close(0);
}

/// Operations that the first token was given and that came to nothing with it.
fn failures(scene: &Scene) -> u64 {
    const RESULTS: [&str; 5] = ["failed", "lost", "key_missing", "timed_out", "wrong_signature"];
    RESULTS.iter().map(|result| scene.count(OPERATIONS, &[("result", result)])).sum()
}

fn signed(scene: &Scene) -> u64 {
    scene.count(OPERATIONS, &[("result", "signed")])
}
