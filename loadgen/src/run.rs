//! A run from beginning to end: threads, phases, watching, and what it came to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::board::{Live, Schedule, Signal};
use crate::clients::Pool;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::runtime::Start;
use crate::tally::Tally;
use crate::{cpu_time, descriptors, discard, runtime};

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Longer than any run: for runs that end by themselves.
const NO_END: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// When the first thread began.
    pub(crate) started: SystemTime,
    /// From the start to the measured part, and that part.
    pub(crate) ramp: Duration,
    pub(crate) measured: Duration,
    pub(crate) ended_early: Option<String>,
    /// CPU time in the measured part.
    pub(crate) client_cpu: Duration,
    /// `None` if it was not asked for; words if it could not be read.
    pub(crate) server_cpu: Option<Result<Duration, String>>,
}

/// Makes the run. Words if it could not even begin.
pub(crate) fn run(plan: &Arc<Plan>, progress: &mut Progress) -> Result<Outcome, String> {
    let threads = if plan.arguments.discard { plan.arguments.connections } else { plan.cpus.len() };
    descriptors::raise(plan.arguments.connections as u64, threads as u64)?;
    // Before the pool is issued: a wrong PID should not cost a minute.
    if !plan.arguments.server_pid.is_empty() {
        cpu_time::of(&plan.arguments.server_pid)?;
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Asked twice means now.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .map_err(|error| format!("cannot listen to signals: {error}"))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| format!("cannot listen to signals: {error}"))?;
    }
    progress.preparing(plan);
    let pool = if plan.tls.is_some() { Some(Pool::prepare(&plan.arguments)?) } else { None };
    let mut crew = Crew::start(plan, pool, threads)?;
    let watched = crew.watch(plan, progress, &interrupted);
    Ok(crew.end(plan, watched))
}

/// The threads of a run.
struct Crew {
    threads: Vec<JoinHandle<Option<Tally>>>,
    live: Vec<Arc<Live>>,
    signal: Arc<Signal>,
    schedule: Schedule,
    started: SystemTime,
}

/// CPU times at one moment.
struct Moment {
    at: Instant,
    client: Duration,
    server: Option<Result<Duration, String>>,
}

impl Moment {
    fn now(plan: &Plan) -> Self {
        let pids = &plan.arguments.server_pid;
        let server = (!pids.is_empty()).then(|| cpu_time::of(pids));
        Self { at: Instant::now(), client: cpu_time::own(), server }
    }
}

impl Crew {
    fn start(plan: &Arc<Plan>, pool: Option<Pool>, threads: usize) -> Result<Self, String> {
        let signal = Arc::new(Signal::default());
        let live: Vec<Arc<Live>> = (0..threads).map(|_| Arc::default()).collect();
        let mut clients = pool.map(|pool| pool.divide(threads)).unwrap_or_default();
        clients.resize_with(threads, Default::default);
        let (ready, answers) = channel();
        let mut gos = Vec::new();
        let mut handles = Vec::new();
        for (number, clients) in clients.into_iter().enumerate() {
            let (go, wait) = channel();
            gos.push(go);
            let start = Start {
                plan: Arc::clone(plan),
                number,
                clients,
                live: Arc::clone(&live[number]),
                signal: Arc::clone(&signal),
                ready: ready.clone(),
                go: wait,
            };
            let work = if plan.arguments.discard { discard::run } else { runtime::run };
            let named = thread::Builder::new().name(format!("loadgen-{number}"));
            let handle = named.spawn(move || work(start));
            handles.push(handle.map_err(|error| format!("no further thread: {error}"))?);
        }
        drop(ready);
        let schedule = Self::go(plan, &answers, &gos)?;
        Ok(Self { threads: handles, live, signal, schedule, started: SystemTime::now() })
    }

    /// Waits until all are ready, then lets them go. If one cannot, none does.
    fn go(
        plan: &Plan,
        answers: &Receiver<Result<(), String>>,
        gos: &[Sender<Schedule>],
    ) -> Result<Schedule, String> {
        for _ in gos {
            answers.recv().map_err(|_| "a thread ended before it was ready")??;
        }
        let start = Instant::now();
        let arguments = &plan.arguments;
        // With --discard all the warming up there is was done to be ready.
        let steady = if arguments.discard { start } else { start + plan.ramp() };
        let has_end = arguments.count.is_none() && !arguments.hold;
        let end = steady + if has_end { arguments.duration } else { NO_END };
        let schedule = Schedule { start, steady, end };
        for go in gos {
            go.send(schedule).map_err(|_| "a thread ended before it began")?;
        }
        Ok(schedule)
    }

    /// Looks on until the run is over; gives the first and the last moment of the measured part.
    fn watch(
        &mut self,
        plan: &Plan,
        progress: &mut Progress,
        interrupted: &AtomicBool,
    ) -> [Moment; 2] {
        let mut first = None;
        let mut patience = Patience::default();
        let mut held = None;
        loop {
            let now = Instant::now();
            if first.is_none() && now >= self.schedule.steady {
                first = Some(Moment::now(plan));
            }
            if now >= self.schedule.end || self.threads.iter().all(JoinHandle::is_finished) {
                break;
            }
            if interrupted.load(Ordering::Relaxed) {
                self.signal.stop_early("interrupted by a signal");
            }
            let sums = Sums::of(&self.live);
            progress.show(plan, &self.schedule, &sums);
            let lost = match &held {
                // Nothing more is to succeed; some may die, and the others are held on.
                Some(_) => (sums.held == 0).then(|| "no connection is left to hold".to_owned()),
                None => patience.lost(plan, &self.schedule, &sums, now),
            };
            if let Some(why) = lost {
                self.signal.stop_early(why);
            }
            if plan.arguments.hold {
                self.watch_held(plan, progress, &sums, &mut held);
            }
            if self.signal.is_stopped() {
                break;
            }
            let next = if first.is_none() { self.schedule.steady } else { self.schedule.end };
            thread::sleep(LOOK.min(next.saturating_duration_since(now)));
        }
        progress.end();
        let first = first.unwrap_or_else(|| Moment::now(plan));
        // What is measured of --hold is the opening.
        [first, held.unwrap_or_else(|| Moment::now(plan))]
    }

    fn watch_held(
        &self,
        plan: &Plan,
        progress: &mut Progress,
        sums: &Sums,
        held: &mut Option<Moment>,
    ) {
        let all = plan.arguments.connections as u64;
        match held {
            None if sums.held > 0 && sums.held + sums.errors >= all => {
                progress.say(&format!("holding {} connections", sums.held));
                *held = Some(Moment::now(plan));
            }
            Some(since) if since.at.elapsed() >= plan.arguments.duration => self.signal.stop(),
            _ => {}
        }
    }

    fn end(self, plan: &Plan, [first, last]: [Moment; 2]) -> Outcome {
        let mut tally = Tally::default();
        for thread in self.threads {
            match thread.join() {
                Ok(Some(part)) => tally.merge(part),
                Ok(None) => {}
                Err(_) => self.signal.stop_early("a thread of the load generator panicked"),
            }
        }
        let server_cpu = match (first.server, last.server) {
            (Some(Ok(first)), Some(Ok(last))) => Some(Ok(last.saturating_sub(first))),
            (Some(Err(words)), _) | (_, Some(Err(words))) => Some(Err(words)),
            _ => None,
        };
        Outcome {
            tally,
            started: self.started,
            ramp: if plan.arguments.discard { Duration::ZERO } else { plan.ramp() },
            measured: last.at.saturating_duration_since(first.at),
            ended_early: self.signal.early(),
            client_cpu: last.client.saturating_sub(first.client),
            server_cpu,
        }
    }
}

/// Sums of what the threads show.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) handshakes: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) others: u64,
    pub(crate) errors: u64,
    pub(crate) held: u64,
}

impl Sums {
    fn of(live: &[Arc<Live>]) -> Self {
        let mut sums = Self::default();
        for live in live {
            sums.handshakes += live.handshakes.get();
            sums.requests += live.requests.get();
            sums.bytes += live.bytes.get();
            sums.others += live.others.get();
            sums.errors += live.errors.get();
            sums.held += live.held.get();
        }
        sums
    }

    fn successes(&self) -> u64 {
        self.handshakes + self.requests + self.bytes + self.others
    }
}

/// When to give up: errors, and no success for too long.
#[derive(Default)]
struct Patience {
    successes: u64,
    errors: u64,
    since: Option<Instant>,
}

impl Patience {
    fn lost(
        &mut self,
        plan: &Plan,
        schedule: &Schedule,
        sums: &Sums,
        now: Instant,
    ) -> Option<String> {
        let since = *self.since.get_or_insert(schedule.start);
        if sums.successes() > self.successes {
            *self = Self { successes: sums.successes(), errors: sums.errors, since: Some(now) };
            return None;
        }
        if sums.errors == self.errors {
            return None;
        }
        let waited = now.saturating_duration_since(since);
        let target = &plan.arguments.target;
        let errors = sums.errors - self.errors;
        if self.successes == 0 {
            let ramp = plan.arguments.ramp.min(plan.arguments.give_up);
            return (waited >= ramp).then(|| {
                format!(
                    "nothing succeeded with {target} in {:.1} s: {errors} errors",
                    waited.as_secs_f64()
                )
            });
        }
        (waited >= plan.arguments.give_up).then(|| {
            format!(
                "{target} has stopped answering: not one success in the last {:.1} s, {errors} errors",
                waited.as_secs_f64()
            )
        })
    }
}
