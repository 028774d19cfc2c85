//! The dispatcher's thread: it alone has the state of [`Dispatch`], and therefore no lock.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_hsm::Scheme;
use countersign_proto::{Outcome, Work, WorkFailure};

use super::checking::{self, Check};
use super::dispatch::{Dispatch, Origin, StationId};
use super::journal::Journal;
use super::mailbox::{Mailbox, Message};
use super::seat::Seat;
use crate::signing::Job;
use crate::signing::station::Event;
use crate::telemetry::LogWriter;
use crate::worker::{Address, InboxSender};

/// Jobs that are taken at once: what stations answer is looked at in between.
const JOBS_AT_ONCE: usize = 256;

/// With nothing to do and nothing due.
const IDLE: Duration = Duration::from_secs(60);

/// The worker that waits for an operation.
struct WayBack {
    address: Address,
    inbox: InboxSender,
}

impl Origin for WayBack {
    fn finish(self, outcome: Outcome) {
        Job::finish(self.address, &self.inbox, outcome);
    }
}

/// Starts it. It ends when it is told to.
pub(super) fn start(
    mailbox: &Arc<Mailbox>,
    log: Option<LogWriter>,
) -> std::io::Result<JoinHandle<()>> {
    let verified = Arc::clone(mailbox);
    let checks = checking::start(move |checked| verified.say(Message::Checked(checked)))?;
    let check = Box::new(move |check: Check| {
        // Its receivers live for as long as this sender does.
        let _ = checks.send(check);
    });
    let own = Arc::clone(mailbox);
    let run = move || {
        own.read_by(std::thread::current());
        run(&own, Dispatch::new(check, Journal::new(log)));
    };
    std::thread::Builder::new().name("tokens".into()).spawn(run)
}

fn run(mailbox: &Mailbox, mut dispatch: Dispatch<WayBack>) {
    let mut jobs = Vec::with_capacity(JOBS_AT_ONCE);
    loop {
        // Jobs are taken before messages are read and begun after: the key that a job names was told of before
        // the worker could know it.
        jobs.extend(std::iter::from_fn(|| mailbox.job()).take(JOBS_AT_ONCE));
        let mut is_idle = jobs.is_empty();
        let now = Instant::now();
        while let Some(message) = mailbox.message() {
            is_idle = false;
            if let Message::End = message {
                return;
            }
            hear(&mut dispatch, now, message);
        }
        for job in jobs.drain(..) {
            begin(&mut dispatch, now, job);
        }
        dispatch.fire_timers(now);
        if is_idle {
            let due = dispatch.next_timer();
            // Whatever came in the meantime has left its mark, and this returns at once.
            std::thread::park_timeout(due.map_or(IDLE, |due| due.duration_since(now)));
        }
    }
}

fn begin(dispatch: &mut Dispatch<WayBack>, now: Instant, job: Job) {
    let (work, address, inbox) = job.into_parts();
    let origin = WayBack { address, inbox };
    let problem = match *work {
        Work::SignByToken { key, scheme, message } => match Scheme::from_code(scheme.into()) {
            Some(scheme) => return dispatch.begin(now, origin, key, scheme, message),
            None => format!("no token signs by {scheme:?}"),
        },
        other => format!("{other:?} is nothing for a token"),
    };
    origin.finish(Outcome::Failed(WorkFailure::Failed(problem)));
}

fn hear(dispatch: &mut Dispatch<WayBack>, now: Instant, message: Message) {
    match message {
        Message::Rules(rules) => dispatch.set_rules(rules),
        Message::Expect { station, name, counters, queue } => {
            dispatch.expect(station, Seat::new(name, counters, queue, now));
        }
        Message::Opened(station, signs) => dispatch.opened(now, station, signs),
        Message::Serve(station) => dispatch.serve(station),
        Message::Release(station) => dispatch.release(station),
        Message::AddKey(id, key) => dispatch.add_key(id, key),
        Message::RemoveKey(id) => dispatch.remove_key(id),
        Message::Said(station, event) => hear_station(dispatch, now, station, event),
        Message::Checked(checked) => dispatch.checked(now, checked),
        Message::End => {}
    }
}

fn hear_station(dispatch: &mut Dispatch<WayBack>, now: Instant, station: StationId, event: Event) {
    match event {
        Event::Answer { operation, result } => dispatch.answer(now, station, operation, result),
        Event::Up { info } => dispatch.up(now, station, &info),
        Event::Down { problem, remedy } => dispatch.down(now, station, problem, remedy),
        Event::Lanes { busy, open, waiting } => dispatch.sessions(station, busy, open, waiting),
        Event::Notice { message } => dispatch.notice(now, station, &message),
        Event::Output { line } => dispatch.notice(now, station, &line),
    }
}
