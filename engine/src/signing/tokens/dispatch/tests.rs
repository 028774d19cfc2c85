//! The dispatcher in made-up time, with tokens that do as they are told.

mod failures;
mod names;
mod spreading;
mod world;
