//! The engine from the outside: the program as a process, real sockets, real clients.
//!
//! Each test starts its own engine, backend and PKI, so that they run side by side and in any order. The
//! engine is found as `COUNTERSIGN_BIN`, else as `target/PROFILE/countersign`.

mod admin;
mod announced;
mod bulk;
mod capacity;
mod chain_cache;
mod clients;
mod configured;
mod cut_handshakes;
mod explain;
mod identities;
mod key_updates;
mod keys;
mod life;
mod limits;
mod living;
mod loadgen;
mod log_reader;
mod logged_connections;
mod lost_trust;
mod malformed;
mod negotiation;
mod no_resumption;
mod ocsp;
mod ocsp_staples;
mod ocsp_tickets;
mod perf_smoke;
mod pki;
mod proxy_from;
mod proxy_protocol;
mod proxy_tlvs;
mod refusal_reasons;
mod refusals;
mod relay;
mod reload;
mod reload_breakages;
mod reload_load;
mod resumption;
mod resumption_declined;
mod resumption_keys;
mod resumption_sessions;
mod revocation;
mod revocation_sources;
mod rules;
mod s_client;
mod shadow;
mod start_errors;
mod token_configuration;
mod token_handshakes;
mod token_reload;
mod token_trouble;
mod tokens;
