//! The engine from the outside: the program as a process, real sockets, real clients.
//!
//! Each test starts its own engine, backend and PKI, so that they run side by side and in any order. The
//! engine is found as `COUNTERSIGN_BIN`, else as `target/PROFILE/countersign`.

mod bulk;
mod capacity;
mod clients;
mod cut_handshakes;
mod keys;
mod life;
mod malformed;
mod negotiation;
mod no_resumption;
mod refusals;
mod relay;
mod s_client;
mod start_errors;
