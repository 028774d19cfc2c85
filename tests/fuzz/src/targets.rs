//! The ways in.

mod certificate;
mod chain;
mod configuration;
mod hello;
mod list;
mod ocsp;
mod proxy;
mod records;
mod ticket;

use crate::Target;

const KIB: usize = 1024;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "certificate",
        input: "one certificate, DER",
        target: certificate::target,
        seeds: certificate::seeds,
        bytes_max: 32 * KIB,
        allowance: (64 * 1024, 64),
        rounds: 20_000,
    },
    Target {
        name: "chain",
        input: "a client's certificates, each behind a length of three bytes as in TLS, end entity first",
        target: chain::target,
        seeds: chain::seeds,
        bytes_max: 48 * KIB,
        allowance: (64 * 1024, 64),
        rounds: 6_000,
    },
    Target {
        name: "crl",
        input: "a file of revocation lists, DER or PEM",
        target: list::target,
        seeds: list::seeds,
        bytes_max: 64 * KIB,
        allowance: (64 * 1024, 64),
        rounds: 10_000,
    },
    Target {
        name: "ocsp",
        input: "the answer of an OCSP responder, DER",
        target: ocsp::target,
        seeds: ocsp::seeds,
        bytes_max: 65 * KIB,
        allowance: (64 * 1024, 64),
        rounds: 10_000,
    },
    Target {
        name: "proxy",
        input: "what a balancer sends before the first TLS record: a PROXY header of version 1 or 2, and more",
        target: proxy::target,
        seeds: proxy::seeds,
        bytes_max: 10 * KIB,
        allowance: (KIB as u64, 0),
        rounds: 50_000,
    },
    Target {
        name: "hello",
        input: "all that a client sends from the first byte on; TLS 1.2 has its certificates in it",
        target: hello::target,
        seeds: hello::seeds,
        bytes_max: 80 * KIB,
        allowance: (512 * 1024, 64),
        rounds: 2_000,
    },
    Target {
        name: "records",
        input: "what a client that was let in does: a byte for the version, then steps of a kind, a length of two bytes and a content (see targets/records.rs)",
        target: records::target,
        seeds: records::seeds,
        bytes_max: 80 * KIB,
        allowance: (1024 * 1024, 64),
        rounds: 1_000,
    },
    Target {
        name: "ticket",
        input: "a session ticket as a client offers it, and as the contents of one",
        target: ticket::target,
        seeds: ticket::seeds,
        bytes_max: 12 * KIB,
        allowance: (512 * 1024, 64),
        rounds: 2_000,
    },
    Target {
        name: "configuration",
        input: "the text of a configuration file",
        target: configuration::target,
        seeds: configuration::seeds,
        bytes_max: 16 * KIB,
        // The parser of TOML finds an error in each byte, and words for it.
        allowance: (256 * 1024, 8_192),
        rounds: 5_000,
    },
];
