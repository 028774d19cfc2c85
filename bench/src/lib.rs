//! What the benches and the instruction counts stand on: a PKI, a client, and a driver of `proto`'s
//! [`Connection`](countersign_proto::Connection) in memory, without sockets.
#![forbid(unsafe_code)]

pub mod client;
pub mod counting;
pub mod pki;
pub mod server;
pub mod workload;
