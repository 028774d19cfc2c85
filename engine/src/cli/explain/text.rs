//! The account for people.

use std::fmt::Write;
use std::path::Path;

use super::account::{Account, Answer, Certificate};
use super::date;

/// The whole of it, without the last line's end.
pub(super) fn of(account: &Account, client: &Path) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("listener", &format!("{} ({})", account.listener, account.address));
    line("server name", account.server_name.as_deref().unwrap_or("none (no --sni)"));
    if let Some(client_auth) = account.client_auth {
        line("client_auth", client_auth);
    }
    line("certificates", &client.display().to_string());
    for certificate in &account.sent {
        line("", &shown(certificate));
    }
    if !account.path.is_empty() {
        line("path", "");
        for (depth, certificate) in account.path.iter().enumerate() {
            let anchor = if depth + 1 == account.path.len() { "  (trust anchor)" } else { "" };
            line("", &format!("{}{}{anchor}", "  ".repeat(depth), name(certificate)));
        }
    }
    line("checks", "");
    for check in &account.checks {
        let mark = match check.result {
            Answer::Holds => "ok    ",
            Answer::Fails => "FAILS ",
            Answer::NotAsked => "-     ",
        };
        line("", &format!("{mark} {:<12} {}", check.check, check.detail));
    }
    match account.refusal() {
        Some((reason, alert)) => {
            let alert =
                alert.map_or_else(String::new, |alert| format!("; the client sees {alert}"));
            line("verdict", &format!("refused: {reason}{alert}"));
        }
        None => line("verdict", "allowed"),
    }
    if let Some(upstream) = &account.upstream {
        line("upstream", upstream);
    }
    text.truncate(text.trim_end().len());
    text
}

fn name(certificate: &Certificate) -> &str {
    if certificate.subject.is_empty() { "(no subject)" } else { &certificate.subject }
}

fn shown(certificate: &Certificate) -> String {
    match &certificate.problem {
        Some(problem) => format!("unreadable: {problem}"),
        None => format!(
            "{}, serial {}, {} to {}",
            name(certificate),
            certificate.serial,
            date(certificate.not_before),
            date(certificate.not_after)
        ),
    }
}
