//! The control plane: starts the workers, listens to signals, stops everything. Knows no connection.

mod admin;
mod descriptors;
mod engine;
mod status;
mod ticket_keys;

pub use engine::{Engine, ReloadError, StartError, Stopped};
