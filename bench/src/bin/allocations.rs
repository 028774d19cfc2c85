//! Counts what the server allocates for one full handshake: TLS 1.3, X25519, ECDSA P-256, one
//! intermediate, a client that was never seen.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use allocation_counter::{AllocationInfo, measure};
use countersign_bench::client::Client;
use countersign_bench::pki::Pki;
use countersign_bench::server::Server;
use countersign_proto::Side;

/// Handshakes before the one that counts: tables have grown, buffers lie ready.
const WARM_UP: usize = 100;

fn main() -> io::Result<()> {
    let pki = Pki::new();
    let server = Server::new(&pki, &[]);
    let client = |number| Client::new(&pki, &pki.client(&format!("client-{number}.example")));
    for number in 0..WARM_UP {
        drop(server.relay(&client(number)));
    }

    let mut far = client(WARM_UP).connect();
    let hello = far.say();
    let mut session = None;
    let accepted = measure(|| session = Some(server.accept()));
    let mut session = session.expect("a session was accepted");
    let greeted = measure(|| session.client_says(&hello));
    far.hear(&session.take_sent(Side::Client));
    let finished = far.say();
    let let_in = measure(|| session.client_says(&finished));
    assert_eq!(session.phase(), "relay", "the client was let in");
    let over = measure(|| drop(session));

    let mut out = io::stdout().lock();
    let rows = [
        ("accept", accepted),
        ("ClientHello to the server's Finished", greeted),
        ("client's Certificate to the first byte of the relay", let_in),
        ("end", over),
    ];
    for (what, info) in &rows {
        row(&mut out, what, info)?;
    }
    let sum = |field: fn(&AllocationInfo) -> u64| rows.iter().map(|(_, info)| field(info)).sum();
    let (count, bytes): (u64, u64) = (sum(|info| info.count_total), sum(|info| info.bytes_total));
    writeln!(out, "{:52} {count:>5} allocations  {bytes:>7} bytes", "in all")
}

fn row(out: &mut impl Write, what: &str, info: &AllocationInfo) -> io::Result<()> {
    let AllocationInfo { count_total, bytes_total, bytes_current, .. } = info;
    writeln!(
        out,
        "{what:52} {count_total:>5} allocations  {bytes_total:>7} bytes  {bytes_current:>+7} kept"
    )
}
