//! Ticket keys out of a token: each the MAC of its epoch's number by a key that never leaves it.
//!
//! The derivation is that of NIST SP 800-108r1, section 4.1, in counter mode, with HMAC-SHA-256 or AES-CMAC as the
//! pseudorandom function, whichever the token's key is for. docs/hsm.md describes it byte by byte.
//!
//! The token is opened for a derivation and closed behind it: between two epochs nobody is logged in for them, and
//! nothing has to be brought back that went away meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use countersign_hsm::Pin;
use countersign_proto::TicketKey;
use countersign_proto::ticket::KEY_BYTES_MIN;
use crossbeam::channel::{Receiver, TryRecvError, bounded};
use zeroize::Zeroizing;

use crate::config::TokenTicketKeys;
use crate::pin;
use crate::signing::station::{
    Event, LaneLimits, OnEvent, Station, StationError, StationSpec, harden,
};

const LABEL: &[u8] = b"countersign ticket key v1";

/// What came of a derivation: with a problem, the keys that were had before it.
pub(super) struct Derived {
    pub(super) keys: Vec<(u64, TicketKey)>,
    pub(super) problem: Option<String>,
}

impl Derived {
    fn failed(problem: String) -> Self {
        Self { keys: Vec::new(), problem: Some(problem) }
    }
}

/// A derivation under way, on a thread of its own: tokens take their time.
pub(super) struct Derivation {
    answer: Receiver<Derived>,
}

impl Derivation {
    /// Begins to derive the keys of these epochs, in this order.
    pub(super) fn begin(token: &TokenTicketKeys, pin: Option<Pin>, epochs: Vec<u64>) -> Self {
        let (reply, answer) = bounded(1);
        let token = token.clone();
        let thread = thread::Builder::new().name("ticket-keys".into());
        let failed = reply.clone();
        let begun = thread.spawn(move || {
            // Whoever asked may be gone.
            let _ = reply.send(derive(&token, pin, &epochs));
        });
        if let Err(error) = begun {
            let _ = failed.send(Derived::failed(format!("a thread cannot be started: {error}")));
        }
        Self { answer }
    }

    /// What came of it, if it is over.
    pub(super) fn poll(&self) -> Option<Derived> {
        match self.answer.try_recv() {
            Ok(derived) => Some(derived),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(gone()),
        }
    }

    /// What comes of it within `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Derived {
        use crossbeam::channel::RecvTimeoutError::{Disconnected, Timeout};
        self.answer.recv_timeout(patience).unwrap_or_else(|error| match error {
            Timeout => Derived::failed(format!("the token gave no answer within {patience:?}")),
            Disconnected => gone(),
        })
    }
}

fn gone() -> Derived {
    Derived::failed("the thread that derives has failed; this is a bug".into())
}

/// The PIN of the token, where it has one.
pub(super) fn read_pin(token: &TokenTicketKeys) -> Result<Option<Pin>, String> {
    // Before there is a PIN in the memory of this process.
    harden().map_err(|error| format!("the process cannot be made not dumpable: {error}"))?;
    token
        .place
        .token
        .pin_source
        .as_ref()
        .map(pin::read)
        .transpose()
        .map_err(|error| error.to_string())
}

fn derive(token: &TokenTicketKeys, pin: Option<Pin>, epochs: &[u64]) -> Derived {
    let last_words = Arc::new(Mutex::new(None));
    let listening = Arc::clone(&last_words);
    let on_event: OnEvent = Arc::new(move |event| {
        if let Event::Output { line } = event {
            *listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
    });
    let (config, uri) = (&token.place.token, &token.place.uri);
    let lanes = LaneLimits { least: 1, most: 1 };
    let spec = StationSpec { lanes, queue: 1, ..StationSpec::of(config, pin) };
    let mut derived = Derived { keys: Vec::with_capacity(epochs.len()), problem: None };
    let result = Station::open(spec, on_event).and_then(|station| {
        let length = token.epoch.as_secs();
        let mut mac = |message: &[u8]| station.derive(uri, message);
        for &epoch in epochs {
            derived.keys.push((epoch, key(length, epoch, &mut mac)?));
        }
        Ok(())
    });
    derived.problem = result.err().map(|error| {
        let said = last_words.lock().unwrap_or_else(PoisonError::into_inner).take();
        let said = said.map(|line| format!("; its module wrote: {line}")).unwrap_or_default();
        let problem = error.problem;
        // Some of them name the key already.
        let name = token.name();
        let named = if problem.contains(&name) { String::new() } else { format!("{name}: ") };
        format!("{named}{problem}{said}")
    });
    derived
}

/// A pseudorandom function whose key is in a token.
type Mac<'a> = dyn FnMut(&[u8]) -> Result<Zeroizing<Vec<u8>>, StationError> + 'a;

/// The key of one epoch: as many blocks of the pseudorandom function as it takes.
fn key(epoch_seconds: u64, epoch: u64, mac: &mut Mac<'_>) -> Result<TicketKey, StationError> {
    let mut secret = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES_MIN));
    for counter in 1..=2 {
        secret.extend_from_slice(&mac(&input(counter, epoch_seconds, epoch))?);
        if secret.len() >= KEY_BYTES_MIN {
            break;
        }
    }
    secret.truncate(KEY_BYTES_MIN);
    TicketKey::new(secret).map_err(|error| StationError {
        problem: format!("the token's answer is no key: {error}"),
        remedy: countersign_hsm::Remedy::Reopen,
    })
}

/// `[i]_4 || Label || 0x00 || Context || [L]_4`, numbers big-endian; the context is the length of an epoch in seconds and its
/// number, eight bytes each, and L the length of the key in bits.
fn input(counter: u32, epoch_seconds: u64, epoch: u64) -> Vec<u8> {
    let bits = u32::try_from(KEY_BYTES_MIN * 8).expect("a key is short");
    [
        &counter.to_be_bytes()[..],
        LABEL,
        &[0],
        &epoch_seconds.to_be_bytes(),
        &epoch.to_be_bytes(),
        &bits.to_be_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

    use super::*;

    #[test]
    fn what_the_token_signs_is_as_documented() {
        let mut expected = vec![0, 0, 0, 2];
        expected.extend_from_slice(b"countersign ticket key v1\0");
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0xa8, 0xc0]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 1, 0]);
        assert_eq!(input(2, 12 * 3_600, 258), expected);
    }

    #[test]
    fn an_hmac_is_asked_once_and_a_cmac_twice() {
        let token = Key::new(HMAC_SHA256, &[7; 32]);
        for bytes in [32, 16] {
            let mut asked = Vec::new();
            let mut mac = |message: &[u8]| {
                asked.push(message[3]);
                Ok(Zeroizing::new(sign(&token, message).as_ref()[..bytes].to_vec()))
            };
            let one = key(60, 1, &mut mac).expect("a key");
            assert_eq!(asked, (1..=32 / bytes as u8).collect::<Vec<_>>());
            let mut mac = |message: &[u8]| {
                Ok(Zeroizing::new(sign(&token, message).as_ref()[..bytes].to_vec()))
            };
            assert_eq!(one, key(60, 1, &mut mac).expect("the same"));
            assert_ne!(one, key(60, 2, &mut mac).expect("another epoch"));
            assert_ne!(one, key(61, 1, &mut mac).expect("other epochs"));
        }
    }

    #[test]
    fn half_an_answer_is_no_key() {
        let mut mac = |_: &[u8]| Ok(Zeroizing::new(vec![1; 8]));
        let error = key(60, 1, &mut mac).expect_err("too short");
        assert!(error.problem.contains("this has 16"), "{error}");
    }
}
