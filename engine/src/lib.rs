//! Countersign: a mutual-TLS termination engine for bare-metal edge nodes.
//!
//! This library is what the program `countersign` is made of; ARCHITECTURE.md is its map.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod cpus;
mod duration;
mod ocsp;
mod pin;
pub mod randomness;
pub mod signing;
pub mod telemetry;
pub mod worker;
