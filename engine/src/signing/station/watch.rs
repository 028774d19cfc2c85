//! Who looks after a crew: gives up lanes that hang, adds and ends lanes, sends for the token when it is gone.
//! It never calls the module, so that nothing there can stop it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use countersign_hsm::{Error, Module, Remedy};
use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::berth::{Berth, Standing};
use super::crew::{Core, Counts, Phase, Said, Shift, State};
use super::growth::{Change, Load, change};
use super::lane::{Lane, Place};
use super::recovery::{self, Closed, Use};
use super::task::Task;
use super::{OPEN_PATIENCE, RefusalReason, StationError};

/// How often it is looked whether lanes hang, at least and at most.
const TICK_LEAST: Duration = Duration::from_millis(10);
const TICK_MOST: Duration = Duration::from_millis(100);

/// Over so long a time it is seen how many lanes were needed.
const PEAK_WINDOW: Duration = Duration::from_secs(30);

/// After a session could not be opened, the next is tried so much later.
const GROWTH_PAUSE: Duration = Duration::from_secs(1);

/// One session that opens for longer than this, and longer than a deadline, hangs.
const SESSION_PATIENCE: Duration = Duration::from_secs(5);

/// Threads that do not come back from a module, for each lane that there may be. More are not sent in.
const LOST_PER_LANE: usize = 2;

/// What the watch remembers from one look to the next.
struct Watch {
    core: Arc<Core>,
    /// What was told last: busy, open, waiting.
    told: (usize, usize, usize),
    /// The most lanes that were busy at one time in the last window.
    peak: Option<usize>,
    window_began: Instant,
    module: Use,
}

/// Looks after a crew until it ends.
pub(super) fn watch(core: &Arc<Core>, woken: &Receiver<()>) {
    let tick = (core.plan.deadline / 4).clamp(TICK_LEAST, TICK_MOST);
    let mut watch = Watch {
        core: Arc::clone(core),
        told: (0, 0, 0),
        peak: None,
        window_began: Instant::now(),
        module: Use::begin(&core.plan.module),
    };
    while watch.look(Instant::now()) {
        match woken.recv_timeout(tick) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Watch {
    /// False once there is nothing left to look after.
    fn look(&mut self, now: Instant) -> bool {
        let core = Arc::clone(&self.core);
        let mut state = core.state();
        state.lanes.retain(|berth| *berth.standing() != Standing::Over);
        let lanes = state.lanes.clone();
        let counts = state.shift.as_ref().map(|shift| (shift.number, Arc::clone(&shift.counts)));
        drop(state);
        for berth in &lanes {
            let counts = counts.as_ref().filter(|(number, _)| *number == berth.shift);
            self.judge(berth, counts.map(|(_, counts)| &**counts), now);
        }
        let state = core.state();
        match state.phase {
            Phase::Ended => return false,
            Phase::Up => self.tend(state, now),
            Phase::Down { until } if now >= until => self.probe(state, now),
            Phase::Probing { since } if now >= since + OPEN_PATIENCE => {
                drop(state);
                self.give_up_the_process("the module does not open the token, and does not return");
            }
            Phase::Probing { .. } | Phase::Down { .. } | Phase::Turning | Phase::GivenUp => {
                drop(state);
            }
        }
        self.tell();
        true
    }

    /// Answers an operation that a lane is in past its deadline; gives up a lane that is in one call for too
    /// long. `counts` are those of its shift, if that is the one that serves.
    fn judge(&self, berth: &Berth, counts: Option<&Counts>, now: Instant) {
        let deadline = self.core.plan.deadline;
        let mut standing = berth.standing();
        let (began, patience, overdue) = match &mut *standing {
            Standing::Opening { since } => (*since, SESSION_PATIENCE.max(deadline), None),
            Standing::Busy(doing) => {
                let overdue = if now >= doing.deadline { doing.operation.take() } else { None };
                // An errand has more time than an operation, and an operation may have waited.
                let own = doing.deadline.saturating_duration_since(doing.began);
                (doing.began, own.max(deadline), overdue)
            }
            Standing::Idle | Standing::Lost { .. } | Standing::Over => return,
        };
        let is_lost = now >= began + patience;
        if is_lost {
            if let (Standing::Busy(_), Some(counts)) = (*standing, counts) {
                counts.busy.fetch_sub(1, Ordering::Relaxed);
                counts.open.fetch_sub(1, Ordering::Relaxed);
            }
            *standing = Standing::Lost { since: began };
        }
        drop(standing);
        if let Some(operation) = overdue {
            let problem = format!("the token did not answer within {deadline:?}");
            self.core.refuse(operation, RefusalReason::Lost, problem);
        }
        if is_lost {
            let message = format!(
                "a session has hung in the module for {:?} and is given up; another takes its place if the token \
                 allows one more",
                now.saturating_duration_since(began)
            );
            self.core.outside.say(Said::Notice(message));
        }
    }

    /// As many lanes as are needed; or the end of a shift that hangs.
    fn tend(&mut self, mut state: MutexGuard<'_, State>, now: Instant) {
        let Some(shift) = &state.shift else { return };
        let load = self.load(&state, shift, now);
        if let Some(problem) = self.all_hang(&state, shift, load, now) {
            let number = shift.number;
            drop(state);
            self.core.go_down(number, &problem, Remedy::Reopen);
            return;
        }
        if load.open + load.opening == 0 && load.lost >= load.ceiling {
            // Nobody is left who would say so.
            let tasks = Arc::clone(&shift.tasks);
            drop(state);
            self.core.refuse_queued(&tasks, "every session of the token hangs");
            return;
        }
        if load.opening == 0 && self.heed_refusal(&mut state) {
            return;
        }
        let Some(shift) = &state.shift else { return };
        match change(self.core.plan.lanes, load) {
            Change::More(wanted) if now >= shift.grows_from => {
                // Where one thread cannot be started, more of them cannot either.
                let _ = (0..wanted).all(|_| self.add_lane(&mut state, now));
            }
            Change::OneLess => {
                let _ = shift.tasks.push(Task::Retire);
            }
            Change::None | Change::More(_) => {}
        }
    }

    /// Of several sessions that were opened at once some may have been refused: what the token allows is known when
    /// none is under way any more. Gives whether there was one.
    fn heed_refusal(&self, state: &mut State) -> bool {
        let has_session = |berth: &&Arc<Berth>| {
            matches!(*berth.standing(), Standing::Idle | Standing::Busy(_) | Standing::Lost { .. })
        };
        let sessions = state.lanes.iter().filter(has_session).count().max(1);
        let Some(shift) = &mut state.shift else { return false };
        let Some(error) = shift.refused.take() else { return false };
        let message = if error.code() == Some("CKR_SESSION_COUNT") {
            shift.ceiling = sessions;
            format!(
                "the token allows no more than {sessions} sessions at this time, fewer than are configured: {error}"
            )
        } else {
            format!("one more session could not be opened: {error}")
        };
        self.core.outside.say(Said::Notice(message));
        true
    }

    fn load(&mut self, state: &State, shift: &Shift, now: Instant) -> Load {
        let mut load = Load {
            busy: 0,
            open: 0,
            opening: 0,
            lost: 0,
            waiting: shift.tasks.len(),
            peak: None,
            ceiling: shift.ceiling,
        };
        for berth in &state.lanes {
            let standing = *berth.standing();
            match standing {
                // Its session counts against what the token allows, of whatever shift it is.
                Standing::Lost { .. } => load.lost += 1,
                _ if berth.shift != shift.number => {}
                Standing::Opening { .. } => load.opening += 1,
                Standing::Idle => load.open += 1,
                Standing::Busy(_) => {
                    load.open += 1;
                    load.busy += 1;
                }
                Standing::Over => {}
            }
        }
        if now >= self.window_began + PEAK_WINDOW {
            self.window_began = now;
            self.peak = Some(shift.counts.peak.swap(load.busy, Ordering::Relaxed));
        }
        // More are needed than the last window knew of.
        self.peak = self.peak.filter(|peak| load.busy <= *peak);
        load.peak = self.peak;
        load
    }

    /// Does the whole token hang, and not one session? So it is said where more than one session hangs and
    /// none has come back from the module for two deadlines, or where none is left that could.
    fn all_hang(&self, state: &State, shift: &Shift, load: Load, now: Instant) -> Option<String> {
        let deadline = self.core.plan.deadline;
        let came_back = Duration::from_micros(shift.counts.came_back_us.load(Ordering::Relaxed));
        let came_back = self.core.made + came_back;
        let lost = state.lanes.iter().filter(|berth| berth.shift == shift.number);
        let lost = lost.filter_map(|berth| match *berth.standing() {
            Standing::Lost { since } => Some(since),
            _ => None,
        });
        let (mut recent, mut oldest) = (0, now);
        for since in lost {
            // Others went on after this one had long hung: it is alone.
            if since + deadline >= came_back {
                recent += 1;
                oldest = oldest.min(since);
            }
        }
        let is_long = now >= oldest + 2 * deadline && now >= came_back + 2 * deadline;
        let is_everywhere = recent >= load.ceiling.min(2) || (recent > 0 && load.open == 0);
        let nobody_left = load.open + load.opening == 0 && load.lost >= load.ceiling && is_long;
        if (is_everywhere && is_long) || nobody_left {
            return Some(format!(
                "the token hangs: {} sessions have not come back from the module, and none has for {:?}",
                load.lost,
                now.saturating_duration_since(came_back)
            ));
        }
        None
    }

    fn add_lane(&self, state: &mut State, now: Instant) -> bool {
        let name = format!("token-lane-{}", state.lanes.len());
        let Some(shift) = &mut state.shift else { return false };
        let berth = Berth::new(shift.number, Standing::Opening { since: now });
        let place = Place {
            berth: Arc::clone(&berth),
            tasks: Arc::clone(&shift.tasks),
            counts: Arc::clone(&shift.counts),
            gate: Arc::clone(&shift.gate),
            token: shift.token.clone(),
        };
        let core = Arc::clone(&self.core);
        match std::thread::Builder::new().name(name).spawn(move || open_lane(core, place)) {
            Ok(_) => {
                state.lanes.push(berth);
                true
            }
            Err(error) => {
                shift.grows_from = now + GROWTH_PAUSE;
                let message = format!("cannot start a thread for a session: {error}");
                self.core.outside.say(Said::Notice(message));
                false
            }
        }
    }

    /// Sends for the token, once everybody is out of the module.
    fn probe(&self, mut state: MutexGuard<'_, State>, now: Instant) {
        let is_lost = |berth: &&Arc<Berth>| matches!(*berth.standing(), Standing::Lost { .. });
        let lost = state.lanes.iter().filter(is_lost).count();
        if lost < state.lanes.len() {
            return;
        }
        if lost > 0 && self.core.plan.has_process {
            drop(state);
            // Nobody may finalize a module that somebody is in. The end of the process does it all.
            self.give_up_the_process(
                "sessions hang in the module, which therefore cannot be started again",
            );
            return;
        }
        if lost > LOST_PER_LANE * self.core.plan.lanes.most {
            let problem = format!(
                "{lost} threads hang in the module and no more are sent in: restart the engine; with isolation = \
                 \"process\" a hanging module is restarted by itself"
            );
            state.phase = Phase::Turning;
            let module = state.module.clone();
            drop(state);
            self.core.stay_down(Closed {
                error: StationError::passing(problem),
                module,
                is_final: false,
            });
            return;
        }
        let module = state.module.clone();
        let may_reinitialize = lost == 0 && self.module.is_alone();
        let core = Arc::clone(&self.core);
        state.phase = Phase::Probing { since: now };
        drop(state);
        let spawned = std::thread::Builder::new()
            .name("token-opening".into())
            .spawn(move || open_token(&core, module, may_reinitialize));
        if let Err(error) = spawned {
            let error = StationError::passing(format!("cannot start a thread: {error}"));
            self.core.stay_down(Closed { error, module: None, is_final: false });
        }
    }

    /// Only the end of this process helps; in a process that is not the crew's own, nothing does.
    fn give_up_the_process(&self, problem: &str) {
        if !self.core.plan.has_process {
            return;
        }
        self.core.state().phase = Phase::GivenUp;
        self.core.outside.say(Said::Stuck(problem.to_owned()));
    }

    fn tell(&mut self) {
        let state = self.core.state();
        let now = state.shift.as_ref().map_or((0, 0, 0), |shift| {
            let busy = shift.counts.busy.load(Ordering::Relaxed);
            let open = shift.counts.open.load(Ordering::Relaxed);
            (busy, open, shift.tasks.len())
        });
        drop(state);
        if now != self.told {
            self.told = now;
            let (busy, open, waiting) = now;
            self.core.outside.say(Said::Lanes { busy, open, waiting });
        }
    }
}

fn open_token(core: &Arc<Core>, module: Option<Module>, may_reinitialize: bool) {
    let before = module.clone();
    let attempt = || recovery::open(core, module, may_reinitialize);
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Ok(opened)) => core.go_up(opened),
        Ok(Err(closed)) => core.stay_down(closed),
        Err(_panic) => {
            let error = StationError::passing("opening the token panicked");
            core.stay_down(Closed { error, module: before, is_final: false });
        }
    }
}

fn open_lane(core: Arc<Core>, place: Place) {
    let opened = place.token.open();
    // One that took too long has been given up, and its place may be taken.
    let is_awaited = {
        let mut standing = place.berth.standing();
        let is_awaited = matches!(*standing, Standing::Opening { .. });
        *standing = if is_awaited && opened.is_ok() { Standing::Idle } else { Standing::Over };
        is_awaited
    };
    match opened {
        Ok(session) if is_awaited => {
            place.counts.open.fetch_add(1, Ordering::Relaxed);
            core.came_back(&place.counts);
            // Perhaps one more is needed still.
            core.wake();
            Lane::new(core, place, session).work();
        }
        Ok(_too_late) => {}
        Err(error) => core.cannot_open(place.berth.shift, error),
    }
}

impl Core {
    /// A session could not be opened beside those that there are.
    fn cannot_open(&self, number: u64, error: Error) {
        let mut state = self.state();
        if let Some(shift) = state.shift.as_mut().filter(|shift| shift.number == number) {
            shift.grows_from = Instant::now() + GROWTH_PAUSE;
            shift.refused.get_or_insert(error);
        }
        drop(state);
        self.wake();
    }
}
