//! What a publish costs for each open connection: its client is asked about again.

use std::hint::black_box;

use countersign_bench::client::Client;
use countersign_bench::pki::Pki;
use countersign_bench::server::Server;
use criterion::{Criterion, Throughput};

/// Enough that what is asked about is not in the CPU's cache any more when its turn comes again.
const CONNECTIONS: usize = 4_000;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "standing/",
        "with each other: of many connections each has to be fetched from memory; a publish may take a second for all of a worker's",
    );
    let pki = Pki::new();
    let server = Server::new(&pki, &[]);
    let client = Client::new(&pki, &pki.client("client.example"));
    let mut group = criterion.benchmark_group("standing/reconsider");
    let (mut session, _far) = server.relay(&client);
    group.bench_function("the_same_connection", |bencher| {
        bencher.iter(|| {
            server.publish();
            assert!(black_box(session.reconsider()));
        });
    });
    let mut sessions: Vec<_> = (0..CONNECTIONS).map(|_| server.relay(&client)).collect();
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    group.bench_function("many_connections", |bencher| {
        bencher.iter(|| {
            server.publish();
            for (session, _) in &mut sessions {
                assert!(black_box(session.reconsider()));
            }
        });
    });
    group.finish();
}
