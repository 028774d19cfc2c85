//! The control plane: starts the workers, listens to signals, stops everything. Knows no connection.

mod admin;
mod descriptors;
mod engine;
mod revocation;
mod status;
mod ticket_keys;

pub use engine::{Engine, ReloadError, StartError, Stopped, check_tokens};
pub use revocation::{ListProblem, check_lists, lists_for};
pub use ticket_keys::{NoRandomness, TicketKeysError, check_ticket_keys};
