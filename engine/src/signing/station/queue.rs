//! What waits for the lanes of a shift.
//!
//! A channel of crossbeam's looks again and again, and gives its CPU away several times, before its reader sleeps: for a reader
//! that waits for microseconds that is a gain. Lanes wait for handshakes, many at a time, on a CPU that others need: they sleep
//! at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::task::Task;

/// Bounded; first in, first out.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
    most: usize,
}

struct Waiting {
    tasks: VecDeque<Task>,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        let waiting = Waiting { tasks: VecDeque::new(), is_closed: false };
        Self { waiting: Mutex::new(waiting), news: Condvar::new(), most }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the task back if there is no room for it, or nobody takes it any more.
    pub(super) fn push(&self, task: Task) -> Result<(), Task> {
        let mut waiting = self.waiting();
        if waiting.is_closed || waiting.tasks.len() >= self.most {
            return Err(task);
        }
        waiting.tasks.push_back(task);
        drop(waiting);
        self.news.notify_one();
        Ok(())
    }

    /// Waits for a task; `None` once the queue is closed and what was in it has been taken.
    pub(super) fn take(&self) -> Option<Task> {
        let mut waiting = self.waiting();
        loop {
            if let Some(task) = waiting.tasks.pop_front() {
                return Some(task);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes everything that is in it now.
    pub(super) fn drain(&self) -> VecDeque<Task> {
        std::mem::take(&mut self.waiting().tasks)
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.news.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().tasks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_full_queue_gives_back_what_it_is_given_and_a_closed_one_too() {
        let queue = Queue::new(2);
        assert!(queue.push(Task::Retire).is_ok() && queue.push(Task::Retire).is_ok());
        assert!(queue.push(Task::Retire).is_err());
        assert!(queue.take().is_some());
        queue.close();
        assert!(queue.push(Task::Retire).is_err());
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn what_is_in_a_closed_queue_is_still_taken_then_readers_end() {
        let queue = Queue::new(2);
        assert!(queue.push(Task::Retire).is_ok());
        queue.close();
        assert!(queue.take().is_some());
        assert!(queue.take().is_none() && queue.is_empty());
    }

    #[test]
    fn whoever_waits_gets_each_task_once_and_ends_with_the_queue() {
        let queue = Arc::new(Queue::new(1_000));
        let reader = || {
            let queue = Arc::clone(&queue);
            thread::spawn(move || std::iter::from_fn(|| queue.take()).count())
        };
        let readers: Vec<_> = (0..4).map(|_| reader()).collect();
        for _ in 0..1_000 {
            assert!(queue.push(Task::Retire).is_ok());
        }
        queue.close();
        let taken: usize = readers.into_iter().map(|one| one.join().expect("a reader")).sum();
        assert_eq!(taken, 1_000);
        assert_eq!(queue.drain().len(), 0);
    }
}
