//! What the module did, for the tests to read.
//!
//! Each process has a file that it maps: what it counted stands there at once, and stays there when the process is
//! killed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::process;

const PREFIX: &str = "counters.";
const SUFFIX: &str = ".u64";

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The counters of one process.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// Out of what `Counts` looks like in memory: one number after the other.
            fn decode(bytes: &[u8]) -> Option<Self> {
                let (numbers, _) = bytes.as_chunks();
                let mut numbers = numbers.iter().map(|number| u64::from_ne_bytes(*number));
                Some(Self { $($name: numbers.next()?,)+ })
            }

            fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)+ }
            }
        }

        /// The same, as it is counted and as it lies in the file.
        #[derive(Default)]
        #[repr(C)]
        pub(crate) struct Counts {
            $(pub(crate) $name: AtomicU64,)+
        }

        impl Counts {
            const fn new() -> Self {
                Self { $($name: AtomicU64::new(0),)+ }
            }
        }
    };
}

counters! {
    /// The process.
    pid,
    /// Successful `C_Initialize`.
    initializes,
    /// Successful `C_Finalize`.
    finalizes,
    /// Right PINs of the user.
    logins,
    /// Wrong PINs, and any PIN at a locked token.
    failed_logins,
    /// Right PINs for one signature (`CKU_CONTEXT_SPECIFIC`).
    context_logins,
    /// Sessions opened.
    sessions_opened,
    /// Sessions open now.
    sessions_open,
    /// Sessions open at once, at most.
    sessions_most,
    /// `C_FindObjectsInit`.
    searches,
    /// Signatures given out, damaged ones too; no MACs.
    signatures,
    /// MACs given out.
    macs,
    /// Signatures and MACs being made now.
    signing,
    /// Signatures and MACs being made at once, at most.
    signing_most,
    /// Calls that hang now.
    hanging,
    /// Faults that struck.
    faults,
}

/// Where it is counted before there is a file, or if there can be none.
static UNWRITTEN: Counts = Counts::new();
/// The mapped file of this process.
static MAPPED: AtomicPtr<Counts> = AtomicPtr::new(std::ptr::null_mut());

/// The counters of this process.
pub(crate) fn counts() -> &'static Counts {
    process::mapped(&MAPPED).unwrap_or(&UNWRITTEN)
}

/// Begins a file for this process. A folder that cannot be written to is no reason to fail.
pub(crate) fn begin(folder: &Path) {
    if let Ok(file) = create(folder) {
        process::map(&file, &MAPPED);
    }
    let counts = counts();
    counts.pid.store(u64::from(std::process::id()), Ordering::Relaxed);
}

/// A process may get the number of one before it, so its start is in the name too.
fn create(folder: &Path) -> io::Result<File> {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = folder.join(format!("{PREFIX}{}.{start}{SUFFIX}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.set_len(size_of::<Counts>() as u64)?;
    Ok(file)
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One more of what there is now, until it is dropped.
pub(crate) struct Standing(&'static AtomicU64);

impl Standing {
    pub(crate) fn new(counter: &'static AtomicU64, most: Option<&AtomicU64>) -> Self {
        let now = counter.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(most) = most {
            most.fetch_max(now, Ordering::Relaxed);
        }
        Self(counter)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Of several processes together; the most of any one where it is about the most.
    #[must_use]
    pub fn together(all: &[Self]) -> Self {
        let sum = all.iter().copied().fold(Self::default(), Self::plus);
        let most = |of: fn(&Self) -> u64| all.iter().map(of).max().unwrap_or_default();
        Self {
            pid: 0,
            sessions_most: most(|counters| counters.sessions_most),
            signing_most: most(|counters| counters.signing_most),
            ..sum
        }
    }

    /// What a process that has gone left standing does not stand any more.
    fn standing(self) -> Self {
        if Path::new(&format!("/proc/{}", self.pid)).exists() {
            return self;
        }
        Self { sessions_open: 0, signing: 0, hanging: 0, ..self }
    }
}

/// The counters of every process that has used the module in this folder, in the order of their starts.
///
/// # Errors
///
/// As the folder has them.
pub fn read(folder: &Path) -> io::Result<Vec<Counters>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        files.extend(start_of(&path).map(|start| (start, path)));
    }
    files.sort();
    let mut found = Vec::new();
    for (_, path) in files {
        // One that is just being made is still empty.
        let counters = Counters::decode(&fs::read(path)?).filter(|counters| counters.pid != 0);
        found.extend(counters.map(Counters::standing));
    }
    Ok(found)
}

fn start_of(path: &Path) -> Option<u128> {
    let name = path.file_name()?.to_str()?;
    let (_, start) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('.')?;
    start.parse().ok()
}
