//! Answers that may be used again, for as long as they are fresh. Revoked ones too.

use std::collections::{HashMap, VecDeque};

use super::question::StatusKey;
use super::{Answer, SKEW_SECONDS, Status, UNKNOWN_SECONDS};

/// Which answers may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// So long after they came, in seconds.
    pub max_age: i64,
    /// Only those that were made for us.
    pub with_nonce: bool,
}

impl Answer {
    /// May it be used at `now` (seconds since the epoch)?
    #[must_use]
    pub fn is_fresh(&self, freshness: Freshness, now: i64) -> bool {
        let Freshness { max_age, with_nonce } = freshness;
        let max_age = match self.status {
            Status::Unknown => max_age.min(UNKNOWN_SECONDS),
            Status::Good | Status::Revoked { .. } => max_age,
        };
        let until = self.next_update.unwrap_or(self.this_update.saturating_add(max_age));
        now <= until
            && now <= self.received_at.saturating_add(max_age)
            // A clock that was set back says nothing about an answer's age.
            && now >= self.received_at.saturating_sub(SKEW_SECONDS)
            && (self.has_our_nonce || !with_nonce)
    }
}

/// The answers that came last. The oldest goes when there are too many: none of them lives long.
#[derive(Debug)]
pub struct StatusCache {
    most: usize,
    answers: HashMap<StatusKey, (Answer, u64)>,
    /// In the order in which they came, with the number that tells an answer from one that has taken
    /// its place.
    order: VecDeque<(StatusKey, u64)>,
    entered: u64,
}

impl StatusCache {
    /// Of at most so many answers.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, answers: HashMap::new(), order: VecDeque::new(), entered: 0 }
    }

    /// The answer of `key`, if it may be used at `now` (seconds since the epoch).
    #[must_use]
    pub fn get(&self, key: &StatusKey, freshness: Freshness, now: i64) -> Option<Answer> {
        let (answer, _) = self.answers.get(key)?;
        answer.is_fresh(freshness, now).then_some(*answer)
    }

    /// Keeps an answer, in the place of one that came before.
    pub fn insert(&mut self, key: StatusKey, answer: Answer) {
        if self.most == 0 {
            return;
        }
        self.entered += 1;
        self.answers.insert(key, (answer, self.entered));
        self.order.push_back((key, self.entered));
        // Places of answers that were replaced are passed over: twice as many are never kept.
        while self.answers.len() > self.most || self.order.len() > 2 * self.most {
            let Some((key, entered)) = self.order.pop_front() else { break };
            if self.answers.get(&key).is_some_and(|(_, current)| *current == entered) {
                self.answers.remove(&key);
            }
        }
    }

    /// Answers that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Is none kept?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}
