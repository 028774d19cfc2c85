//! What outlives the process: wrong PINs, and faults that were used up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// `state.json`. Every use reads it anew, under a lock between processes.
pub(crate) struct State {
    path: PathBuf,
    lock: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// Wrong PINs in a row, by serial number.
    wrong_pins: BTreeMap<String, u64>,
    /// How often each fault struck that strikes only so often.
    struck: BTreeMap<String, u64>,
}

impl State {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("state.json"), lock: folder.join("state.lock") }
    }

    /// Wrong PINs in a row.
    pub(crate) fn wrong_pins(&self, serial: &str) -> u64 {
        self.read().wrong_pins.get(serial).copied().unwrap_or_default()
    }

    /// Lets `judge` make the next number of wrong PINs out of the last one.
    pub(crate) fn judge_pin(&self, serial: &str, judge: impl FnOnce(u64) -> u64) {
        self.change(|kept| {
            let wrong = kept.wrong_pins.entry(serial.to_owned()).or_default();
            *wrong = judge(*wrong);
        });
    }

    /// Takes one of `times` from a fault; `false` if none is left.
    pub(crate) fn strike(&self, fault: u64, times: u64) -> bool {
        let mut is_left = false;
        self.change(|kept| {
            let struck = kept.struck.entry(fault.to_string()).or_default();
            is_left = *struck < times;
            *struck += u64::from(is_left);
        });
        is_left
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let lock = File::create(&self.lock).ok();
        // Held until the file is closed. In a folder that cannot be written to nothing is kept anyway.
        if let Some(lock) = &lock {
            let _ = flock(lock, FlockOperation::LockExclusive);
        }
        let mut kept = self.read();
        change(&mut kept);
        // Whole or not at all: this may be the last that the process does.
        let new = self.path.with_extension("new");
        let text = serde_json::to_string(&kept).unwrap_or_default();
        if fs::write(&new, text).is_ok() {
            drop(fs::rename(&new, &self.path));
        }
    }

    fn read(&self) -> Kept {
        let text = fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}
