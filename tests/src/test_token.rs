//! The control side of the PKCS#11 test module (`tests/token`): a copy of it in a folder of its own, its settings,
//! its counters.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

pub use countersign_test_token::counters::Counters;
pub use countersign_test_token::settings::{Action, Fault, Settings, Token};
use countersign_test_token::settings::{FILE, INTERVAL, Key};
use countersign_test_token::{CODES, counters};

use crate::deadline::wait_for;

/// The user's PIN, unless changed.
pub const PIN: &str = "tests-only-1234";
/// The label of the first token.
pub const LABEL: &str = "edge";

const MODULE: &str = "libcountersign_test_token.so";

/// Every `CK_RV` by its name that a [`Fault`] can give.
pub fn codes() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(name, _)| *name)
}

/// A module that can be told how to misbehave while it runs. Its files stay when it is dropped: the folder is the
/// caller's.
pub struct TestToken {
    folder: PathBuf,
    settings: Mutex<Settings>,
    /// Each fault has a number of its own: what was used up of one is remembered under it.
    faults: AtomicU64,
}

impl TestToken {
    /// One token, [`LABEL`] with [`PIN`], nothing on it, in `folder`, which is made if it is missing.
    ///
    /// # Panics
    ///
    /// When the module has not been built, or `folder` cannot be written to.
    #[must_use]
    #[track_caller]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("the token's folder");
        let folder = folder.canonicalize().expect("the token's folder");
        // A copy: the loader takes a second link to the same file for the same module.
        fs::copy(built(), folder.join(MODULE)).expect("a copy of the module");
        let token = Token { label: LABEL.into(), pin: PIN.into(), ..Token::default() };
        let settings = Settings { tokens: vec![token], ..Settings::default() };
        write(&folder, &settings);
        let created = Self { folder, settings: Mutex::new(settings), faults: AtomicU64::new(0) };
        created.write_pin_file(PIN);
        created
    }

    /// A private key, from PEM of PKCS#8, on the token added last. Identifiers count up from 01.
    #[must_use]
    pub fn with_key(self, label: &str, file: &Path) -> Self {
        let file = file.canonicalize().expect("the key's file");
        self.with(Key { label: label.into(), file: Some(file), ..Key::default() })
    }

    /// A generic secret, on the token added last.
    #[must_use]
    pub fn with_secret(self, label: &str, secret: &[u8]) -> Self {
        self.with(Key { label: label.into(), secret: Some(digits(secret)), ..Key::default() })
    }

    /// An AES key, on the token added last.
    #[must_use]
    pub fn with_aes_key(self, label: &str, key: &[u8]) -> Self {
        self.with(Key { label: label.into(), aes: Some(digits(key)), ..Key::default() })
    }

    /// A further token, in the next slot, with the same PIN and nothing on it.
    #[must_use]
    pub fn with_token(self, label: &str) -> Self {
        self.change(|settings| {
            let slot = settings.tokens.len() as u64;
            let serial = format!("{:016}", slot + 1);
            let (label, pin) = (label.into(), PIN.into());
            settings.tokens.push(Token { slot, serial, label, pin, ..Token::default() });
        });
        self
    }

    fn with(self, key: Key) -> Self {
        self.change(|settings| {
            let token = settings.tokens.last_mut().expect("a token");
            let id = format!("{:02x}", token.keys.len() + 1);
            token.keys.push(Key { id, ..key });
        });
        self
    }

    /// The module: what `module-path` names.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.folder.join(MODULE)
    }

    /// The file with the PIN: what `pin-source` names.
    #[must_use]
    pub fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    /// Writes another PIN into that file. The token's own is in its settings.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_pin_file(&self, pin: &str) {
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).mode(0o600).open(self.pin_file());
        file.and_then(|mut file| writeln!(file, "{pin}")).expect("the file with the PIN");
    }

    /// The URI (RFC 7512) of the object with this label, on the first token that has one, with module and PIN.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn uri(&self, object: &str) -> String {
        let settings = self.settings();
        let all = settings.tokens.iter().flat_map(|t| t.keys.iter().map(move |key| (t, key)));
        let (token, key) =
            all.into_iter().find(|(_, key)| key.label == object).expect("a key with this label");
        let kind = if key.file.is_some() { "private" } else { "secret-key" };
        format!(
            "pkcs11:token={};object={};type={kind}?module-path={}&pin-source=file:{}",
            percent_encoded(&token.label),
            percent_encoded(object),
            percent_encoded(&self.module().to_string_lossy()),
            percent_encoded(&self.pin_file().to_string_lossy()),
        )
    }

    /// What the settings are.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the settings. Every call that begins after this knows them.
    ///
    /// # Panics
    ///
    /// When they cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut settings);
        write(&self.folder, &settings);
        // The module's promise: what is older than this has been seen by every call that begins now.
        thread::sleep(INTERVAL);
    }

    /// Changes the first token.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn change_token(&self, change: impl FnOnce(&mut Token)) {
        self.change(|settings| change(&mut settings.tokens[0]));
    }

    /// Adds a fault to the first token; gives its number.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.fault_of(0, fault)
    }

    /// Adds a fault to a token, counted from 0; gives its number.
    ///
    /// # Panics
    ///
    /// When there is no such token, or the settings cannot be written.
    pub fn fault_of(&self, token: usize, fault: Fault) -> u64 {
        let id = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        self.change(|settings| settings.tokens[token].faults.push(Fault { id, ..fault }));
        id
    }

    /// Adds a fault to the module: for functions that know no token. Gives its number.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn fault_of_module(&self, fault: Fault) -> u64 {
        let id = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        self.change(|settings| settings.faults.push(Fault { id, ..fault }));
        id
    }

    /// Takes every fault away.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn mend(&self) {
        self.change(|settings| {
            settings.faults.clear();
            for token in &mut settings.tokens {
                token.faults.clear();
            }
        });
    }

    /// Makes every session of the first token invalid.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn end_sessions(&self) {
        self.change_token(|token| token.sessions_invalid += 1);
    }

    /// Makes the first token forget who is logged in.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn end_login(&self) {
        self.change_token(|token| token.login_lost += 1);
    }

    /// Takes the first token out of its slot, or puts it back.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn remove(&self, removed: bool) {
        self.change_token(|token| token.removed = removed);
    }

    /// Deletes an object of the first token, or brings it back under another handle.
    ///
    /// # Panics
    ///
    /// When the settings cannot be written.
    pub fn delete(&self, object: &str, deleted: bool) {
        self.change_token(|token| {
            for key in token.keys.iter_mut().filter(|key| key.label == object) {
                key.deleted = deleted;
            }
        });
    }

    /// What the module did in all processes together.
    ///
    /// # Panics
    ///
    /// When the counters cannot be read.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::together(&self.processes())
    }

    /// What it did in each process that has initialized it, in the order of their starts.
    ///
    /// # Panics
    ///
    /// When the counters cannot be read.
    #[must_use]
    pub fn processes(&self) -> Vec<Counters> {
        counters::read(&self.folder).expect("the module's counters")
    }

    /// Waits until the counters are as wanted.
    ///
    /// # Panics
    ///
    /// When they do not become so.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Counters) -> bool) -> Counters {
        wait_for(what, || Some(self.counters()).filter(&is_so))
    }

    /// Why the module could not take its settings, or what panicked in it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        fs::read_to_string(self.folder.join("problem")).ok()
    }
}

/// The module as cargo built it: `COUNTERSIGN_TEST_TOKEN`, else beside this executable or in `deps` below.
fn built() -> PathBuf {
    if let Some(named) = env::var_os("COUNTERSIGN_TEST_TOKEN") {
        return named.into();
    }
    let own = env::current_exe().expect("this executable's path");
    let folder = own.parent().expect("an executable lies in a folder");
    let places = [folder.join(MODULE), folder.join("deps").join(MODULE)];
    let found = places.iter().find(|place| place.is_file());
    found
        .unwrap_or_else(|| {
            panic!(
                "{} is missing: build it in this profile (cargo build -p countersign-test-token), or name it in COUNTERSIGN_TEST_TOKEN",
                places[0].display()
            )
        })
        .clone()
}

fn write(folder: &Path, settings: &Settings) {
    let text = toml::to_string(settings).expect("settings are TOML");
    let new = folder.join("token.toml.new");
    fs::write(&new, text).expect("the token's settings");
    fs::rename(&new, folder.join(FILE)).expect("the token's settings in their place");
}

fn digits(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").expect("writing to memory");
        text
    })
}

/// As RFC 7512, section 2.3 wants an attribute's value.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, octet| {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(octet));
            }
            _ => write!(encoded, "%{octet:02X}").expect("writing to memory"),
        }
        encoded
    })
}
