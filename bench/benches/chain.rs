//! The verification of a client's chain: end entity, one intermediate, a root.

use std::hint::black_box;

use countersign_bench::pki::Pki;
use countersign_bench::server::NOW;
use countersign_proto::ClientIdentity;
use criterion::{BatchSize, Criterion};

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "chain/",
        "with floor/public_key/p256_verify: twice for intermediate_new, once for intermediate_known; identity_alone is part of both",
    );
    let pki = Pki::new();
    let chain = pki.client("client.example").chain;
    let mut group = criterion.benchmark_group("chain/one_intermediate");
    group.bench_function("intermediate_new", |bencher| {
        bencher.iter_batched_ref(
            || pki.trust_domain(),
            |domain| domain.verify(black_box(&chain), NOW.unix).expect("a path"),
            BatchSize::SmallInput,
        );
    });
    let domain = pki.trust_domain();
    group.bench_function("intermediate_known", |bencher| {
        bencher.iter(|| domain.verify(black_box(&chain), NOW.unix).expect("a path"));
    });
    group.bench_function("identity_alone", |bencher| {
        bencher.iter(|| ClientIdentity::parse(black_box(&chain[0])).expect("an identity"));
    });
    group.finish();
}
