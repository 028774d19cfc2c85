//! Questions about clients: each is asked once at a time, whoever waits for it, and what was answered is
//! kept for the other workers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::limits::STATUSES_MAX;
use countersign_proto::ocsp::{
    Answer, CertIdHash, Enquiry, EnquiryFailure, Expected, Freshness, NONCE_BYTES, NonceUse,
    StatusCache, StatusKey, verify,
};
use countersign_proto::{Outcome, Work, WorkFailure};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::carrier;
use super::counters::Counters;
use super::health::Health;
use crate::signing::Job;
use crate::worker::{Address, InboxSender, Message};

/// Questions that are with responders at one time; others wait, as long as their handshakes do.
pub(super) const QUESTIONS_IN_FLIGHT: usize = 256;

/// Asks. Lives on the OCSP thread.
pub(super) struct Asker {
    inner: Rc<Inner>,
}

struct Inner {
    counters: Arc<Counters>,
    places: Semaphore,
    answers: RefCell<StatusCache>,
    /// They keep answers too: a resumption must not wait for one, whichever worker it comes to.
    workers: RefCell<Vec<InboxSender>>,
    waiting: RefCell<HashMap<Asked, Vec<(Address, InboxSender)>>>,
    health: RefCell<Health>,
}

/// Two questions for which this is the same have the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    key: StatusKey,
    responder: Arc<str>,
    hash: CertIdHash,
    nonce: NonceUse,
    timeout: Duration,
    max_age: Duration,
}

impl Asker {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        let inner = Inner {
            counters,
            places: Semaphore::new(QUESTIONS_IN_FLIGHT),
            answers: RefCell::new(StatusCache::new(STATUSES_MAX)),
            workers: RefCell::default(),
            waiting: RefCell::default(),
            health: RefCell::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// These workers are told of every answer from now on.
    pub(super) fn tell(&self, workers: Vec<InboxSender>) {
        self.inner.workers.replace(workers);
    }

    /// Answers a handshake at once or later.
    pub(super) fn take(&self, job: Job) {
        let (work, address, inbox) = job.into_parts();
        let Work::AskStatus(enquiry) = *work else {
            let failure = WorkFailure::Failed("this is no question to a responder".to_owned());
            return Job::finish(address, &inbox, Outcome::Failed(failure));
        };
        let asked = Asked {
            key: enquiry.question.key(),
            responder: Arc::clone(&enquiry.responder),
            hash: enquiry.hash,
            nonce: enquiry.nonce,
            timeout: enquiry.timeout,
            max_age: enquiry.max_age,
        };
        let freshness = Freshness {
            max_age: seconds(enquiry.max_age),
            with_nonce: enquiry.nonce == NonceUse::Require,
        };
        let inner = &self.inner;
        if let Some(answer) = inner.answers.borrow().get(&asked.key, freshness, carrier::now()) {
            inner.counters.shared();
            return Job::finish(address, &inbox, Outcome::Status(Ok(answer)));
        }
        let mut waiting = inner.waiting.borrow_mut();
        if let Some(others) = waiting.get_mut(&asked) {
            inner.counters.joined();
            others.push((address, inbox));
            return;
        }
        if !inner.health.borrow_mut().admit(&asked.responder) {
            inner.counters.skipped();
            let problem = "it did not answer the last ones, and is being asked another".to_owned();
            let failure = EnquiryFailure::NotAnswered { responder: asked.responder, problem };
            return Job::finish(address, &inbox, Outcome::Status(Err(failure)));
        }
        waiting.insert(asked.clone(), vec![(address, inbox)]);
        drop(waiting);
        let inner = Rc::clone(inner);
        tokio::task::spawn_local(async move { inner.ask(asked, enquiry).await });
    }
}

impl Inner {
    async fn ask(&self, asked: Asked, enquiry: Box<Enquiry>) {
        self.counters.asked();
        let began = Instant::now();
        let deadline = began + enquiry.timeout;
        let answer = match timeout_at(deadline, self.places.acquire()).await {
            // A panic ends this question, and leaves nobody who waits for it waiting.
            Ok(_place) => {
                tokio::task::spawn_local(async move { exchange(&enquiry, deadline).await })
                    .await
                    .map_err(|_| {
                        WorkFailure::Failed("asking an OCSP responder panicked".to_owned())
                    })
            }
            // It was never asked: a limit of ours, not the responder's silence.
            Err(_) => Err(WorkFailure::Exhausted),
        };
        let mut health = self.health.borrow_mut();
        match &answer {
            Ok(Ok(answer)) => {
                health.answered(&asked.responder);
                self.answers.borrow_mut().insert(asked.key, *answer);
                for worker in &*self.workers.borrow() {
                    worker.send(Message::Status(asked.key, *answer));
                }
            }
            Ok(Err(EnquiryFailure::NotAnswered { .. })) => health.failed(&asked.responder),
            Ok(Err(_)) => health.answered(&asked.responder),
            Err(_) => health.not_asked(&asked.responder),
        }
        drop(health);
        let outcome = || match &answer {
            Ok(result) => Outcome::Status(result.clone()),
            Err(failure) => Outcome::Failed(failure.clone()),
        };
        self.counters.answered(&outcome(), began.elapsed());
        for (address, inbox) in self.waiting.borrow_mut().remove(&asked).into_iter().flatten() {
            Job::finish(address, &inbox, outcome());
        }
    }
}

async fn exchange(enquiry: &Enquiry, deadline: Instant) -> Result<Answer, EnquiryFailure> {
    let responder = || Arc::clone(&enquiry.responder);
    let failed = |problem| EnquiryFailure::NotAnswered { responder: responder(), problem };
    let mut nonce = [0; NONCE_BYTES];
    let nonce = match enquiry.nonce {
        NonceUse::Off => None,
        NonceUse::Prefer | NonceUse::Require => {
            aws_lc_rs::rand::fill(&mut nonce)
                .map_err(|_| failed("there is no randomness for a nonce".to_owned()))?;
            Some(&nonce)
        }
    };
    let request = enquiry.question.request(enquiry.hash, nonce);
    let response = match timeout_at(deadline, carrier::exchange(&enquiry.responder, request)).await
    {
        Ok(result) => result.map_err(failed)?,
        Err(_) => return Err(failed(format!("nothing came within {:?}", enquiry.timeout))),
    };
    let expected = Expected {
        nonce,
        nonce_use: enquiry.nonce,
        max_age: seconds(enquiry.max_age),
        now: carrier::now(),
    };
    verify(&response, &enquiry.question, &expected)
        .map_err(|problem| EnquiryFailure::Invalid { responder: responder(), problem })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
