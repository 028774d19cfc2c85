//! The settings file, looked at again and again.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::faults::Faults;
use crate::key::Key;
use crate::mechanism;
use crate::object::{Name, Object};
use crate::settings::{self, Settings};

/// What tells one version of a file from another.
type Identity = (u64, i64, i64, u64);

/// The file and what was last read from it.
pub(crate) struct Watch {
    folder: PathBuf,
    seen: Option<Identity>,
    /// Keys by what they came from: an RSA key takes a millisecond to check.
    keys: HashMap<Source, Arc<Key>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Source {
    File(PathBuf, Identity),
    Secret(String),
    Aes(String),
}

/// Settings that make sense, with their keys.
pub(crate) struct Plan {
    pub(crate) block_signals: bool,
    pub(crate) faults: Faults,
    pub(crate) tokens: Vec<TokenPlan>,
}

/// The same of one token.
pub(crate) struct TokenPlan {
    pub(crate) settings: settings::Token,
    pub(crate) faults: Faults,
    pub(crate) mechanisms: Vec<u64>,
    pub(crate) objects: Vec<(Name, Object)>,
}

impl Watch {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), seen: None, keys: HashMap::new() }
    }

    /// Takes the next look for the first.
    pub(crate) fn forget(&mut self) {
        self.seen = None;
    }

    /// What the file says, if it is another one than at the last look.
    pub(crate) fn look(&mut self) -> Option<Result<Plan, String>> {
        let path = self.folder.join(settings::FILE);
        let identity = match identity(&path) {
            Ok(identity) if self.seen == Some(identity) => return None,
            Ok(identity) => identity,
            Err(problem) => return Some(Err(problem)),
        };
        // Taken before it is read: what is renamed over it meanwhile is seen at the next look.
        self.seen = Some(identity);
        Some(self.read(&path))
    }

    fn read(&mut self, path: &Path) -> Result<Plan, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let settings: Settings =
            toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        let mut keys = HashMap::new();
        let tokens: Result<_, String> =
            settings.tokens.into_iter().map(|token| self.plan(token, &mut keys)).collect();
        let plan = Plan {
            block_signals: settings.block_signals,
            faults: Faults::new(&settings.faults)?,
            tokens: tokens?,
        };
        self.keys = keys;
        Ok(plan)
    }

    fn plan(
        &self,
        settings: settings::Token,
        keys: &mut HashMap<Source, Arc<Key>>,
    ) -> Result<TokenPlan, String> {
        let mechanisms: Result<_, String> = settings
            .mechanisms
            .iter()
            .map(|name| mechanism::number(name).ok_or_else(|| format!("no mechanism is '{name}'")))
            .collect();
        let mut objects = Vec::new();
        for key in settings.keys.iter().filter(|key| !key.deleted) {
            objects.extend(Object::all_of(key, &self.key(key, keys)?)?);
        }
        number(&mut objects);
        Ok(TokenPlan {
            faults: Faults::new(&settings.faults)?,
            mechanisms: mechanisms?,
            objects,
            settings,
        })
    }

    fn key(
        &self,
        settings: &settings::Key,
        keys: &mut HashMap<Source, Arc<Key>>,
    ) -> Result<Arc<Key>, String> {
        let source = match (&settings.file, &settings.secret, &settings.aes) {
            (Some(file), ..) => {
                let path = self.folder.join(file);
                Source::File(path.clone(), identity(&path)?)
            }
            (_, Some(secret), _) => Source::Secret(secret.clone()),
            (.., aes) => Source::Aes(aes.clone().unwrap_or_default()),
        };
        let key = match keys.get(&source).or(self.keys.get(&source)) {
            Some(key) => Arc::clone(key),
            None => Arc::new(Key::load(settings, &self.folder)?),
        };
        keys.insert(source, Arc::clone(&key));
        Ok(key)
    }
}

/// Tells objects of one name apart, so that each has its handle.
fn number(objects: &mut [(Name, Object)]) {
    let mut seen: HashMap<Name, usize> = HashMap::new();
    for (name, _) in objects {
        let times = seen.entry(name.clone()).or_default();
        name.occurrence = *times;
        *times += 1;
    }
}

fn identity(path: &Path) -> Result<Identity, String> {
    let data = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((data.ino(), data.mtime(), data.mtime_nsec(), data.size()))
}
