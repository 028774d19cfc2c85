//! Sizes and names.

use crate::source::{self, none};

/// Past this a file is split.
const LINES_MAX: usize = 700;

/// Names that say nothing of what a thing is.
const BANNED: [&str; 10] = [
    "manager", "util", "utils", "common", "helper", "helpers", "handler", "handlers", "ctx", "misc",
];

#[test]
fn no_file_is_longer_than_one_sitting() {
    let too_long = source::rust()
        .into_iter()
        .chain(source::files("tests", "py"))
        .map(|file| (file.text.lines().count(), file.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path} has {lines} lines, more than {LINES_MAX}"));
    none(too_long.collect());
}

#[test]
fn no_file_or_module_has_a_name_that_says_nothing() {
    let mut named = Vec::new();
    for file in source::rust() {
        let folders = file.path.rsplit_once('/').map_or("", |(folders, _)| folders);
        for name in folders.split('/').chain([file.stem()]) {
            named.push((file.path.clone(), name.to_owned()));
        }
        for (number, line) in file.code() {
            if let Some(name) = declared(line) {
                named.push((format!("{}:{number}", file.path), name.to_owned()));
            }
        }
    }
    let wrong = named.iter().filter(|(_, name)| is_banned(name));
    none(
        wrong
            .map(|(place, name)| format!("{place}: what is a '{name}'? name it for what it is"))
            .collect(),
    );
}

/// The name of the module or type that a line declares.
fn declared(line: &str) -> Option<&str> {
    const KEYWORDS: [&str; 5] = ["mod", "struct", "enum", "trait", "union"];
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let keyword = words.next()?;
    let name = words.next().filter(|_| KEYWORDS.contains(&keyword))?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some(&name[..end])
}

fn is_banned(name: &str) -> bool {
    // A common name is a term of X.509.
    let name = snake_case(name).replace("common_name", "");
    name.split(['_', '-']).any(|word| BANNED.contains(&word))
}

/// `TrustDomain` and `trust_domain` alike: `trust_domain`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn banned_names_are_noticed() {
    for name in ["util", "string_utils", "ConnectionManager", "ctx", "Helper", "my-common"] {
        assert!(is_banned(name), "{name}");
    }
    for name in ["trust_domain", "CommonName", "community", "handle"] {
        assert!(!is_banned(name), "{name}");
    }
    assert_eq!(declared("pub(crate) struct Foo<T> {"), Some("Foo"));
    assert_eq!(declared("mod ctx;"), Some("ctx"));
    assert_eq!(declared("let mod_ = struct_;"), None);
    assert_eq!(snake_case("UnknownCA"), "unknown_ca");
}
