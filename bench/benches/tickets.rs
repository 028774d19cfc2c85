//! What a session ticket costs: TLS 1.3, X25519, ECDSA P-256, one intermediate in the client's chain.

use std::io::{self, Write};
use std::time::Duration;

use countersign_bench::client::Client;
use countersign_bench::pki::Pki;
use countersign_bench::server::Server;
use countersign_proto::Side;
use criterion::{BenchmarkId, Criterion};

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "tickets/",
        "server's time alone. A ticket costs a quarter of what full/4 is above full/0; compare resumed, which issues one, with floor/handshake/x25519_sign_2_verify less its signatures",
    );
    let pki = Pki::new();
    let client = Client::new(&pki, &pki.client("client.example"));
    let mut group = criterion.benchmark_group("tickets");
    for tickets in [0, 1, 4] {
        let server = Server::with_tickets(&pki, tickets);
        let _ = server.shake_hands(&client);
        group.bench_function(BenchmarkId::new("full", tickets), |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations).map(|_| server.shake_hands(&client).0.server_time()).sum()
            });
        });
    }
    let server = Server::with_tickets(&pki, 1);
    let client = client.resuming();
    let size = visit(&server, &client, false).1;
    // Whoever has closed our output does not want to hear of it.
    let _ = writeln!(io::stderr().lock(), "a ticket's record has {size} bytes");
    group.bench_function("resumed", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations).map(|_| visit(&server, &client, true).0).sum::<Duration>()
        });
    });
    group.finish();
}

/// The server's time for a handshake, and how many bytes it sent behind the client's Finished.
fn visit(server: &Server, client: &Client, resumed: bool) -> (Duration, usize) {
    let (mut session, mut far) = server.shake_hands(client);
    let time = session.server_time();
    let tickets = session.take_sent(Side::Client);
    far.hear(&tickets);
    assert_eq!(far.is_resumed(), resumed);
    (time, tickets.len())
}
