//! The configuration file: read, found to be TOML, and its syntax errors put into words.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, Error};

use super::errors::{ConfigError, ConfigErrors, Problems, Spot, quoted};
use super::section::Section;
use super::source::Source;

/// A configuration file larger than this is not read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the text of a file.
pub(super) fn read(path: &Path) -> Result<Source, ConfigErrors> {
    let name = path.display().to_string();
    let unreadable = |error| {
        let problem = format!("the configuration cannot be read: {error}");
        ConfigErrors(vec![ConfigError { location: None, what: name.clone(), problem }])
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    text(name, bytes)
}

/// The text in the bytes of the file `name`.
pub(super) fn text(name: String, bytes: Vec<u8>) -> Result<Source, ConfigErrors> {
    let wrong = |problem: String| {
        let error = ConfigError { location: None, what: name.clone(), problem };
        ConfigErrors(vec![error])
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!(
            "it is larger than {FILE_BYTES_MAX} bytes; a configuration is a small text file"
        )));
    }
    // Its lines would be repeated in messages, and a key must not stand in a log.
    if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(wrong(
            "it is a PEM file, not a configuration; name files with certificates and keys in the configuration".into(),
        ));
    }
    String::from_utf8(bytes).map(|text| Source::new(name.clone(), text)).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let source = Source::new(name.clone(), text);
        let mut problems = Problems::new(Some(&source));
        let spot = Spot { what: String::new(), span: Some(valid..valid + 1) };
        problems.error(&spot, "not UTF-8; save the file as UTF-8");
        problems.finish().err().unwrap_or_else(|| wrong("not UTF-8".into()))
    })
}

/// Parses the text as far as it can be, and checks keys and kinds.
pub(super) fn parse(source: &Source, problems: &mut Problems<'_>) -> Section {
    let (table, mut errors) = DeTable::parse_recoverable(&source.text);
    errors.sort_by_key(|error| start(error, source));
    // An array that is not closed takes keys for its elements, and a header that is not closed takes
    // them for parts of itself: what follows is one error, not many.
    let in_array = |error: &Error| error.message().contains("array");
    let swallows = errors.iter().any(|error| {
        in_array(error) && (error.message().contains("`=`") || error.message().contains("unclosed"))
    });
    let mut last_line = 0;
    for error in &errors {
        let offset = start(error, source);
        let line = source.line(offset);
        // The first on a line says enough.
        if line == last_line {
            continue;
        }
        last_line = line;
        let end = error.span().map_or(offset, |span| span.end).max(offset + 1);
        let is_open = swallows && in_array(error) || error.message().starts_with("unclosed table");
        let lost = if is_open {
            line..usize::MAX
        } else if source.is_header(offset) {
            source.to_next_header(offset)
        } else {
            line..line + 1
        };
        let (span, problem) = if swallows && in_array(error) {
            let problem = "syntax: the array before this is not closed; add a `]` (or a comma, if more of it follows)";
            (offset..end, problem.to_owned())
        } else {
            unquoted(error.message(), source, offset).unwrap_or_else(|| {
                let inner = error.span().and_then(|span| source.text.get(span)).unwrap_or_default();
                (offset..end, explain(error.message(), inner))
            })
        };
        problems.syntax(&Spot { what: String::new(), span: Some(span) }, problem, lost);
        if is_open {
            break;
        }
    }
    Section::read(table.get_ref(), "", 0..0, problems)
}

fn start(error: &Error, source: &Source) -> usize {
    error.span().map_or(source.text.len(), |span| span.start)
}

/// The commonest mistake, under whichever of its many names: a string without its quotes.
fn unquoted(message: &str, source: &Source, offset: usize) -> Option<(Range<usize>, String)> {
    if message == "duplicate key" {
        return None;
    }
    let line = source.line_span(offset);
    let text = source.text.get(line.clone())?;
    let (key, value) = text.split_once('=')?;
    let bare = value.split('#').next().unwrap_or_default().trim();
    let begins = bare.chars().next().is_some_and(|c| c.is_alphanumeric() || "./:*-_".contains(c));
    let is_number = bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if !begins || is_number || bare.contains('"') {
        return None;
    }
    let start = line.start + key.len() + 1 + value.find(bare)?;
    // On the key, or on another line, it is something else.
    if offset < start || offset > start + bare.len() {
        return None;
    }
    let shown = quoted(bare);
    let problem = format!(
        "syntax: {shown} is not a value; a string stands in quotes: \"{}\"",
        shown.trim_matches('`')
    );
    Some((start..start + bare.len(), problem))
}

/// The parser's words, and what would be right where it can be told.
fn explain(message: &str, inner: &str) -> String {
    match message {
        "string values must be quoted, expected literal string" if inner.is_empty() => {
            "syntax: there is no value behind the `=`; write one, or take the line out".into()
        }
        "string values must be quoted, expected literal string" => {
            format!("syntax: {} is not a value; a string stands in quotes", quoted(inner))
        }
        "duplicate key" if ["listener", "identity"].contains(&inner) => format!(
            "syntax: {} stands here for the second time; where there may be several, each header has two brackets, such as [[listener]]",
            quoted(inner)
        ),
        "duplicate key" => {
            format!("syntax: {} stands here for the second time; keep one", quoted(inner))
        }
        "key with no value, expected `=`" => {
            "syntax: there is no `=` behind the key; write `key = value`".into()
        }
        "invalid basic string, expected `\"`" => {
            "syntax: the string does not end on its line; close it with a `\"`".into()
        }
        "unexpected key or value, expected newline, `#`" => {
            "syntax: there is something behind the value; one key and value stand on a line".into()
        }
        "missing comma between array elements, expected `,`" => {
            "syntax: there is no comma between this and the element before it".into()
        }
        "unclosed table, expected `]`" => {
            "syntax: the table's header is not closed; add a `]`".into()
        }
        _ => format!("syntax: {message}"),
    }
}
