//! Everything that comes from outside, as functions that any bytes may be given to.
//!
//! * `targets/`: one file for each way in; `fn target(data: &[u8])` panics where an invariant does not hold
//! * `mutation.rs`: how an input becomes another
//! * `campaign.rs`: seeds, mutations and what was seen; the same seed, the same inputs
//! * `pki.rs`, `session.rs`, `client.rs`: what the targets stand on
//!
//! **Invariants.** What a target is asked about an input depends on nothing but the input: keys come from fixed
//! seeds, time is fixed, so that a file that fails here fails everywhere. Only where a real handshake comes first do
//! its shares differ. No target reads a clock or a file, or says that something was fast: what an input may cost is
//! bounded in bytes that are allocated for it ([`Target::run`]).
#![forbid(unsafe_code)]

pub mod campaign;
mod client;
mod element;
pub mod mutation;
mod outcome;
mod pki;
pub mod random;
mod session;
mod targets;

use std::cell::Cell;
use std::path::{Path, PathBuf};

pub use self::outcome::Outcome;
pub use self::targets::TARGETS;

/// One way in from outside.
#[derive(Clone, Copy)]
pub struct Target {
    /// On the command line, and of the folder with its inputs.
    pub name: &'static str,
    /// What its input is, for whoever has to read one.
    pub input: &'static str,
    /// Panics if the input breaks an invariant.
    pub target: fn(&[u8]),
    /// Inputs to begin with. Also makes what the target stands on.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// No input is made longer than so many bytes.
    pub bytes_max: usize,
    /// Bytes that may be allocated for an input: so many, and so many for each of its bytes.
    pub allowance: (u64, u64),
    /// How many mutations the test under `make test` tries.
    pub rounds: u32,
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Gives it one input; what it came to.
    ///
    /// # Panics
    /// If the input breaks an invariant, or more is allocated for it than its size is worth. The seeds must have
    /// been made before on this thread ([`Self::inputs`]): they are not the input's cost.
    pub fn run(&self, data: &[u8]) -> Outcome {
        outcome::forget();
        let spent = allocation_counter::measure(|| (self.target)(data));
        let allowed = self.allowance.0 + self.allowance.1 * data.len() as u64;
        assert!(
            spent.bytes_total <= allowed,
            "{} allocates {} bytes for an input of {}; {allowed} are allowed",
            self.name,
            spent.bytes_total,
            data.len()
        );
        outcome::take(spent.bytes_total)
    }

    /// What to begin with: the seeds, and what was found before.
    #[must_use]
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let mut inputs = (self.seeds)();
        inputs.extend(files(&corpus().join(self.name)));
        inputs
    }
}

/// Gives one input to the target of this name, which is to be the only one on this thread: for other fuzzers.
///
/// # Panics
/// As [`Target::run`] does, or if there is no such target.
pub fn run(name: &str, data: &[u8]) {
    thread_local! {
        static IS_READY: Cell<bool> = const { Cell::new(false) };
    }
    let target = Target::named(name).expect("a target's name");
    if !IS_READY.replace(true) {
        (target.seeds)();
    }
    target.run(data);
}

/// Where inputs lie that were found before, in a folder for each target.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The contents of every file in a folder, by their names; none if there is no folder.
#[must_use]
pub fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths.into_iter().filter_map(|path| std::fs::read(path).ok()).collect()
}
