//! A station answers for one token of one module: it keeps sessions with it, signs by its keys, and brings
//! it back when it went away.
//!
//! [`Station::submit`] hands an operation over and never waits; what comes of it is told by an [`Event`].
//! Everything else here blocks, is bounded in time, and is for the control thread. Behind a station stands a
//! [`crew`]: threads that own one session each. It runs in a child process of this program, which alone
//! loads the vendor's module ([`Isolation::Process`]), or among the threads of this one. Invariants, written
//! as absences:
//!
//! * No call of a station waits for a token without a bound, and [`Station::submit`] never.
//! * No operation that was taken stays without an answer, and none is answered twice.
//! * No PIN is tried again with a token that has refused it, by any station of this process; it is not even
//!   handed to a child. No two stations log in to one token with one PIN at the same time.
//! * No vendor's code in this process with [`Isolation::Process`], and nothing of this process in the child
//!   but a socket, a pipe and the few variables that modules find their own configuration by.
//! * Nothing that a child says is believed further than that it is a child: lengths are bounded, answers to
//!   what was never asked are dropped, signatures are for whoever asked to verify.

mod berth;
mod child;
mod crew;
mod diagnostics;
mod first;
mod gate;
mod growth;
mod lane;
mod persistence;
mod pins;
mod process;
mod protocol;
mod queue;
mod recovery;
mod supervisor;
mod task;
mod verification;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_hsm::{Pin, Remedy, Scheme, Uri};
use zeroize::Zeroizing;

pub use self::child::{CHILD_ARGUMENT, run as run_child};
pub use self::first::Absence;
pub(crate) use self::pins::log_in;
pub use self::process::{MODULE_VARIABLES, harden, set_program};

use self::crew::{Crew, Plan};
use self::pins::InProcess;
use self::process::Process;
use self::task::{Errand, ErrandWork, Found};
use crate::config::{TokenConfig, TokenIsolation};

/// The longest message that is signed. TLS signs less: at most a hash and the parameters of a key agreement.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// A token's module may take its time: some of them first connect to an appliance.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);

/// For looking up a key, or deriving from one.
const ERRAND_PATIENCE: Duration = Duration::from_secs(10);

/// What a station is made from.
pub struct StationSpec {
    /// The vendor's library.
    pub module: PathBuf,
    /// Which token: a URI without a key in it.
    pub token: Uri,
    /// The user's PIN; none for tokens that want no login, or have a keypad of their own.
    pub pin: Option<Pin>,
    /// Where the module is loaded.
    pub isolation: Isolation,
    /// How many sessions.
    pub lanes: LaneLimits,
    /// Operations that wait for a session.
    pub queue: usize,
    /// How long an operation may take, from [`Station::submit`] to its answer.
    pub deadline: Duration,
    /// Names of environment variables that the module is given in its own process, beyond
    /// [`MODULE_VARIABLES`], if they are set.
    pub environment: Vec<String>,
}

impl StationSpec {
    /// As a token is configured.
    pub(crate) fn of(config: &TokenConfig, pin: Option<Pin>) -> Self {
        Self {
            module: config.module.clone(),
            token: config.token.clone(),
            pin,
            isolation: match config.isolation {
                TokenIsolation::Process => Isolation::Process,
                TokenIsolation::Thread => Isolation::Thread,
            },
            lanes: LaneLimits { least: config.lanes, most: config.max_sessions },
            queue: config.queue,
            deadline: config.operation_timeout,
            environment: config.environment.clone(),
        }
    }
}

/// Where a vendor's module is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In a child process: a module that crashes, leaks or hangs costs a restart of that.
    Process,
    /// Here: a module that crashes takes the engine along, and one that hangs keeps its threads. Stations that share
    /// a module cannot start it again under each other; a token that needs that comes back only for a station alone.
    Thread,
}

/// How many sessions a station keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// From the start, and always. At least 1.
    pub least: usize,
    /// When there is much to do.
    pub most: usize,
}

/// A key to sign with.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// What operations call it.
    pub id: u64,
    /// Its name in the token.
    pub uri: Uri,
    /// The public key that it must belong to: the SubjectPublicKeyInfo of the certificate, DER.
    pub spki: Vec<u8>,
}

/// What a token tells of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// What the token can sign with it.
    pub schemes: Vec<Scheme>,
    /// Its public key, DER, where the token tells it.
    pub spki: Option<Vec<u8>>,
}

/// What a station tells.
#[derive(Debug)]
pub enum Event {
    /// What became of an operation.
    Answer {
        /// As [`Station::submit`] was told.
        operation: u64,
        /// The signature as TLS wants it, not verified.
        result: Result<Vec<u8>, Refusal>,
    },
    /// Operations are taken from now on.
    Up {
        /// By this token.
        info: StationInfo,
    },
    /// Nothing can be signed until the next [`Event::Up`]; what was in flight has been refused before this.
    /// Told again when the reason has changed.
    Down {
        /// What is wrong and what to do.
        problem: String,
        /// With [`Remedy::Fatal`] no attempt is made until the station is opened anew.
        remedy: Remedy,
    },
    /// How many sessions do what.
    Lanes {
        /// Sessions that an operation is in.
        busy: usize,
        /// Sessions that are open.
        open: usize,
        /// Operations that wait for one.
        waiting: usize,
    },
    /// Something that the operator should know and that stops nothing.
    Notice {
        /// What.
        message: String,
    },
    /// A line that the module wrote to standard output or standard error of its process. It is foreign text.
    Output {
        /// Bounded, without its end of line.
        line: String,
    },
}

/// The token that a station speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StationInfo {
    /// The token's label, without padding.
    pub label: String,
    /// Its serial number, without padding.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// The most sessions that will be opened: configured, or what the token allows.
    pub lanes: usize,
    /// The sessions that the token says it allows.
    pub max_sessions: Option<u64>,
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of reason.
    pub reason: RefusalReason,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Kinds of reasons for which an operation is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// It waited past its deadline for a session and was not begun.
    Busy,
    /// The token or the process around it went away, or did not answer in time. It can be repeated elsewhere.
    Lost,
    /// The token refused it, and would again.
    Failed,
    /// The key is not there, or is another than it was.
    Key,
}

/// An operation was not taken: the queue is full, the station is down, or the message is longer than
/// [`MESSAGE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Why a station cannot be opened, or a key not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StationError {
    /// What is wrong and what to do.
    pub problem: String,
    /// What may help.
    pub remedy: Remedy,
}

impl StationError {
    fn fatal(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: Remedy::Fatal }
    }

    fn passing(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: Remedy::Reopen }
    }
}

impl Event {
    /// What a crew says. Where it goes on trying a human may be needed all the same, for a module's file say.
    fn down(problem: String, is_final: bool) -> Self {
        let remedy = if is_final { Remedy::Fatal } else { Remedy::Reopen };
        Self::Down { problem, remedy }
    }
}

impl fmt::Display for StationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for StationError {}

/// Who hears of events. Called on threads of the station, one event at a time or several at once, and by whoever
/// drops the station, for what was in flight; it must not wait, and not call the station.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// Answers for one token. Dropping it ends its sessions and its process, and waits for neither.
pub struct Station {
    behind: Behind,
}

enum Behind {
    Threads(Crew),
    Process(Process),
}

impl Station {
    /// Loads the module, finds the token, logs in and opens the first session. Takes as long as that takes,
    /// up to half a minute.
    ///
    /// # Errors
    /// What is wrong and what to do; nothing is left running then but a call of the module that never came back.
    pub fn open(spec: StationSpec, on_event: OnEvent) -> Result<Self, StationError> {
        Self::start(spec, on_event, Absence::Refused).map(|(station, _)| station)
    }

    /// The same; and with [`Absence::Awaited`], where the token cannot be opened for a reason that may pass
    /// (it is not there, its module hangs or crashes), there is a station all the same: one that is down, goes
    /// on trying, and says [`Event::Up`] once it has the token. Gives that reason.
    ///
    /// # Errors
    /// What is wrong and what to do, where there is no station.
    pub fn start(
        spec: StationSpec,
        on_event: OnEvent,
        absence: Absence,
    ) -> Result<(Self, Option<StationError>), StationError> {
        let (behind, absent) = match spec.isolation {
            Isolation::Process => {
                let (process, absent) = Process::open(spec, on_event, OPEN_PATIENCE, absence)?;
                (Behind::Process(process), absent)
            }
            Isolation::Thread => {
                let outside = InProcess::new(spec.pin, on_event);
                let plan = Plan {
                    module: spec.module,
                    token: spec.token,
                    lanes: spec.lanes,
                    queue: spec.queue,
                    deadline: spec.deadline,
                    keys: Vec::new(),
                    has_process: false,
                };
                let (crew, absent) = Crew::open(plan, Box::new(outside), OPEN_PATIENCE, absence)?;
                (Behind::Threads(crew), absent)
            }
        };
        Ok((Self { behind }, absent))
    }

    /// A key that is not looked for before the token is there: for a token that is not. As after each loss, it
    /// is compared then with the public key that it must belong to, as far as the token tells its own, and
    /// operations with a key that is missing or another are refused ([`RefusalReason::Key`]).
    ///
    /// # Errors
    /// If its name or public key is too long.
    pub fn expect_key(&self, key: KeySpec) -> Result<(), StationError> {
        match &self.behind {
            Behind::Threads(crew) => {
                crew.expect_key(key);
                Ok(())
            }
            Behind::Process(process) => process.expect_key(key),
        }
    }

    /// Finds a key and makes sure that it belongs to the public key of its certificate: by what the token
    /// tells, or where it does not, by a signature.
    ///
    /// # Errors
    /// If it is not there or belongs to another; then the SHA-256 of both public keys is said.
    pub fn key(&self, key: KeySpec) -> Result<KeyFacts, StationError> {
        let (id, uri, spki) = (key.id, key.uri.to_string(), key.spki.clone());
        let work = ErrandWork::Key(key);
        let checked = match self.errand(work)? {
            Found::Key(facts) => self.check(id, &uri, &spki, &facts).map(|()| facts),
            Found::Bytes(_) => {
                Err(StationError::fatal("the station's process answers what it was not asked"))
            }
        };
        checked.inspect_err(|_| self.forget(id))
    }

    fn check(
        &self,
        id: u64,
        uri: &str,
        expected: &[u8],
        facts: &KeyFacts,
    ) -> Result<(), StationError> {
        if let Some(told) = &facts.spki {
            return verification::same_key(uri, expected, told);
        }
        let scheme = *facts.schemes.first().ok_or_else(|| {
            StationError::fatal(format!(
                "{uri}: the token offers no mechanism that TLS could sign with"
            ))
        })?;
        let challenge = verification::challenge()?;
        let work = ErrandWork::Challenge { key: id, scheme, message: challenge.to_vec() };
        match self.errand(work)? {
            Found::Bytes(signature) => {
                verification::verify(uri, expected, scheme, &challenge, &signature)
            }
            Found::Key(_) => {
                Err(StationError::fatal("the station's process answers what it was not asked"))
            }
        }
    }

    /// Hands an operation over. `key` is what [`KeySpec::id`] said. Never waits.
    ///
    /// # Errors
    /// If it was not taken; then nothing will be heard of it.
    pub fn submit(
        &self,
        operation: u64,
        key: u64,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<(), Full> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Full);
        }
        match &self.behind {
            Behind::Threads(crew) => crew.submit(operation, key, scheme, message),
            Behind::Process(process) => process.submit(operation, key, scheme, message),
        }
    }

    /// A key is used no more.
    pub fn forget(&self, key: u64) {
        match &self.behind {
            Behind::Threads(crew) => crew.forget(key),
            Behind::Process(process) => process.forget(key),
        }
    }

    /// The MAC over a message by a secret key that never leaves the token: HMAC with SHA-256, or AES-CMAC.
    ///
    /// # Errors
    /// If the key is not there or the token cannot do that with it.
    pub fn derive(&self, uri: &Uri, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, StationError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(StationError::fatal("what is to be derived from is too long"));
        }
        let work = ErrandWork::Derive { uri: uri.clone(), message: message.to_vec() };
        match self.errand(work)? {
            Found::Bytes(bytes) => Ok(bytes),
            Found::Key(_) => {
                Err(StationError::fatal("the station's process answers what it was not asked"))
            }
        }
    }

    fn errand(&self, work: ErrandWork) -> Result<Found, StationError> {
        let (reply, answer) = crossbeam::channel::bounded(1);
        let errand = Errand::new(work, move |result| {
            // Whoever asked may have lost patience.
            let _ = reply.try_send(result);
        });
        match &self.behind {
            Behind::Threads(crew) => crew.run(errand),
            Behind::Process(process) => process.run(errand),
        }
        answer.recv_timeout(ERRAND_PATIENCE).unwrap_or_else(|_| {
            Err(StationError::passing(format!(
                "the token gave no answer within {ERRAND_PATIENCE:?}"
            )))
        })
    }
}
