//! A station whose module is in a child process: this end of it.
//!
//! Operations are written to the socket by the thread that hands them over, without waiting: one system call
//! each, and no thread to wake that would make the same call. What the socket does not take at once (which
//! needs hundreds of operations that the child has not even read) is refused as if the queue were full. One
//! thread ([`super::supervisor`]) reads the answers, many at a time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use countersign_hsm::{Pin, Scheme, Uri};
use crossbeam::channel::{self, Sender};
use rustix::net::SendFlags;
use rustix::process::DumpableBehavior;

use super::first::{self, Absence};
use super::protocol::{FRAME_BYTES_MAX, Key, ToChild, write_sign};
use super::task::{Errand, ErrandWork};
use super::{Event, Full, KeySpec, LaneLimits, OnEvent, StationError, StationSpec, supervisor};

/// Environment variables that a module's process is given where they are set: those by which the modules of the
/// usual tokens find their own configuration. Nothing else of the environment reaches it.
pub const MODULE_VARIABLES: [&str; 9] = [
    "SOFTHSM2_CONF",
    "YUBIHSM_PKCS11_CONF",
    "ChrystokiConfigurationPath",
    "NFAST_HOME",
    "CKNFAST_LOADSHARING",
    "CKNFAST_FAKE_ACCELERATOR_LOGIN",
    "CLOUDHSM_PKCS11_CONFIG",
    "NETHSM_PKCS11_CONFIG",
    "OPENSC_CONF",
];

/// Control frames that wait for the socket, in bytes; far more than there are errands.
const UNSENT_BYTES_MAX: usize = 64 * FRAME_BYTES_MAX;

/// What may keep a certificate or a name from fitting into a frame.
const KEY_BYTES_MAX: usize = FRAME_BYTES_MAX - 1024;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Children are started from this file, and not from the one that this process runs: for programs that are not
/// `countersign` itself and use this library. Only the first call counts.
pub fn set_program(path: PathBuf) {
    let _ = PROGRAM.set(path);
}

/// What a child is started from, unless it is this program.
pub(super) fn program() -> Option<&'static PathBuf> {
    PROGRAM.get()
}

/// Makes this process not dumpable (prctl(2), `PR_SET_DUMPABLE`): no core is written, and nobody but root can
/// trace it, read its memory or see its environment. For every process that holds a PIN.
///
/// # Errors
/// What the kernel says.
pub fn harden() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// A station with a child process.
pub(super) struct Process {
    shared: Arc<Shared>,
    /// Dropped, it ends the supervisor's pauses.
    _alive: Sender<()>,
}

/// What the supervisor and whoever hands operations over share.
pub(super) struct Shared {
    pub(super) module: PathBuf,
    pub(super) token: Uri,
    pub(super) pin: Option<Pin>,
    pub(super) lanes: LaneLimits,
    pub(super) queue: usize,
    pub(super) deadline: Duration,
    pub(super) environment: Vec<String>,
    pub(super) on_event: OnEvent,
    line: Mutex<Line>,
}

/// The way to the child.
#[derive(Default)]
pub(super) struct Line {
    /// While there is a child.
    pub(super) socket: Option<UnixStream>,
    /// The child has a token to sign with.
    pub(super) is_up: bool,
    /// The station was dropped.
    pub(super) is_ended: bool,
    /// Operations that the child has, and since when.
    pub(super) in_flight: HashMap<u64, Instant>,
    /// Errands that the child has.
    pub(super) errands: HashMap<u64, Errand>,
    /// Every child is told of them.
    pub(super) keys: BTreeMap<u64, KeySpec>,
    /// The rest of a frame that the socket took a part of, and control frames that it did not take.
    unsent: Vec<u8>,
    scratch: Vec<u8>,
    requests: u64,
}

impl Process {
    /// Starts a child and waits until it has a token, or none; why it has none is given where the attempts go on.
    ///
    /// # Errors
    /// Why it has none; the child is gone then.
    pub(super) fn open(
        spec: StationSpec,
        on_event: OnEvent,
        patience: Duration,
        absence: Absence,
    ) -> Result<(Self, Option<StationError>), StationError> {
        let shared = Arc::new(Shared {
            module: spec.module,
            token: spec.token,
            pin: spec.pin,
            lanes: spec.lanes,
            queue: spec.queue,
            deadline: spec.deadline,
            environment: spec.environment,
            on_event,
            line: Mutex::default(),
        });
        let (alive, ended) = channel::bounded(0);
        let (first, opening) = first::begin(absence);
        let process = Self { shared: Arc::clone(&shared), _alive: alive };
        std::thread::Builder::new()
            .name("token-child".into())
            .spawn(move || supervisor::supervise(&shared, &ended, first))
            .map_err(|error| StationError::passing(format!("cannot start a thread: {error}")))?;
        // The supervisor gives the child so long, and says better what is wrong; this is for a supervisor that hangs.
        let patience = patience + Duration::from_secs(2);
        let late = || format!("the token's process did not start within {patience:?}");
        let told = opening.wait(patience).unwrap_or_else(|| Err(StationError::passing(late())));
        let absent = opening.judge(told)?;
        Ok((process, absent))
    }

    pub(super) fn submit(
        &self,
        operation: u64,
        key: u64,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<(), Full> {
        let mut line = self.shared.line();
        let line = &mut *line;
        if !line.is_up || line.in_flight.len() >= self.shared.queue + self.shared.lanes.most {
            return Err(Full);
        }
        line.flush();
        let Some(socket) = line.socket.as_ref().filter(|_| line.unsent.is_empty()) else {
            return Err(Full);
        };
        line.scratch.clear();
        write_sign(&mut line.scratch, operation, key, scheme, message);
        match send(socket, &line.scratch) {
            Ok(0) | Err(_) => return Err(Full),
            Ok(sent) => line.unsent.extend_from_slice(&line.scratch[sent..]),
        }
        line.in_flight.insert(operation, Instant::now());
        Ok(())
    }

    pub(super) fn run(&self, errand: Errand) {
        let mut line = self.shared.line();
        // Whoever asked hears that by the errand's end.
        if !line.is_up {
            return;
        }
        line.requests += 1;
        let request = line.requests;
        let frame = match &errand.work {
            ErrandWork::Key(spec) => {
                if let Err(error) = fits(spec) {
                    drop(line);
                    errand.finish(Err(error));
                    return;
                }
                line.keys.insert(spec.id, spec.clone());
                ToChild::Find { request, key: key(spec) }
            }
            ErrandWork::Challenge { key, scheme, message } => {
                ToChild::Challenge { request, key: *key, scheme: *scheme, message: message.clone() }
            }
            ErrandWork::Derive { uri, message } => {
                ToChild::Derive { request, uri: uri.to_string(), message: message.clone() }
            }
        };
        if line.say(&frame) {
            line.errands.insert(request, errand);
        }
    }

    /// Tells the child of a key, if there is one, and every later one.
    pub(super) fn expect_key(&self, spec: KeySpec) -> Result<(), StationError> {
        fits(&spec)?;
        let mut line = self.shared.line();
        line.say(&ToChild::Known { key: key(&spec) });
        line.keys.insert(spec.id, spec);
        Ok(())
    }

    pub(super) fn forget(&self, key: u64) {
        let mut line = self.shared.line();
        line.keys.remove(&key);
        line.say(&ToChild::Forget { key });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut line = self.shared.line();
        line.is_ended = true;
        line.is_up = false;
        if let Some(socket) = &line.socket {
            // The child sees the end of it, and so does the supervisor.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn fits(spec: &KeySpec) -> Result<(), StationError> {
    if spec.spki.len() + spec.uri.to_string().len() > KEY_BYTES_MAX {
        return Err(StationError::fatal("the public key or the key's name is too long"));
    }
    Ok(())
}

pub(super) fn key(spec: &KeySpec) -> Key {
    Key { id: spec.id, uri: spec.uri.to_string(), spki: spec.spki.clone() }
}

/// Sends what the socket takes now.
fn send(socket: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

impl Shared {
    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: Event) {
        (self.on_event)(event);
    }
}

impl Line {
    /// Says something that has to arrive, at once or when there is room. False where there is no child.
    pub(super) fn say(&mut self, frame: &ToChild) -> bool {
        if self.socket.is_none() || self.unsent.len() > UNSENT_BYTES_MAX {
            return false;
        }
        frame.write(&mut self.unsent);
        self.flush();
        true
    }

    /// Sends what has not been sent, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.unsent.is_empty()) else { return };
        if let Ok(sent) = send(socket, &self.unsent) {
            self.unsent.drain(..sent);
        }
    }

    /// There is no child any more. Gives what it had not answered.
    pub(super) fn hang_up(&mut self) -> (Vec<u64>, Vec<Errand>) {
        self.socket = None;
        self.is_up = false;
        self.unsent.clear();
        let operations = self.in_flight.drain().map(|(operation, _)| operation).collect();
        (operations, self.errands.drain().map(|(_, errand)| errand).collect())
    }
}
