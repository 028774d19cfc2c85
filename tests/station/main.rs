//! Stations and their tokens: the test module misbehaves, SoftHSM2 does not, and the station answers every
//! operation once.
//!
//! These tests use the engine's library, to see what its log and its wire do not show. Its child process is
//! the program `countersign` as it was built.
#![forbid(unsafe_code)]

mod absence;
mod cost;
mod desk;
mod isolation;
mod keys;
mod lanes;
mod pins;
mod recovery;
mod softhsm;
