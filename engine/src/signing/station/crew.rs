//! A crew: the lanes of one token in this process, the operations that wait for them, and whether there is a
//! token at all.
//!
//! From one [`Said::Up`] to the next [`Said::Down`] there is a [`Shift`], with a queue and lanes of its own. A
//! token that goes away ends the shift: what is queued or in a lane is answered, and lanes of that shift have
//! nothing more to say. One thread ([`super::watch`]) never calls the module and sees to all of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use countersign_hsm::{Module, PrivateKey, Remedy, Scheme, Uri};
use crossbeam::channel::{self, Sender};

use super::berth::{Berth, Standing};
use super::first::{self, Absence, First};
use super::gate::Gate;
use super::lane::{Lane, Place};
use super::pins::Admitted;
use super::queue::Queue;
use super::recovery::{self, Closed, Opened};
use super::task::{Errand, ErrandWork, Operation, Task};
use super::{Full, KeySpec, LaneLimits, Refusal, RefusalReason, StationError, StationInfo, watch};

/// Errands, and words to lanes that retire: they find room beside the operations.
const ERRANDS_MAX: usize = 64;

/// For what is being said at this very time.
const MOMENT: Duration = Duration::from_secs(1);

/// What a crew is made from.
pub(super) struct Plan {
    pub(super) module: PathBuf,
    pub(super) token: Uri,
    pub(super) lanes: LaneLimits,
    pub(super) queue: usize,
    pub(super) deadline: Duration,
    /// Keys that are known before the token is.
    pub(super) keys: Vec<KeySpec>,
    /// Nothing else is in this process: it can be ended when the module hangs.
    pub(super) has_process: bool,
}

/// What a crew speaks with.
pub(super) trait Outside: Send + Sync {
    fn say(&self, said: Said);

    /// The PIN for a token, if there is one: nobody else is given it for that token until it was tried.
    ///
    /// # Errors
    /// If the token has refused this PIN before; a passing one while somebody else tries it.
    fn pin(&self, token: &TokenName) -> Result<Option<Admitted>, StationError>;

    /// That PIN was tried.
    fn pin_tried(&self, token: &TokenName, is_refused: bool);
}

/// What tells a token from every other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct TokenName {
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
}

/// What a crew tells.
pub(super) enum Said {
    Answer {
        operation: u64,
        result: Result<Vec<u8>, Refusal>,
    },
    Up(StationInfo),
    Down {
        problem: String,
        remedy: Remedy,
        /// No attempt follows.
        is_final: bool,
    },
    Lanes {
        busy: usize,
        open: usize,
        waiting: usize,
    },
    Notice(String),
    /// Every lane hangs in the module: nothing helps but the end of this process.
    Stuck(String),
}

/// The lanes of one token.
pub(super) struct Crew {
    core: Arc<Core>,
}

/// What lanes, the watch and the prober share.
pub(super) struct Core {
    pub(super) plan: Plan,
    pub(super) outside: Box<dyn Outside>,
    pub(super) made: Instant,
    pub(super) keys: RwLock<Keys>,
    state: Mutex<State>,
    wake: Sender<()>,
}

/// What the lanes of a shift do, for whoever hands operations over and for the watch.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) busy: AtomicUsize,
    pub(super) open: AtomicUsize,
    /// The most that were busy at one time, since it was last looked at.
    pub(super) peak: AtomicUsize,
    /// When something came back from the module, in microseconds since the crew was made.
    pub(super) came_back_us: AtomicU64,
}

#[derive(Default)]
pub(super) struct Keys {
    pub(super) specs: HashMap<u64, KeySpec>,
    /// Handles, found once for all sessions: token objects are the same in each of them
    /// (PKCS#11 v3.1, section 4.4).
    pub(super) found: HashMap<u64, Arc<PrivateKey>>,
    /// Grows when all handles are thrown away.
    pub(super) generation: u64,
}

impl Keys {
    /// The handles of that generation are worth nothing any more. One lane says so, and many find out.
    pub(super) fn throw_away(&mut self, generation: u64) {
        if self.generation == generation {
            self.found.clear();
            self.generation += 1;
        }
    }
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) shift: Option<Shift>,
    pub(super) module: Option<Module>,
    /// Every lane that has not ended, of any shift.
    pub(super) lanes: Vec<Arc<Berth>>,
    pub(super) shifts: u64,
    /// Attempts to open the token that failed, since it was last there.
    pub(super) attempts: u32,
    /// What was said last about why there is none.
    pub(super) said: String,
    /// Whoever waits for the first opening.
    pub(super) first: Option<First>,
}

pub(super) enum Phase {
    /// Somebody is at it since then.
    Probing {
        since: Instant,
    },
    /// On the way to the next phase: it is being said.
    Turning,
    Up,
    /// Until the next attempt.
    Down {
        until: Instant,
    },
    /// A human is needed.
    GivenUp,
    Ended,
}

/// From up to down.
pub(super) struct Shift {
    pub(super) number: u64,
    pub(super) tasks: Arc<Queue>,
    pub(super) token: countersign_hsm::Token,
    /// The most lanes: configured, or what the token was found to allow.
    pub(super) ceiling: usize,
    /// No lane is added before.
    pub(super) grows_from: Instant,
    /// Why a session could not be opened, until the watch has heeded it.
    pub(super) refused: Option<countersign_hsm::Error>,
    pub(super) counts: Arc<Counts>,
    pub(super) gate: Arc<Gate>,
}

impl Crew {
    /// Starts it and waits until there is a token, or none; why there is none is given where the attempts go on.
    ///
    /// # Errors
    /// Why there is none. Then nothing is left but a thread that did not come back from the module.
    pub(super) fn open(
        plan: Plan,
        outside: Box<dyn Outside>,
        patience: Duration,
        absence: Absence,
    ) -> Result<(Self, Option<StationError>), StationError> {
        let (first, opening) = first::begin(absence);
        let crew = Self::start(plan, outside, Some(first))?;
        let problem = format!("the module did not open the token within {patience:?}");
        let late = StationError::passing(problem);
        let told = opening.wait(patience).or_else(|| {
            crew.core.lose_patience(&late);
            opening.wait(MOMENT)
        });
        // On an error it ends by being dropped.
        let absent = opening.judge(told.unwrap_or(Err(late)))?;
        Ok((crew, absent))
    }

    /// Starts it; `first` hears whether there is a token, and says whether the first failure ends the attempts.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(
        plan: Plan,
        outside: Box<dyn Outside>,
        first: Option<First>,
    ) -> Result<Self, StationError> {
        let (wake, woken) = channel::bounded(1);
        let specs = plan.keys.iter().map(|key| (key.id, key.clone())).collect();
        let core = Arc::new(Core {
            plan,
            outside,
            made: Instant::now(),
            keys: RwLock::new(Keys { specs, ..Keys::default() }),
            state: Mutex::new(State {
                phase: Phase::Down { until: Instant::now() },
                shift: None,
                module: None,
                lanes: Vec::new(),
                shifts: 0,
                attempts: 0,
                said: String::new(),
                first,
            }),
            wake,
        });
        let watched = Arc::clone(&core);
        std::thread::Builder::new()
            .name("token-watch".into())
            .spawn(move || watch::watch(&watched, &woken))
            .map_err(|error| StationError::passing(format!("cannot start a thread: {error}")))?;
        Ok(Self { core })
    }

    pub(super) fn submit(
        &self,
        id: u64,
        key: u64,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<(), Full> {
        let deadline = Instant::now() + self.core.plan.deadline;
        let operation = Operation { id, key, scheme, message: message.to_vec(), deadline };
        self.core.queue(Task::Sign(operation))
    }

    pub(super) fn run(&self, errand: Errand) {
        if let ErrandWork::Key(spec) = &errand.work {
            self.expect_key(spec.clone());
        }
        // An errand that is not taken says so by being dropped.
        let _ = self.core.queue(Task::Errand(Box::new(errand)));
    }

    /// A key that is looked for when there is a token, or when it is needed.
    pub(super) fn expect_key(&self, spec: KeySpec) {
        let mut keys = self.core.keys();
        keys.found.remove(&spec.id);
        keys.specs.insert(spec.id, spec);
    }

    pub(super) fn forget(&self, key: u64) {
        let mut keys = self.core.keys();
        keys.specs.remove(&key);
        keys.found.remove(&key);
    }

    /// Waits until nothing is queued or in a lane, then until the sessions are closed, up to `patience` each.
    pub(super) fn finish(self, patience: Duration) {
        let wait_while = |is_so: &dyn Fn() -> bool| {
            let until = Instant::now() + patience;
            while is_so() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        wait_while(&|| self.core.is_at_work());
        self.core.end();
        wait_while(&|| self.core.state().lanes.iter().any(|berth| berth.is_there()));
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl Core {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keys(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch looks at once. It does so anyway, a little later.
    pub(super) fn wake(&self) {
        let _ = self.wake.try_send(());
    }

    fn queue(&self, task: Task) -> Result<(), Full> {
        let state = self.state();
        let Some(shift) = &state.shift else { return Err(Full) };
        if matches!(task, Task::Sign(_)) && shift.tasks.len() >= self.plan.queue {
            return Err(Full);
        }
        shift.tasks.push(task).map_err(|_task| Full)?;
        // More lanes, perhaps.
        let open = shift.counts.open.load(Ordering::Relaxed);
        if shift.counts.busy.load(Ordering::Relaxed) >= open && open < shift.ceiling {
            drop(state);
            self.wake();
        }
        Ok(())
    }

    fn is_at_work(&self) -> bool {
        let state = self.state();
        let is_queued = state.shift.as_ref().is_some_and(|shift| !shift.tasks.is_empty());
        is_queued || state.lanes.iter().any(|berth| matches!(*berth.standing(), Standing::Busy(_)))
    }

    /// Something came back from the module.
    pub(super) fn came_back(&self, counts: &Counts) {
        let since = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts.came_back_us.store(since, Ordering::Relaxed);
    }

    pub(super) fn answer(&self, operation: u64, result: Result<Vec<u8>, Refusal>) {
        self.outside.say(Said::Answer { operation, result });
    }

    pub(super) fn refuse(&self, operation: u64, reason: RefusalReason, problem: impl Into<String>) {
        self.answer(operation, Err(Refusal { reason, problem: problem.into() }));
    }

    /// There is a token, and its first lane has its session.
    pub(super) fn go_up(self: &Arc<Self>, opened: Opened) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Ended) {
            return;
        }
        state.shifts += 1;
        let Opened { module, token, session, gate, info } = opened;
        let tasks = Arc::new(Queue::new(self.plan.queue + ERRANDS_MAX));
        let number = state.shifts;
        let berth = Berth::new(number, Standing::Idle);
        state.lanes.push(Arc::clone(&berth));
        let counts = Arc::new(Counts { open: AtomicUsize::new(1), ..Counts::default() });
        self.came_back(&counts);
        state.module = Some(module);
        state.shift = Some(Shift {
            number,
            tasks: Arc::clone(&tasks),
            token: token.clone(),
            ceiling: info.lanes,
            grows_from: Instant::now(),
            refused: None,
            counts: Arc::clone(&counts),
            gate: Arc::clone(&gate),
        });
        state.phase = Phase::Turning;
        (state.attempts, state.said) = (0, String::new());
        let first = state.first.take();
        drop(state);
        // No lane works yet, so that nothing can be said of this shift before this.
        self.outside.say(Said::Up(info));
        if let Some(first) = first {
            first.tell(Ok(()));
        }
        self.turn(Phase::Up);
        // The prober goes on as a lane: the session that it logged in with stays open.
        Lane::new(Arc::clone(self), Place { berth, tasks, counts, gate, token }, session).work();
    }

    /// The token is gone, as far as the lanes of `shift` can tell. Only the first to say so is heard.
    pub(super) fn go_down(&self, shift: u64, problem: &str, remedy: Remedy) {
        let mut state = self.state();
        if state.shift.as_ref().is_none_or(|current| current.number != shift) {
            return;
        }
        let Some(ended) = state.shift.take() else { return };
        state.phase = Phase::Turning;
        problem.clone_into(&mut state.said);
        let lost: Vec<_> = state.lanes.iter().filter_map(|berth| berth.take_operation()).collect();
        drop(state);
        ended.tasks.close();
        for operation in lost {
            self.refuse(operation, RefusalReason::Lost, problem);
        }
        self.refuse_queued(&ended.tasks, problem);
        let is_final = remedy == Remedy::Fatal;
        self.outside.say(Said::Down { problem: problem.to_owned(), remedy, is_final });
        let until = Instant::now();
        self.turn(if is_final { Phase::GivenUp } else { Phase::Down { until } });
    }

    /// An attempt to open the token has failed.
    pub(super) fn stay_down(&self, closed: Closed) {
        let Closed { error, module, is_final } = closed;
        let mut state = self.state();
        state.module = module.or(state.module.take());
        let pause = recovery::pause(state.attempts);
        state.attempts = state.attempts.saturating_add(1);
        let first = state.first.take();
        let ends_it = first.as_ref().is_some_and(|first| is_final || !first.awaits(&error));
        let is_news = !ends_it && (is_final || state.said != error.problem);
        error.problem.clone_into(&mut state.said);
        drop(state);
        if is_news {
            let StationError { problem, remedy } = error.clone();
            self.outside.say(Said::Down { problem, remedy, is_final });
        }
        if let Some(first) = first {
            first.tell(Err(error));
        }
        let until = Instant::now() + pause;
        self.turn(if is_final || ends_it { Phase::GivenUp } else { Phase::Down { until } });
    }

    /// Nobody waits any longer for the first opening, which is still in the module. Unless its end is being told
    /// just now, whoever awaits the token hears why there is none.
    fn lose_patience(&self, error: &StationError) {
        let mut state = self.state();
        if state.first.take().is_none_or(|first| !first.awaits(error)) {
            return;
        }
        error.problem.clone_into(&mut state.said);
        // Said before the token can be said to be up, which needs the state.
        let StationError { problem, remedy } = error.clone();
        self.outside.say(Said::Down { problem, remedy, is_final: false });
    }

    fn turn(&self, phase: Phase) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Ended) {
            state.phase = phase;
        }
        drop(state);
        self.wake();
    }

    pub(super) fn refuse_queued(&self, tasks: &Queue, problem: &str) {
        for task in tasks.drain() {
            match task {
                Task::Sign(operation) => self.refuse(operation.id, RefusalReason::Lost, problem),
                // An errand says so by being dropped.
                Task::Errand(_) | Task::Retire => {}
            }
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.phase = Phase::Ended;
        let shift = state.shift.take();
        state.first = None;
        let lost: Vec<_> = state.lanes.iter().filter_map(|berth| berth.take_operation()).collect();
        drop(state);
        const PROBLEM: &str = "the station is closed";
        for operation in lost {
            self.refuse(operation, RefusalReason::Lost, PROBLEM);
        }
        if let Some(Shift { tasks, .. }) = shift {
            tasks.close();
            self.refuse_queued(&tasks, PROBLEM);
        }
        self.wake();
    }
}
