//! The child process of a station: it loads the module, keeps the sessions and does as it is told over the
//! socket that is its standard input, until that ends.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_hsm::{Pin, Remedy, Uri};
use crossbeam::channel::{self, Receiver, Sender};
use rustix::fs::FileType;
use rustix::process::{Resource, Rlimit, Signal};

use super::crew::{Crew, Outside, Plan, Said, TokenName};
use super::pins::Admitted;
use super::protocol::{Frames, Garbled, Given, Hello, Key, ToChild, ToParent, VERSION};
use super::task::{Errand, ErrandWork, Found};
use super::{ERRAND_PATIENCE, KeySpec, LaneLimits, Refusal, RefusalReason, StationError, process};

/// The argument with which this program is started as a station's child. Nobody types it.
pub const CHILD_ARGUMENT: &str = "--token-station";

/// Signals that are meant for the engine, and reach the child where somebody sends them to all processes of a
/// service. The child ends with its socket, after what is in flight.
const IGNORED: [i32; 5] = [
    signal_hook::consts::SIGHUP,
    signal_hook::consts::SIGINT,
    signal_hook::consts::SIGTERM,
    signal_hook::consts::SIGUSR1,
    signal_hook::consts::SIGUSR2,
];

/// Runs this process as a station's child, to its end.
#[must_use]
#[allow(clippy::print_stderr, reason = "what is written there comes into the parent's log")]
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("countersign: error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let failed = |error: io::Error| format!("the station's process cannot start: {error}");
    let mut socket = standard_input()?;
    let inherited = inherited_descriptors();
    shut_in().map_err(failed)?;
    let (pins, given) = channel::bounded(1);
    let voice = Arc::new(Voice::new(socket.try_clone().map_err(failed)?));
    let mut child =
        Child { voice, pins, given: Some(given), hello: None, known: Vec::new(), crew: None };
    if !inherited.is_empty() {
        child.voice.say(&ToParent::Notice(format!(
            "the module's process has inherited open files from whoever started the engine: {}",
            inherited.join(", ")
        )));
    }
    let mut frames = Frames::new();
    loop {
        match frames.fill(&mut socket) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Nobody is there any more.
            Err(_) => break,
        }
        loop {
            match frames.next(ToChild::read) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    if matches!(frame, ToChild::Pin(_)) {
                        frames.wipe();
                    }
                    child.take(frame)?;
                }
                Err(Garbled) => return Err("the engine says what cannot be read".to_owned()),
            }
        }
    }
    if let Some(crew) = child.crew.take() {
        let deadline = child.hello.map_or(0, |hello| hello.deadline_us);
        crew.finish(Duration::from_micros(deadline));
    }
    Ok(())
}

/// The parent's end of it is the engine's.
fn standard_input() -> Result<UnixStream, String> {
    let stdin = io::stdin();
    let is_socket = rustix::fs::fstat(&stdin)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    if !is_socket {
        return Err(format!(
            "{CHILD_ARGUMENT} is for the engine, which starts itself with it; see countersign --help"
        ));
    }
    let socket = stdin.as_fd().try_clone_to_owned();
    socket.map(UnixStream::from).map_err(|error| format!("standard input cannot be used: {error}"))
}

/// What is open beside standard input, output and error. The engine's own files are closed by the kernel when
/// the child starts; what the engine itself was started with may not be.
fn inherited_descriptors() -> Vec<String> {
    const SHOWN: usize = 8;
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The folder itself was open while it was read, and the duplicate of standard input is.
    let left = numbers.into_iter().filter(|number| *number > 2).filter_map(|number| {
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        let own = std::fs::read_link("/proc/self/fd/0").is_ok_and(|stdin| stdin == target);
        (!own).then(|| format!("{number} ({})", target.display()))
    });
    left.take(SHOWN).collect()
}

/// Nothing gets out of this process, and it does not outlive its parent.
fn shut_in() -> io::Result<()> {
    process::harden()?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    for signal in IGNORED {
        // Modules' own calls go on after it: it is taken, and nothing is done.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

struct Child {
    voice: Arc<Voice>,
    pins: Sender<Result<Option<Given>, StationError>>,
    /// Until the crew has it.
    given: Option<Receiver<Result<Option<Given>, StationError>>>,
    hello: Option<Hello>,
    known: Vec<KeySpec>,
    crew: Option<Crew>,
}

impl Child {
    fn take(&mut self, frame: ToChild) -> Result<(), String> {
        match frame {
            ToChild::Hello(hello) if hello.version != VERSION => {
                let problem = format!(
                    "the token's process speaks version {VERSION} of its protocol and the engine version {}: they are not \
                     of one program; restart the engine",
                    hello.version
                );
                self.voice.say(&ToParent::Down { remedy: Remedy::Fatal, is_final: true, problem });
                Ok(())
            }
            ToChild::Hello(hello) => {
                self.hello = Some(hello);
                Ok(())
            }
            ToChild::Known { key } => {
                match &self.crew {
                    Some(crew) => crew.expect_key(spec(key)?),
                    None => self.known.push(spec(key)?),
                }
                Ok(())
            }
            ToChild::Begin => self.begin(),
            ToChild::Pin(pin) => {
                // One that nobody waits for any more is wiped.
                drop(self.pins.try_send(pin));
                Ok(())
            }
            ToChild::Sign { operation, key, scheme, message } => {
                let crew = self.crew.as_ref();
                if crew.is_none_or(|crew| crew.submit(operation, key, scheme, &message).is_err()) {
                    let problem = "the token is not there, or too much waits for it".to_owned();
                    let result = Err(Refusal { reason: RefusalReason::Lost, problem });
                    self.voice.say(&ToParent::Answer { operation, result });
                }
                Ok(())
            }
            ToChild::Find { request, key } => {
                let work = ErrandWork::Key(spec(key)?);
                self.run(request, work);
                Ok(())
            }
            ToChild::Challenge { request, key, scheme, message } => {
                self.run(request, ErrandWork::Challenge { key, scheme, message });
                Ok(())
            }
            ToChild::Derive { request, uri, message } => {
                self.run(request, ErrandWork::Derive { uri: parse(&uri)?, message });
                Ok(())
            }
            ToChild::Forget { key } => {
                if let Some(crew) = &self.crew {
                    crew.forget(key);
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let (Some(hello), Some(given)) = (&self.hello, self.given.take()) else {
            return Err("the engine begins twice, or without a greeting".to_owned());
        };
        let plan = Plan {
            module: std::ffi::OsString::from_vec(hello.module.clone()).into(),
            token: parse(&hello.token)?,
            lanes: LaneLimits { least: hello.least as usize, most: hello.most as usize },
            // The engine bounds what waits; whatever it sends has room here.
            queue: hello.queue as usize + hello.most as usize,
            deadline: Duration::from_micros(hello.deadline_us),
            keys: std::mem::take(&mut self.known),
            has_process: true,
        };
        let outside = Box::new(Parent { voice: Arc::clone(&self.voice), given: Mutex::new(given) });
        self.crew = Some(Crew::start(plan, outside, None).map_err(|error| error.problem)?);
        Ok(())
    }

    fn run(&self, request: u64, work: ErrandWork) {
        let voice = Arc::clone(&self.voice);
        let errand = Errand::new(work, move |result| voice.say(&reply(request, result)));
        if let Some(crew) = &self.crew {
            crew.run(errand);
        }
    }
}

fn reply(request: u64, result: Result<Found, StationError>) -> ToParent {
    match result {
        Ok(Found::Key(facts)) => {
            ToParent::Key { request, schemes: facts.schemes, spki: facts.spki }
        }
        Ok(Found::Bytes(bytes)) => ToParent::Bytes { request, bytes },
        Err(StationError { problem, remedy }) => ToParent::Failed { request, remedy, problem },
    }
}

fn parse(uri: &str) -> Result<Uri, String> {
    Uri::parse(uri).map_err(|error| format!("the engine names '{uri}': {error}"))
}

fn spec(key: Key) -> Result<KeySpec, String> {
    Ok(KeySpec { id: key.id, uri: parse(&key.uri)?, spki: key.spki })
}

/// Says frames to the engine. While one thread writes, what others have to say is gathered for its next write.
struct Voice {
    socket: UnixStream,
    unsaid: Mutex<Unsaid>,
}

#[derive(Default)]
struct Unsaid {
    frames: Vec<u8>,
    /// An empty buffer, kept for its memory.
    spare: Vec<u8>,
    is_writing: bool,
}

impl Voice {
    fn new(socket: UnixStream) -> Self {
        Self { socket, unsaid: Mutex::default() }
    }

    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, frame: &ToParent) {
        let mut unsaid = self.unsaid();
        frame.write(&mut unsaid.frames);
        if std::mem::replace(&mut unsaid.is_writing, true) {
            return;
        }
        while !unsaid.frames.is_empty() {
            let spare = std::mem::take(&mut unsaid.spare);
            let mut frames = std::mem::replace(&mut unsaid.frames, spare);
            drop(unsaid);
            // Where nobody listens any more, the reading side sees the end.
            let _ = (&self.socket).write_all(&frames);
            frames.clear();
            unsaid = self.unsaid();
            unsaid.spare = frames;
        }
        unsaid.is_writing = false;
    }
}

/// What the crew speaks with: the engine.
struct Parent {
    voice: Arc<Voice>,
    /// One asks at a time.
    given: Mutex<Receiver<Result<Option<Given>, StationError>>>,
}

impl Outside for Parent {
    fn say(&self, said: Said) {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.voice.say(&match said {
            Said::Answer { operation, result } => ToParent::Answer { operation, result },
            Said::Up(info) => ToParent::Up(info),
            Said::Down { problem, remedy, is_final } => {
                ToParent::Down { remedy, is_final, problem }
            }
            Said::Lanes { busy, open, waiting } => {
                ToParent::Lanes { busy: small(busy), open: small(open), waiting: small(waiting) }
            }
            Said::Notice(text) => ToParent::Notice(text),
            Said::Stuck(text) => ToParent::Stuck(text),
        });
    }

    /// The engine gives it only for a token that has not refused it, to one station at a time.
    fn pin(&self, token: &TokenName) -> Result<Option<Admitted>, StationError> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        // An answer that came too late for whoever asked.
        given.try_iter().for_each(drop);
        self.voice.say(&ToParent::Found(token.clone()));
        let given = given.recv_timeout(ERRAND_PATIENCE);
        let Ok(given) = given else {
            // Whatever comes of it later is not tried: the turn is over.
            self.pin_tried(token, false);
            return Err(StationError::passing("the engine gave no PIN"));
        };
        let Some(given) = given? else { return Ok(None) };
        let pin = Pin::new(given.pin.0.as_bytes());
        let pin = pin.map_err(|error| StationError::fatal(error.to_string()))?;
        Ok(Some(Admitted { pin: Arc::new(pin), is_another: given.is_another }))
    }

    fn pin_tried(&self, token: &TokenName, is_refused: bool) {
        self.voice.say(&ToParent::PinTried { token: token.clone(), is_refused });
    }
}
