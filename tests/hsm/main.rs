//! The PKCS#11 library against tokens that others wrote.
//!
//! A module reads its configuration from its process's environment and can be initialized once: each test runs in a
//! process of its own, which is this program once more, with a fresh token.

mod check;
mod misbehaving;
mod nss;
mod own_process;
mod softhsm;
mod softhsm_login;
