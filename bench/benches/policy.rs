//! Whether a client may come in: by how many rules of a kind there are, none of which fits but the last.

use std::fmt::Write as _;
use std::hint::black_box;

use countersign_bench::workload::{client_identity, subject};
use countersign_proto::{Policy, Rule};
use criterion::{BenchmarkId, Criterion};

/// A kind of rules: its name, the rule of a number, and one that fits every client of the bench.
type Kind = (&'static str, fn(usize) -> String, &'static str);

const NAME: &str = "client-20711.prod.example";

const KINDS: &[Kind] = &[
    (
        "exact",
        |number| format!("dns=client-{number}.prod.example"),
        "dns=client-20711.prod.example",
    ),
    (
        "star_behind",
        |number| format!("dns=client-{number}.*.example"),
        "dns=client-20711.*.example",
    ),
    ("star_in_front", |number| format!("dns=*.client-{number}.example"), "dns=*.prod.example"),
    ("star_in_label", |number| format!("cn=client-{number}x*"), "cn=client-20*"),
    ("stars_around", |number| format!("cn=**-{number}-**"), "cn=**-20711.**"),
    ("range", |number| range(number), "any-verified"),
    ("key", |number| format!("spki-sha256={number:064x}"), "any-verified"),
    ("lifetime", |number| format!("lifetime<{number}s"), "lifetime>1d"),
    (
        "three_terms",
        |number| format!("key=ec-p256 && lifetime>1d && cn=client-{number}"),
        "key=ec-p256 && lifetime>1d && cn=client-20*",
    ),
    (
        "three_terms_star",
        |number| format!("trust-domain=clients && dns=client-{number}.** && key=ec-p256"),
        "trust-domain=clients && dns=client-20711.** && key=ec-p256",
    ),
];

fn range(number: usize) -> String {
    format!("ip=10.{}.{}.0/24", number / 256, number % 256)
}

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "policy/",
        "no kind should grow with the rules: compare 10,000 with 1. name_of_4096 is the longest name, made of what the rules begin with",
    );
    let mut group = criterion.benchmark_group("policy");
    let client = client_identity(NAME);
    for (name, rule, fits) in KINDS {
        for count in [1, 100, 10_000] {
            let mut texts: Vec<_> = (0..count - 1).map(rule).collect();
            texts.push((*fits).to_owned());
            let policy = policy(&texts);
            assert!(policy.decide(&subject(&client)).is_allowed(), "{name}");
            group.bench_with_input(BenchmarkId::new(*name, count), &policy, |bencher, policy| {
                bencher.iter(|| policy.decide(&subject(black_box(&client))));
            });
        }
    }
    let mut hostile = String::new();
    for number in 0..300 {
        let _ = write!(hostile, "client-{number}.");
    }
    let client = client_identity(&format!("{hostile}example"));
    let texts: Vec<_> =
        (0..10_000).map(|number| format!("dns=client-{number}.*.example")).collect();
    let policy = policy(&texts);
    group.bench_function("name_of_4096/10000", |bencher| {
        bencher.iter(|| policy.decide(&subject(black_box(&client))));
    });
    group.finish();
}

fn policy(texts: &[String]) -> Policy {
    Policy::new(texts.iter().map(|text| Rule::parse_allow(text).expect("a rule")).collect())
}
