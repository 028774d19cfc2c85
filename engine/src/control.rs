//! The control plane: starts the workers, listens to signals, stops everything. Knows no connection.

mod descriptors;
mod engine;

pub use engine::{Engine, StartError, Stopped};
