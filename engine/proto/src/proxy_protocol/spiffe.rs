//! Which of a certificate's URIs is a SPIFFE ID.

/// Longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
const ID_BYTES_MAX: usize = 2_048;

/// Longest name of a trust domain, in bytes (section 2.3).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// The SPIFFE ID of a certificate with these URIs. An X.509-SVID has exactly one URI (X.509-SVID section 2): with
/// more of them there is none.
pub(super) fn id(uris: &[String]) -> Option<&str> {
    match uris {
        [only] if is_id(only) => Some(only),
        _ => None,
    }
}

/// SPIFFE-ID section 2: a trust domain and a path, without port, query or fragment.
fn is_id(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("spiffe://").filter(|_| uri.len() <= ID_BYTES_MAX) else {
        return false;
    };
    let (trust_domain, path) = match rest.split_once('/') {
        Some((trust_domain, path)) => (trust_domain, Some(path)),
        None => (rest, None),
    };
    let is_mark = |byte: u8| matches!(byte, b'.' | b'-' | b'_');
    let is_domain = (1..=TRUST_DOMAIN_BYTES_MAX).contains(&trust_domain.len())
        && trust_domain
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || is_mark(byte));
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
    };
    is_domain && path.is_none_or(|path| path.split('/').all(is_segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_allows_is_an_id() {
        for good in [
            "spiffe://example.org",
            "spiffe://example.org/payments/api-7",
            "spiffe://a_b.example-1/A.b_c-d",
            "spiffe://1/..a",
        ] {
            assert_eq!(id(&[good.to_owned()]), Some(good));
        }
        for bad in [
            "https://example.org/payments",
            "SPIFFE://example.org/payments",
            "spiffe://",
            "spiffe:///payments",
            "spiffe://Example.org/payments",
            "spiffe://example.org:443/payments",
            "spiffe://user@example.org/payments",
            "spiffe://example.org/",
            "spiffe://example.org/a//b",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a/",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%20b",
        ] {
            assert_eq!(id(&[bad.to_owned()]), None, "{bad}");
        }
        let long = |length: usize| format!("spiffe://example.org/{}", "a".repeat(length - 21));
        assert!(is_id(&long(ID_BYTES_MAX)) && !is_id(&long(ID_BYTES_MAX + 1)));
    }

    #[test]
    fn of_several_uris_none_is_an_id() {
        let uris = ["spiffe://example.org/a".to_owned(), "https://example.org".to_owned()];
        assert_eq!(id(&uris), None);
        assert_eq!(id(&[]), None);
    }
}
