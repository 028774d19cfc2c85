//! A PKCS#11 2.40 module for tests. Its signatures are real (aws-lc), its keys lie in files, and it misbehaves on
//! request: latency, a ceiling of throughput, few sessions, error codes, hangs, crashes, wrong and oddly
//! encoded signatures, lost logins and sessions, a token that goes and comes back.
//!
//! # How it is told what to do
//!
//! It takes no environment variable: the process that loads it may have an empty one. It looks up where it
//! was loaded from and reads [`settings::FILE`] in that folder. The file is looked at again at most every
//! [`settings::INTERVAL`], when a function is called; whoever changes it renames a whole new one over it. Beside
//! it the module keeps
//!
//! - `counters.PID.START.u64`, one for each process, mapped into it: [`counters::read`] reads them;
//! - `state.json`: wrong PINs and faults used up, so that a process started again does not forget them;
//! - `problem`: why the settings could not be taken, or what panicked.
//!
//! Each test has a folder of its own with a **copy** of the module. A hard link is not enough: the dynamic
//! loader knows a library by its inode, and a second link to it in one process is the first module once more.
//!
//! # Invariants
//!
//! 1. No panic crosses the C interface: `abi` catches it and answers `CKR_GENERAL_ERROR`.
//! 2. No lock is held while a call sleeps, hangs or signs: sessions work independently.
//! 3. After a fork the child has not called `C_Initialize` (PKCS#11 2.40, section 5.4), and is answered so.
//! 4. Unsafe code lies in `abi`, `function_list` and `process` only.
#![deny(unsafe_code)]

mod abi;
mod cheap;
mod codes;
pub mod counters;
mod faults;
mod function_list;
mod key;
mod library;
mod mechanism;
mod object;
mod operation;
mod process;
mod session;
pub mod settings;
mod signing;
mod slot;
mod state;
mod watch;

pub use codes::NAMES as CODES;
pub use function_list::C_GetFunctionList;
