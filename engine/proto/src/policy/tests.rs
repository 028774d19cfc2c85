use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, SerialNumber,
};

use super::*;
use crate::identity::ObjectIdentifier;

mod terms;

/// When clients come.
pub(super) const NOW: i64 = 1_800_000_000;

/// A client of the trust domain `prod` that comes at [`NOW`].
pub(super) fn of(identity: &ClientIdentity) -> Subject<'_> {
    Subject { identity, trust_domain: Some("prod"), now: NOW }
}

/// A client whose certificate has these names, each written as a rule would: `cn=payments-7`. It may also have
/// `eku=1.2.3`, `policy-oid=1.2.3`, `key=ed25519`, `from=-60` and `to=3600` (seconds from [`NOW`]), `serial=ab`.
pub(super) fn client(names: &[&str]) -> ClientIdentity {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    let mut algorithm = &PKCS_ECDSA_P256_SHA256;
    let (mut purposes, mut policies) = (Vec::new(), Vec::new());
    let at = |seconds: &str| {
        let seconds: i64 = seconds.parse().expect("seconds");
        let since = u64::try_from(NOW + seconds).expect("after 1970");
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(since)
    };
    let oid = |text: &str| {
        let oid: ObjectIdentifier = text.parse().expect("an OID");
        der(6, oid.as_bytes())
    };
    let ia5 = |text: &str| Ia5String::try_from(text).expect("ASCII");
    for name in names {
        let (field, name) = name.split_once('=').expect("a field");
        let subject = &mut parameters.distinguished_name;
        let alt_names = &mut parameters.subject_alt_names;
        match field {
            "cn" => push_attribute(subject, DnType::CommonName, 3, name),
            "o" => push_attribute(subject, DnType::OrganizationName, 10, name),
            "ou" => push_attribute(subject, DnType::OrganizationalUnitName, 11, name),
            "dns" => alt_names.push(SanType::DnsName(ia5(name))),
            "uri" => alt_names.push(SanType::URI(ia5(name))),
            "email" => alt_names.push(SanType::Rfc822Name(ia5(name))),
            "ip" => alt_names.push(SanType::IpAddress(name.parse().expect("an address"))),
            "eku" => purposes.extend(oid(name)),
            "policy-oid" => policies.extend(der(0x30, &oid(name))),
            "from" => parameters.not_before = at(name),
            "to" => parameters.not_after = at(name),
            "serial" => parameters.serial_number = Some(SerialNumber::from_slice(&hex(name))),
            "key" => {
                algorithm = match name {
                    "ec-p384" => &PKCS_ECDSA_P384_SHA384,
                    "ed25519" => &PKCS_ED25519,
                    _ => &PKCS_ECDSA_P256_SHA256,
                }
            }
            field => panic!("no field {field}"),
        }
    }
    for (number, list) in [(37, purposes), (32, policies)] {
        if !list.is_empty() {
            let value = der(0x30, &list);
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, number], value);
            parameters.custom_extensions.push(extension);
        }
    }
    signed_with(&parameters, algorithm)
}

fn hex(digits: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
    digits.as_bytes().chunks(2).map(|pair| byte(pair).expect("digits")).collect()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).expect("short")], content].concat()
}

/// rcgen keeps one value a type; by its number (under 2.5.4) a type is a second one to it.
fn push_attribute(subject: &mut DistinguishedName, kind: DnType, number: u64, value: &str) {
    let is_second = subject.get(&kind).is_some();
    let kind = if is_second { DnType::CustomDnType(vec![2, 5, 4, number]) } else { kind };
    subject.push(kind, value);
}

fn signed(parameters: &CertificateParams) -> ClientIdentity {
    signed_with(parameters, &PKCS_ECDSA_P256_SHA256)
}

fn signed_with(
    parameters: &CertificateParams,
    algorithm: &'static rcgen::SignatureAlgorithm,
) -> ClientIdentity {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    ClientIdentity::parse(certificate.der()).expect("an identity")
}

/// A client of `CN=Example CA,O=Example` with this serial number.
fn numbered(serial: &[u8]) -> ClientIdentity {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Example");
    parameters.distinguished_name.push(DnType::CommonName, "Example CA");
    parameters.serial_number = Some(SerialNumber::from_slice(serial));
    signed(&parameters)
}

/// A policy of rules as their `Display` writes them.
pub(super) fn policy(rules: &[&str]) -> Policy {
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
    policy(&[&format!("allow {rule}")]).decide(&of(&client(names))).is_allowed()
}

fn denies(rule: &str, names: &[&str]) -> bool {
    let decision =
        policy(&["allow any-verified", &format!("deny {rule}")]).decide(&of(&client(names)));
    decision == Decision::Denied { rule: Some(1) }
}

#[test]
fn nobody_is_allowed_by_default() {
    let empty = Policy::new(Vec::new());
    assert!(empty.is_empty());
    assert_eq!(empty.decide(&of(&client(&["cn=a"]))), Decision::Denied { rule: None });
    assert_eq!(
        policy(&["deny cn=b"]).decide(&of(&client(&["cn=a"]))),
        Decision::Denied { rule: None }
    );
}

#[test]
fn deny_goes_before_allow_in_whatever_order() {
    let payments = client(&["cn=payments-7", "dns=payments-7.guest.example"]);
    for rules in [
        ["allow cn=payments-*", "deny dns=**.guest.example"],
        ["deny dns=**.guest.example", "allow cn=payments-*"],
    ] {
        let deny = rules.iter().position(|rule| rule.starts_with("deny"));
        assert_eq!(policy(&rules).decide(&of(&payments)), Decision::Denied { rule: deny });
    }
}

#[test]
fn the_first_rule_that_matched_is_named() {
    let policy = policy(&["allow cn=other", "allow cn=payments-*", "allow any-verified"]);
    let decision = policy.decide(&of(&client(&["cn=payments-7"])));
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
fn organizations_and_units_match_if_any_of_them_does() {
    let names = ["o=Example", "o=Subsidiary", "ou=Payments", "ou=Batch"];
    for rule in ["o=Example", "o=Subsidiary", "o=Sub*", "ou=Payments", "ou=Batch", "ou=*"] {
        assert!(allows(rule, &names), "{rule}");
        assert!(denies(rule, &names), "{rule}");
    }
    for rule in ["o=example", "o=Payments", "ou=Example", "cn=Example", "o=Exampl"] {
        assert!(!allows(rule, &names), "{rule}");
        assert!(!denies(rule, &names), "{rule}");
    }
}

#[test]
fn addresses_match_by_prefix() {
    let both = ["ip=10.1.2.3", "ip=2001:db8::7"];
    for rule in ["ip=10.1.2.3", "ip=10.0.0.0/8", "ip=10.1.2.2/31", "ip=0.0.0.0/0"] {
        assert!(allows(rule, &both), "{rule}");
    }
    for rule in ["ip=2001:db8::7", "ip=2001:db8::/32", "ip=::/0", "ip=2001:db8::6/127"] {
        assert!(allows(rule, &both), "{rule}");
        assert!(denies(rule, &both), "{rule}");
    }
    for rule in ["ip=10.1.2.4", "ip=11.0.0.0/8", "ip=2001:db9::/32", "ip=2001:db8::8"] {
        assert!(!allows(rule, &both), "{rule}");
        assert!(!denies(rule, &both), "{rule}");
    }
    assert!(!allows("ip=0.0.0.0/0", &["ip=2001:db8::7"]), "families are not mixed up");
    assert!(!allows("ip=::/0", &["ip=10.1.2.3"]), "although IPv4 can be mapped into IPv6");
    assert!(!denies("ip=::/0", &["ip=10.1.2.3"]));
}

#[test]
fn an_ipv4_mapped_address_is_the_ipv4_address() {
    let mapped = ["ip=::ffff:10.1.2.3"];
    assert!(allows("ip=10.1.2.3", &mapped));
    assert!(allows("ip=10.0.0.0/8", &mapped));
    assert!(denies("ip=10.0.0.0/8", &mapped));
    assert!(!allows("ip=::/0", &mapped), "to an allow rule it is IPv4");
    assert!(denies("ip=::/0", &mapped), "to a deny rule it is IPv6 also");
    let rule = Rule::parse_allow("ip=::ffff:10.0.0.0/104").expect("a rule");
    assert_eq!(rule.to_string(), "allow ip=10.0.0.0/8");
}

#[test]
fn email_addresses_match_by_local_part_and_domain() {
    let ops = ["email=First.Last@Mail.Example"];
    for rule in [
        "email=First.Last@mail.example",
        "email=*@mail.example",
        "email=First.*@*.EXAMPLE",
        "email=*@**",
    ] {
        assert!(allows(rule, &ops), "{rule}");
        assert!(denies(rule, &ops), "{rule}");
    }
    for rule in ["email=first.last@mail.example", "email=*@example", "email=*@*"] {
        assert!(!allows(rule, &ops), "{rule}");
        assert!(!denies(rule, &ops), "{rule}");
    }
    let quoted = ["email=\"a@trusted.example\"@evil.example"];
    assert!(!allows("email=*@trusted.example", &quoted), "the domain is what follows the last @");
    assert!(allows("email=*@evil.example", &quoted));
    assert!(!allows("email=*@**", &["email=nobody"]), "without an at sign it is no address");
}

#[test]
fn keys_match_in_whatever_certificate_and_certificates_to_the_byte() {
    let one = client(&["cn=one"]);
    let other = client(&["cn=one"]);
    let key = format!("allow spki-sha256={}", one.spki_sha256_hex());
    assert_eq!(policy(&[&key]).decide(&of(&one)), Decision::Allowed { rule: 0 });
    assert!(!policy(&[&key]).decide(&of(&other)).is_allowed());
    let deny = format!("deny spki-sha256={}", one.spki_sha256_hex());
    let denying = policy(&["allow any-verified", &deny]);
    assert_eq!(denying.decide(&of(&one)), Decision::Denied { rule: Some(1) });
    assert!(denying.decide(&of(&other)).is_allowed());
    let certificate = format!("allow sha256={}", one.sha256_hex());
    assert_eq!(policy(&[&certificate]).decide(&of(&one)), Decision::Allowed { rule: 0 });
    assert!(!policy(&[&certificate]).decide(&of(&other)).is_allowed());
}

#[test]
fn a_fingerprint_is_read_as_it_is_pasted() {
    let client = client(&[]);
    let pairs: Vec<_> = client.spki_sha256().iter().map(|byte| format!("{byte:02X}")).collect();
    let rule = Rule::parse_allow(&format!("spki-sha256={}", pairs.join(":"))).expect("a rule");
    assert!(rule.matches(&of(&client)));
    assert_eq!(rule.to_string(), format!("allow spki-sha256={}", client.spki_sha256_hex()));
}

#[test]
fn a_certificate_is_named_by_issuer_and_serial() {
    let revoked = numbered(&[0xab, 0x00, 0x0f]);
    assert_eq!(revoked.issuer(), "CN=Example CA,O=Example");
    for text in [
        "ab000f@CN=Example CA,O=Example",
        "AB:00:0F@cn=Example CA,o=Example",
        "0000ab000f@CN=Example\\ CA,2.5.4.10=Example",
    ] {
        let rule = Rule::parse_deny(&format!("issuer-serial={text}")).expect(text);
        assert!(rule.matches(&of(&revoked)), "{text}");
        assert_eq!(rule.to_string(), "deny issuer-serial=ab000f@CN=Example CA,O=Example");
        let policy = Policy::new(vec![Rule::parse_allow("any-verified").expect("a rule"), rule]);
        assert_eq!(policy.decide(&of(&revoked)), Decision::Denied { rule: Some(1) });
    }
    for text in [
        "ab000e@CN=Example CA,O=Example",
        "ab000f00@CN=Example CA,O=Example",
        "ab000f@CN=Example CA",
        "ab000f@O=Example,CN=Example CA",
        "ab000f@CN=example ca,O=Example",
    ] {
        let rule = Rule::parse_deny(&format!("issuer-serial={text}")).expect(text);
        assert!(!rule.matches(&of(&revoked)), "{text}");
    }
    let first = Rule::parse_deny("issuer-serial=1@CN=Example CA,O=Example").expect("a rule");
    assert!(first.matches(&of(&numbered(&[1]))));
    assert!(
        !first.matches(&of(&numbered(&[0x10]))),
        "leading zeros do not count, trailing ones do"
    );
}

#[test]
fn a_certificate_is_not_denied_by_its_hash() {
    for text in ["sha256=", &format!("sha256={}", "ab".repeat(32))] {
        assert_eq!(Rule::parse_deny(text), Err(RuleError::DeniesByCertificateHash), "{text}");
    }
    let by_hash: Matcher = format!("sha256={}", "ab".repeat(32)).parse().expect("a matcher");
    let also = "cn=a".parse().expect("a matcher");
    let error = Rule::new(Action::Deny, vec![also, by_hash]).expect_err("no rule").to_string();
    assert!(error.contains("evaded") && error.contains("spki-sha256=HEX"), "{error}");
}

#[test]
fn a_text_that_is_no_rule_is_told_why() {
    const FIELDS: &str = "cn, o, ou, dns, uri, ip, email, spiffe, issuer, issuer-cn, serial, issuer-serial, spki-sha256, sha256, key, eku, policy-oid, trust-domain, lifetime and remaining";
    let unknown = |field: &str| {
        format!(
            "unknown field `{field}`: the fields are {FIELDS}, in lower case and with no blank before the `=`"
        )
    };
    let (san, upper, blank) = (unknown("san"), unknown("CN"), unknown("cn "));
    let no_field = format!(
        "`payments` names no field: write FIELD=VALUE, as cn=payments-* (the fields are {FIELDS}), any-verified or anonymous"
    );
    let mailbox =
        "email=: write LOCAL@DOMAIN, as ops@example.org, or *@example.org for everyone there";
    let cases = [
        ("payments", no_field.as_str()),
        ("san=a", &san),
        ("CN=a", &upper),
        ("cn =a", &blank),
        ("cn=", "cn=: the pattern is empty: write `*` within a segment or `**` for any name"),
        ("ou= a", "ou=: the pattern begins or ends with a blank"),
        (
            "uri=a***",
            "uri=: `***` means nothing: write `*` (within one segment) or `**` (across segments)",
        ),
        (
            "dns=.example",
            "dns=: a DNS label is empty: write names without a leading or trailing dot",
        ),
        (
            "dns=zürich.example",
            "dns=: 'ü' never occurs in such a name: a domain name takes letters, digits, `-`, `_` and dots (IDN as `xn--`)",
        ),
        ("email=ops", mailbox),
        ("email=**", mailbox),
        ("email=@example", mailbox),
        ("email=ops@", mailbox),
        (
            "email=ops@exa mple",
            "email=: ' ' never occurs in such a name: a domain name takes letters, digits, `-`, `_` and dots (IDN as `xn--`)",
        ),
        (
            "ip=10.0.0",
            "ip=: `10.0.0` is no IP address: write one as 192.0.2.7 or 2001:db8::7, a range as 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            "ip=10.*",
            "ip=: `10.*` is no IP address: write one as 192.0.2.7 or 2001:db8::7, a range as 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            "ip=10.0.0.0/33",
            "ip=: `/33` is no length of a prefix: write a number from 0 to 32, a netmask in bits",
        ),
        (
            "ip=10.0.0.0/+8",
            "ip=: `/+8` is no length of a prefix: write a number from 0 to 32, a netmask in bits",
        ),
        (
            "ip=::/129",
            "ip=: `/129` is no length of a prefix: write a number from 0 to 128, a netmask in bits",
        ),
        (
            "ip=10.0.0.1/8",
            "ip=: `10.0.0.1/8` sets bits beyond its prefix: write 10.0.0.0/8 for the range, 10.0.0.1 for the one address",
        ),
        (
            "ip=2001:db8::7/32",
            "ip=: `2001:db8::7/32` sets bits beyond its prefix: write 2001:db8::/32 for the range, 2001:db8::7 for the one address",
        ),
        (
            "spki-sha256=da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "spki-sha256=: 40 hex digits are no SHA-256, which has 64 (40 are a SHA-1)",
        ),
        (
            "sha256=sha256:ab",
            "sha256=: 's' is no hex digit: write 0-9 and a-f, with or without colons, nothing before them",
        ),
        ("spki-sha256=::", "spki-sha256=: the hex digits are missing"),
        (
            "issuer-serial=5f0a",
            "issuer-serial=: write HEX@ISSUER, as 5f:0a:11@CN=Example CA,O=Example: a serial number alone is unique only to its issuer",
        ),
        (
            "issuer-serial=0x5f@CN=a",
            "issuer-serial=: the serial number: 'x' is no hex digit: write 0-9 and a-f, with or without colons, nothing before them",
        ),
        ("issuer-serial=@CN=a", "issuer-serial=: the serial number: the hex digits are missing"),
        (
            "issuer-serial=5f@",
            "issuer-serial=: the issuer: the name is empty: write it as CN=Example CA,O=Example",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(Rule::parse_allow(text).expect_err(text).to_string(), message);
    }
    for text in ["dns=a b", "dns=a?", "uri=a b", "uri=ü", "cn=a\nb", "o=a\tb", "ou=\u{7f}"] {
        let error = Rule::parse_allow(text).expect_err(text);
        assert!(
            matches!(error, RuleError::Pattern { error: GlobError::Character { .. }, .. }),
            "{text}: {error}"
        );
    }
    let long = format!("cn={}", "a".repeat(MAX_PATTERN_BYTES + 1));
    assert!(Rule::parse_allow(&long).is_err());
    let long = format!("issuer-serial=5f@CN={}", "a".repeat(1 << 20));
    assert!(Rule::parse_allow(&long).is_err());
    for text in ["a\u{1b}[2J", "\u{1b}[2J=a", "ip=\u{1b}[2J", "issuer-serial=1@\u{1b}[2J"] {
        let message = Rule::parse_allow(text).expect_err(text).to_string();
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
}

#[test]
fn denying_everyone_is_not_a_rule() {
    assert_eq!(Rule::parse_deny("any-verified"), Err(RuleError::DeniesEveryone));
    assert_eq!(Rule::parse_deny("anonymous"), Err(RuleError::DeniesAnonymous));
}

#[test]
fn anonymous_speaks_of_nobody_with_a_certificate() {
    assert!(!allows("anonymous", &["cn=a"]));
    assert_eq!(policy(&["allow cn=a", "allow anonymous"]).anonymous_rule(), Some(1));
    assert_eq!(policy(&["allow any-verified"]).anonymous_rule(), None);
}
