//! Style and structure, checked under the ordinary test command.
//!
//! ARCHITECTURE.md states invariants as absences. Those that no type and no crate boundary enforces are
//! enforced here, by looking at the source. A check that finds nothing to look at fails: a moved folder
//! must not switch its check off.

mod boundaries;
mod documentation;
mod source;
mod style;
