//! 16 KiB through an established connection: received, opened or sealed, handed to the driver.

use countersign_bench::client::Client;
use countersign_bench::pki::Pki;
use countersign_bench::server::Server;
use countersign_proto::Side;
use criterion::{Criterion, Throughput};

const RECORD_BYTES: usize = 16_384;

/// Records that the client seals at a time; they lie behind one another as on the wire.
const RECORDS: u64 = 64;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "relay/",
        "server's time alone. Compare to_client with floor/record/aes_128_gcm_seal_16k, to_upstream with aes_128_gcm_open_16k_and_copy",
    );
    let pki = Pki::new();
    let server = Server::new(&pki, &[]);
    let client = Client::new(&pki, &pki.client("client.example"));
    let data = vec![7; RECORD_BYTES];
    let mut group = criterion.benchmark_group("relay/16k");
    group.throughput(Throughput::Bytes(RECORD_BYTES as u64));

    let (mut session, _far) = server.shake_hands(&client);
    group.bench_function("to_client", |bencher| {
        bencher.iter_custom(|iterations| {
            let start = session.server_time();
            for _ in 0..iterations {
                session.upstream_says(&data);
                assert!(session.drop_sent(Side::Client) > RECORD_BYTES);
            }
            session.server_time() - start
        });
    });

    let (mut session, mut far) = server.shake_hands(&client);
    group.bench_function("to_upstream", |bencher| {
        bencher.iter_custom(|iterations| {
            let start = session.server_time();
            let mut left = iterations;
            while left > 0 {
                let records = left.min(RECORDS);
                left -= records;
                let plaintext = data.repeat(records as usize);
                session.client_says(&far.seal(&plaintext));
                assert_eq!(session.drop_sent(Side::Upstream), plaintext.len());
            }
            session.server_time() - start
        });
    });
    group.finish();
}
