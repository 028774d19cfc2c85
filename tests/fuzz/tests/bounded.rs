//! Each target over its seeds and a number of mutations, the same in every run: a count bounds it, no clock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use countersign_fuzz::campaign::Campaign;
use countersign_fuzz::{TARGETS, Target};

const SEED: u64 = 0xc0de;

/// Runs a target's mutations. The words must come up in outcomes: that a target has stopped looking, or its seeds
/// have become worthless, is noticed.
#[track_caller]
fn holds(name: &str, words: &[&str]) {
    let target = Target::named(name).expect("a target");
    let inputs = target.inputs();
    let mut campaign = Campaign::new(target, inputs.clone(), SEED);
    let mut inputs = inputs.into_iter();
    for _ in 0..inputs.len() + target.rounds as usize {
        let input = inputs.next().unwrap_or_else(|| campaign.next_input());
        let outcome = catch_unwind(AssertUnwindSafe(|| target.run(&input)));
        let outcome = outcome.unwrap_or_else(|_| {
            let digits: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{name} does not bear these {} bytes (why is said above): {digits}", input.len())
        });
        campaign.saw(&input, outcome);
    }
    let seen = campaign.outcomes();
    let missing: Vec<_> = words
        .iter()
        .filter(|words| !seen.keys().any(|outcome| outcome.contains(**words)))
        .collect();
    assert!(missing.is_empty(), "{name}: no input came to {missing:?}, but to {seen:#?}");
}

macro_rules! held {
    ($($test:ident: $name:literal comes to $words:expr;)*) => {
        $(
            #[test]
            fn $test() {
                holds($name, &$words);
            }
        )*

        #[test]
        fn every_target_is_held() {
            assert!(TARGETS.iter().map(|target| target.name).eq([$($name),*]));
        }
    };
}

held! {
    certificates: "certificate" comes to ["an identity", "a responder", "must be stapled", "is malformed"];
    chains: "chain" comes to ["verified", "revoked", "a signature in the path is wrong", "signed anew:, verified", "name constraint"];
    revocation_lists: "crl" comes to ["signed", "a list of some entries", "not base", "ends in the middle"];
    ocsp_answers: "ocsp" comes to ["good, good", "revoked", "unknown", "nonce", "its signature is wrong"];
    proxy_headers: "proxy" comes to ["no addresses", "partial", "checksum", "CRLF"];
    hellos: "hello" comes to ["expect_finished", "Declined", "malformed_message", "protocol_violation"];
    records: "records" comes to ["TLS one-three relay all", "TLS one-two relay all", "relay some", "cannot be decrypted"];
    tickets: "ticket" comes to ["UnknownKey", "TrustChanged", "Malformed", "IncorrectBinder", "is readable"];
    configurations: "configuration" comes to ["right", "syntax", "unknown key"];
}
