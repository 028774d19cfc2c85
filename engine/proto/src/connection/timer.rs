//! One timer for each purpose.

use crate::time::Moment;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(crate) enum Timer {
    /// From accept to Finished.
    Handshake,
    /// One suspended operation.
    Operation,
    /// Dialling the upstream.
    Connect,
    /// Nothing moves.
    Idle,
    /// A refused client reads its alert; a closing connection sends what it has left.
    Drain,
    /// A certificate of the client's path may have expired by then.
    Expiry,
    /// A client that would not be let in any more finishes what it is about.
    Withdrawal,
}

const TIMERS: [Timer; 7] = [
    Timer::Handshake,
    Timer::Operation,
    Timer::Connect,
    Timer::Idle,
    Timer::Drain,
    Timer::Expiry,
    Timer::Withdrawal,
];

/// The timers of a connection that run.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: [Option<Moment>; TIMERS.len()],
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, due: Moment) {
        self.due[timer as usize] = Some(due);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    pub(crate) fn stop_all(&mut self) {
        self.due = Default::default();
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.due.iter().flatten().min().copied()
    }

    /// Stops and names one timer that is due, the earliest first.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Timer> {
        let timer = TIMERS
            .into_iter()
            .filter(|timer| self.due[*timer as usize].is_some_and(|due| due <= now))
            .min_by_key(|timer| self.due[*timer as usize])?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_earliest_first_and_once() {
        let at = Moment::from_nanos;
        let mut timers = Timers::default();
        timers.set(Timer::Idle, at(30));
        timers.set(Timer::Handshake, at(10));
        timers.set(Timer::Drain, at(20));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(timers.take_due(at(25)), Some(Timer::Handshake));
        assert_eq!(timers.take_due(at(25)), Some(Timer::Drain));
        assert_eq!(timers.take_due(at(25)), None);
        timers.stop_all();
        assert_eq!(timers.next(), None);
    }
}
