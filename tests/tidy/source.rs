//! The repository's own files, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// One file: where it is, relative to the repository's root, and what is in it.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines of code: without comments, and without what follows `#[cfg(test)]`, which by our
    /// convention ends a file. Counted from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..)
            .zip(self.text.lines())
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .map(|(number, line)| (number, without_comment(line)))
    }

    /// The name without folders and extension.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }
}

/// A `//` inside a string literal cuts the line short too: that hides code after it, never invents any.
fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |start| &line[..start])
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// One file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file under `folder` with that extension.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), folder, extension, &mut found);
    assert!(
        !found.is_empty(),
        "there is no .{extension} file in '{folder}': does this check still look at the right place?"
    );
    found
}

/// Every Rust file of the repository.
pub(crate) fn rust() -> Vec<Source> {
    files("", "rs")
}

fn collect(root: &Path, folder: &str, extension: &str, found: &mut Vec<Source>) {
    let entries =
        fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().expect("a file's type");
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            collect(root, &path, extension, found);
        } else if kind.is_file() && path.rsplit_once('.').is_some_and(|(_, end)| end == extension) {
            let text =
                fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
            found.push(Source { path, text });
        }
    }
}

/// Fails with all that was found, not only the first.
#[track_caller]
pub(crate) fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{}\n", problems.join("\n"));
}

/// Whether `text` contains `word` with no letter, digit or underscore on either side.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(part_of_a_word) && !after.is_some_and(part_of_a_word)
    })
}

#[test]
fn words_are_found_whole_only() {
    assert!(has_word("use std::fs;", "std::fs"));
    assert!(has_word("Mutex", "Mutex"));
    assert!(!has_word("use std::fstat;", "std::fs"));
    assert!(!has_word("MutexGuard", "Mutex"));
    assert!(has_word("MutexGuard<Mutex>", "Mutex"));
}

#[test]
fn comments_and_tests_are_no_code() {
    let text = "one // two\n/// three\nfour\n#[cfg(test)]\nmod tests {}\n".to_owned();
    let source = Source { path: "a/b.rs".to_owned(), text };
    let code: Vec<_> = source.code().collect();
    assert_eq!(code, [(1, "one "), (2, ""), (3, "four")]);
    assert_eq!(source.stem(), "b");
}
