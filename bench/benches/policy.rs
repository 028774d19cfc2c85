//! Whether a client may come in: the rule that fits is the last.

use std::hint::black_box;

use countersign_bench::workload::client_identity;
use countersign_proto::{Policy, Rule};
use criterion::{BenchmarkId, Criterion};

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "policy/",
        "exact should not grow with the rules: compare 10,000 with 1. star is tried one rule after the other: compare a rule's share with a string comparison, tens of nanoseconds",
    );
    let mut group = criterion.benchmark_group("policy");
    for count in [1, 100, 10_000] {
        let client = client_identity(&format!("client-{}.example", count - 1));
        for (name, end) in [("exact", "example"), ("star", "*")] {
            let rule = |number| Rule::parse_allow(&format!("dns=client-{number}.{end}"));
            let policy =
                Policy::new((0..count).map(|number| rule(number).expect("a rule")).collect());
            assert!(policy.decide(&client).is_allowed());
            group.bench_with_input(BenchmarkId::new(name, count), &policy, |bencher, policy| {
                bencher.iter(|| policy.decide(black_box(&client)));
            });
        }
    }
    group.finish();
}
