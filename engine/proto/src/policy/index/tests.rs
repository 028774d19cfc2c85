use super::*;
use crate::identity::ClientIdentity;
use crate::policy::tests::{NOW, client, of};
use crate::policy::{Decision, Policy};

mod steps;

/// What [`Policy::decide`] must say: every rule tried, one after the other.
fn by_trying(policy: &Policy, client: &Subject<'_>) -> Decision {
    let first = |action| {
        let mut rules = policy.rules().iter();
        rules.position(|rule| rule.action() == action && rule.matches(client))
    };
    match (first(Action::Deny), first(Action::Allow)) {
        (Some(rule), _) => Decision::Denied { rule: Some(rule) },
        (None, Some(rule)) => Decision::Allowed { rule },
        (None, None) => Decision::Denied { rule: None },
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// Few names, so that rules and clients meet often; the pairs that only a careful reader tells apart among them.
const NAMES: &[&str] = &[
    "cn=a",
    "cn=A",
    "cn=b",
    "o=a",
    "o=b",
    "ou=a",
    "ou=b",
    "dns=a.example",
    "dns=A.EXAMPLE",
    "dns=a.example.",
    "dns=b.example",
    "dns=*.example",
    "uri=spiffe://example/a",
    "uri=spiffe://example/A",
    "ip=10.0.0.1",
    "ip=10.0.0.2",
    "ip=::ffff:10.0.0.1",
    "ip=2001:db8::1",
    "email=a@example",
    "email=a@EXAMPLE",
    "email=A@example",
    "email=a",
    "uri=SPIFFE://Example/a",
    "uri=spiffe://example/a/b",
    "uri=https://example/a",
    "serial=01",
    "serial=02",
    "key=ec-p384",
    "key=ed25519",
    "eku=1.3.6.1.5.5.7.3.1",
    "eku=1.3.6.1.5.5.7.3.2",
    "eku=2.5.29.37.0",
    "policy-oid=1.2.3",
    "policy-oid=1.2.4",
    "policy-oid=2.5.29.32.0",
    "from=-60",
    "from=-3600",
    "to=60",
    "to=3600",
    "to=86400",
];

/// Rules that no name stands for, and stars.
const RULES: &[&str] = &[
    "cn=*",
    "cn=a*",
    "o=*b",
    "ou=**",
    "dns=*.example",
    "dns=**",
    "uri=spiffe://example/*",
    "ip=10.0.0.0/30",
    "ip=::/0",
    "ip=2001:db8::/32",
    "email=*@example",
    "email=a@*",
    "any-verified",
    "anonymous",
    "issuer-cn=*",
    "issuer-cn=a",
    "issuer=CN=a",
    "issuer=CN=b",
    "spiffe=spiffe://example/*",
    "spiffe=spiffe://example/**",
    "spiffe=spiffe://example/a",
    "uri=**/a",
    "uri=*//*/a",
    "dns=a.*",
    "dns=*.EXAMPLE",
    "dns=**a**",
    "cn=**",
    "ip=0.0.0.0/0",
    "ip=10.0.0.0/8",
    "email=*@*",
    "email=**@exam*",
    "key=ec",
    "key=ec-p256",
    "key=rsa",
    "key=rsa<2048",
    "eku=clientAuth",
    "eku=anyExtendedKeyUsage",
    "eku=codeSigning",
    "trust-domain=prod",
    "trust-domain=staging",
    "lifetime<=1h",
    "lifetime>1h",
    "lifetime<61m",
    "lifetime>=2h",
    "lifetime>36500d",
    "remaining<=1h",
    "remaining>60s",
    "remaining>=60s",
    "remaining<1d",
];

fn random_clients(random: &mut Random) -> Vec<ClientIdentity> {
    let client_of = |random: &mut Random| {
        let names: Vec<&str> = (0..random.below(5)).map(|_| random.one_of(NAMES)).collect();
        client(&names)
    };
    (0..200).map(|_| client_of(random)).collect()
}

fn random_term(random: &mut Random, clients: &[ClientIdentity]) -> String {
    let someone = &clients[random.below(clients.len())];
    match random.below(12) {
        0..=4 => random.one_of(NAMES).to_owned(),
        5..=8 => random.one_of(RULES).to_owned(),
        9 => format!("spki-sha256={}", someone.spki_sha256_hex()),
        10 => format!("sha256={}", someone.sha256_hex()),
        // Without names there is no issuer either; such a text is refused below.
        _ => format!("issuer-serial={}@{}", someone.serial(), someone.issuer()),
    }
}

fn random_rule(random: &mut Random, clients: &[ClientIdentity]) -> Option<Rule> {
    let count = [1, 1, 1, 2, 2, 3][random.below(6)];
    let terms: Vec<_> = (0..count).map(|_| random_term(random, clients)).collect();
    // Some names and some denials are no rules: `a.example.`, `to=60`, `deny any-verified`.
    let parse = if random.below(2) == 0 { Rule::parse_allow } else { Rule::parse_deny };
    parse(&terms.join(" && ")).ok()
}

#[test]
fn looking_up_and_trying_agree() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let clients = random_clients(&mut random);
    let (mut allowed, mut denied, mut unknown, mut together) = (0, 0, 0, 0);
    for _ in 0..4_000 {
        let count = random.below(16);
        let rules = (0..count).filter_map(|_| random_rule(&mut random, &clients)).collect();
        let policy = Policy::new(rules);
        for client in &clients {
            let trust_domain = [Some("prod"), Some("staging"), None][random.below(3)];
            let now = NOW + random.below(4_000) as i64;
            let subject = Subject { trust_domain, now, ..of(client) };
            let decision = policy.decide(&subject);
            assert_eq!(decision, by_trying(&policy, &subject), "{:?}\n{subject:?}", policy.rules());
            let by = match decision {
                Decision::Allowed { rule } => {
                    allowed += 1;
                    rule
                }
                Decision::Denied { rule: Some(rule) } => {
                    denied += 1;
                    rule
                }
                Decision::Denied { rule: None } => {
                    unknown += 1;
                    continue;
                }
            };
            together += usize::from(policy.rules()[by].terms().len() > 1);
        }
    }
    let fewest = allowed.min(denied).min(unknown).min(together);
    let counts = format!("{allowed} allowed, {denied} denied, {unknown} by no rule");
    assert!(fewest > 20_000, "{counts}, {together} by several terms: too few");
}
