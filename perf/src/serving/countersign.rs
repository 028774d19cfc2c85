//! The engine's configuration file.

use std::fmt::Write as _;

use super::{IDLE_S, Setup};
use crate::system::Tweaks;
use crate::token::KeyPlace;

/// The keys of one table, in order; a tweak takes the place of the key of its name.
struct Table {
    /// As TOML writes it.
    header: &'static str,
    /// What a tweak's key begins with to mean this table.
    prefix: &'static str,
    keys: Vec<(String, String)>,
}

/// The file.
pub(super) fn text(setup: &Setup<'_>, tweaks: &Tweaks) -> String {
    let cpus: Vec<String> = setup.cpus.iter().map(ToString::to_string).collect();
    let process = [
        ("workers", setup.cpus.len().to_string()),
        ("cpus", quoted(cpus.join(","))),
        ("drain_timeout", quoted("1s")),
        // As the access logs of the others are off.
        ("log_connections", quoted("problems")),
    ];
    let mut text = table("", "", &process).text(tweaks);
    if let Some(token) = setup.token {
        let isolation = match token.place {
            KeyPlace::TokenOnThreads => "thread",
            _ => "process",
        };
        let tokens = [
            ("isolation", quoted(isolation)),
            ("max_sessions", token.folder.traits().sessions.to_string()),
        ];
        text += &table("[tokens]", "tokens.", &tokens).text(tweaks);
    }
    for (listen, upstream) in setup.service.listeners() {
        let upstream =
            upstream.map_or("builtin:whoami".to_owned(), |upstream| upstream.to_string());
        let listener = [
            ("listen", quoted(listen)),
            ("upstream", quoted(upstream)),
            ("allow", quoted("any-verified")),
            ("versions", "[\"1.3\"]".to_owned()),
            ("suites", "[\"TLS_AES_128_GCM_SHA256\"]".to_owned()),
            ("groups", format!("[\"{}\"]", setup.variant.group())),
        ];
        let limits = [
            ("idle_timeout", quoted(format_args!("{IDLE_S}s"))),
            ("half_closed_timeout", quoted("10s")),
        ];
        let key = setup.variant.server_key();
        let private = match setup.token_of(listen) {
            Some(token) => token.folder.uri(),
            None => setup.pki.server_key(key).display().to_string(),
        };
        let identity = [
            ("certificate", quoted(setup.pki.server_chain(key).display())),
            ("key", quoted(private)),
            ("client_ca", quoted(setup.pki.client_root().display())),
        ];
        for table in [
            table("[[listener]]", "listener.", &listener),
            table("[listener.limits]", "listener.limits.", &limits),
            table("[[listener.identity]]", "listener.identity.", &identity),
        ] {
            text += &table.text(tweaks);
        }
    }
    text
}

fn quoted(value: impl std::fmt::Display) -> String {
    format!("\"{value}\"")
}

fn table(header: &'static str, prefix: &'static str, keys: &[(&str, String)]) -> Table {
    let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Table { header, prefix, keys }
}

impl Table {
    fn text(mut self, tweaks: &Tweaks) -> String {
        for (key, value) in &tweaks.config {
            let Some(key) = key.strip_prefix(self.prefix) else { continue };
            // A dot that remains belongs to a table below; without prefix there are those of the process.
            let of_the_process = !self.prefix.is_empty()
                || !(key.starts_with("listener.") || key.starts_with("tokens."));
            if !of_the_process || (!self.prefix.is_empty() && key.contains('.')) {
                continue;
            }
            match self.keys.iter_mut().find(|(name, _)| name == key) {
                Some(there) => there.1.clone_from(value),
                None => self.keys.push((key.to_owned(), value.clone())),
            }
        }
        let mut text = format!("{}\n", self.header);
        for (key, value) in self.keys {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tweak_lands_in_its_table_and_replaces_what_stands_there() {
        let config = [
            ("workers", "2"),
            ("admin.listen", "\"127.0.0.1:9\""),
            ("tokens.lanes", "8"),
            ("listener.alpn", "[]"),
            ("listener.limits.idle_timeout", "\"1s\""),
        ];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let tweaks = Tweaks { config, ..Tweaks::default() };
        let of =
            |header, prefix, key| table(header, prefix, &[(key, "1".to_owned())]).text(&tweaks);
        assert_eq!(of("", "", "workers"), "\nworkers = 2\nadmin.listen = \"127.0.0.1:9\"\n");
        assert_eq!(
            of("[[listener]]", "listener.", "listen"),
            "[[listener]]\nlisten = 1\nalpn = []\n"
        );
        assert_eq!(of("[x]", "listener.limits.", "idle_timeout"), "[x]\nidle_timeout = \"1s\"\n");
        assert_eq!(of("[tokens]", "tokens.", "lanes"), "[tokens]\nlanes = 8\n");
    }
}
