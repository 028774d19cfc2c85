//! The benches of `proto` and of what it stands on. Each group says what its figures are to be compared
//! with; the cryptography alone is in the groups that begin with `floor/`.
#![forbid(unsafe_code)]

mod chain;
mod client_hello;
mod fiber;
mod floor;
mod handshake;
mod policy;
mod proxy_protocol;
mod relay;
mod standing;
mod tickets;

use std::io::{self, Write};

use criterion::{criterion_group, criterion_main};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(
    benches,
    floor::benches,
    handshake::benches,
    tickets::benches,
    chain::benches,
    relay::benches,
    standing::benches,
    client_hello::benches,
    policy::benches,
    proxy_protocol::benches,
    fiber::benches,
);
criterion_main!(benches);

/// Says what the figures of `group` are to be held against.
fn compare_with(group: &str, what: &str) {
    // Whoever has closed our output does not want to hear of it.
    let _ = writeln!(io::stderr().lock(), "\n{group}: {what}\n");
}
