//! One mutual handshake through `proto` in memory: TLS 1.3, X25519, ECDSA P-256, one intermediate.

use std::time::Duration;

use countersign_bench::client::Client;
use countersign_bench::pki::Pki;
use countersign_bench::server::Server;
use criterion::Criterion;

/// Clients of which each comes once before the server forgets them all.
const CLIENTS: usize = 2_048;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "handshake/",
        "server's time alone, from accept to the first relayed byte. Compare client_seen and client_new with floor/handshake/x25519_sign_2_verify, intermediate_new with x25519_sign_3_verify: what is above is ours and rustls'",
    );
    let pki = Pki::new();
    let mut clients = Clients::new(&pki);
    let mut group = criterion.benchmark_group("handshake/full");

    let server = Server::new(&pki, &[]);
    group.bench_function("client_seen", |bencher| {
        let client = clients.next();
        let _ = server.shake_hands(&client);
        bencher.iter_custom(|iterations| (0..iterations).map(|_| time(&server, &client)).sum());
    });

    group.bench_function("client_new", |bencher| {
        let mut server = clients.prepare(server.forgetful(&pki));
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                if clients.are_all_seen() {
                    server = clients.prepare(server.forgetful(&pki));
                }
                total += time(&server, &clients.next());
            }
            total
        });
    });

    group.bench_function("intermediate_new", |bencher| {
        let client = clients.next();
        bencher.iter_custom(|iterations| {
            (0..iterations).map(|_| time(&server.forgetful(&pki), &client)).sum()
        });
    });
    group.finish();
}

fn time(server: &Server, client: &Client) -> Duration {
    let (session, _) = server.shake_hands(client);
    session.server_time()
}

/// Clients made beforehand.
struct Clients {
    all: Vec<Client>,
    next: usize,
}

impl Clients {
    fn new(pki: &Pki) -> Self {
        let client = |number| Client::new(pki, &pki.client(&format!("client-{number}.example")));
        Self { all: (0..CLIENTS).map(client).collect(), next: 0 }
    }

    fn are_all_seen(&self) -> bool {
        self.next == self.all.len()
    }

    /// A client; the first again after the last.
    fn next(&mut self) -> Client {
        if self.are_all_seen() {
            self.next = 0;
        }
        self.next += 1;
        self.all[self.next - 1].clone()
    }

    /// Has a server see the intermediate, and none of the clients that come from now on.
    fn prepare(&mut self, server: Server) -> Server {
        self.next = 0;
        let _ = server.shake_hands(&self.next());
        server
    }
}
