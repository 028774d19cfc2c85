//! Inputs that a target does not bear: panics are caught, and who hangs is noticed by somebody beside it.

use std::any::Any;
use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use countersign_fuzz::{Outcome, Target};

/// An input that takes longer than this hangs. Those of all targets take milliseconds.
const HANGS: Duration = Duration::from_secs(20);

/// Keeps the input that runs where another thread finds it.
pub(crate) struct Watch {
    target: &'static str,
    folder: PathBuf,
    current: Arc<Mutex<Current>>,
}

#[derive(Default)]
struct Current {
    number: u64,
    is_running: bool,
    input: Vec<u8>,
}

impl Watch {
    /// Findings of `target` go to `folder`. Whoever hangs ends the process.
    pub(crate) fn new(target: &'static str, folder: &Path) -> Self {
        let watch = Self { target, folder: folder.to_owned(), current: Arc::default() };
        let other = Self { target, folder: folder.to_owned(), current: Arc::clone(&watch.current) };
        thread::spawn(move || other.wait());
        watch
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the target says to an input, or why it panicked.
    pub(crate) fn run(&self, target: &Target, input: &[u8]) -> Result<Outcome, String> {
        {
            let mut current = self.current();
            current.number += 1;
            current.is_running = true;
            current.input.clear();
            current.input.extend_from_slice(input);
        }
        let result = catch_unwind(AssertUnwindSafe(|| target.run(input)));
        self.current().is_running = false;
        result.map_err(|panic| words(&*panic))
    }

    /// Writes an input that is worth keeping; gives the file.
    pub(crate) fn write(&self, what: &str, input: &[u8]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let file = self.folder.join(format!("{}-{what}", self.target));
        fs::write(&file, input)?;
        Ok(file)
    }

    fn wait(&self) {
        let mut seen = 0;
        loop {
            thread::sleep(HANGS);
            let current = self.current();
            if current.is_running && current.number == seen {
                let written = self.write("hang", &current.input);
                let file = written
                    .map_or_else(|error| error.to_string(), |file| file.display().to_string());
                let _ = writeln!(
                    io::stderr().lock(),
                    "{} takes more than {HANGS:?} for one input, written to {file}",
                    self.target
                );
                std::process::exit(1);
            }
            seen = current.number;
        }
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fussy(data: &[u8]) {
        assert!(data != b"bad", "it is bad");
        let _kept = std::hint::black_box(vec![0_u8; data.len() * 1_000]);
    }

    const FUSSY: Target = Target {
        name: "fussy",
        input: "anything but bad",
        target: fussy,
        seeds: Vec::new,
        bytes_max: 10,
        allowance: (1_000, 1_000),
        rounds: 0,
    };

    #[test]
    fn a_panic_and_a_waste_of_memory_are_caught_and_told() {
        let watch = Watch::new("fussy", Path::new("nowhere"));
        assert!(watch.run(&FUSSY, b"good").is_ok_and(|outcome| outcome.allocated == 4_000));
        assert_eq!(watch.run(&FUSSY, b"bad"), Err("it is bad".to_owned()));
        // Who has panicked leaves the count of what is allocated for the next.
        assert!(watch.run(&FUSSY, b"good").is_ok());
        let wasteful = Target { allowance: (0, 999), ..FUSSY };
        assert!(
            watch
                .run(&wasteful, b"good")
                .is_err_and(|panic| panic.contains("allocates 4000 bytes"))
        );
    }
}
