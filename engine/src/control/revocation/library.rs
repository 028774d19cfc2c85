//! Every list that was read, by where it came from; each is read once, however many ask for it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use countersign_proto::revocation::{LIST_BYTES_MAX, ListReader, RevocationList};
use serde_json::json;

use super::ListProblem;
use crate::config::ListSource;
use crate::telemetry::LogWriter;

/// Files of one directory.
const DIRECTORY_FILES_MAX: usize = 4_096;

/// Read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// From here on reading a list takes longer than starting a thread for it.
const LARGE_BYTES: u64 = 1024 * 1024;

/// How far reading steps back: a third of a worker's share of a CPU where both want it (sched(7)). More would
/// keep a revocation waiting on a machine that is busy.
const NICE: i32 = 5;

/// After a failure a URL is asked again this soon, and then ever later.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Shortly before its list runs out a URL is asked no more often than this.
const REFETCH_MIN: Duration = Duration::from_secs(30);

/// A list, and where it came from.
#[derive(Clone)]
pub(super) struct SourcedList {
    pub(super) source: Arc<str>,
    pub(super) list: Arc<RevocationList>,
}

pub(super) struct Library {
    /// None where the lists are only looked at.
    log: Option<LogWriter>,
    files: HashMap<PathBuf, Entry>,
    urls: HashMap<String, Fetched>,
    /// Asked for since the last look.
    used: HashSet<String>,
    /// Directories that could not be read, told of once.
    unreadable: HashSet<PathBuf>,
    /// Lists whose end was told of.
    expired: HashSet<usize>,
    pub(super) failures: u64,
}

/// A file as it was last read.
#[derive(Default)]
struct Entry {
    stamp: Option<Stamp>,
    /// The last that were good.
    lists: Vec<SourcedList>,
    /// What is wrong with it now.
    problem: Option<String>,
}

/// A URL as it was last fetched.
struct Fetched {
    lists: Vec<SourcedList>,
    refresh: Duration,
    due: Instant,
    attempts: u32,
    was_tried: bool,
    in_flight: bool,
}

/// By what a file is known to be another: a rename, a symbolic link that points elsewhere, a write.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Library {
    pub(super) fn new(log: Option<LogWriter>) -> Self {
        Self {
            log,
            files: HashMap::new(),
            urls: HashMap::new(),
            used: HashSet::new(),
            unreadable: HashSet::new(),
            expired: HashSet::new(),
            failures: 0,
        }
    }

    /// The lists of a source as it is now. Unless `strict`, what cannot be read is as it was last.
    pub(super) fn lists(
        &mut self,
        source: &ListSource,
        strict: bool,
    ) -> Result<Vec<SourcedList>, ListProblem> {
        match source {
            ListSource::File(path) => self.file(path, strict),
            ListSource::Directory(path) => {
                let mut lists = Vec::new();
                for file in self.directory(path, strict)? {
                    lists.extend(self.file(&file, strict)?);
                }
                Ok(lists)
            }
            ListSource::Url(url) => {
                self.used.insert(url.clone());
                Ok(self.urls.get(url).map_or_else(Vec::new, |fetched| fetched.lists.clone()))
            }
        }
    }

    /// Every list, for what is told about them.
    pub(super) fn all(&self) -> impl Iterator<Item = &SourcedList> {
        let files = self.files.values().flat_map(|entry| &entry.lists);
        files.chain(self.urls.values().flat_map(|fetched| &fetched.lists))
    }

    /// The files of a directory, in the order of their names.
    fn directory(&mut self, path: &Path, strict: bool) -> Result<BTreeSet<PathBuf>, ListProblem> {
        let read = || -> std::io::Result<BTreeSet<PathBuf>> {
            let mut files = BTreeSet::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let is_hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
                // A symbolic link is what it points to; one that points nowhere is passed over.
                if !is_hidden && entry.path().metadata().is_ok_and(|found| found.is_file()) {
                    files.insert(entry.path());
                }
            }
            Ok(files)
        };
        let problem = match read() {
            Ok(files) if files.len() <= DIRECTORY_FILES_MAX => {
                self.unreadable.remove(path);
                return Ok(files);
            }
            Ok(files) => {
                format!("has {} files; {DIRECTORY_FILES_MAX} are read at most", files.len())
            }
            Err(error) => format!("cannot be read: {error}"),
        };
        if strict {
            return Err(ListProblem { place: path.display().to_string(), problem });
        }
        if self.unreadable.insert(path.to_owned()) {
            self.failed(&path.display().to_string(), &problem);
        }
        // As it was: what is known of it stays.
        Ok(self.files.keys().filter(|file| file.parent() == Some(path)).cloned().collect())
    }

    fn file(&mut self, path: &Path, strict: bool) -> Result<Vec<SourcedList>, ListProblem> {
        let place = path.display().to_string();
        self.used.insert(place.clone());
        let stamp = path.metadata().map(|metadata| Stamp::of(&metadata));
        let entry = self.files.entry(path.to_owned()).or_default();
        let is_read = match &stamp {
            Ok(stamp) => entry.stamp == Some(*stamp),
            // Gone: told of once, unless it never was there.
            Err(_) => entry.stamp.is_none() && entry.problem.is_some(),
        };
        if !is_read {
            let began = Instant::now();
            match read(path) {
                // Somebody is still writing: it is looked at again soon.
                Ok((_, seen))
                    if !strict && Some(seen) != path.metadata().ok().as_ref().map(Stamp::of) => {}
                Ok((lists, seen)) => {
                    let source: Arc<str> = place.as_str().into();
                    let sourced =
                        |list| SourcedList { source: Arc::clone(&source), list: Arc::new(list) };
                    let lists: Vec<_> = lists.into_iter().map(sourced).collect();
                    lists
                        .iter()
                        .for_each(|sourced| loaded(self.log.as_ref(), sourced, began.elapsed()));
                    *entry = Entry { stamp: Some(seen), lists, problem: None };
                }
                Err(problem) => {
                    entry.stamp = stamp.ok();
                    entry.problem = Some(problem.clone());
                    if !strict {
                        self.failed(&place, &problem);
                    }
                }
            }
        }
        let Some(entry) = self.files.get(path) else { return Ok(Vec::new()) };
        match &entry.problem {
            Some(problem) if strict => Err(ListProblem { place, problem: problem.clone() }),
            _ => Ok(entry.lists.clone()),
        }
    }

    /// A URL is to be fetched, and again when its lists have become so old.
    pub(super) fn want(&mut self, url: &str, refresh: Duration) {
        self.used.insert(url.to_owned());
        let fetched = self.urls.entry(url.to_owned()).or_insert_with(|| Fetched {
            lists: Vec::new(),
            refresh,
            due: Instant::now(),
            attempts: 0,
            was_tried: false,
            in_flight: false,
        });
        fetched.refresh = fetched.refresh.min(refresh);
    }

    /// URLs to be fetched now, at most so many in flight; of those `only_untried` that never were.
    pub(super) fn due(&mut self, now: Instant, most: usize, only_untried: bool) -> Vec<String> {
        let in_flight = self.urls.values().filter(|fetched| fetched.in_flight).count();
        let mut due = Vec::new();
        for (url, fetched) in &mut self.urls {
            let is_asked = !only_untried || !fetched.was_tried;
            if in_flight + due.len() < most && is_asked && !fetched.in_flight && fetched.due <= now
            {
                fetched.in_flight = true;
                due.push(url.clone());
            }
        }
        due
    }

    /// They are not fetched after all.
    pub(super) fn give_back(&mut self, urls: &[String]) {
        for url in urls {
            if let Some(fetched) = self.urls.get_mut(url) {
                fetched.in_flight = false;
            }
        }
    }

    /// What came of a fetch.
    pub(super) fn fetched(
        &mut self,
        url: &str,
        result: Result<(Vec<RevocationList>, Duration), String>,
    ) {
        let Some(fetched) = self.urls.get_mut(url) else { return };
        fetched.in_flight = false;
        fetched.was_tried = true;
        let problem = match result {
            Ok((lists, took)) => {
                let source: Arc<str> = url.into();
                fetched.attempts = 0;
                fetched.due = Instant::now() + until_next(&lists, fetched.refresh);
                let same = fetched.lists.len() == lists.len()
                    && fetched.lists.iter().zip(&lists).all(|(known, new)| known.list.is_same(new));
                if !same {
                    let sourced =
                        |list| SourcedList { source: Arc::clone(&source), list: Arc::new(list) };
                    fetched.lists = lists.into_iter().map(sourced).collect();
                    fetched
                        .lists
                        .iter()
                        .for_each(|sourced| loaded(self.log.as_ref(), sourced, took));
                }
                return;
            }
            Err(problem) => problem,
        };
        let pause = RETRY.saturating_mul(1 << fetched.attempts.min(16));
        fetched.attempts += 1;
        fetched.due = Instant::now() + pause.min(RETRY_MAX).min(fetched.refresh.max(RETRY));
        self.failed(url, &problem);
    }

    /// Forgets what nobody has asked for since the last time.
    pub(super) fn forget_unused(&mut self) {
        let used = std::mem::take(&mut self.used);
        self.files.retain(|path, _| used.contains(path.to_string_lossy().as_ref()));
        self.urls.retain(|url, fetched| fetched.in_flight || used.contains(url));
    }

    /// Says of each list once that it is out of date, unless a fresher one is there.
    pub(super) fn note_expired(&mut self) {
        let now = now_seconds();
        let expired: Vec<_> =
            self.all().filter(|sourced| sourced.list.next_update() < now).cloned().collect();
        let key = |sourced: &SourcedList| Arc::as_ptr(&sourced.list) as usize;
        let still: HashSet<_> = expired.iter().map(key).collect();
        self.expired.retain(|known| still.contains(known));
        for sourced in expired {
            let is_replaced = self.all().any(|other| sourced.list.is_superseded_by(&other.list));
            if is_replaced || !self.expired.insert(key(&sourced)) {
                continue;
            }
            let SourcedList { source, list } = &sourced;
            self.write(
                "crl_expired",
                json!({
                    "source": **source,
                    "issuer": list.issuer_text(),
                    "crl_number": list.number().map(|number| number.to_string()),
                    "next_update": list.next_update(),
                    "message": "its nextUpdate has passed and there is no fresher one; crl_expired and crl_grace say what becomes of its clients",
                }),
            );
        }
    }

    fn write(&self, event: &str, fields: serde_json::Value) {
        if let Some(log) = &self.log {
            log.write(event, fields);
        }
    }

    fn failed(&mut self, place: &str, problem: &str) {
        self.failures += 1;
        self.write(
            "crl_failed",
            json!({
                "source": place,
                "error": problem,
                "message": "what was read from there before still holds",
            }),
        );
    }
}

/// When to ask again for lists that came from a URL.
fn until_next(lists: &[RevocationList], refresh: Duration) -> Duration {
    let now = now_seconds();
    let left = lists.iter().map(|list| list.next_update() - now).min().unwrap_or(0);
    // A tenth of what is left is for trying again.
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0) / 10 * 9);
    refresh.min(left.max(REFETCH_MIN))
}

/// Reads a whole file, and by what it was known while it was read.
fn read(path: &Path) -> Result<(Vec<RevocationList>, Stamp), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // A reload must not wait for whoever may write into a pipe.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".into());
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let lists = if metadata.len() < LARGE_BYTES {
        read_lists(&mut file, metadata.len())?
    } else {
        gently(|| read_lists(&mut file, metadata.len()))?
    };
    Ok((lists, Stamp::of(&metadata)))
}

/// Does what takes seconds on a thread that steps back for the workers: where each CPU has one, a large list
/// would halve what a worker gets for as long as it is read.
fn gently<T: Send>(read: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let work = || {
        step_back();
        read()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("crl-read".into()).spawn_scoped(scope, work);
        let lost = |_panic| Err("the thread that read it panicked".to_owned());
        match thread {
            Ok(thread) => thread.join().unwrap_or_else(lost),
            Err(error) => Err(format!("cannot be read: no thread for it: {error}")),
        }
    })
}

/// Lets other threads go first from now on; where that is not allowed, this one goes on as it is.
pub(super) fn step_back() {
    // Of this thread alone (setpriority(2), "C library/kernel differences").
    let _ = rustix::process::nice(NICE);
}

/// Reads lists until the end, of which at most so many bytes are expected.
pub(super) fn read_lists(
    from: &mut dyn Read,
    expected: u64,
) -> Result<Vec<RevocationList>, String> {
    // PEM takes a third more than what is in it.
    let most = LIST_BYTES_MAX.saturating_mul(2);
    let mut reader = ListReader::new(expected);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0_u64;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        total += count as u64;
        if total > most {
            return Err(format!("is larger than {most} bytes"));
        }
        reader.push(&chunk[..count]).map_err(|error| error.to_string())?;
    }
    reader.finish().map_err(|error| error.to_string())
}

fn loaded(log: Option<&LogWriter>, sourced: &SourcedList, took: Duration) {
    let Some(log) = log else { return };
    let SourcedList { source, list } = sourced;
    log.write(
        "crl_loaded",
        json!({
            "source": **source,
            "issuer": list.issuer_text(),
            "crl_number": list.number().map(|number| number.to_string()),
            "delta_base": list.base().map(|number| number.to_string()),
            "this_update": list.this_update(),
            "next_update": list.next_update(),
            "entries": list.entries(),
            "bytes": list.der_bytes(),
            "memory_bytes": list.memory_bytes(),
            "load_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }),
    );
}

pub(super) fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
