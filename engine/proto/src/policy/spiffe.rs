//! SPIFFE IDs (the SPIFFE-ID and X509-SVID specifications, section 2 of each).

use std::fmt;
use std::str::FromStr;

use crate::identity::shown;
use crate::policy::glob::{Glob, GlobError, Syntax};

const SCHEME: &str = "spiffe://";

/// Longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
const MAX_ID_BYTES: usize = 2048;

/// Longest trust domain, in bytes (the same section).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// A pattern `spiffe://TRUST-DOMAIN/PATH` over the SPIFFE ID of an X509-SVID: the trust domain is written out, in the
/// path stars stand as in a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffePattern(Glob);

impl SpiffePattern {
    /// Whether an ID fits, as [`id`] or [`folded`] gives it.
    pub(super) fn matches(&self, id: &str) -> bool {
        self.0.matches(id)
    }

    pub(super) fn glob(&self) -> &Glob {
        &self.0
    }
}

/// The SPIFFE ID that a certificate's URIs are, its trust domain in lower case: `None` unless there is exactly one URI
/// (X509-SVID section 2: "An X.509 SVID MUST contain exactly one URI SAN") and it is a valid SPIFFE ID.
pub(super) fn id(uris: &[String]) -> Option<String> {
    let [uri] = uris else { return None };
    let id = folded(uri).filter(|id| id.len() <= MAX_ID_BYTES)?;
    let (trust_domain, path) = parts(&id)?;
    let is_valid =
        is_trust_domain(trust_domain) && path.is_none_or(|path| is_path(path, |_| false));
    is_valid.then_some(id)
}

/// A URI of the scheme `spiffe`, valid or not, its scheme and trust domain in lower case (SPIFFE-ID section 2: they are
/// case-insensitive, the path is not).
pub(super) fn folded(uri: &str) -> Option<String> {
    let scheme = uri.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))?;
    let authority = uri[scheme.len()..].split('/').next()?;
    let (origin, path) = uri.split_at(scheme.len() + authority.len());
    Some(origin.to_ascii_lowercase() + path)
}

/// Trust domain and path of what begins with the scheme; the path without its first slash.
fn parts(id: &str) -> Option<(&str, Option<&str>)> {
    let rest = id.strip_prefix(SCHEME)?;
    Some(match rest.split_once('/') {
        Some((trust_domain, path)) => (trust_domain, Some(path)),
        None => (rest, None),
    })
}

/// SPIFFE-ID section 2.1: lower-case letters, digits, dots, dashes and underscores; no user, no port, nothing encoded.
fn is_trust_domain(text: &str) -> bool {
    let is_known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=MAX_TRUST_DOMAIN_BYTES).contains(&text.len()) && text.bytes().all(is_known)
}

/// SPIFFE-ID section 2.2: segments of letters, digits, dots, dashes and underscores, none of them empty, `.` or `..`.
fn is_path(text: &str, or: fn(u8) -> bool) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte) || or(byte);
    text.split('/').all(|segment| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(is_known)
    })
}

impl FromStr for SpiffePattern {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<SpiffePattern, SpiffeError> {
        let pattern = folded(text).ok_or(SpiffeError::NoScheme)?;
        let (trust_domain, path) = parts(&pattern).ok_or(SpiffeError::NoScheme)?;
        if !is_trust_domain(trust_domain) {
            return Err(SpiffeError::TrustDomain { text: shown(trust_domain) });
        }
        if let Some(path) = path.filter(|path| !is_path(path, |byte| byte == b'*')) {
            return Err(SpiffeError::Path { text: shown(path) });
        }
        Ok(SpiffePattern(Glob::compile(Syntax::URI, &pattern)?))
    }
}

impl fmt::Display for SpiffePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Why a text is no pattern over SPIFFE IDs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeError {
    /// Another scheme, or none.
    #[error(
        "write spiffe://TRUST-DOMAIN/PATH, as spiffe://example.org/ns/*/sa/api or spiffe://example.org/**"
    )]
    NoScheme,
    /// A trust domain that no SPIFFE ID has, or one with a star.
    #[error(
        "`{text}` is no trust domain: write it out, 1 to 255 letters, digits, `.`, `-` and `_`; stars stand in the path only"
    )]
    TrustDomain {
        /// The beginning of it.
        text: String,
    },
    /// A path that no SPIFFE ID has.
    #[error(
        "`{text}` is the path of no SPIFFE ID: segments have letters, digits, `.`, `-`, `_` and stars, and none is empty, `.` or `..`"
    )]
    Path {
        /// The beginning of it.
        text: String,
    },
    /// Not a pattern at all.
    #[error(transparent)]
    Glob(#[from] GlobError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_specification_forbids_is_no_id() {
        let id = |uri: &str| id(&[uri.to_owned()]);
        assert_eq!(id("SPIFFE://Example.ORG/Ns/A").as_deref(), Some("spiffe://example.org/Ns/A"));
        assert_eq!(id("spiffe://example.org").as_deref(), Some("spiffe://example.org"));
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_ID_BYTES));
        let domain = format!("spiffe://{}/a", "a".repeat(MAX_TRUST_DOMAIN_BYTES + 1));
        for uri in [
            "https://example.org/a",
            "spiffe:/example.org/a",
            "spiffe:///a",
            "spiffe://example.org/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/",
            "spiffe://example.org/a/./b",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a%20b",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a:b",
            "spiffe://user@example.org/a",
            "spiffe://example.org:80/a",
            "spiffe://example.org?/a",
            "spiffe://ex*mple.org/a",
            "spiffe://example.org/*",
            &long,
            &domain,
        ] {
            assert_eq!(id(uri), None, "{uri}");
        }
        let two = ["spiffe://example.org/a".to_owned(), "https://example.org".to_owned()];
        assert_eq!(super::id(&two), None, "more than one URI is no SVID");
        assert_eq!(super::id(&[]), None);
    }
}
