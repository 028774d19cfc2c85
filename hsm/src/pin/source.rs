//! A file, an environment variable or a descriptor: never the command line, never the URI.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use zeroize::Zeroizing;

use super::{BYTES_MAX, Pin, PinError};

/// Where a PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PinSource {
    /// `file:/run/secrets/pin`, or the path alone: a file that nobody but its owner may read.
    File(PathBuf),
    /// `env:NAME`: an environment variable. Whoever may read the process's environment reads the PIN.
    Environment(String),
    /// `fd:N`: a descriptor that the process was started with. A pipe can be read only once.
    Descriptor(i32),
}

impl PinSource {
    /// Reads `file:/path`, `/path`, `env:NAME` or `fd:N`.
    ///
    /// # Errors
    /// When it is none of these. A command (`|command`, RFC 7512, section 2.4) is refused: nothing is run for a PIN.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        // What is no source may be the PIN itself: it is not repeated.
        let no_source = |problem: &str| PinError::NoSource(problem.into());
        if text.contains('\0') {
            return Err(no_source("has a zero byte"));
        }
        if text.starts_with('|') {
            return Err(no_source(
                "names a command, and none is run for a PIN; use file:/path, env:NAME or fd:N",
            ));
        }
        if let Some(name) = text.strip_prefix("env:") {
            let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let is_name =
                starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if is_name {
                Ok(Self::Environment(name.to_owned()))
            } else {
                Err(no_source("names no environment variable after env:"))
            };
        }
        if let Some(number) = text.strip_prefix("fd:") {
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            return match number.parse() {
                Ok(number) if is_number => Ok(Self::Descriptor(number)),
                _ => Err(no_source("has no number of a descriptor after fd:")),
            };
        }
        let path = text.strip_prefix("file:").unwrap_or(text);
        // file:///path has an empty authority (RFC 8089).
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(no_source("is none of file:/absolute/path, env:NAME and fd:N"));
        }
        Ok(Self::File(path.into()))
    }

    /// Reads the PIN; one trailing newline is cut. Never waits for a writer of a FIFO, but does for that of a
    /// descriptor's pipe.
    ///
    /// # Errors
    /// When there is none, when others may read or change the file, or when it is no PIN.
    pub fn read(&self) -> Result<Pin, PinError> {
        let content = match self {
            Self::File(path) => read_file(path),
            Self::Environment(name) => match std::env::var_os(name) {
                Some(value) => Ok(Zeroizing::new(value.as_bytes().to_vec())),
                None => Err("the variable is not set".into()),
            },
            Self::Descriptor(number) => read_descriptor(*number),
        };
        let unreadable = |problem| PinError::Unreadable { source_name: self.to_string(), problem };
        Pin::new(&content.map_err(unreadable)?).map_err(|error| unreadable(error.to_string()))
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: io::Error| error.to_string();
    // Opening a FIFO would wait for whoever may write into it.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!("others may read or change it (mode {mode:04o}); say `chmod 600`"));
    }
    read_bounded(file)
}

fn read_descriptor(number: i32) -> Result<Zeroizing<Vec<u8>>, String> {
    // A duplicate, so that the number stays what it was. Where the system call is filtered, the file is opened again
    // by its name under /proc, which does for pipes and files but not for sockets.
    let duplicate = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|this| pidfd_getfd(this, number, PidfdGetfdFlags::empty()))
        .map(File::from);
    match duplicate {
        Ok(file) => read_bounded(file),
        Err(rustix::io::Errno::BADF) => Err("the descriptor is not open".into()),
        Err(_) => {
            let file = File::open(format!("/proc/self/fd/{number}"));
            read_bounded(file.map_err(|error| error.to_string())?)
        }
    }
}

fn read_bounded(file: File) -> Result<Zeroizing<Vec<u8>>, String> {
    // Room for the longest PIN, a line break, and one byte that says it is longer; never grown, so never copied.
    let room = BYTES_MAX + 3;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    file.take(room as u64).read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(mode: u32, content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("written");
        file.as_file().set_permissions(Permissions::from_mode(mode)).expect("its mode");
        file
    }

    #[test]
    fn sources_are_told_apart_and_written_as_they_are_read() {
        let path = PathBuf::from("/run/secrets/pin");
        for text in ["file:/run/secrets/pin", "/run/secrets/pin", "file:///run/secrets/pin"] {
            assert_eq!(PinSource::parse(text), Ok(PinSource::File(path.clone())), "{text}");
        }
        for text in ["file:/run/secrets/pin", "env:HSM_PIN", "fd:3"] {
            assert_eq!(PinSource::parse(text).expect("a source").to_string(), text);
        }
    }

    #[test]
    fn what_is_no_source_is_refused_and_not_repeated() {
        for text in [
            "|cat /pin",
            "123456",
            "env:",
            "env:A=B",
            "env:1",
            "fd:",
            "fd:-1",
            "fd:+1",
            "fd:99999999999",
            "file:pin",
            "file://host/pin",
            "/a\0b",
            "",
        ] {
            let error = PinSource::parse(text).expect_err(text);
            assert!(!error.to_string().contains("123456"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let file = file(mode, b"1234\n");
            let error = PinSource::File(file.path().into()).read().expect_err("readable by others");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        let file = file(0o400, b"1234\n");
        assert_eq!(PinSource::File(file.path().into()).read().expect("a PIN").expose(), "1234");
    }

    #[test]
    fn a_link_to_a_file_is_followed_and_what_is_no_file_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = file(0o600, b"1234");
        let link = directory.path().join("pin");
        std::os::unix::fs::symlink(file.path(), &link).expect("a link");
        assert_eq!(PinSource::File(link).read().expect("a PIN").expose(), "1234");
        let error = PinSource::File(directory.path().into()).read().expect_err("a directory");
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let error = PinSource::File("/dev/zero".into()).read().expect_err("endless");
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_large_file_is_not_read_to_its_end() {
        let file = file(0o600, &vec![b'1'; 1 << 20]);
        let error = PinSource::File(file.path().into()).read().expect_err("too long");
        assert!(error.to_string().contains("longer than"), "{error}");
    }

    #[test]
    fn an_error_names_the_source_and_not_the_pin() {
        let file = file(0o600, b"12\n34-secret");
        let error = PinSource::File(file.path().into()).read().expect_err("two lines");
        let text = format!("{error} {error:?}");
        assert!(text.contains(&file.path().display().to_string()), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn a_pipe_is_read_by_its_descriptor() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"1234\n").expect("written");
        drop(writer);
        let source = PinSource::Descriptor(reader.as_raw_fd());
        assert_eq!(source.read().expect("a PIN").expose(), "1234");
        let error = source.read().expect_err("read to its end");
        assert!(error.to_string().contains("empty"), "{error}");
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = PinSource::Descriptor(1_000_000).read().expect_err("not open");
        assert!(error.to_string().contains("fd:1000000: the descriptor is not open"), "{error}");
    }

    #[test]
    fn a_variable_that_is_not_set_is_an_error() {
        let error =
            PinSource::Environment("COUNTERSIGN_NO_SUCH_PIN".into()).read().expect_err("not set");
        assert!(error.to_string().contains("env:COUNTERSIGN_NO_SUCH_PIN"), "{error}");
        // What every test has in its environment is a PIN as good as any.
        let path = fs::canonicalize("/").map(|_| PinSource::Environment("PATH".into()).read());
        assert!(
            path.expect("the root")
                .is_ok_and(|pin| Some(pin.expose()) == std::env::var("PATH").ok().as_deref())
        );
    }
}
