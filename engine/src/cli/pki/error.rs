//! Why a command of the PKI was not carried out.

use std::io;
use std::path::{Path, PathBuf};

/// As the operator reads it: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    /// The file system said no.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// An infinitive.
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A file is there and is not what it should be.
    #[error("{}: {problem}", .path.display())]
    Content { path: PathBuf, problem: String },
    /// A line of the index is not what it should be.
    #[error(
        "{}:{line}: {problem}; nothing was changed. Put the file back from a backup, or mend the line: docs/pki.md says what stands in it",
        .path.display()
    )]
    Index { path: PathBuf, line: usize, problem: String },
    /// The cryptographic library said no.
    #[error("cannot {doing}: {problem}")]
    Crypto {
        /// An infinitive.
        doing: &'static str,
        problem: String,
    },
    /// What was asked for is not done, for this reason.
    #[error("{0}")]
    Refused(String),
}

pub(crate) type Result<T> = std::result::Result<T, PkiError>;

impl PkiError {
    /// For `map_err` on what the file system answers.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    pub(super) fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), problem: problem.into() }
    }

    /// For `map_err` on what the cryptographic library answers.
    pub(super) fn crypto(doing: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |error| Self::Crypto { doing, problem: error.to_string() }
    }
}
