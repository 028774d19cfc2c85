//! `token.toml`: what there is, and how it is to misbehave. Read by the module, written by the tests.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The file's name, in the folder of the module.
pub const FILE: &str = "token.toml";
/// The file is looked at again when a function is called so long after the last look.
pub const INTERVAL: Duration = Duration::from_millis(5);
/// Wrong PINs in a row that lock a token.
pub const WRONG_PINS_MAX: u64 = 3;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Block every signal in each thread that calls the module, as some vendors' modules do.
    pub block_signals: bool,
    /// Faults of functions that know no token (`C_Initialize`, `C_GetSlotList`), or of every token.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
    /// The slots and what is in them.
    #[serde(rename = "token")]
    pub tokens: Vec<Token>,
}

/// A slot and its token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// `slotID`.
    pub slot: u64,
    /// At most 32 bytes.
    pub label: String,
    /// At most 16 bytes. Wrong PINs are counted under it.
    pub serial: String,
    /// At most 32 bytes.
    pub manufacturer: String,
    /// At most 16 bytes.
    pub model: String,
    /// The user's PIN. Another one here is a PIN changed on the token.
    pub pin: String,
    /// Whether its flags tell of wrong PINs (`CKF_USER_PIN_COUNT_LOW`, `_FINAL_TRY`, `_LOCKED`), which not every token's do.
    pub tells_wrong_pins: bool,
    /// Sessions of one process beyond which there is `CKR_SESSION_COUNT`; 0 is no limit.
    pub max_sessions: u64,
    /// From call to return of `C_Sign` and `C_SignFinal`, in microseconds, each session by itself.
    pub latency_us: u64,
    /// Latency is drawn evenly from so much below to so much above.
    pub jitter_us: u64,
    /// Signatures per second of the whole token in one process; 0 is no ceiling.
    pub operations_per_second: u64,
    /// Signatures on P-256 cost next to no processor time, as a real token's do not burden its host. They verify, but
    /// give the private key away: for measurements.
    pub cheap: bool,
    /// `CKM_` names.
    pub mechanisms: Vec<String>,
    /// The slot is empty. When the token is back, it wants new sessions, a login, and has other handles.
    pub removed: bool,
    /// Each time that it grows, every open session is dead.
    pub sessions_invalid: u64,
    /// Each time that it grows, nobody is logged in.
    pub login_lost: u64,
    /// Faults of this token.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
    /// What can be found on it.
    #[serde(rename = "key")]
    pub keys: Vec<Key>,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            slot: 0,
            label: "edge".to_owned(),
            serial: "0000000000000001".to_owned(),
            manufacturer: "Countersign tests".to_owned(),
            model: "test token".to_owned(),
            pin: "1234".to_owned(),
            tells_wrong_pins: true,
            max_sessions: 0,
            latency_us: 0,
            jitter_us: 0,
            operations_per_second: 0,
            cheap: false,
            mechanisms: crate::mechanism::names().map(str::to_owned).collect(),
            removed: false,
            sessions_invalid: 0,
            login_lost: 0,
            faults: Vec::new(),
            keys: Vec::new(),
        }
    }
}

/// A key. Exactly one of `file`, `secret` and `aes` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Key {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`, in hexadecimal digits.
    pub id: String,
    /// A private key in PEM of PKCS#8, relative to the module's folder: P-256, P-384, P-521, RSA, Ed25519.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A generic secret (`CKM_SHA256_HMAC`), in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// An AES key (`CKM_AES_CMAC`), in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aes: Option<String>,
    /// `CKA_PRIVATE`: not found without a login.
    pub private: bool,
    /// `CKA_ALWAYS_AUTHENTICATE`: each signature wants a context-specific login.
    pub always_authenticate: bool,
    /// It is not there (any more).
    pub deleted: bool,
    /// Whether its public key is an object too.
    pub public_object: bool,
    /// Whether the private key's object has `CKA_PUBLIC_KEY_INFO`.
    pub public_key_info: bool,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            label: String::new(),
            id: String::new(),
            file: None,
            secret: None,
            aes: None,
            private: true,
            always_authenticate: false,
            deleted: false,
            public_object: true,
            public_key_info: true,
        }
    }
}

/// What goes wrong, where and how often. A call that asks only for the length of a signature is not counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Names this fault: what was used up of `times` is remembered under it, over the ends of processes.
    pub id: u64,
    /// The function's name: `C_Sign`.
    pub function: String,
    /// What happens.
    pub action: Action,
    /// So many calls of a process go well first.
    pub after: u64,
    /// Of the calls from then on every so manieth.
    pub every: u64,
    /// Of those, with this probability.
    pub probability: f64,
    /// So often in all; without it for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            id: 0,
            function: String::new(),
            action: Action::Code("CKR_GENERAL_ERROR".to_owned()),
            after: 0,
            every: 1,
            probability: 1.0,
            times: None,
        }
    }
}

impl Fault {
    /// At every call of this function, for ever.
    #[must_use]
    pub fn new(function: &str, action: Action) -> Self {
        Self { function: function.to_owned(), action, ..Self::default() }
    }

    /// At every call of this function, for ever: a `CK_RV`.
    #[must_use]
    pub fn code(function: &str, name: &str) -> Self {
        Self::new(function, Action::Code(name.to_owned()))
    }

    /// So often in all.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Not at the first so many calls.
    #[must_use]
    pub fn after(self, calls: u64) -> Self {
        Self { after: calls, ..self }
    }

    /// Only at every so manieth call.
    #[must_use]
    pub fn every(self, calls: u64) -> Self {
        Self { every: calls, ..self }
    }

    /// Only with this probability.
    #[must_use]
    pub fn probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is done; this `CK_RV`, by its name.
    Code(String),
    /// The call does not go on until the fault has been taken away. Then it is carried out.
    Hang,
    /// The call goes on after so many milliseconds.
    Delay(u64),
    /// The process calls `abort`.
    Abort,
    /// The process dies of SIGSEGV.
    Segv,
    /// A well-formed signature that does not verify.
    WrongSignature,
    /// ECDSA: r and s without their leading zero octet. One such is searched for, which takes some 30,000
    /// signatures: about a second.
    ShortSignature,
    /// ECDSA: r and s with a zero octet in front.
    PaddedSignature,
}

impl Action {
    /// Does it change a signature, and nothing else?
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::WrongSignature | Self::ShortSignature | Self::PaddedSignature)
    }
}
