//! A table of the configuration file, its keys known and its values of the right kind.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::errors::{At, Problems, Spot, quoted};
use super::keys::{self, Key, Kind};
use crate::duration;

/// A table whose keys are all known. What was wrong in it has been said and is absent.
pub(super) struct Section {
    /// The table's path, and its header.
    pub(super) spot: Spot,
    values: BTreeMap<&'static str, Value>,
    /// Keys that were written, or meant, and whose value is not known.
    pub(super) spoilt: Vec<&'static str>,
}

enum Value {
    Text(At<String>),
    Texts(At<Vec<At<String>>>),
    Count(At<usize>),
    Switch(At<bool>),
    Duration(At<Duration>),
    Sections(Vec<Section>),
}

/// What stands at a key that may have either.
pub(super) enum TextOrSection {
    Text(At<String>),
    Section(Section),
}

impl Section {
    /// Reads the table of the path `path`, whose header stands at `span`.
    pub(super) fn read(
        table: &DeTable<'_>,
        path: &'static str,
        span: Range<usize>,
        problems: &mut Problems<'_>,
    ) -> Self {
        let spot = Spot { what: path.to_owned(), span: Some(span) };
        let mut values = BTreeMap::new();
        let mut mentioned = Vec::new();
        for (name, value) in table {
            let Some(key) = keys::find(path, name.get_ref()) else {
                unknown(path, name, problems);
                // Misspelt is not missing.
                mentioned.extend(keys::nearest(path, name.get_ref()).map(Key::name));
                continue;
            };
            mentioned.push(key.name());
            if let Some(value) = read_value(key, name, value, problems) {
                values.insert(key.name(), value);
            }
        }
        for key in keys::in_table(path).filter(|key| key.default.is_none()) {
            if !mentioned.contains(&key.name()) {
                missing(key, &spot, problems);
            }
        }
        mentioned.retain(|name| !values.contains_key(name));
        Self { spot, values, spoilt: mentioned }
    }

    /// The string at a key.
    pub(super) fn text(&mut self, name: &str) -> Option<At<String>> {
        match self.take(name) {
            Some(Value::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// The strings at a key.
    pub(super) fn texts(&mut self, name: &str) -> Option<At<Vec<At<String>>>> {
        match self.take(name) {
            Some(Value::Texts(values)) => Some(values),
            _ => None,
        }
    }

    /// The number at a key.
    pub(super) fn count(&mut self, name: &str) -> Option<At<usize>> {
        match self.take(name) {
            Some(Value::Count(value)) => Some(value),
            _ => None,
        }
    }

    /// The boolean at a key.
    pub(super) fn switch(&mut self, name: &str) -> Option<At<bool>> {
        match self.take(name) {
            Some(Value::Switch(value)) => Some(value),
            _ => None,
        }
    }

    /// The duration at a key.
    pub(super) fn duration(&mut self, name: &str) -> Option<At<Duration>> {
        match self.take(name) {
            Some(Value::Duration(value)) => Some(value),
            _ => None,
        }
    }

    /// The string or the table at a key.
    pub(super) fn text_or_section(&mut self, name: &str) -> Option<TextOrSection> {
        match self.take(name) {
            Some(Value::Text(value)) => Some(TextOrSection::Text(value)),
            Some(Value::Sections(mut sections)) => sections.pop().map(TextOrSection::Section),
            _ => None,
        }
    }

    /// The tables at a key.
    pub(super) fn sections(&mut self, name: &str) -> Vec<Self> {
        match self.take(name) {
            Some(Value::Sections(sections)) => sections,
            _ => Vec::new(),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let path = &self.spot.what;
        assert!(keys::find(path, name).is_some(), "'{name}' of '{path}' stands among the keys");
        self.values.remove(name)
    }
}

fn unknown(path: &str, name: &Spanned<std::borrow::Cow<'_, str>>, problems: &mut Problems<'_>) {
    let text = name.get_ref();
    let what = if path.is_empty() { quoted(text) } else { format!("{path}.{}", quoted(text)) };
    // The key's path is shown as every other; only what is not a plain word is marked off.
    let is_plain = text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let what = if is_plain { what.replace('`', "") } else { what };
    let spot = Spot { what, span: Some(name.span()) };
    let elsewhere = || keys::ALL.iter().find(|key| key.name() == text);
    if let Some(key) = keys::nearest(path, text) {
        problems.error(&spot, format_args!("unknown key; did you mean `{}`?", key.name()));
    } else if let Some(key) = elsewhere() {
        let place = if key.table().is_empty() {
            "at the top of the file, before the first table".to_owned()
        } else {
            format!("in {}", header(key.table()))
        };
        problems.error(&spot, format_args!("unknown key here; `{}` belongs {place}", key.name()));
    } else {
        let known: Vec<_> = keys::in_table(path).map(Key::name).collect();
        problems.error(&spot, format_args!("unknown key; known here are {}", known.join(", ")));
    }
}

/// How the header of a table is written.
fn header(table: &str) -> String {
    match keys::ALL.iter().find(|key| key.path == table).map(|key| &key.kind) {
        Some(Kind::Tables(_)) => format!("[[{table}]]"),
        _ => format!("[{table}]"),
    }
}

fn missing(key: &Key, table: &Spot, problems: &mut Problems<'_>) {
    let spot = table.absent(key.name());
    if key.name() == "allow" {
        return problems.missing(
            &spot,
            "nobody could get in; add `allow = [\"cn=payments-*\"]` with rules for those who may, or `allow = \"any-verified\"` for every client whose certificate leads to client_ca",
        );
    }
    let example = match key.kind {
        Kind::Table | Kind::Tables(_) => key.example.to_owned(),
        _ => format!("`{} = {}`", key.name(), key.example),
    };
    problems.missing(&spot, format_args!("add it, for example {example}"));
}

fn read_value(
    key: &'static Key,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<Value> {
    let spot = Spot { what: key.path.to_owned(), span: Some(value.span()) };
    match (&key.kind, value.get_ref()) {
        (Kind::Text | Kind::TextOrTable, DeValue::String(text)) => {
            Some(Value::Text(At { value: text.clone().into_owned(), spot }))
        }
        (Kind::Choice(choices), DeValue::String(text)) => {
            if choices.contains(&text.as_ref()) {
                return Some(Value::Text(At { value: text.clone().into_owned(), spot }));
            }
            problems.error(
                &spot,
                format_args!("{} is not known here; it must be {}", quoted(text), key.bounds),
            );
            None
        }
        (Kind::Duration, DeValue::String(text)) => {
            let result = duration::parse(text).map_err(|_| {
                format!(
                    "{} is not a duration; write it like \"500ms\", \"10s\", \"2m\" or \"1h\"",
                    quoted(text)
                )
            });
            let value = problems.keep(&spot, result)?;
            Some(Value::Duration(At { value, spot }))
        }
        (Kind::TextOrTexts, DeValue::String(text)) => {
            let only = At { value: text.clone().into_owned(), spot: spot.clone() };
            Some(Value::Texts(At { value: vec![only], spot }))
        }
        (Kind::Texts | Kind::TextOrTexts, DeValue::Array(array)) => {
            let value = array.iter().filter_map(|element| read_element(key, element, problems));
            Some(Value::Texts(At { value: value.collect(), spot }))
        }
        (Kind::Count(bounds), DeValue::Integer(number)) => match whole(number) {
            Some(value) if bounds.contains(&value) => Some(Value::Count(At { value, spot })),
            _ => {
                problems.error(
                    &spot,
                    format_args!("it is {}; it must be {}", quoted(number.as_str()), key.bounds),
                );
                None
            }
        },
        (Kind::Switch, DeValue::Boolean(value)) => Some(Value::Switch(At { value: *value, spot })),
        (Kind::Table | Kind::TextOrTable, DeValue::Table(table)) => {
            let section = Section::read(table, key.path, value.span(), problems);
            Some(Value::Sections(vec![section]))
        }
        (Kind::Tables(most), DeValue::Array(array))
            if array.iter().all(|element| element.get_ref().is_table()) =>
        {
            if array.len() > *most {
                problems.error(
                    &spot,
                    format_args!("there are {} of them; there may be {most} at most", array.len()),
                );
            }
            if array.is_empty() {
                missing(key, &Spot { what: key.table().to_owned(), span: spot.span }, problems);
            }
            let tables = array.iter().take(*most).filter_map(|element| {
                Some(Section::read(
                    element.get_ref().as_table()?,
                    key.path,
                    element.span(),
                    problems,
                ))
            });
            Some(Value::Sections(tables.collect()))
        }
        (_, found) => {
            let at_name = matches!(found, DeValue::Table(_));
            let span = if at_name { name.span() } else { value.span() };
            let spot = Spot { span: Some(span), ..spot };
            problems.error(&spot, wrong_kind(key, found));
            None
        }
    }
}

fn read_element(
    key: &'static Key,
    element: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<At<String>> {
    let spot = Spot { what: key.path.to_owned(), span: Some(element.span()) };
    if let Some(text) = element.get_ref().as_str() {
        return Some(At { value: text.to_owned(), spot });
    }
    let found = article(element.get_ref());
    problems.error(
        &spot,
        format_args!("it has {found} in it; write strings in quotes, such as {}", key.example),
    );
    None
}

fn wrong_kind(key: &Key, found: &DeValue<'_>) -> String {
    let name = key.name();
    let found_kind = article(found);
    match (&key.kind, found) {
        (Kind::Tables(_), DeValue::Table(_)) => format!(
            "it is one table, and there may be several; write its header with two brackets, [[{}]]",
            key.path
        ),
        (Kind::Tables(_) | Kind::Table, _) => {
            format!("it is {found_kind}; it must be a table: {}", header(key.path))
        }
        (Kind::Duration, DeValue::Integer(number)) => format!(
            "it is a number without a unit; write it in quotes with one, such as `{name} = \"{}s\"`",
            number.as_str()
        ),
        (Kind::Switch, _) => {
            format!("it is {found_kind}; it must be true or false, without quotes")
        }
        (Kind::Count(_), DeValue::String(_)) => format!(
            "it is a string; it must be a number without quotes, such as `{name} = {}`",
            key.example
        ),
        (kind, _) => format!(
            "it is {found_kind}; it must be a {}, such as `{name} = {}`",
            if matches!(kind, Kind::Duration) { "string with a duration" } else { kind.name() },
            key.example
        ),
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn whole(number: &DeInteger<'_>) -> Option<usize> {
    usize::from_str_radix(number.as_str(), number.radix()).ok()
}
