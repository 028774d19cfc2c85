//! One tokio-uring runtime on one CPU.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::arrivals::{Pace, announce};
use crate::board::{Live, Schedule, Signal};
use crate::clients::{Clients, Supply};
use crate::plan::Plan;
use crate::site::Site;
use crate::tally::Tally;
use crate::{conversation, tls};

/// Operations that are submitted together; more take several system calls.
const SUBMISSIONS: u32 = 1_024;

/// Completions that wait to be looked at.
const COMPLETIONS: u32 = 16_384;

/// How often deadlines are looked at, with few and with many slots.
const LOOK_FEW: Duration = Duration::from_millis(20);
const LOOK_MANY: Duration = Duration::from_millis(100);
const FEW: usize = 2_000;

/// How often further slots begin during the first half of the ramp.
const BEGIN_EVERY: Duration = Duration::from_millis(5);

/// Connections that a runtime opens at one time for `--hold`: more would overflow the server's queue.
const OPENING_MAX: usize = 128;

/// What a thread needs to begin.
pub(crate) struct Start {
    pub(crate) plan: Arc<Plan>,
    pub(crate) number: usize,
    pub(crate) clients: Clients,
    pub(crate) live: Arc<Live>,
    pub(crate) signal: Arc<Signal>,
    /// Told when everything is prepared, or cannot be.
    pub(crate) ready: Sender<Result<(), String>>,
    /// Gives the schedule when all are ready; closed if the run is off.
    pub(crate) go: Receiver<Schedule>,
}

impl Start {
    /// Pins the calling thread, if it was asked for.
    pub(crate) fn pin(&self) -> Result<(), String> {
        let cpus = &self.plan.cpus;
        match cpus[self.number % cpus.len()] {
            Some(cpu) if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) => {
                Err(format!("--cpus: this process may not run on CPU {cpu}"))
            }
            _ => Ok(()),
        }
    }

    /// The clients with their configurations; `None` without TLS.
    pub(crate) fn supply(&mut self) -> Result<Option<Supply>, String> {
        let Some(plan) = &self.plan.tls else { return Ok(None) };
        let clients = std::mem::take(&mut self.clients);
        let arguments = &self.plan.arguments;
        let base = tls::config(plan)?;
        Ok(Some(Supply::new(base, clients, arguments.unseen, arguments.resume)))
    }
}

/// Works until the run is over; `None` if it never began.
pub(crate) fn run(mut start: Start) -> Option<Tally> {
    let prepared = prepare(&mut start);
    let told = prepared.as_ref().map(|_| ()).map_err(Clone::clone);
    // Whoever asked is there until all have answered.
    drop(start.ready.send(told));
    let (runtime, supply) = prepared.ok()?;
    let schedule = start.go.recv().ok()?;
    let channels = (start.live, start.signal);
    let site = Rc::new(Site::new(start.plan, start.number, supply, channels, schedule));
    runtime.block_on(drive(Rc::clone(&site), start.number));
    let mut tally = site.tally.take();
    if let Some(arrivals) = &site.arrivals {
        (tally.due, tally.left_waiting) = arrivals.counts();
    }
    Some(tally)
}

fn prepare(start: &mut Start) -> Result<(tokio_uring::Runtime, Option<Supply>), String> {
    start.pin()?;
    let runtime = ring().map_err(|error| {
        format!(
            "no io_uring: {error} (a container's seccomp profile or kernel.io_uring_disabled may forbid it)"
        )
    })?;
    Ok((runtime, start.supply()?))
}

fn ring() -> io::Result<tokio_uring::Runtime> {
    let mut builder = tokio_uring::builder();
    builder.entries(SUBMISSIONS);
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(COMPLETIONS);
    // A tenth less CPU a conversation: completions wait for the thread's next system call instead of
    // interrupting it. Linux has both since 6.0, and it does without.
    let mut cooperative = ring.clone();
    cooperative.setup_coop_taskrun().setup_single_issuer();
    tokio_uring::Runtime::new(builder.uring_builder(&cooperative))
        .or_else(|_| tokio_uring::Runtime::new(builder.uring_builder(&ring)))
}

async fn drive(site: Rc<Site>, number: usize) {
    let looking = tokio_uring::spawn(look(Rc::clone(&site)));
    let announcing = site.arrivals.as_ref().map(|arrivals| {
        let arguments = &site.plan.arguments;
        let runtimes = site.plan.cpus.len();
        let rate = arguments.rate.expect("arrivals have a rate");
        let interval = Duration::from_secs_f64(runtimes as f64 / rate);
        let pace = Pace {
            // When all slots have begun; runtimes take turns.
            first: site.schedule.start
                + spread(&site)
                + interval.mul_f64(number as f64 / runtimes as f64),
            interval,
            end: site.schedule.end,
            count: site.plan.count_of(number),
            spin: arguments.spin,
        };
        tokio_uring::spawn(announce(Rc::clone(arrivals), pace))
    });
    for slot in begin(&site).await {
        // A slot that panics has printed why; the figures of the others stand.
        drop(slot.await);
    }
    looking.abort();
    if let Some(announcing) = announcing
        && let Ok(Err(error)) = announcing.await
    {
        site.signal.stop_early(format!("no timer for --rate: {error}"));
    }
}

/// Slots begin one after the other, so that the server's queue does not overflow.
fn spread(site: &Site) -> Duration {
    site.plan.ramp() / 2
}

/// Begins all slots during the first half of the ramp.
async fn begin(site: &Rc<Site>) -> Vec<JoinHandle<()>> {
    let arguments = &site.plan.arguments;
    let opening = Rc::new(Semaphore::new(OPENING_MAX));
    let spread = spread(site);
    let count = site.watches.len();
    let mut slots = Vec::with_capacity(count);
    while slots.len() < count && !site.is_over() {
        let elapsed = site.schedule.start.elapsed();
        let due = if elapsed >= spread {
            count
        } else {
            1 + (count as f64 * elapsed.as_secs_f64() / spread.as_secs_f64()) as usize
        };
        for watch in &site.watches[slots.len()..due.min(count)] {
            let (site, watch) = (Rc::clone(site), Rc::clone(watch));
            slots.push(if arguments.hold {
                tokio_uring::spawn(conversation::hold(site, watch, Rc::clone(&opening)))
            } else {
                tokio_uring::spawn(conversation::work(site, watch))
            });
        }
        if slots.len() < count {
            tokio::time::sleep(BEGIN_EVERY).await;
        }
    }
    slots
}

/// Looks at deadlines until the run is over, and ends it.
async fn look(site: Rc<Site>) {
    let often = if site.watches.len() < FEW { LOOK_FEW } else { LOOK_MANY };
    loop {
        let now = Instant::now();
        if site.signal.is_stopped() || now >= site.schedule.end {
            return site.end();
        }
        for watch in &site.watches {
            watch.look(now);
        }
        tokio::time::sleep(often.min(site.schedule.end - now)).await;
    }
}
