//! The PKI's directory: what lies where, one command at a time, and files that are there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::error::{PkiError, Result};

pub(super) const INDEX: &str = "index.jsonl";
pub(super) const ROOT: &str = "root.pem";
pub(super) const ROOT_KEY: &str = "root.key";
pub(super) const INTERMEDIATE: &str = "intermediate.pem";
pub(super) const INTERMEDIATE_KEY: &str = "intermediate.key";
pub(super) const CLIENTS_CA: &str = "clients-ca.pem";
pub(super) const CRLS: &str = "crl.pem";
pub(super) const ROOT_CRL_DER: &str = "root.crl";
pub(super) const INTERMEDIATE_CRL_DER: &str = "intermediate.crl";
const LOCK: &str = ".lock";

/// How long a command waits for another one to end.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers {
    Owner,
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// Where a PKI lies.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

/// While it lives no other command changes the PKI.
pub(super) struct Lock {
    _file: File,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Makes it, for its owner alone; one that is there must be empty.
    pub(super) fn make(&self) -> Result<Lock> {
        if self.0.exists() {
            self.check_empty()?;
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(PkiError::file("make", &self.0))?;
        let lock = self.lock()?;
        // Another init may have been waited for.
        self.check_empty()?;
        fs::set_permissions(&self.0, Permissions::from_mode(0o700))
            .map_err(PkiError::file("set the mode of", &self.0))?;
        Ok(lock)
    }

    fn check_empty(&self) -> Result<()> {
        let path = self.0.display();
        if self.file(INDEX).exists() {
            return Err(PkiError::Refused(format!(
                "{path} holds a PKI already and is left as it is; choose another --directory, or remove it if nobody trusts it any more"
            )));
        }
        for entry in fs::read_dir(&self.0).map_err(PkiError::file("read", &self.0))? {
            let name = entry.map_err(PkiError::file("read", &self.0))?.file_name();
            if name != LOCK {
                return Err(PkiError::Refused(format!(
                    "{path} is not empty ({} is there) and is left as it is; choose another --directory, or clear it if an init was cut short there",
                    name.display()
                )));
            }
        }
        Ok(())
    }

    /// Waits a little for others.
    pub(super) fn lock(&self) -> Result<Lock> {
        let path = self.file(LOCK);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(PkiError::file("open", &path))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    thread::sleep(POLL);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(PkiError::Refused(format!(
                        "another `countersign pki` has held {} for more than {} seconds; nothing was changed. Look who it is (fuser {}), then try again",
                        path.display(),
                        PATIENCE.as_secs(),
                        path.display()
                    )));
                }
                Err(error) => return Err(PkiError::file("lock", &path)(error.into())),
            }
        }
    }

    /// Puts a file in place as a whole: whoever opens it sees the old content or the new, also after a
    /// power cut.
    pub(super) fn write(
        &self,
        name: impl AsRef<Path>,
        content: &[u8],
        readers: Readers,
    ) -> Result<()> {
        let path = self.file(name);
        let folder = path.parent().unwrap_or(&self.0);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(PkiError::file("make", folder))?;
        replace(&path, folder, content, readers).map_err(PkiError::file("write", &path))
    }
}

fn replace(path: &Path, folder: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".countersign-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(readers.mode()))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself lasts only once the folder does.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_with_its_mode() {
        let temporary = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(temporary.path());
        for (content, readers) in [("old", Readers::Everybody), ("new", Readers::Owner)] {
            directory.write("a/b.key", content.as_bytes(), readers).expect("a file");
            let path = directory.file("a/b.key");
            assert_eq!(fs::read_to_string(&path).expect("its content"), content);
            let mode = path.metadata().expect("its mode").permissions().mode() & 0o777;
            assert_eq!(mode, readers.mode());
        }
        let files = fs::read_dir(directory.file("a")).expect("the folder").count();
        assert_eq!(files, 1, "no temporary stays behind");
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let temporary = tempfile::tempdir().expect("a directory");
        fs::write(temporary.path().join("precious"), "").expect("a file");
        assert!(Directory::new(temporary.path()).make().is_err());
        assert_eq!(fs::read_dir(temporary.path()).expect("the directory").count(), 1);
    }
}
