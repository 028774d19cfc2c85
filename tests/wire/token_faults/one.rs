//! A key in one token: while that does wrong clients are refused, and each of them is counted.

use countersign_tests::pki::KeyKind;

use super::crowd::Crowd;
use super::scene::{Isolation, Scene};
use super::trouble::{self, troubles};

#[test]
fn a_p256_key_whose_token_does_everything_wrong() {
    suffer(KeyKind::EcdsaP256, Isolation::Process);
}

#[test]
fn an_rsa_key_whose_token_does_everything_wrong() {
    suffer(KeyKind::Rsa2048, Isolation::Process);
}

#[test]
fn a_p256_key_whose_token_does_everything_wrong_to_threads_of_the_engine() {
    suffer(KeyKind::EcdsaP256, Isolation::Thread);
}

#[test]
fn an_rsa_key_whose_token_does_everything_wrong_to_threads_of_the_engine() {
    suffer(KeyKind::Rsa2048, Isolation::Thread);
}

fn suffer(kind: KeyKind, isolation: Isolation) {
    let mut scene = Scene::new(kind, isolation, 1, |configuration| configuration);
    let mut refused = 0;
    for trouble in troubles(isolation) {
        refused += Crowd::visits(&mut scene, 1, |scene, crowd| {
            scene.strike(trouble, || crowd.refused());
            scene.serves_who_is_in(trouble.name);
            trouble::end(scene.token());
            // Long enough for everything that had begun before it was mended.
            crowd.wait_for_served(20);
        });
        scene.lets_in(trouble.name);
        scene.serves_who_is_in(trouble.name);
    }
    scene.close(refused);
}
