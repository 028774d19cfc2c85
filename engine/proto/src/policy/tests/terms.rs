//! What the certificate is, beside its names; and several terms in one rule.

use rcgen::CustomExtension;

use super::*;
use crate::identity::KeyKind;

const CLIENT_AUTH: &str = "eku=1.3.6.1.5.5.7.3.2";
const ANY_PURPOSE: &str = "eku=2.5.29.37.0";
const ANY_POLICY: &str = "policy-oid=2.5.29.32.0";

fn error(parse: fn(&str) -> Result<Rule, RuleError>, text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn a_spiffe_id_is_the_only_uri() {
    let api = ["uri=spiffe://Prod.Example/ns/Payments/api"];
    for rule in [
        "spiffe=spiffe://prod.example/**",
        "spiffe=spiffe://prod.example/ns/*/api",
        "spiffe=spiffe://prod.example/ns/Payments/api",
    ] {
        assert!(allows(rule, &api), "{rule}");
        assert!(denies(rule, &api), "{rule}");
    }
    for rule in [
        "spiffe=spiffe://prod.example/*",
        "spiffe=spiffe://prod.example/ns/payments/api",
        "spiffe=spiffe://prod.example",
        "spiffe=spiffe://example/**",
        "spiffe=spiffe://prod.example.evil/**",
    ] {
        assert!(!allows(rule, &api), "{rule}");
        assert!(!denies(rule, &api), "{rule}");
    }
    assert_eq!(
        Rule::parse_allow("spiffe=SPIFFE://Prod.EXAMPLE/A").expect("a rule").to_string(),
        "allow spiffe=spiffe://prod.example/A"
    );
}

#[test]
fn what_is_no_svid_is_allowed_by_no_id_and_denied_by_any() {
    let rule = "spiffe=spiffe://prod.example/**";
    for uris in [
        &["uri=spiffe://prod.example/a", "uri=https://prod.example/"][..],
        &["uri=spiffe://prod.example/a", "uri=spiffe://prod.example/b"],
        &["uri=spiffe://prod.example/a/../b"],
        &["uri=spiffe://prod.example/a//b"],
        &["uri=SPIFFE://PROD.example/a?b"],
    ] {
        assert!(!allows(rule, uris), "{uris:?}");
        assert!(denies(rule, uris), "{uris:?}");
    }
    assert!(!allows(rule, &["uri=spiffe://prod.example@evil/a"]));
    assert!(!denies(rule, &["uri=https://prod.example/a"]));
}

#[test]
fn issuers_match_whole_and_their_common_names_by_pattern() {
    let client = client(&["o=Example", "cn=Issuing CA 7"]);
    assert_eq!(client.issuer(), "CN=Issuing CA 7,O=Example");
    for rule in ["issuer=CN=Issuing CA 7,O=Example", "issuer-cn=Issuing CA *"] {
        assert!(policy(&[&format!("allow {rule}")]).decide(&of(&client)).is_allowed(), "{rule}");
    }
    for rule in ["issuer=CN=Issuing CA 7", "issuer=O=Example,CN=Issuing CA 7", "issuer-cn=issuing*"]
    {
        assert!(!policy(&[&format!("allow {rule}")]).decide(&of(&client)).is_allowed(), "{rule}");
    }
    let two = ["cn=One CA", "cn=Two CA"];
    assert!(!allows("issuer-cn=**", &two) && denies("issuer-cn=Two*", &two));
    let starred = Rule::parse_allow("issuer=CN=\\2A,O=a").expect("a rule");
    assert_eq!(starred.to_string(), "allow issuer=CN=\\2A,O=a", "read as it is written");
    assert!(error(Rule::parse_allow, "issuer=CN=*").contains("write issuer-cn=PATTERN"));
}

#[test]
fn a_serial_number_is_allowed_beside_its_issuer_only() {
    let names = ["serial=0a0b", "cn=Example CA"];
    for rule in [
        "serial=0a0b && issuer=CN=Example CA",
        "serial=0a0b && issuer-cn=Example*",
        "issuer-cn=** && serial=0a0b",
    ] {
        assert!(allows(rule, &names), "{rule}");
    }
    assert!(denies("serial=0a0b", &names));
    assert!(!denies("serial=0a0c", &names));
    let alone = error(Rule::parse_allow, "serial=0a0b && cn=Example CA");
    assert!(alone.contains("issuer-serial=HEX@ISSUER"), "{alone}");
    let rule = Rule::parse_deny("serial=00:0A:0B").expect("a rule");
    assert_eq!(rule.to_string(), "deny serial=0a0b");
}

#[test]
fn keys_match_by_kind_and_size() {
    for (key, fits, fits_not) in [
        ("ec-p256", ["ec", "ec-p256"], ["ec-p384", "rsa"]),
        ("ec-p384", ["ec", "ec-p384"], ["ec-p256", "ed25519"]),
        ("ed25519", ["ed25519", "ed25519"], ["ec", "rsa>=1"]),
    ] {
        for kind in fits {
            let rule = format!("key={kind}");
            assert!(allows(&rule, &[&format!("key={key}")]), "{rule} {key}");
            assert!(denies(&rule, &[&format!("key={key}")]), "{rule} {key}");
        }
        for kind in fits_not {
            let rule = format!("key={kind}");
            assert!(!allows(&rule, &[&format!("key={key}")]), "{rule} {key}");
            assert!(!denies(&rule, &[&format!("key={key}")]), "{rule} {key}");
        }
    }
    let fits = |text: &str, key| {
        let pattern: KeyPattern = text.parse().expect(text);
        assert_eq!(pattern.to_string(), text);
        assert_eq!(pattern.matches(Action::Allow, key), pattern.matches(Action::Deny, key));
        pattern.matches(Action::Allow, key)
    };
    let rsa = KeyKind::Rsa { bits: 3072 };
    for text in ["rsa", "rsa>=3072", "rsa<=3072", "rsa>3071", "rsa<3073"] {
        assert!(fits(text, rsa), "{text}");
    }
    for text in ["rsa>3072", "rsa<3072", "rsa>=4096", "rsa<=2048", "ec"] {
        assert!(!fits(text, rsa), "{text}");
    }
    for pattern in ["rsa", "ec", "rsa<2048"].map(|text| text.parse::<KeyPattern>().expect(text)) {
        assert!(!pattern.matches(Action::Allow, KeyKind::Unknown));
        assert!(pattern.matches(Action::Deny, KeyKind::Unknown));
    }
}

#[test]
fn purposes_match_what_is_listed_and_a_deny_rule_what_is_left_open() {
    let listed = [CLIENT_AUTH];
    for rule in ["eku=clientAuth", "eku=1.3.6.1.5.5.7.3.2", "eku=CLIENTAUTH"] {
        let rule = Rule::parse_allow(rule).expect(rule);
        assert!(rule.matches(&of(&client(&listed))));
        assert_eq!(rule.to_string(), "allow eku=clientAuth");
    }
    assert!(denies("eku=clientAuth", &listed));
    assert!(!allows("eku=serverAuth", &listed) && !denies("eku=serverAuth", &listed));
    for open in [&[][..], &[CLIENT_AUTH, ANY_PURPOSE]] {
        assert!(!allows("eku=serverAuth", open), "{open:?}");
        assert!(denies("eku=serverAuth", open), "{open:?}");
        assert!(denies("eku=1.2.3", open), "{open:?}");
    }
    assert!(!allows("eku=clientAuth", &[]), "what is not said is not said");
    assert!(allows("eku=anyExtendedKeyUsage", &[ANY_PURPOSE]));
}

#[test]
fn certificate_policies_match_what_is_listed() {
    let listed = ["policy-oid=1.3.6.1.4.1.99999.1", "policy-oid=2.23.140.1.2.1"];
    for rule in listed {
        assert!(allows(rule, &listed) && denies(rule, &listed), "{rule}");
    }
    for others in [&[][..], &listed] {
        assert!(!allows("policy-oid=1.2.3", others) && !denies("policy-oid=1.2.3", others));
    }
    assert!(!allows("policy-oid=1.2.3", &[ANY_POLICY]));
    assert!(denies("policy-oid=1.2.3", &[ANY_POLICY]), "it claims every policy");
}

#[test]
fn what_cannot_be_read_allows_nobody_and_is_denied() {
    for (number, rule) in [(37, "eku=clientAuth"), (32, "policy-oid=1.2.3")] {
        let mut parameters = CertificateParams::default();
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, number], vec![0x30, 1, 0]);
        parameters.custom_extensions.push(extension);
        let client = signed(&parameters);
        assert!(!policy(&[&format!("allow {rule}")]).decide(&of(&client)).is_allowed());
        let denying = policy(&["allow any-verified", &format!("deny {rule}")]);
        assert_eq!(denying.decide(&of(&client)), Decision::Denied { rule: Some(1) }, "{rule}");
    }
}

#[test]
fn trust_domains_match_by_name() {
    let client = client(&["cn=a"]);
    let rules = policy(&["allow trust-domain=prod"]);
    assert!(rules.decide(&of(&client)).is_allowed());
    for trust_domain in [Some("Prod"), Some("staging"), None] {
        assert!(!rules.decide(&Subject { trust_domain, ..of(&client) }).is_allowed());
    }
    let denying = policy(&["allow any-verified", "deny trust-domain=prod"]);
    assert_eq!(denying.decide(&of(&client)), Decision::Denied { rule: Some(1) });
    assert!(denying.decide(&Subject { trust_domain: None, ..of(&client) }).is_allowed());
}

#[test]
fn lifetimes_are_compared_to_the_second() {
    let day = ["from=-3600", "to=82800"];
    for (rule, holds) in [
        ("lifetime<=24h", true),
        ("lifetime>=1d", true),
        ("lifetime<24h", false),
        ("lifetime>24h", false),
        ("lifetime<=86399s", false),
        ("lifetime<1441m", true),
        ("remaining>=23h", true),
        ("remaining>23h", false),
        ("remaining<=23h", true),
        ("remaining<23h", false),
        ("remaining<1d", true),
    ] {
        assert_eq!(allows(rule, &day), holds, "{rule}");
        assert_eq!(denies(rule, &day), holds, "{rule}");
    }
    let client = client(&day);
    let rules = policy(&["allow remaining>=1h"]);
    for (now, holds) in [(NOW + 79_200, true), (NOW + 79_201, false), (i64::MAX, false)] {
        assert_eq!(rules.decide(&Subject { now, ..of(&client) }).is_allowed(), holds, "{now}");
    }
}

#[test]
fn several_terms_match_together() {
    let short = ["uri=spiffe://prod.example/api", "from=-60", "to=3600", "key=ec-p256"];
    let long = ["uri=spiffe://prod.example/api", "from=-60", "to=999999", "key=ec-p256"];
    let rule = "spiffe=spiffe://prod.example/** && lifetime<=24h && key=ec-p256";
    assert!(allows(rule, &short));
    assert!(!allows(rule, &long));
    assert!(denies("spiffe=spiffe://prod.example/** && lifetime>24h", &long));
    assert!(!denies("spiffe=spiffe://prod.example/** && lifetime>24h", &short));
    assert!(!denies("spiffe=spiffe://other.example/** && lifetime>24h", &long));
    let both = ["dns=a.example", "dns=b.example"];
    assert!(allows("dns=a.example && dns=b.example", &both), "each may be of another name");
    assert!(!allows("dns=a.example && dns=c.example", &both));
}

#[test]
fn terms_that_do_not_go_together_are_told_why() {
    for (text, message) in [
        ("cn=a && san=b", "term 2: unknown field `san`: "),
        (
            "cn=a && lifetime<=24",
            "term 2: lifetime: `24` is no time: write a whole number and a unit",
        ),
        ("cn=a &&", "`&&` stands between two terms"),
        ("cn=a&&o=b", "`&&` stands between two terms"),
        ("cn=a &&  o=b", "term 2: unknown field ` o`"),
        ("cn=a && any-verified", "any-verified stands alone"),
        ("anonymous && cn=a", "anonymous stands alone"),
        (&["cn=a"; MAX_TERMS + 1].join(" && "), "the rule has 9 terms; it may have 8"),
        ("lifetime=24h", "lifetime: it is compared with `<=`, `<`, `>=` or `>`"),
        ("lifetime<=", "lifetime: `` is no time"),
        ("remaining>=1.5h", "remaining: `1.5h` is no time"),
        ("remaining>=+1h", "remaining: `+1h` is no time"),
        ("remaining>=99999999999h", "remaining: `99999999999h` is no time"),
        ("remaining>=1y", "remaining: `1y` is no time"),
        ("cn<=a", "cn is not compared by size: write cn=VALUE"),
        ("san<=a", "unknown field `san`"),
        ("key=rsa>=", "key=: `rsa>=` is no kind of key: write ec-p256"),
        ("key=dsa", "key=: `dsa` is no kind of key"),
        ("key=rsa>=-1", "key=: `rsa>=-1` is no kind of key"),
        ("eku=client", "eku=: `client` is no extended key usage: write clientAuth"),
        ("policy-oid=anyPolicy", "policy-oid=: `anyPolicy` is no object identifier"),
        ("trust-domain=a b", "trust-domain=: `a b` cannot be the name of a trust domain"),
        ("spiffe=https://a/b", "spiffe=: write spiffe://TRUST-DOMAIN/PATH"),
        ("spiffe=spiffe://*/b", "spiffe=: `*` is no trust domain: write it out"),
        ("spiffe=spiffe://a/b/", "spiffe=: `b/` is the path of no SPIFFE ID"),
        ("spiffe=spiffe://a/***", "spiffe=: `***` means nothing"),
        ("serial=5g && issuer=CN=a", "term 1: serial=: 'g' is no hex digit"),
        ("issuer=Example CA", "issuer=: `Example CA` is no attribute"),
    ] {
        let error = error(Rule::parse_allow, text);
        assert!(error.starts_with(message), "{text}: {error}");
    }
    let hash = format!("cn=a && sha256={}", "ab".repeat(32));
    assert!(error(Rule::parse_deny, &hash).starts_with("term 2: deny sha256= can be evaded"));
    assert_eq!(Rule::new(Action::Deny, Vec::new()), Err(RuleError::NoTerm));
}
