//! From the ClientHello to the identity that answers to its server name.

use std::hint::black_box;

use countersign_bench::client::Client;
use countersign_bench::pki::Pki;
use countersign_bench::server::Server;
use countersign_proto::Side;
use criterion::{BenchmarkId, Criterion};

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "client_hello/",
        "refused is all that a client costs that is turned away by its server name, before any cryptography: compare with the handshake/ that it saves. choose alone should not grow with the names",
    );
    let pki = Pki::new();
    let client = Client::new(&pki, &pki.client("client.example"));
    let hello = client.connect_to("unknown.example").say();
    let mut group = criterion.benchmark_group("client_hello");

    let server = Server::new(&pki, &["only.example".to_owned()]);
    group.bench_function("refused", |bencher| {
        bencher.iter(|| {
            let mut session = server.accept();
            session.client_says(black_box(&hello));
            assert!(session.drop_sent(Side::Client) > 0);
        });
    });

    for count in [1, 10_000] {
        let names: Vec<_> = (0..count).map(|number| format!("site-{number}.example")).collect();
        let server = Server::new(&pki, &names);
        let last = &names[count - 1];
        group.bench_with_input(BenchmarkId::new("choose", count), last, |bencher, name| {
            let identities = server.identities();
            bencher.iter(|| identities.choose(Some(black_box(name))).is_some());
        });
    }
    group.finish();
}
