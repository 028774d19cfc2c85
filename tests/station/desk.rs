//! A station on a token, and somebody who hands it operations and hears its events.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use countersign::signing::station::{
    Absence, Event, Isolation, KeyFacts, KeySpec, LaneLimits, OnEvent, Refusal, Station,
    StationError, StationInfo, StationSpec, set_program,
};
use countersign_hsm::{Pin, Remedy, Scheme, Uri};
use countersign_tests::deadline::PATIENCE;
use countersign_tests::engine::program;
use countersign_tests::test_token::{LABEL, PIN, TestToken};
use rcgen::{KeyPair, PublicKeyData as _};

pub(crate) const BOTH: [Isolation; 2] = [Isolation::Thread, Isolation::Process];

/// What the first key is called in operations.
pub(crate) const KEY: u64 = 1;

pub(crate) const SCHEME: Scheme = Scheme::EcdsaP256Sha256;

/// Long enough that only a token that hangs reaches it.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A deadline that is meant to be reached.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// A test token with one P-256 key, `server`, in a folder of its own.
pub(crate) struct Token {
    pub(crate) token: TestToken,
    pub(crate) key: KeyPair,
    _folder: tempfile::TempDir,
}

impl Token {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let file = folder.path().join("server.key");
        std::fs::write(&file, key.serialize_pem()).expect("a file");
        let token = TestToken::new(&folder.path().join("token")).with_key("server", &file);
        // Refused PINs are remembered for a token by its serial, for as long as this process lives.
        static TOKENS: AtomicU64 = AtomicU64::new(0);
        let number = TOKENS.fetch_add(1, Ordering::Relaxed) + 1_000;
        token.change_token(|token| token.serial = format!("{number:016}"));
        Self { token, key, _folder: folder }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    pub(crate) fn spec(&self, isolation: Isolation) -> StationSpec {
        set_program(program());
        StationSpec {
            module: self.token.module(),
            token: Uri::parse(&format!("pkcs11:token={LABEL}")).expect("a URI"),
            pin: Some(pin(PIN)),
            isolation,
            lanes: LaneLimits { least: 2, most: 8 },
            queue: 256,
            deadline: LONG,
            environment: Vec::new(),
        }
    }

    pub(crate) fn key_spec(&self) -> KeySpec {
        let uri = Uri::parse(&self.token.uri("server")).expect("a URI");
        KeySpec { id: KEY, uri, spki: self.spki() }
    }

    /// A station that signs with the key. That it is up has been heard.
    #[track_caller]
    pub(crate) fn open(&self, spec: StationSpec) -> Desk {
        let desk = Desk::open(spec).expect("the token is there");
        desk.station.key(self.key_spec()).expect("the key is there");
        desk.wait_up();
        desk
    }

    /// The process that has the module now.
    pub(crate) fn child(&self) -> i32 {
        let newest = self.token.processes().pop().expect("a process with the module");
        i32::try_from(newest.pid).expect("a process' number")
    }

    #[track_caller]
    pub(crate) fn assert_signed(&self, message: &[u8], signature: &[u8]) {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.spki())
            .verify(message, signature)
            .expect("the key's signature");
    }
}

pub(crate) fn pin(text: &str) -> Pin {
    Pin::new(text.as_bytes()).expect("a PIN")
}

/// Hands operations over and hears what becomes of them.
pub(crate) struct Desk {
    pub(crate) station: Station,
    events: Receiver<Event>,
    /// Events that were heard while another was waited for.
    heard: RefCell<VecDeque<Event>>,
    answers: RefCell<HashMap<u64, Result<Vec<u8>, Refusal>>>,
    operations: Cell<u64>,
}

impl Desk {
    pub(crate) fn open(spec: StationSpec) -> Result<Self, StationError> {
        Self::start(spec, Absence::Refused).map(|(desk, _)| desk)
    }

    /// The same, and why the station does without a token where it may.
    pub(crate) fn start(
        spec: StationSpec,
        absence: Absence,
    ) -> Result<(Self, Option<StationError>), StationError> {
        let (teller, events) = mpsc::channel();
        let on_event: OnEvent = Arc::new(move |event| {
            // Nobody listens once a test is over.
            let _ = teller.send(event);
        });
        let (station, absent) = Station::start(spec, on_event, absence)?;
        let desk = Self {
            station,
            events,
            heard: RefCell::default(),
            answers: RefCell::default(),
            operations: Cell::new(0),
        };
        Ok((desk, absent))
    }

    pub(crate) fn key(&self, key: KeySpec) -> Result<KeyFacts, StationError> {
        self.station.key(key)
    }

    /// Hands an operation over; None if it was not taken.
    pub(crate) fn submit(&self, message: &[u8]) -> Option<u64> {
        let operation = self.operations.get() + 1;
        self.operations.set(operation);
        self.station.submit(operation, KEY, SCHEME, message).ok().map(|()| operation)
    }

    /// As many operations as are taken at once, each over its own message.
    #[track_caller]
    pub(crate) fn submit_many(&self, count: usize) -> Vec<u64> {
        let taken: Vec<_> = (0..count).filter_map(|_| self.submit(b"message")).collect();
        assert_eq!(taken.len(), count, "the queue has room");
        taken
    }

    /// Signs one message.
    #[track_caller]
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let operation = self.submit(message).expect("the queue has room");
        self.answer(operation)
    }

    /// Waits for the answer of an operation.
    #[track_caller]
    pub(crate) fn answer(&self, operation: u64) -> Result<Vec<u8>, Refusal> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.answers.borrow_mut().remove(&operation) {
                return answer;
            }
            assert!(Instant::now() < until, "operation {operation} is not answered");
            self.hear();
        }
    }

    #[track_caller]
    pub(crate) fn answers(&self, operations: &[u64]) -> Vec<Result<Vec<u8>, Refusal>> {
        operations.iter().map(|operation| self.answer(*operation)).collect()
    }

    /// Waits for an event other than an answer. Those before it are forgotten.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, mut is_it: impl FnMut(&Event) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.heard.borrow_mut().pop_front() {
                if let Some(found) = is_it(&event) {
                    return found;
                }
            }
            assert!(Instant::now() < until, "waited in vain: {what}");
            self.hear();
        }
    }

    #[track_caller]
    pub(crate) fn wait_up(&self) -> StationInfo {
        self.wait("the station is up", |event| match event {
            Event::Up { info } => Some(info.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn wait_down(&self) -> (String, Remedy) {
        self.wait("the station is down", |event| match event {
            Event::Down { problem, remedy } => Some((problem.clone(), *remedy)),
            _ => None,
        })
    }

    /// Waits until it is down for good.
    #[track_caller]
    pub(crate) fn wait_final(&self) -> String {
        loop {
            let (problem, remedy) = self.wait_down();
            if remedy == Remedy::Fatal {
                return problem;
            }
        }
    }

    #[track_caller]
    pub(crate) fn wait_notice(&self, holds: &str) -> String {
        self.wait(holds, |event| match event {
            Event::Notice { message } if message.contains(holds) => Some(message.clone()),
            _ => None,
        })
    }

    /// Waits until operations succeed again, handing them over one after the other; what was refused before is given.
    #[track_caller]
    pub(crate) fn sign_until_it_works(&self, message: &[u8]) -> (Vec<u8>, Vec<Refusal>) {
        let until = Instant::now() + PATIENCE;
        let mut refused = Vec::new();
        loop {
            match self.submit(message).map(|operation| self.answer(operation)) {
                Some(Ok(signature)) => return (signature, refused),
                Some(Err(refusal)) => refused.push(refusal),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
            assert!(Instant::now() < until, "it does not sign again: {refused:?}");
        }
    }

    /// No second answer has come to anything.
    #[track_caller]
    pub(crate) fn assert_all_answered_once(&self) {
        self.hear();
        assert!(self.answers.borrow().is_empty(), "{:?}", self.answers.borrow());
    }

    fn hear(&self) {
        let first = self.events.recv_timeout(Duration::from_millis(20)).ok();
        for event in first.into_iter().chain(self.events.try_iter()) {
            match event {
                Event::Answer { operation, result } => {
                    let before = self.answers.borrow_mut().insert(operation, result);
                    assert!(before.is_none(), "operation {operation} is answered twice");
                }
                event => self.heard.borrow_mut().push_back(event),
            }
        }
    }
}

/// A folder's file that holds something else than a module.
pub(crate) fn no_module(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("no-module.so");
    std::fs::write(&path, "not a library").expect("a file");
    path
}
