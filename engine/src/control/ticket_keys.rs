//! Ticket keys of the process: drawn and replaced here, read from a file that is watched, or derived by a token. Every
//! worker has the same ones, so that a client resumes on any of them, and seals under a part of its own.

mod derivation;
mod epochs;
mod token;

use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use countersign_proto::ticket::{KEY_BYTES_MIN, WORKER_BYTES};
use countersign_proto::{TicketKey, TicketKeys};
use zeroize::Zeroizing;

use self::token::TokenKeys;
use crate::config::{
    Config, ConfigError, Stamp, TICKET_KEYS_KEPT_MAX, TicketKeyFile, TicketKeySource,
    TokenTicketKeys,
};

pub use self::token::check_ticket_keys;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The operating system or the CPU gives no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no randomness can be had from the operating system")]
pub struct NoRandomness;

/// Why there are no ticket keys to begin with.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeysError {
    /// None can be drawn.
    #[error("{0}")]
    NoRandomness(#[from] NoRandomness),
    /// The token derives none.
    #[error("{0}")]
    Token(ConfigError),
}

/// The keys, the first of which seals.
pub(super) struct TicketKeyring {
    generation: u64,
    keys: Vec<Key>,
    source: Source,
    looked_at: Instant,
}

struct Key {
    key: TicketKey,
    /// Since when it seals no more; `None` for a file's keys, which the file alone ends.
    retired_at: Option<Instant>,
}

enum Source {
    /// Our own, the first one drawn then.
    Drawn {
        at: Instant,
    },
    File {
        path: std::path::PathBuf,
        stamp: Option<Stamp>,
    },
    Token(Box<TokenKeys>),
}

/// What came of looking after the keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// The workers must have them.
    Changed,
    /// The file cannot be taken as it is now: what is wrong with it. The keys are what they were.
    Refused(String),
}

impl TicketKeyring {
    /// The keys that a configuration begins with.
    pub(super) fn start(config: &Config, now: Instant) -> Result<Self, TicketKeysError> {
        let (keys, source) = match &config.ticket_keys {
            Some(TicketKeySource::File(file)) => of_file(file),
            Some(TicketKeySource::Token(token)) => of_token(token, config)?,
            None => (vec![draw()?], Source::Drawn { at: now }),
        };
        Ok(Self { generation: 1, keys, source, looked_at: now })
    }

    /// Those of another configuration, which has just been loaded. Keys of our own live on where both
    /// configurations leave them to us, and those of a token where both name it.
    pub(super) fn reload(
        &self,
        config: &Config,
        now: Instant,
    ) -> Result<Option<Self>, TicketKeysError> {
        let (keys, source) = match (&config.ticket_keys, &self.source) {
            (None, Source::Drawn { .. }) => return Ok(None),
            (None, _) => (vec![draw()?], Source::Drawn { at: now }),
            (Some(TicketKeySource::File(file)), _) => of_file(file),
            (Some(TicketKeySource::Token(token)), source) => {
                if let Source::Token(keys) = source
                    && keys.are_of(token).map_err(|problem| refused(token, problem))?
                {
                    return Ok(None);
                }
                of_token(token, config)?
            }
        };
        Ok(Some(Self { generation: self.generation + 1, keys, source, looked_at: now }))
    }

    /// Replaces what is due, drops what opens nothing any more, looks whether the file has changed.
    pub(super) fn tend(&mut self, config: &Config, now: Instant) -> Change {
        let change = match &mut self.source {
            Source::Drawn { at } => {
                let is_due = now.duration_since(*at) >= config.ticket_key_lifetime;
                if is_due && let Ok(new) = draw() {
                    *at = now;
                    if let Some(sealed) = self.keys.first_mut() {
                        sealed.retired_at = Some(now);
                    }
                    self.keys.insert(0, new);
                    self.keys.truncate(TICKET_KEYS_KEPT_MAX + 1);
                    Change::Changed
                } else {
                    Change::None
                }
            }
            Source::Token(token) => {
                let change = token.tend(config.longest_ticket(), now);
                if change == Change::Changed {
                    self.keys = token.keys().into_iter().map(Key::lasting).collect();
                }
                change
            }
            Source::File { .. } if now.duration_since(self.looked_at) < LOOK => Change::None,
            Source::File { path, stamp } => {
                self.looked_at = now;
                let found = Stamp::now(path);
                if found == *stamp {
                    return Change::None;
                }
                *stamp = found;
                match TicketKeyFile::read(path) {
                    Ok(file) => {
                        *stamp = Some(file.stamp);
                        let is_same = self.keys.iter().map(|key| &key.key).eq(&file.keys);
                        self.keys = of_file(&file).0;
                        if is_same { Change::None } else { Change::Changed }
                    }
                    Err(problem) => Change::Refused(format!("{}: {problem}", path.display())),
                }
            }
        };
        let kept = self.keys.len();
        let longest = config.longest_ticket();
        self.keys.retain(|key| key.retired_at.is_none_or(|at| now.duration_since(at) <= longest));
        let change = match change {
            Change::None if self.keys.len() < kept => Change::Changed,
            change => change,
        };
        if change == Change::Changed {
            self.generation += 1;
        }
        change
    }

    /// The keys for one worker, from now on.
    pub(super) fn for_worker(&self) -> Result<TicketKeys, NoRandomness> {
        let mut worker = [0; WORKER_BYTES];
        rand::fill(&mut worker).map_err(|_| NoRandomness)?;
        let keys: Vec<_> = self.keys.iter().map(|key| key.key.clone()).collect();
        Ok(TicketKeys::new(self.generation, &keys, worker))
    }

    /// How many keys open tickets.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Key {
    /// One that others replace.
    fn lasting(key: TicketKey) -> Self {
        Self { key, retired_at: None }
    }
}

fn of_file(file: &TicketKeyFile) -> (Vec<Key>, Source) {
    let keys = file.keys.iter().cloned().map(Key::lasting).collect();
    (keys, Source::File { path: file.path.clone(), stamp: Some(file.stamp) })
}

fn of_token(
    token: &TokenTicketKeys,
    config: &Config,
) -> Result<(Vec<Key>, Source), TicketKeysError> {
    let keys = TokenKeys::open(token, config.longest_ticket());
    let keys = keys.map_err(|problem| refused(token, problem))?;
    let now = keys.keys().into_iter().map(Key::lasting).collect();
    Ok((now, Source::Token(Box::new(keys))))
}

fn refused(token: &TokenTicketKeys, problem: String) -> TicketKeysError {
    TicketKeysError::Token(token.place.wrong(problem))
}

fn draw() -> Result<Key, NoRandomness> {
    let mut secret = Zeroizing::new(vec![0; KEY_BYTES_MIN]);
    rand::fill(&mut secret).map_err(|_| NoRandomness)?;
    let key = TicketKey::new(secret).map_err(|_| NoRandomness)?;
    Ok(Key { key, retired_at: None })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use countersign_proto::ChainCacheLimits;

    use super::*;
    use crate::telemetry::LoggedConnections;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn config(ticket_keys: Option<TicketKeyFile>) -> Config {
        Config {
            chain_cache: ChainCacheLimits::default(),
            listeners: Vec::new(),
            workers: 1,
            cpus: Vec::new(),
            max_connections: None,
            max_handshakes: 1,
            drain_timeout: HOUR,
            log_connections: LoggedConnections::All,
            ticket_keys: ticket_keys.map(TicketKeySource::File),
            ticket_key_lifetime: HOUR,
            tokens: crate::config::TokenRules::default(),
            admin: None,
            warnings: Vec::new(),
        }
    }

    fn names(keyring: &TicketKeyring) -> Vec<TicketKey> {
        keyring.keys.iter().map(|key| key.key.clone()).collect()
    }

    #[test]
    fn a_key_of_our_own_is_replaced_when_it_is_due_and_dropped_when_its_tickets_have_run_out() {
        let config = config(None);
        let start = Instant::now();
        let mut keyring = TicketKeyring::start(&config, start).expect("randomness");
        assert_eq!(keyring.tend(&config, start + HOUR - Duration::from_nanos(1)), Change::None);
        let first = names(&keyring);
        assert_eq!(keyring.tend(&config, start + HOUR), Change::Changed);
        // No listener gives tickets, so those of the old key have run out when it is replaced.
        assert_eq!(keyring.tend(&config, start + HOUR + HOUR / 2), Change::Changed);
        let second = names(&keyring);
        assert_eq!((first.len(), second.len(), keyring.generation()), (1, 1, 3));
        assert_ne!(first, second);
        let kept = keyring.reload(&config, start + HOUR).expect("randomness");
        assert!(kept.is_none(), "a reload is no reason to replace it");
    }

    #[test]
    fn keys_are_kept_within_their_bound() {
        let config = config(None);
        let start = Instant::now();
        let mut keyring = TicketKeyring::start(&config, start).expect("randomness");
        for _ in 0..2 * TICKET_KEYS_KEPT_MAX {
            keyring.keys.push(Key { key: draw().expect("a key").key, retired_at: None });
        }
        let _ = keyring.tend(&config, start + HOUR);
        assert_eq!(keyring.len(), TICKET_KEYS_KEPT_MAX + 1);
    }

    #[test]
    fn a_file_is_looked_at_once_a_second_and_told_of_once() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("keys");
        let write = |text: &str| {
            let new = directory.path().join("new");
            fs::write(&new, text).expect("keys");
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("a mode");
            fs::rename(&new, &path).expect("keys in their place");
        };
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        write(&one);
        let config = config(Some(TicketKeyFile::read(&path).expect("keys")));
        let mut now = Instant::now();
        let mut keyring = TicketKeyring::start(&config, now).expect("keys");
        let mut later = |by: Duration| {
            now += by;
            now
        };
        assert_eq!(keyring.tend(&config, later(LOOK)), Change::None);
        write(&format!("{two}\n{one}"));
        assert_eq!(keyring.tend(&config, later(LOOK / 2)), Change::None);
        assert_eq!(keyring.tend(&config, later(LOOK / 2)), Change::Changed);
        assert_eq!((keyring.len(), keyring.generation()), (2, 2));
        let both = names(&keyring);
        // The same keys in another file are no change.
        write(&format!("# again\n{two}\n{one}\n"));
        assert_eq!(keyring.tend(&config, later(LOOK)), Change::None);
        for spoil in [
            &(|| fs::remove_file(&path).expect("it was there")) as &dyn Fn(),
            &|| write("short"),
            &|| {
                write(&one);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
            },
        ] {
            spoil();
            assert!(matches!(keyring.tend(&config, later(LOOK)), Change::Refused(_)));
            assert_eq!(keyring.tend(&config, later(LOOK)), Change::None, "it was said");
            assert_eq!(names(&keyring), both);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(keyring.tend(&config, later(LOOK)), Change::Changed);
        assert_eq!((keyring.len(), keyring.generation()), (1, 3));
    }

    #[test]
    fn another_source_means_other_keys() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("keys");
        fs::write(&path, "01".repeat(32)).expect("keys");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        let (own, file) = (config(None), config(Some(TicketKeyFile::read(&path).expect("keys"))));
        let now = Instant::now();
        let drawn = TicketKeyring::start(&own, now).expect("randomness");
        let read = drawn.reload(&file, now).expect("keys").expect("other keys");
        assert_eq!((read.len(), read.generation()), (1, 2));
        assert_ne!(names(&read), names(&drawn));
        let again = read.reload(&own, now).expect("randomness").expect("other keys");
        assert_ne!(names(&again), names(&drawn));
    }
}
