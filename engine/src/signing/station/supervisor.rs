//! The thread that starts a station's child process, hears it and starts it again.
//!
//! It lives as long as the child: a process that asked for a signal at its parent's death gets it when the
//! *thread* that started it ends (prctl(2), `PR_SET_PDEATHSIG`).

use std::io::{self, PipeReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_hsm::Remedy;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use zeroize::Zeroizing;

use super::first::First;
use super::pins::Turn;
use super::process::{self, MODULE_VARIABLES, Shared};
use super::protocol::{Frames, Garbled, Given, Hello, Secret, ToChild, ToParent, VERSION};
use super::task::{Errand, Found};
use super::{
    CHILD_ARGUMENT, Event, KeyFacts, OPEN_PATIENCE, Refusal, RefusalReason, StationError,
    diagnostics, recovery,
};

/// Room for what is under way to the child, in bytes. The kernel gives what it allows (net.core.wmem_max).
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// How often it is looked whether the child still answers.
const TICK: Duration = Duration::from_millis(100);

/// A child that was told to end, or killed, has so long to be gone.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// After so long with a token, a child's end is an event of its own and not one of a series.
const STEADY: Duration = Duration::from_secs(10);

/// Beyond three deadlines, before a silent child is taken for dead: it answers by itself what its lanes do not.
const GRACE: Duration = Duration::from_secs(1);

/// How a child's time ended.
struct Ended {
    problem: String,
    /// How long it had a token.
    was_up: Duration,
    /// Another child would fare no better.
    is_final: bool,
}

/// Keeps a child running until the station is dropped or a human is needed.
pub(super) fn supervise(shared: &Arc<Shared>, ended: &Receiver<()>, first: First) {
    let mut first = Some(first);
    let mut attempts = 0;
    loop {
        let end = match Running::start(shared) {
            Ok(running) => running.hear(&mut first),
            Err(error) => Ended {
                problem: format!("the token's process cannot be started: {error}"),
                was_up: Duration::ZERO,
                is_final: false,
            },
        };
        if shared.line().is_ended {
            return;
        }
        let remedy = if end.is_final { Remedy::Fatal } else { Remedy::Reopen };
        if let Some(first) = first.take() {
            let error = StationError { problem: end.problem, remedy };
            let goes_on = first.awaits(&error);
            if goes_on {
                shared.tell(Event::Down { problem: error.problem.clone(), remedy });
            }
            first.tell(Err(error));
            if !goes_on {
                return;
            }
        }
        if end.is_final {
            return;
        }
        attempts = if end.was_up >= STEADY { 0 } else { attempts + 1 };
        // The first is started at once.
        let pause = if attempts <= 1 { Duration::ZERO } else { recovery::pause(attempts - 2) };
        if ended.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// A child and what is known of it.
struct Running<'a> {
    shared: &'a Arc<Shared>,
    child: Child,
    socket: UnixStream,
    started: Instant,
    up_since: Option<Instant>,
    /// It has said that there is no token: it looks for one itself.
    is_down: bool,
    /// The PIN that it was given and has not told of.
    turn: Turn,
}

/// What a frame leads to.
enum Next {
    GoOn,
    /// The child is to be killed.
    End {
        problem: String,
        is_final: bool,
    },
}

impl<'a> Running<'a> {
    fn start(shared: &'a Arc<Shared>) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(END_PATIENCE))?;
        let (child, output) = spawn(shared, theirs)?;
        // Whatever fails from here on ends the child by the end of its socket.
        let mut running = Self {
            shared,
            child,
            socket,
            started: Instant::now(),
            up_since: None,
            is_down: false,
            turn: Turn::default(),
        };
        let said = running.listen(output).and_then(|()| running.greet());
        if let Err(error) = said {
            running.kill();
            return Err(error);
        }
        Ok(running)
    }

    /// What the module writes goes into the log.
    fn listen(&self, output: PipeReader) -> io::Result<()> {
        let on_event = Arc::clone(&self.shared.on_event);
        std::thread::Builder::new()
            .name("token-output".into())
            .spawn(move || diagnostics::read(output, |line| on_event(Event::Output { line })))
            .map(drop)
    }

    fn greet(&mut self) -> io::Result<()> {
        let shared = self.shared;
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let hello = ToChild::Hello(Hello {
            version: VERSION,
            module: shared.module.as_os_str().as_bytes().to_vec(),
            token: shared.token.to_string(),
            least: small(shared.lanes.least),
            most: small(shared.lanes.most),
            queue: small(shared.queue),
            deadline_us: u64::try_from(shared.deadline.as_micros()).unwrap_or(u64::MAX),
        });
        let mut line = shared.line();
        if line.is_ended {
            return Err(io::Error::other("the station is closed"));
        }
        let mut frames = Vec::new();
        hello.write(&mut frames);
        for spec in line.keys.values() {
            ToChild::Known { key: process::key(spec) }.write(&mut frames);
        }
        ToChild::Begin.write(&mut frames);
        // Bounded by the socket's timeout. Nobody can hand over anything before this: `Line` has no socket yet.
        self.socket.write_all(&frames)?;
        line.socket = Some(self.socket.try_clone()?);
        Ok(())
    }

    /// Hears the child until it is gone. All that it had is answered then.
    fn hear(mut self, first: &mut Option<First>) -> Ended {
        let (problem, is_final) = self.listen_to_end(first);
        let status = self.kill();
        let (operations, errands) = self.shared.line().hang_up();
        let problem = problem.unwrap_or_else(|| died(status));
        let was_up = self.up_since.map_or(Duration::ZERO, |since| since.elapsed());
        let refusal = Refusal { reason: RefusalReason::Lost, problem: problem.clone() };
        for operation in operations {
            self.shared.tell(Event::Answer { operation, result: Err(refusal.clone()) });
        }
        // They say so by being dropped.
        drop::<Vec<Errand>>(errands);
        let is_over = self.shared.line().is_ended;
        // What the child said last stands, if it has said that there is no token.
        if first.is_none() && !is_over && !(is_final && self.is_down) {
            self.shared.tell(Event::Lanes { busy: 0, open: 0, waiting: 0 });
            let remedy = if is_final { Remedy::Fatal } else { Remedy::Reopen };
            self.shared.tell(Event::Down { problem: problem.clone(), remedy });
        }
        Ended { problem, was_up, is_final }
    }

    /// Until the child ends, or has to be ended for the problem that is given.
    fn listen_to_end(&mut self, first: &mut Option<First>) -> (Option<String>, bool) {
        let mut frames = Frames::new();
        let mut looked = Instant::now();
        loop {
            match frames.fill(&mut self.socket) {
                Ok(0) => return (None, false),
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => {
                    return (Some(format!("the token's process cannot be heard: {error}")), false);
                }
            }
            if let Next::End { problem, is_final } = self.take_all(&mut frames, first) {
                return (Some(problem), is_final);
            }
            let now = Instant::now();
            if now >= looked + TICK {
                looked = now;
                if let Some(problem) = self.check(now) {
                    return (Some(problem), false);
                }
            }
        }
    }

    /// Everything that has come.
    fn take_all(&mut self, frames: &mut Frames, first: &mut Option<First>) -> Next {
        let mut answers = Vec::new();
        let next = loop {
            match frames.next(ToParent::read) {
                Ok(None) => break Next::GoOn,
                Ok(Some(ToParent::Answer { operation, result })) => {
                    answers.push((operation, result));
                }
                Ok(Some(frame)) => {
                    self.give(&mut answers);
                    match self.take(frame, first) {
                        Next::GoOn => {}
                        end @ Next::End { .. } => break end,
                    }
                }
                Err(Garbled) => {
                    let problem = "the token's process says what makes no sense; it is ended";
                    break Next::End { problem: problem.to_owned(), is_final: false };
                }
            }
        };
        self.give(&mut answers);
        next
    }

    /// Passes answers on that somebody waits for.
    fn give(&self, answers: &mut Vec<(u64, Result<Vec<u8>, Refusal>)>) {
        if answers.is_empty() {
            return;
        }
        let mut line = self.shared.line();
        line.flush();
        answers.retain(|(operation, _)| line.in_flight.remove(operation).is_some());
        drop(line);
        for (operation, result) in answers.drain(..) {
            self.shared.tell(Event::Answer { operation, result });
        }
    }

    fn take(&mut self, frame: ToParent, first: &mut Option<First>) -> Next {
        match frame {
            ToParent::Up(mut info) => {
                info.lanes = info.lanes.min(self.shared.lanes.most);
                self.up_since = Some(Instant::now());
                self.is_down = false;
                self.shared.line().is_up = true;
                self.shared.tell(Event::Up { info });
                if let Some(first) = first.take() {
                    first.tell(Ok(()));
                }
            }
            ToParent::Down { remedy, is_final, problem } => {
                return self.down(StationError { problem, remedy }, is_final, first);
            }
            ToParent::Found(name) => {
                let pin = match &self.shared.pin {
                    None => Ok(None),
                    Some(pin) => self.turn.begin(&name, pin).map(|is_another| {
                        let pin = Secret(Zeroizing::new(pin.expose().to_owned()));
                        Some(Given { pin, is_another })
                    }),
                };
                // Not by way of the line, whose buffers are kept.
                let mut frame = Zeroizing::new(Vec::with_capacity(512));
                ToChild::Pin(pin).write(&mut frame);
                let _line = self.shared.line();
                if let Err(error) = self.socket.write_all(&frame) {
                    let problem = format!("the token's process does not take the PIN: {error}");
                    return Next::End { problem, is_final: false };
                }
            }
            ToParent::PinTried { token, is_refused } => {
                if let Some(pin) = &self.shared.pin {
                    self.turn.end(&token, pin, is_refused);
                }
            }
            ToParent::Lanes { busy, open, waiting } => {
                let (busy, open, waiting) = (busy as usize, open as usize, waiting as usize);
                self.shared.tell(Event::Lanes { busy, open, waiting });
            }
            ToParent::Notice(message) => self.shared.tell(Event::Notice { message }),
            ToParent::Stuck(problem) => return Next::End { problem, is_final: false },
            ToParent::Key { request, schemes, spki } => {
                self.finish(request, Ok(Found::Key(KeyFacts { schemes, spki })));
            }
            ToParent::Bytes { request, bytes } => self.finish(request, Ok(Found::Bytes(bytes))),
            ToParent::Failed { request, remedy, problem } => {
                self.finish(request, Err(StationError { problem, remedy }));
            }
            ToParent::Answer { .. } => {}
        }
        Next::GoOn
    }

    fn finish(&self, request: u64, result: Result<Found, StationError>) {
        let errand = self.shared.line().errands.remove(&request);
        if let Some(errand) = errand {
            errand.finish(result);
        }
    }

    /// The child has no token. Unless it needs a human, it looks for it itself.
    fn down(&mut self, error: StationError, is_final: bool, first: &mut Option<First>) -> Next {
        let StationError { problem, remedy } = error.clone();
        self.is_down = true;
        let mut line = self.shared.line();
        line.is_up = false;
        // It has answered them; what it left out is answered here.
        let left: Vec<_> = line.in_flight.drain().map(|(operation, _)| operation).collect();
        drop(line);
        for operation in left {
            let refusal = Refusal { reason: RefusalReason::Lost, problem: problem.clone() };
            self.shared.tell(Event::Answer { operation, result: Err(refusal) });
        }
        if first.as_ref().is_some_and(|first| is_final || !first.awaits(&error)) {
            return Next::End { problem, is_final: remedy == Remedy::Fatal };
        }
        self.shared.tell(Event::down(problem.clone(), is_final));
        if let Some(first) = first.take() {
            first.tell(Err(error));
        }
        if is_final { Next::End { problem, is_final } } else { Next::GoOn }
    }

    /// Is the child as good as dead?
    fn check(&self, now: Instant) -> Option<String> {
        let mut line = self.shared.line();
        line.flush();
        let deadline = self.shared.deadline;
        let oldest = line.in_flight.values().min().copied();
        drop(line);
        if oldest.is_some_and(|since| now >= since + 3 * deadline + GRACE) {
            return Some(format!(
                "the token's process has not answered for {:?}; it is ended",
                3 * deadline + GRACE
            ));
        }
        let is_opening = self.up_since.is_none() && !self.is_down;
        if is_opening && now >= self.started + OPEN_PATIENCE {
            return Some(format!(
                "{} did not open the token within {OPEN_PATIENCE:?}",
                self.shared.module.display()
            ));
        }
        None
    }

    /// Ends the child for sure; one that is ending by itself gets a little time.
    fn kill(&mut self) -> Option<ExitStatus> {
        let is_ended = self.shared.line().is_ended;
        if is_ended && let Some(status) = wait(&mut self.child) {
            return Some(status);
        }
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        // A child whose end of the socket is closed is on its way out, and its status says why.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.kill();
        // Even a killed process can stay, in a device's driver. Its thread of the kernel is left alone then.
        wait(&mut self.child)
    }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + END_PATIENCE;
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => {}
            Ok(None) | Err(_) => return None,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn died(status: Option<ExitStatus>) -> String {
    match status {
        Some(status) => format!("the token's process has ended ({status}); it is started again"),
        None => "the token's process has closed its socket and does not end".to_owned(),
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Starts this program again, as a child that has nothing of this process but one end of a socket and a pipe
/// for what its module writes.
fn spawn(shared: &Shared, socket: UnixStream) -> io::Result<(Child, PipeReader)> {
    let (output, theirs) = io::pipe()?;
    let socket = OwnedFd::from(socket);
    let run = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command
            .arg0("countersign")
            .arg(CHILD_ARGUMENT)
            .env_clear()
            .envs(environment(shared))
            .stdin(socket.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs.try_clone()?)
            // Signals to the engine's group are the engine's.
            .process_group(0);
        command.spawn()
    };
    let child = match process::program() {
        Some(program) => run(program)?,
        // The very file that this process runs, also when another lies in its place by now.
        None => match run(std::path::Path::new("/proc/self/exe")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                run(&std::env::current_exe()?)?
            }
            started => started?,
        },
    };
    Ok((child, output))
}

/// What a module may need to find its own configuration; never the PIN, which may be in a variable here.
fn environment(shared: &Shared) -> Vec<(&str, std::ffi::OsString)> {
    let named = shared.environment.iter().map(String::as_str);
    let set = MODULE_VARIABLES.into_iter().chain(named).filter_map(|name| {
        let value = std::env::var_os(name)?;
        let is_pin =
            shared.pin.as_ref().is_some_and(|pin| value.as_bytes() == pin.expose().as_bytes());
        (!is_pin).then_some((name, value))
    });
    set.collect()
}
