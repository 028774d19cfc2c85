//! Server names: what clients ask for (RFC 6066 §3), and what a certificate speaks for.

use std::collections::HashMap;
use std::net::IpAddr;

use rustls_pki_types::DnsName;

use crate::config::errors::{Problems, Spot, quoted};
use crate::config::raw::{RawIdentity, RawListener};

/// The names of an identity in lower case; those that are none are left out.
pub(super) fn resolve(raw: &RawIdentity, problems: &mut Problems<'_>) -> Vec<String> {
    raw.server_names.iter().filter_map(|at| problems.keep(&at.spot, parse(&at.value))).collect()
}

fn parse(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let shown = quoted(text);
    if name.is_empty() {
        return Err("the name is empty; leave it out".into());
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "{shown} is an IP address, which clients never send as a server name; they reach the first identity"
        ));
    }
    if !name.is_ascii() {
        return Err(format!("{shown} is not ASCII; write it as clients send it, in xn-- form"));
    }
    if name.ends_with('.') {
        return Err(format!("{shown} ends with a dot; leave the dot out"));
    }
    let domain = name.strip_prefix("*.").unwrap_or(&name);
    if domain.contains('*') {
        return Err(format!(
            "{shown}: a `*` can only be the whole first label, as in *.example.org"
        ));
    }
    if DnsName::try_from(domain).is_err() {
        return Err(format!(
            "{shown} is not a DNS name; write it like www.example.org or *.example.org, without scheme or port"
        ));
    }
    Ok(name)
}

/// Every identity can be chosen, and no name stands for two.
pub(super) fn check_all(raw: &RawListener, problems: &mut Problems<'_>) {
    let mut known: HashMap<String, &Spot> = HashMap::new();
    for at in raw.identities.iter().flat_map(|identity| &identity.server_names) {
        let name = at.value.to_ascii_lowercase();
        if let Some(first) = known.get(&name) {
            let line = problems.line(first);
            problems.error(
                &at.spot,
                format_args!("{} stands twice in this listener{line}; keep one", quoted(&name)),
            );
        } else {
            known.insert(name, &at.spot);
        }
    }
    for (index, identity) in raw.identities.iter().enumerate() {
        if !identity.server_names.is_empty() || identity.spoilt.contains(&"server_names") {
            continue;
        }
        let spot = identity.spot.absent("server_names");
        if raw.strict_sni {
            problems.missing(
                &spot,
                "with `strict_sni = true` no client reaches an identity without names; name it, or take strict_sni out",
            );
        } else if index > 0 {
            problems.missing(
                &spot,
                "no client reaches this identity: only the first one of a listener answers to other names and to none; add `server_names = [\"www.example.org\"]`",
            );
        }
    }
}

/// Does a name of a certificate speak for the server name (RFC 9525 §6.3)?
pub(super) fn covers(certified: &str, name: &str) -> bool {
    let certified = certified.to_ascii_lowercase();
    if certified == name {
        return true;
    }
    let Some(domain) = certified.strip_prefix("*.") else { return false };
    !name.starts_with("*.") && name.split_once('.').is_some_and(|(_, rest)| rest == domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_form_that_clients_send() {
        assert_eq!(parse("WWW.Example.org"), Ok("www.example.org".into()));
        assert_eq!(parse("*.example.org"), Ok("*.example.org".into()));
        assert_eq!(parse("localhost"), Ok("localhost".into()));
        for (wrong, word) in [
            ("", "empty"),
            ("*", "first label"),
            ("a*.example.org", "first label"),
            ("a.*.org", "first label"),
            ("10.0.0.1", "IP address"),
            ("b\u{fc}cher.example", "xn--"),
            ("example.org.", "dot"),
            ("https://example.org", "scheme"),
            ("example.org:443", "port"),
            ("-a.org", "not a DNS name"),
            ("a..org", "not a DNS name"),
        ] {
            let error = parse(wrong).expect_err(wrong);
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_wildcard_certificate_speaks_for_one_label() {
        for (certified, name, expected) in [
            ("www.Example.org", "www.example.org", true),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "a.b.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", "*.example.org", true),
            ("www.example.org", "*.example.org", false),
            ("*.org", "*.example.org", false),
        ] {
            assert_eq!(covers(certified, name), expected, "{certified} {name}");
        }
    }
}
