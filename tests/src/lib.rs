//! What the wire tests stand on: a throwaway PKI, the engine as a process with its command line or its
//! configuration file, backends that record what they saw, a TLS client that can stop, cut and look at any
//! point of a handshake, readers of metrics and PROXY headers, and other people's clients run with a deadline.
//!
//! **Invariants.** Nothing here uses one of the engine's crates: what the tests know about the engine
//! is its command line, its log and its behaviour on the wire. Every wait has a deadline
//! ([`deadline::PATIENCE`]) that only a real failure reaches; no test asserts that something was fast.
//! A process started here is ended here, by its own id.
//!
//! These modules panic where a test cannot go on: the panic is the test's failure and its message says
//! what was expected and what the engine logged.
#![forbid(unsafe_code)]

pub mod admin;
pub mod backend;
pub mod client;
pub mod configuration;
pub mod crl;
pub mod deadline;
pub mod engine;
pub mod http;
pub mod http_server;
pub mod loadgen;
pub mod ocsp;
pub mod pki;
pub mod prometheus;
pub mod proxy;
pub mod record;
pub mod seeded;
pub mod test_token;
pub mod token;
pub mod tool;
