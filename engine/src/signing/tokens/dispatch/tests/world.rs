//! Stations that only take note, and whoever asked for signatures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use countersign_hsm::{Remedy, Scheme};
use countersign_proto::{Outcome, TokenKeyId, WorkFailure};

use crate::config::{TokenRules, VerifyOwn};
use crate::signing::station::{Full, Refusal, RefusalReason, StationInfo};
use crate::signing::tokens::checking::{Check, Checked, PublicKey};
use crate::signing::tokens::counters::Ledger;
use crate::signing::tokens::dispatch::{Dispatch, Key, Origin, StationId};
use crate::signing::tokens::journal::Journal;
use crate::signing::tokens::seat::{Seat, Signs};
use crate::telemetry::{TOKEN_RESULTS, TokenFact};

pub(super) const DEADLINE: Duration = Duration::from_secs(2);
pub(super) const QUEUE: usize = 4;
pub(super) const KEY: TokenKeyId = TokenKeyId(1);
const MESSAGE: &[u8] = b"what is to be signed";

/// A station.
#[derive(Default)]
pub(super) struct Fake {
    given: Mutex<Vec<u64>>,
    is_full: AtomicBool,
}

impl Signs for Fake {
    fn submit(&self, attempt: u64, _: u64, _: Scheme, message: &[u8]) -> Result<(), Full> {
        assert_eq!(message, MESSAGE);
        if self.is_full.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.given.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
        Ok(())
    }
}

/// Whoever asked, by a number.
pub(super) struct Asked {
    number: u64,
    outcomes: Rc<RefCell<BTreeMap<u64, Outcome>>>,
}

impl Origin for Asked {
    fn finish(self, outcome: Outcome) {
        let before = self.outcomes.borrow_mut().insert(self.number, outcome);
        assert!(before.is_none(), "operation {} is finished once", self.number);
    }
}

pub(super) struct World {
    pub(super) dispatch: Dispatch<Asked>,
    pub(super) now: Instant,
    fakes: Vec<Arc<Fake>>,
    checks: Arc<Mutex<Vec<Check>>>,
    outcomes: Rc<RefCell<BTreeMap<u64, Outcome>>>,
    asked: u64,
    pair: Ed25519KeyPair,
    ledger: Ledger,
}

impl World {
    /// So many tokens, all up, that have the same key.
    pub(super) fn of(tokens: usize) -> Self {
        let checks: Arc<Mutex<Vec<Check>>> = Arc::default();
        let kept = Arc::clone(&checks);
        let check = move |check| kept.lock().unwrap_or_else(PoisonError::into_inner).push(check);
        let pair = Ed25519KeyPair::generate().expect("a key");
        let mut world = Self {
            dispatch: Dispatch::new(Box::new(check), Journal::new(None)),
            now: Instant::now(),
            fakes: (0..tokens).map(|_| Arc::default()).collect(),
            checks,
            outcomes: Rc::default(),
            asked: 0,
            pair,
            ledger: Ledger::default(),
        };
        for station in 0..tokens as StationId {
            let counters = world.ledger.of(&station.to_string());
            let seat = Seat::new(station.to_string().into(), counters, QUEUE, world.now);
            world.dispatch.expect(station, seat);
            world.ledger.show(&station.to_string());
            world.dispatch.serve(station);
            world.up(station);
            let signs: Arc<dyn Signs> = world.fakes[station as usize].clone();
            world.dispatch.opened(world.now, station, signs);
        }
        // RFC 8410 §4.
        let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];
        spki.extend(world.pair.public_key().as_ref());
        let public_key = Arc::new(PublicKey::of(&spki).expect("a public key"));
        let places = (0..tokens as StationId).map(|station| (station, 10 + station)).collect();
        world.dispatch.add_key(KEY, Key { places, public_key });
        world.rules(None, VerifyOwn::Sampled);
        world
    }

    pub(super) fn rules(&mut self, hedge_after: Option<Duration>, verify_own: VerifyOwn) {
        let rules = TokenRules { operation_timeout: DEADLINE, hedge_after, verify_own };
        self.dispatch.set_rules(rules);
    }

    /// Somebody wants a signature; gives the number by which its outcome is known.
    pub(super) fn ask(&mut self) -> u64 {
        self.ask_for(Scheme::Ed25519)
    }

    pub(super) fn ask_for(&mut self, scheme: Scheme) -> u64 {
        self.asked += 1;
        let origin = Asked { number: self.asked, outcomes: Rc::clone(&self.outcomes) };
        self.dispatch.begin(self.now, origin, KEY, scheme, MESSAGE.to_vec());
        self.asked
    }

    /// What a station was given and has not answered, the oldest first.
    pub(super) fn given(&self, station: StationId) -> Vec<u64> {
        let given = &self.fakes[station as usize].given;
        given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The station answers the oldest of them.
    pub(super) fn answer(&mut self, station: StationId, result: Result<Vec<u8>, Refusal>) {
        let given = &self.fakes[station as usize].given;
        let attempt = given.lock().unwrap_or_else(PoisonError::into_inner).remove(0);
        self.dispatch.answer(self.now, station, attempt, result);
        self.verify();
    }

    pub(super) fn sign(&mut self, station: StationId) {
        let signature = self.pair.sign(MESSAGE).as_ref().to_vec();
        self.answer(station, Ok(signature));
    }

    pub(super) fn refuse(&mut self, station: StationId, reason: RefusalReason) {
        self.answer(station, Err(Refusal { reason, problem: format!("{reason:?}") }));
    }

    /// It goes, with everything that it had.
    pub(super) fn lose(&mut self, station: StationId) {
        self.fill(station, true);
        for _ in self.given(station) {
            self.refuse(station, RefusalReason::Lost);
        }
        self.down(station, Remedy::Reopen);
    }

    pub(super) fn down(&mut self, station: StationId, remedy: Remedy) {
        self.dispatch.down(self.now, station, "it is unplugged".to_owned(), remedy);
    }

    pub(super) fn up(&mut self, station: StationId) {
        self.fill(station, false);
        let info = StationInfo {
            label: "edge".to_owned(),
            serial: "1".to_owned(),
            manufacturer: String::new(),
            model: String::new(),
            lanes: 4,
            max_sessions: None,
        };
        self.dispatch.up(self.now, station, &info);
    }

    /// A reload opens the token of a station anew: another station, under the same name.
    pub(super) fn open_anew(&mut self, station: StationId) -> StationId {
        self.fakes.push(Arc::default());
        let anew = self.fakes.len() as StationId - 1;
        let counters = self.ledger.of(&station.to_string());
        let seat = Seat::new(station.to_string().into(), counters, QUEUE, self.now);
        self.dispatch.expect(anew, seat);
        anew
    }

    pub(super) fn fill(&self, station: StationId, is_full: bool) {
        self.fakes[station as usize].is_full.store(is_full, Ordering::Relaxed);
    }

    /// Time passes, and what is due is done when it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.dispatch.next_timer().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.dispatch.fire_timers(self.now);
        }
        self.now = end;
    }

    fn verify(&mut self) {
        let checks =
            std::mem::take(&mut *self.checks.lock().unwrap_or_else(PoisonError::into_inner));
        for Check { attempt, key, scheme, message, signature } in checks {
            let holds = key.verifies(scheme, &message, &signature);
            self.dispatch.checked(self.now, Checked { attempt, signature, holds });
        }
    }

    /// Has it got a signature that holds? `None` while it waits.
    pub(super) fn is_signed(&self, number: u64) -> Option<bool> {
        match self.outcomes.borrow().get(&number)? {
            Outcome::Signature(signature) => {
                assert_eq!(*signature, self.pair.sign(MESSAGE).as_ref());
                Some(true)
            }
            _ => Some(false),
        }
    }

    /// Why it has failed.
    #[track_caller]
    pub(super) fn failure(&self, number: u64) -> WorkFailure {
        match self.outcomes.borrow().get(&number) {
            Some(Outcome::Failed(failure)) => failure.clone(),
            other => panic!("operation {number} has not failed: {other:?}"),
        }
    }

    pub(super) fn fact(&self, station: StationId) -> TokenFact {
        self.ledger.facts().swap_remove(station as usize)
    }

    pub(super) fn count(&self, station: StationId, result: &str) -> u64 {
        let place = TOKEN_RESULTS.iter().position(|known| *known == result);
        self.fact(station).results[place.expect("a result")]
    }
}
