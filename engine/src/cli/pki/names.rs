//! The names in a certificate: what may stand in one, told before anything is signed.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{DistinguishedName, DnType, SanType};
use rustls_pki_types::DnsName;
use serde::{Deserialize, Serialize};

/// Characters of a common name, an organization, an organizational unit (RFC 5280 appendix A, ub-common-name
/// and its like).
const ATTRIBUTE_CHARACTERS_MAX: usize = 64;

/// Bytes of a SPIFFE ID (SPIFFE-ID §2.3).
const SPIFFE_BYTES_MAX: usize = 2_048;

/// Bytes of a trust domain's name (SPIFFE-ID §2.1).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// All names of one end entity. Each was checked when it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Names {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) o: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ou: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) uri: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) email: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ip: Vec<IpAddr>,
}

impl Names {
    /// A server's: DNS names and addresses. The first is its common name too, where it is short enough.
    pub(crate) fn of_server<S: AsRef<str>>(names: &[S]) -> Result<Self, String> {
        let mut all = Self::default();
        for name in names.iter().map(AsRef::as_ref) {
            match name.parse() {
                Ok(address) => all.ip.push(address),
                Err(_) => all.dns.push(dns(name)?),
            }
        }
        let first = names.first().map(|name| name.as_ref().to_ascii_lowercase());
        all.cn = first.filter(|name| name.len() <= ATTRIBUTE_CHARACTERS_MAX);
        Ok(all)
    }

    /// A client's, as the demo has it.
    pub(crate) fn of_client(cn: &str, dns: &str) -> Result<Self, String> {
        Ok(Self { cn: Some(attribute(cn)?), dns: vec![client_dns(dns)?], ..Self::default() })
    }

    /// A workload's: its SPIFFE ID alone (X509-SVID §2).
    pub(super) fn of_workload(id: &str) -> Result<Self, String> {
        Ok(Self { uri: vec![spiffe_id(id)?], ..Self::default() })
    }

    /// Whether one of the names is this one, letter by letter.
    pub(super) fn contain(&self, name: &str) -> bool {
        self.cn.as_deref() == Some(name)
            || [&self.dns, &self.uri, &self.email].into_iter().flatten().any(|known| known == name)
            || name.parse().is_ok_and(|address| self.ip.contains(&address))
    }

    /// What to call whoever has them.
    pub(super) fn first(&self) -> String {
        let named = self.cn.iter().chain(&self.uri).chain(&self.dns).next().cloned();
        named.or_else(|| self.ip.first().map(ToString::to_string)).unwrap_or_default()
    }

    /// In the words of a rule: `cn=alice dns=alice.example`.
    pub(super) fn in_words(&self) -> String {
        let subject = [("cn", &self.cn), ("ou", &self.ou), ("o", &self.o)];
        let mut words: Vec<String> = subject
            .into_iter()
            .filter_map(|(kind, name)| name.as_ref().map(|name| format!("{kind}={name}")))
            .collect();
        for (kind, names) in [("dns", &self.dns), ("uri", &self.uri), ("email", &self.email)] {
            words.extend(names.iter().map(|name| format!("{kind}={name}")));
        }
        words.extend(self.ip.iter().map(|address| format!("ip={address}")));
        words.join(" ")
    }

    pub(super) fn subject(&self) -> DistinguishedName {
        let mut subject = DistinguishedName::new();
        for (kind, name) in [
            (DnType::OrganizationName, &self.o),
            (DnType::OrganizationalUnitName, &self.ou),
            (DnType::CommonName, &self.cn),
        ] {
            if let Some(name) = name {
                subject.push(kind, name.as_str());
            }
        }
        subject
    }

    pub(super) fn alternative(&self) -> Result<Vec<SanType>, rcgen::Error> {
        let ascii = |name: &String| Ia5String::try_from(name.as_str());
        let mut all = Vec::new();
        for name in &self.dns {
            all.push(SanType::DnsName(ascii(name)?));
        }
        for name in &self.uri {
            all.push(SanType::URI(ascii(name)?));
        }
        for name in &self.email {
            all.push(SanType::Rfc822Name(ascii(name)?));
        }
        all.extend(self.ip.iter().copied().map(SanType::IpAddress));
        Ok(all)
    }
}

/// An attribute of the subject.
pub(super) fn attribute(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("an empty name".into());
    }
    if text.trim() != text {
        return Err(format!("{text:?} begins or ends with a blank"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{text:?} has a control character in it"));
    }
    let characters = text.chars().count();
    if characters > ATTRIBUTE_CHARACTERS_MAX {
        return Err(format!(
            "'{text}' has {characters} characters; X.509 allows {ATTRIBUTE_CHARACTERS_MAX} here"
        ));
    }
    Ok(text.to_owned())
}

/// A DNS name of a server, where the first label may be `*`; in lower case.
fn dns(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    if text != host && !host.contains('.') {
        return Err(format!("'{text}' would match a whole top-level domain"));
    }
    client_dns(host).map(|host| if text.starts_with("*.") { format!("*.{host}") } else { host })
}

/// A DNS name that stands for one host, in lower case.
pub(super) fn client_dns(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err(format!("'{text}': a '*' may stand only as a server's whole first label"));
    }
    if !text.is_ascii() {
        return Err(format!("'{text}' is not ASCII; write it as DNS carries it (xn--...)"));
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if DnsName::try_from(text).is_err() || numeric || text.contains(':') {
        return Err(format!(
            "'{text}' is neither a DNS name (labels of letters, digits and hyphens, separated by single dots) nor an IP address"
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// A mailbox, `LOCAL@DOMAIN`.
pub(super) fn email(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is not an email address like alice@example.org");
    let (local, domain) = text.split_once('@').ok_or_else(wrong)?;
    if local.is_empty() || !local.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    client_dns(domain).map_err(|_| wrong())?;
    Ok(text.to_owned())
}

/// An absolute URI; one that begins as a SPIFFE ID must be one.
pub(super) fn uri(text: &str) -> Result<String, String> {
    if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:")) {
        return spiffe_id(text);
    }
    let wrong = || format!("'{text}' is not a URI: SCHEME:REST, in ASCII, without blanks");
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
    let begins = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !begins || !scheme.bytes().all(of_scheme) || rest.is_empty() {
        return Err(wrong());
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// A SPIFFE ID of a workload (SPIFFE-ID §2).
fn spiffe_id(text: &str) -> Result<String, String> {
    let wrong = |why: &str| {
        format!("'{text}' is not a SPIFFE ID like spiffe://example.org/payments/1: {why}")
    };
    let rest = text.strip_prefix("spiffe://").ok_or_else(|| wrong("it begins with spiffe://"))?;
    let (domain, path) = rest
        .split_once('/')
        .ok_or_else(|| wrong("a workload has a path behind the trust domain"))?;
    let of_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if domain.is_empty() || !domain.bytes().all(of_domain) {
        return Err(wrong(
            "a trust domain has lower-case letters, digits, dots, hyphens and underscores",
        ));
    }
    if domain.len() > TRUST_DOMAIN_BYTES_MAX || text.len() > SPIFFE_BYTES_MAX {
        return Err(wrong("a trust domain has 255 bytes at most, the whole 2048"));
    }
    let of_segment = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    for segment in path.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return Err(wrong(
                "its path has no empty segment, no '.', no '..', no slash at the end",
            ));
        }
        if !segment.bytes().all(of_segment) {
            return Err(wrong("a path has letters, digits, dots, hyphens and underscores"));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_names_are_told_apart() {
        let names = Names::of_server(&["WWW.Example.org", "*.example.org", "::1"]).expect("names");
        assert_eq!(
            names.in_words(),
            "cn=www.example.org dns=www.example.org dns=*.example.org ip=::1"
        );
        assert!(names.contain("::1") && names.contain("0:0::1") && !names.contain("example.org"));
        for wrong in
            ["", "a..b", "a b", "-a.example", "1.2.3.400", "*", "*.org", "a.*.org", "ä.org", "a:1"]
        {
            assert!(Names::of_server(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_long_server_name_is_no_common_name() {
        let long = format!("{}.{}.example", "a".repeat(60), "b".repeat(60));
        assert_eq!(Names::of_server(&[&long]).expect("names").cn, None);
    }

    #[test]
    fn spiffe_ids_are_those_of_the_specification() {
        assert!(spiffe_id("spiffe://example.org/payments/1").is_ok());
        for wrong in [
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe:///a",
            "SPIFFE://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://example.org:1/a",
            "spiffe://u@example.org/a",
            "spiffe://example.org/a//b",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a/",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a%20b",
            "https://example.org/a",
        ] {
            assert!(spiffe_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_names_are_checked_by_their_kind() {
        assert!(uri("urn:uuid:1").is_ok() && uri("https://example.org/a?b#c").is_ok());
        for wrong in ["", "a", ":a", "1a:b", "a:", "a:b c", "a:ü", "spiffe://A/b", "Spiffe://a/b"]
        {
            assert!(uri(wrong).is_err(), "{wrong}");
        }
        assert!(email("a.b+c@example.org").is_ok());
        for wrong in ["", "a", "@b", "a@", "a b@c.org", "a@b@c", "ä@b.org"] {
            assert!(email(wrong).is_err(), "{wrong}");
        }
        assert!(client_dns("*.example.org").is_err());
        assert!(attribute("Jörg").is_ok() && attribute(&"ä".repeat(64)).is_ok());
        for wrong in ["", "  ", " a", "a ", "a\nb", &"a".repeat(65)] {
            assert!(attribute(wrong).is_err(), "{wrong}");
        }
    }
}
