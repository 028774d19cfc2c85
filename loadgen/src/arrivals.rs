//! Open loop: when the next is due, whether or not somebody is free to take it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::sync::Notify;

/// How long a pause between arrivals may be slept in one piece: a read of a timer is not cancelled, and whoever
/// ends the run early should not wait for the next arrival.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// What is due on one runtime and not begun.
#[derive(Default)]
pub(crate) struct Arrivals {
    waiting: RefCell<VecDeque<Instant>>,
    news: Notify,
    /// Nothing more will be due.
    complete: Cell<bool>,
    /// What waits is not begun any more.
    closed: Cell<bool>,
    due: Cell<u64>,
}

impl Arrivals {
    /// Waits for something to be due; gives the time at which it was.
    pub(crate) async fn next(&self) -> Option<Instant> {
        loop {
            if self.closed.get() {
                return None;
            }
            if let Some(due) = self.waiting.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.complete.get() {
                return None;
            }
            self.news.notified().await;
        }
    }

    /// The run is over.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.complete();
    }

    /// How many were due, how many of them nobody has begun.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.due.get(), self.waiting.borrow().len() as u64)
    }

    fn complete(&self) {
        self.complete.set(true);
        self.news.notify_waiters();
        // Somebody who is about to wait.
        self.news.notify_one();
    }
}

/// Arrivals at even distances.
pub(crate) struct Pace {
    /// When the first is due.
    pub(crate) first: Instant,
    pub(crate) interval: Duration,
    pub(crate) end: Instant,
    /// No more than that.
    pub(crate) count: Option<u64>,
    /// So long before one is due nothing sleeps any more.
    pub(crate) spin: Duration,
}

/// Announces arrivals until the last is due.
pub(crate) async fn announce(arrivals: Rc<Arrivals>, pace: Pace) -> io::Result<()> {
    let timer = Timer::new()?;
    let mut number = 0_u64;
    loop {
        let due = pace.first + pace.interval.mul_f64(number as f64);
        let is_last = pace.count.is_some_and(|count| number >= count) || due >= pace.end;
        if is_last || arrivals.closed.get() {
            break;
        }
        let now = Instant::now();
        let left = due.saturating_duration_since(now);
        if left > pace.spin {
            timer.sleep(SLEEP_MAX.min(left - pace.spin)).await?;
            continue;
        }
        if !left.is_zero() {
            // Once round the ring: what else is ready goes on meanwhile.
            tokio_uring::no_op().await?;
            continue;
        }
        arrivals.waiting.borrow_mut().push_back(due);
        arrivals.due.set(arrivals.due.get() + 1);
        arrivals.news.notify_one();
        number += 1;
    }
    arrivals.complete();
    Ok(())
}

/// tokio's timers tick in milliseconds, which is longer than a handshake takes. The ring reads this one.
struct Timer {
    file: tokio_uring::fs::File,
    set: OwnedFd,
}

impl Timer {
    fn new() -> io::Result<Self> {
        let set = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let file = tokio_uring::fs::File::from_std(File::from(set.try_clone()?));
        Ok(Self { file, set })
    }

    async fn sleep(&self, time: Duration) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec {
            it_interval: never,
            it_value: Timespec {
                tv_sec: time.as_secs() as i64,
                // Zero would mean never.
                tv_nsec: i64::from(time.subsec_nanos().max(1)),
            },
        };
        timerfd_settime(&self.set, TimerfdTimerFlags::empty(), &once)?;
        // The number of expirations (timerfd_create(2)); it is one.
        self.file.read_at(Vec::with_capacity(8), 0).await.0.map(|_| ())
    }
}
