use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

/// A client whose certificate has these names, each written as a rule would: `cn=payments-7`.
fn client(names: &[&str]) -> ClientIdentity {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let ia5 = |text: &str| Ia5String::try_from(text).expect("ASCII");
    for name in names {
        match name.split_once('=').expect("a field") {
            ("cn", name) => {
                // rcgen keeps one value a type; by its number, CN is a second type to it.
                let is_second = parameters.distinguished_name.get(&DnType::CommonName).is_some();
                let kind = if is_second {
                    DnType::CustomDnType(vec![2, 5, 4, 3])
                } else {
                    DnType::CommonName
                };
                parameters.distinguished_name.push(kind, name);
            }
            ("dns", name) => parameters.subject_alt_names.push(SanType::DnsName(ia5(name))),
            ("uri", name) => parameters.subject_alt_names.push(SanType::URI(ia5(name))),
            (field, _) => panic!("no field {field}"),
        }
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    ClientIdentity::parse(certificate.der()).expect("an identity")
}

/// A policy of rules as their `Display` writes them.
fn policy(rules: &[&str]) -> Policy {
    let rule = |text: &&str| {
        let rule = match text.split_once(' ').expect("an action") {
            ("allow", matcher) => Rule::parse_allow(matcher),
            ("deny", matcher) => Rule::parse_deny(matcher),
            (action, _) => panic!("no action {action}"),
        };
        let rule = rule.expect("a rule");
        assert_eq!(rule.to_string(), *text, "a rule's name is its text");
        rule
    };
    Policy::new(rules.iter().map(rule).collect())
}

fn allows(rule: &str, names: &[&str]) -> bool {
    policy(&[&format!("allow {rule}")]).decide(&client(names)).is_allowed()
}

fn denies(rule: &str, names: &[&str]) -> bool {
    let decision = policy(&["allow any-verified", &format!("deny {rule}")]).decide(&client(names));
    decision == Decision::Denied { rule: Some(1) }
}

#[test]
fn nobody_is_allowed_by_default() {
    let empty = Policy::new(Vec::new());
    assert!(empty.is_empty());
    assert_eq!(empty.decide(&client(&["cn=a"])), Decision::Denied { rule: None });
    assert_eq!(policy(&["deny cn=b"]).decide(&client(&["cn=a"])), Decision::Denied { rule: None });
}

#[test]
fn deny_goes_before_allow_in_whatever_order() {
    let payments = client(&["cn=payments-7", "dns=payments-7.guest.example"]);
    for rules in [
        ["allow cn=payments-*", "deny dns=**.guest.example"],
        ["deny dns=**.guest.example", "allow cn=payments-*"],
    ] {
        let deny = rules.iter().position(|rule| rule.starts_with("deny"));
        assert_eq!(policy(&rules).decide(&payments), Decision::Denied { rule: deny });
    }
}

#[test]
fn the_first_rule_that_matched_is_named() {
    let policy = policy(&["allow cn=other", "allow cn=payments-*", "allow any-verified"]);
    let decision = policy.decide(&client(&["cn=payments-7"]));
    assert_eq!(decision, Decision::Allowed { rule: 1 });
    assert_eq!(policy.rules()[1].to_string(), "allow cn=payments-*");
    assert_eq!(decision.to_string(), "allowed by rule 1");
}

#[test]
fn any_verified_allows_a_certificate_without_names() {
    assert!(allows("any-verified", &[]));
    assert!(!allows("cn=**", &[]), "a pattern needs a name to match");
}

#[test]
fn several_common_names_fail_to_the_safe_side() {
    let two = ["cn=payments", "cn=admin"];
    assert!(!allows("cn=payments", &two));
    assert!(!allows("cn=**", &two));
    assert!(denies("cn=payments", &two));
    assert!(denies("cn=admin", &two));
    assert!(!denies("cn=other", &two));
}

#[test]
fn common_names_are_case_sensitive_and_have_no_segments() {
    assert!(allows("cn=payments-*", &["cn=payments-a.b/c"]));
    assert!(!allows("cn=payments-*", &["cn=Payments-7"]));
    assert!(!allows("cn=payments", &["cn=payments-7"]), "the whole name must fit");
    assert!(!allows("cn=payments", &["dns=payments"]), "fields are not mixed up");
}

#[test]
fn dns_names_match_by_label_in_any_case() {
    assert!(allows("dns=*.Payments.example", &["dns=other.example", "dns=A.PAYMENTS.example"]));
    assert!(!allows("dns=*.example", &["dns=a.b.example"]));
    assert!(allows("dns=**.example", &["dns=a.b.example"]));
    assert!(!allows("dns=**.example", &["dns=example"]));
    assert!(allows("dns=a.example", &["dns=a.example."]), "fully qualified is the same name");
}

#[test]
fn a_wildcard_certificate_is_no_pattern() {
    let wildcard = ["dns=*.example"];
    assert!(!allows("dns=a.example", &wildcard), "its star matches nothing");
    assert!(!allows("dns=**", &wildcard), "and no star of an allow rule matches it");
    assert!(allows("dns=*.EXAMPLE", &wildcard), "unless it is named letter by letter");
    assert!(denies("dns=**.example", &wildcard), "a deny rule is not escaped by having one");
    assert!(!denies("dns=a.example", &wildcard));
}

#[test]
fn uris_match_by_segment_and_case() {
    let spiffe = ["uri=spiffe://example/ns/payments/sa/api"];
    assert!(allows("uri=spiffe://example/ns/payments/sa/api", &spiffe));
    assert!(allows("uri=spiffe://example/ns/*/sa/*", &spiffe));
    assert!(!allows("uri=spiffe://example/ns/*", &spiffe));
    assert!(allows("uri=spiffe://example/ns/**", &spiffe));
    assert!(!allows("uri=SPIFFE://example/ns/**", &spiffe));
    assert!(!allows("uri=spiffe://*/ns/payments", &["uri=spiffe://evil/x/ns/payments"]));
}

#[test]
fn a_text_that_is_no_rule_is_told_why() {
    let cases = [
        (
            "payments",
            "`payments` names no field: write cn=PATTERN, dns=PATTERN, uri=PATTERN or any-verified",
        ),
        (
            "san=a",
            "unknown field `san`: the fields are cn, dns and uri, in lower case and with no blank before the `=`",
        ),
        (
            "CN=a",
            "unknown field `CN`: the fields are cn, dns and uri, in lower case and with no blank before the `=`",
        ),
        ("cn=", "cn=: the pattern is empty: write `*` within a segment or `**` for any name"),
        ("cn= a", "cn=: the pattern begins or ends with a blank"),
        (
            "uri=a***",
            "uri=: `***` means nothing: write `*` (within one segment) or `**` (across segments)",
        ),
        (
            "dns=.example",
            "dns=: a DNS label is empty: write names without a leading or trailing dot",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(Rule::parse_allow(text).expect_err(text).to_string(), message);
    }
    for text in ["dns=a b", "dns=zürich.example", "dns=a?", "uri=a b", "uri=ü", "cn=a\nb"] {
        let error = Rule::parse_allow(text).expect_err(text);
        assert!(
            matches!(error, RuleError::Pattern { error: GlobError::Character { .. }, .. }),
            "{text}: {error}"
        );
    }
    let long = format!("cn={}", "a".repeat(MAX_PATTERN_BYTES + 1));
    assert!(Rule::parse_allow(&long).is_err());
    assert!(!Rule::parse_allow("a\u{1b}[2J").expect_err("no field").to_string().contains('\u{1b}'));
}

#[test]
fn denying_everyone_is_not_a_rule() {
    assert_eq!(Rule::parse_deny("any-verified"), Err(RuleError::DeniesEveryone));
}
