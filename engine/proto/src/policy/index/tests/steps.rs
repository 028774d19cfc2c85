//! What a decision costs, counted in steps and not in time.

use super::*;

/// Steps of both actions.
fn steps(policy: &Policy, client: &Subject<'_>) -> usize {
    let of = |index: &Index| index.search(policy.rules(), client).steps;
    of(&policy.allow) + of(&policy.deny)
}

fn rules(count: usize, text: impl Fn(usize) -> String) -> Policy {
    let rule = |number: usize| {
        let parse = if number.is_multiple_of(2) { Rule::parse_allow } else { Rule::parse_deny };
        parse(&text(number)).expect("a rule")
    };
    Policy::new((0..count).map(rule).collect())
}

fn someone() -> ClientIdentity {
    client(&[
        "cn=client-20711",
        "o=Example",
        "ou=Example",
        "dns=client-20711.prod.example",
        "uri=spiffe://example/ns/team-20711/sa/api",
        "ip=10.0.18.103",
        "ip=2001:db8::1267",
        "email=client-20711@example",
        "eku=1.3.6.1.5.5.7.3.2",
        "policy-oid=1.2.20711",
        "from=-60",
        "to=3600",
    ])
}

type Texts = (&'static str, fn(usize) -> String);

/// A rule of each kind for each number, as they are written.
const KINDS: &[Texts] = &[
    ("exact", |number| format!("dns=client-{number}.prod.example")),
    ("star behind", |number| format!("dns=client-{number}.*.example")),
    ("star in front", |number| format!("dns=*.client-{number}.example")),
    ("star within a label", |number| format!("dns=client-{number}x*.prod.example")),
    ("stars around", |number| format!("cn=**-{number}-*")),
    ("path", |number| format!("uri=spiffe://example/ns/*/sa/client-{number}")),
    ("tail", |number| format!("uri=**/sa/client-{number}")),
    ("spiffe", |number| format!("spiffe=spiffe://example/ns/team-{number}x/**")),
    ("email", |number| format!("email=*@host-{number}.example")),
    ("address", |number| format!("ip=2001:db8:1::{number:x}")),
    ("range", |number| format!("ip=10.{}.{}.0/{}", 1 + number / 256, number % 256, 24)),
    ("issuer", |number| format!("issuer=CN=CA {number},O=Example")),
    ("issuer-cn", |number| format!("issuer-cn=CA {number} *")),
    ("key", |number| format!("spki-sha256={number:064x}")),
    ("issuer-serial", |number| format!("issuer-serial={number:x}@CN=Example CA")),
    ("eku", |number| format!("eku=1.3.{number}")),
    ("policy", |number| format!("policy-oid=1.3.{number}")),
    ("trust domain", |number| format!("trust-domain=domain-{number}")),
    ("lifetime", |number| format!("lifetime>={}s", 100_000 + number)),
    ("remaining", |number| format!("remaining<{}s", number % 3_000)),
    ("key size", |number| format!("key=rsa>={}", 2048 + number)),
    ("common and rare", |number| {
        format!("spiffe=spiffe://example/** && lifetime<=24h && cn=client-{number}x")
    }),
    ("common and rare pattern", |number| {
        format!("key=ec-p256 && dns=client-{number}x.** && trust-domain=prod")
    }),
    ("common and range", |number| {
        format!("o=Example && ip=11.{}.{}.0/24", number / 256, number % 256)
    }),
];

#[test]
fn ten_thousand_rules_of_each_kind_take_hardly_more_steps_than_ten() {
    let someone = someone();
    for (name, text) in KINDS {
        let (few, many) = (rules(10, text), rules(10_000, text));
        assert_eq!(many.decide(&of(&someone)), Decision::Denied { rule: None }, "{name}");
        let (few, many) = (steps(&few, &of(&someone)), steps(&many, &of(&someone)));
        assert!(
            many <= 2 * few + 150,
            "{name}: {few} steps for ten rules, {many} for ten thousand"
        );
    }
}

#[test]
fn rules_of_all_kinds_together_cost_their_sum() {
    let someone = someone();
    let policy = rules(10_000, |number| KINDS[number % KINDS.len()].1(number));
    let steps = steps(&policy, &of(&someone));
    assert!(steps < 2_000, "{steps}");
}

/// Every place of every pattern, for every letter of the name, once; and every term once.
fn bound(policy: &Policy, name: &str) -> usize {
    let text: usize = policy.rules().iter().map(|rule| rule.to_string().len()).sum();
    (name.len() + 1) * text
}

#[test]
fn hostile_patterns_and_names_stay_below_the_product_of_their_lengths() {
    // For who backtracks over each star these are 2^n ways.
    let patterns: [Texts; 3] = [
        ("nested", |number| format!("cn={}*b", "a".repeat(1 + number))),
        ("stars", |number| format!("cn={}b", "*a".repeat(1 + number))),
        ("mixed", |number| format!("cn=*{}b", "a*aa*".repeat(1 + number % 40))),
    ];
    for (name, text) in patterns {
        let policy = rules(200, text);
        for letters in [100, 1_000, 4_000] {
            let cn = "a".repeat(letters);
            let hostile = client(&[&format!("cn={cn}")]);
            let (steps, bound) = (steps(&policy, &of(&hostile)), bound(&policy, &cn));
            assert!(steps <= bound, "{name}: {steps} steps, {bound} at most");
            assert_eq!(policy.decide(&of(&hostile)), Decision::Denied { rule: None });
        }
    }
}

#[test]
fn a_hostile_name_does_not_make_benign_patterns_dear() {
    // All the names that rules begin with, one after the other; and what every pattern takes for its own beginning.
    let all: String = (0..300).map(|number| format!("client-{number}.")).collect();
    let same = format!("{}example", "client-".repeat(500));
    for (name, text) in KINDS.iter().filter(|(_, text)| text(0).starts_with("dns=")) {
        let policy = rules(10_000, text);
        for hostile in [&all, &same] {
            let hostile = format!("{}example", hostile.trim_end_matches("example"));
            let client = client(&[&format!("dns={hostile}")]);
            let steps = steps(&policy, &of(&client));
            assert!(steps < 8 * hostile.len(), "{name}: {steps} for {} letters", hostile.len());
        }
    }
}

#[test]
fn conjunctions_of_the_same_value_are_each_looked_at_once() {
    let policy = rules(1_000, |number| format!("o=Example && lifetime>={}s", 100_000 + number));
    let steps = steps(&policy, &of(&someone()));
    assert!(steps < 2 * 1_000 + 50, "{steps}");
}

#[test]
fn rules_that_only_compare_are_not_tried_one_after_the_other() {
    let policy = rules(10_000, |number| format!("lifetime>={}s", 1_000_000 - number));
    assert_eq!(steps(&policy, &of(&someone())), 0);
    let met = client(&["from=-60", "to=995000"]);
    // 995,060 seconds: the rule of 4,940 is the first that holds, and it allows; the first that denies is the next one.
    assert_eq!(policy.decide(&of(&met)), Decision::Denied { rule: Some(4_941) });
}
